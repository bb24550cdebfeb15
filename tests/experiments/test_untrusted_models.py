"""Reading a run never calls a function that its record names, unless the user trusts it."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet import InputError
from motet._internal.own_code import UntrustedCodeError, _is_library
from motet.experiments import evaluate, find_run, load_run, run_experiment

Make = Callable[..., Any]
CODE = "from pathlib import Path\nPath('executed').touch()\ndef net():\n    return None\n"


@pytest.fixture
def run_folder(experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    run_experiment(experiment(), tmp_path / "run")
    return tmp_path / "run"


def poison(folder: Path, function: str, source: object = None) -> None:
    """Let the record name this function as the run's model."""
    path = folder / "run.json"
    record = json.loads(path.read_text())
    record["settings"]["model"] = {"type": "CustomModel", "function": function, "width": None}
    record["source"] = source
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("name", ["m.py", "timm.py", "torchvision.py"])
@pytest.mark.parametrize("with_hash", [True, False])
@pytest.mark.parametrize("as_module", [True, False])
def test_a_file_is_not_executed(run_folder: Path, name: str, with_hash: bool, as_module: bool) -> None:
    Path(name).write_text(CODE)
    held = {"file": name, "sha256": hashlib.sha256(CODE.encode()).hexdigest(), "text": CODE} if with_hash else None
    place = Path(name).stem if as_module else name
    if as_module and sys.modules.get(place) is not None:
        pytest.skip(f"{place} is imported: Python would not look for another one")
    poison(run_folder, f"{place}:net", held)
    with pytest.raises(UntrustedCodeError, match="--trust-code"):
        evaluate(find_run(run_folder))
    assert not Path("executed").exists()


@pytest.mark.parametrize("function", ["os:getcwd", "sys:exit", "shutil:rmtree", "pathlib:Path.cwd", "builtins:input"])
def test_a_function_of_an_imported_module_is_not_called(run_folder: Path, function: str) -> None:
    poison(run_folder, function)
    with pytest.raises(InputError):
        evaluate(find_run(run_folder))


def test_trust_needs_the_file_as_it_was(run_folder: Path) -> None:
    Path("m.py").write_text(CODE)
    poison(run_folder, "m.py:net", {"file": "m.py", "sha256": "0" * 64, "text": "another"})
    with pytest.raises(InputError, match="which was changed after the run"):
        evaluate(find_run(run_folder, trust_code=True))
    assert not Path("executed").exists()


def test_the_record_can_be_read_all_the_same(run_folder: Path) -> None:
    poison(run_folder, "m.py:net")
    run = load_run(run_folder)
    assert run is not None
    assert run.scores.epochs == 2
    assert run.record.settings["model"]["function"] == "m.py:net"  # type: ignore[index]


def test_models_of_libraries_need_no_trust() -> None:
    for place in ("motet.models", "motet.models.mlp", "timm", "timm.models.resnet"):
        assert _is_library(place)
    for place in ("motet.cli", "motet", "torch", "torchvision.datasets", "timm.py", "motet/models.py", "timmy", "os"):
        assert not _is_library(place)
