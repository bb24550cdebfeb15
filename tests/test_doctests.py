"""Every example in a docstring of the library is run."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

import motet

ROOT = Path(motet.__file__).parent
PARSER = doctest.DocTestParser()
Example = tuple[str, str, int]


def examples(file: Path) -> list[Example]:
    """The docstrings with examples in a file: name, text, line.

    Read from the source, because `doctest` itself overlooks functions that are wrapped, as the tests' shape checks do.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text and ">>>" in text:
                found.append((getattr(node, "name", "module"), text, node.body[0].lineno))
    return found


FILES = [file for file in sorted(ROOT.rglob("*.py")) if examples(file)]


def module_name(file: Path) -> str:
    pieces = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_examples(file: Path, unchecked: None) -> None:
    # Unchecked, as for users: an int is accepted for a float.
    module = import_module(module_name(file))
    public = {name: getattr(motet, name) for name in motet.__all__}
    for name, text, line in examples(file):
        names = {**public, "torch": torch, "nn": nn, "motet": motet, **vars(module)}
        test = PARSER.get_doctest(text, names, f"{module_name(file)}.{name}", str(file), line)
        assert test.examples
        torch.manual_seed(0)
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        result = runner.run(test, out=report.append)
        assert result.failed == 0, "".join(report)


def test_the_main_names_have_an_example() -> None:
    with_examples = {name for file in FILES for name, *_ in examples(file)}
    assert {"module", *(kind.__name__ for kind in motet.methods.METHODS.values())} <= with_examples
    assert len(FILES) > 10


@pytest.mark.parametrize("text", [">>> 1 + 1\n3", ">>> undefined_name", ">>> torch.zeros(2).shape\ntorch.Size([3])"])
def test_a_wrong_example_would_be_noticed(text: str) -> None:
    test = PARSER.get_doctest(text, {"torch": torch}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
