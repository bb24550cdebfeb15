"""Versions, pins and links that are written in several files agree."""

import importlib.util
import re
import tomllib
from inspect import ismodule
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import motet
from motet._internal.typed_records import SCHEMA_VERSION
from motet.training.checkpoint import VERSION

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def _requirements(file: str) -> list[Requirement]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


def _pins(requirements: list[Requirement]) -> dict[str, Version]:
    """Return the version of every requirement of the form NAME==VERSION."""
    found = {}
    for each in requirements:
        (specifier,) = each.specifier
        if specifier.operator == "==":
            found[canonicalize_name(each.name)] = Version(specifier.version)
    return found


def _setup():
    spec = importlib.util.spec_from_file_location("motet_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_versions_are_those_declared():
    bounds = {}
    for each in _declared():
        (specifier,) = each.specifier
        assert specifier.operator == ">=", f"{each} must declare one lower bound"
        bounds.setdefault(canonicalize_name(each.name), set()).add(Version(specifier.version))
    assert all(len(versions) == 1 for versions in bounds.values()), "the extras declare different bounds"
    assert _pins(_requirements("requirements-lowest.txt")) == {name: found.pop() for name, found in bounds.items()}


def test_the_build_requirement_is_the_one_of_the_dev_extra():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert set(build) <= set(PROJECT["optional-dependencies"]["dev"])


def test_the_lock_pins_every_declared_dependency_in_an_allowed_version():
    requirements = _requirements("requirements.lock")
    pins = _pins(requirements)
    assert len(pins) == len(requirements)
    assert next(iter(pins)) == "torch", "pip must see torch first"
    for each in _declared():
        assert pins[canonicalize_name(each.name)] in each.specifier


def test_hooks_have_the_versions_of_the_lock():
    lock = _pins(_requirements("requirements.lock"))
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in local["hooks"]:
        assert hook["language"] == "python", "a hook must not need an environment of this project"
        pins = _pins([Requirement(each) for each in hook["additional_dependencies"]])
        assert len(pins) == len(hook["additional_dependencies"])
        assert pins.items() <= lock.items()


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == motet.__version__ == citation["version"]


def test_the_classifiers_name_the_python_versions_that_the_workflow_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))
    classifiers = [each.rpartition(" :: ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == classifiers
    assert PROJECT["requires-python"] == f">={classifiers[0]}"


def test_links_on_a_package_index_lead_to_files_of_the_repository():
    text = _setup().description()
    outside_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", outside_code)
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    pages, pictures = f"{REPOSITORY}/blob/v{PROJECT['version']}/", f"{raw}/v{PROJECT['version']}/"
    of_repository = 0
    for exclamation, target in links:
        assert target.startswith("https://"), f"{target} does not work outside the repository"
        base = pictures if exclamation else pages
        if target.startswith((REPOSITORY, raw)):
            assert target.startswith(base)
            assert (ROOT / target.removeprefix(base).partition("#")[0]).exists(), f"{target} does not exist"
            of_repository += 1
    assert of_repository > 10
    assert "<img" not in outside_code
    assert " href=" not in outside_code


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[a](docs/a.md#part)", "[a](https://github.com/o/r/blob/v1.2/docs/a.md#part)"),
        ("![a](img/a.png)", "![a](https://raw.githubusercontent.com/o/r/v1.2/img/a.png)"),
        ("[a](https://x.org) [b](#part)", "[a](https://x.org) [b](#part)"),
        ("```\nlayers[0](x)\n```", "```\nlayers[0](x)\n```"),
    ],
)
def test_relative_links_become_absolute(given, expected):
    assert _setup().absolute_links(given, "https://github.com/o/r", "1.2") == expected


def test_the_project_has_the_address_of_its_repository_everywhere():
    assert all(url.startswith(REPOSITORY) for url in PROJECT["urls"].values())


def test_the_page_on_stability_has_every_public_module_and_the_present_versions_of_files():
    text = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    modules = {name for name in motet.__all__ if ismodule(getattr(motet, name))}
    (table,) = re.findall(r"\| part \| stability \|\n(.*?)\n\n", text, flags=re.DOTALL)
    parts = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = [name for part in parts for name in re.findall(r"`([a-z]+)`", part)]
    assert sorted(named) == sorted([*modules, "motet"]), "'motet' is the command"
    assert {name for name in modules if not hasattr(getattr(motet, name), "__all__")} == {"inference"}
    assert f"a `schema_version`, now {SCHEMA_VERSION} |" in text
    assert f"a version number, now {VERSION} |" in text
