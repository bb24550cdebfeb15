"""The README's Python runs, its numbers are those of the records, and so are the design page's examples."""

import importlib.util
import re
from pathlib import Path

import pytest
from torchvision_stubs import declare_missing_operators

declare_missing_operators()  # transformers imports torchvision
ROOT = Path(__file__).resolve().parent.parent


def _generator():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in ("design", "methods", "prediction-under-a-budget", "joint-training", "likelihoods")
        ),
    ],
)
@pytest.mark.slow
def test_python_blocks_run_one_after_the_other(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.slow
def test_generated_parts_are_as_the_records_say():
    generator = _generator()
    assert (
        *("README.md", "docs/zoo.md", "docs/joint-training.md", "docs/distributed.md"),
        *("docs/adding-a-method.md", "docs/methods.md", "docs/robustness.md", "docs/layers.md"),
        "benchmarks/README.md",
    ) == generator.PAGES
    for page in generator.PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert "<!-- generated: " in text
        assert generator.generate(text) == text


def test_links_to_files_lead_somewhere():
    links = [
        (page, target)
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        if not target.startswith("http")
    ]
    assert len(links) > 20
    for page, target in links:
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_commands_that_readme_contributing_and_continuous_integration_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for page, needed in {
        "README.md": {"demo", "test", "check"},
        "CONTRIBUTING.md": {"test-fast", "check", "test-long"},
        ".ci/run": {"lint", "types", "test", "test-long"},
    }.items():
        named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", (ROOT / page).read_text("utf-8"), re.MULTILINE))
        named = {one or other for one, other in named}
        assert needed <= named <= targets, page
