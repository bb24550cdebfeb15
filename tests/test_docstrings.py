"""Public functions document their parameters and the errors that they raise; methods link their papers."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import motet
from motet.methods import METHODS

PACKAGE = Path(motet.__file__).parent
FEW = 3
"""From this number of parameters on, each of them must be documented."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Public:
    """A public function or method, with its docstring and those of the methods that it overrides."""

    name: str
    node: Function
    parameters: list[str]
    doc: str


def parameters(node: Function, *, bound: bool) -> list[str]:
    listed = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    extra = [each.arg for each in (node.args.vararg, node.args.kwarg) if each]
    return [*(listed[1:] if bound else listed), *extra]


def raised(node: ast.AST) -> set[str]:
    """The names of the exceptions in ``raise`` statements, without those in nested functions.

    ``with refusing(...)`` turns a ValueError into an InputError. AssertionError and NotImplementedError are for what
    no caller can cause.
    """
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        inner = raised(child)
        if isinstance(child, ast.Raise) and child.exc is not None:
            kind = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = ast.unparse(kind).rpartition(".")[2]
            inner |= {name} if name[:1].isupper() else set()
        if isinstance(child, ast.With) and any("refusing(" in ast.unparse(item) for item in child.items):
            inner = {"InputError" if name == "ValueError" else name for name in inner}
        found |= inner
    return found - {"AssertionError", "NotImplementedError"}


def section(doc: str, title: str) -> str:
    """The indented lines below ``Title:``."""
    return "".join(re.findall(rf"^{title}:[ \t]*\n((?:[ \t]+.*\n|[ \t]*\n)*)", doc + "\n", flags=re.MULTILINE))


def documented(doc: str) -> set[str]:
    """The names before the colons in Args and Attributes."""
    names: set[str] = set()
    for line in (section(doc, "Args") + section(doc, "Attributes")).splitlines():
        if found := re.match(r"\s+([*`\w, ]+?)(?:\s*\([^)]*\))?:(?:\s|$)", line):
            names |= set(re.findall(r"\w+", found[1]))
    return names


def docs(owner: object, name: str) -> str:
    """All docstrings that apply: of a function, or of a method in its class and in the package's base classes."""
    if not inspect.isclass(owner):
        return inspect.getdoc(getattr(owner, name, None)) or ""
    texts = []
    for kind in owner.__mro__:
        if kind.__module__.startswith("motet") and (name in vars(kind) or name == "__init__"):
            member = vars(kind).get(name)
            member = getattr(member, "__func__", getattr(member, "fget", member))
            texts.append(inspect.cleandoc(getattr(member, "__doc__", None) or ""))
            if name == "__init__":
                texts.append(inspect.cleandoc(kind.__doc__ or ""))
    return "\n\n".join(texts)


def public_functions(path: Path) -> Iterator[Public]:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))

    def visit(body: list[ast.stmt], owner: object, prefix: str) -> Iterator[Public]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from visit(node.body, getattr(owner, node.name, None), f"{prefix}{node.name}.")
            elif isinstance(node, ast.If | ast.Try):
                yield from visit(node.body, owner, prefix)
            elif isinstance(node, Function):
                decorators = [ast.unparse(each) for each in node.decorator_list]
                if (node.name.startswith("_") and node.name != "__init__") or any("overload" in d for d in decorators):
                    continue
                bound = inspect.isclass(owner) and "staticmethod" not in decorators
                yield Public(prefix + node.name, node, parameters(node, bound=bound), docs(owner, node.name))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")).body, module, "")


def gaps(public: Public) -> list[str]:
    """What the docstring lacks."""
    lacking = []
    if len(public.parameters) >= FEW and (names := set(public.parameters) - documented(public.doc)):
        lacking.append(f"{public.name} does not document {', '.join(sorted(names))}")
    text = section(public.doc, "Raises")
    if names := {name for name in raised(public.node) if not re.search(rf"\b{name}\b", text)}:
        lacking.append(f"{public.name} does not say that it raises {', '.join(sorted(names))}")
    return lacking


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py"]


@pytest.mark.parametrize("package", sorted({path.relative_to(PACKAGE).parts[0] for path in FILES}))
def test_public_functions_document_their_parameters_and_errors(package: str) -> None:
    files = [path for path in FILES if path.relative_to(PACKAGE).parts[0] == package]
    assert [gap for path in files for public in public_functions(path) for gap in gaps(public)] == []


SAMPLE = '''
def poor(a, b, c):
    """Add numbers.

    Args:
        a: the first.
    """
    if a < 0:
        raise ValueError("negative")
    with refusing("file"):
        raise ValueError("becomes an InputError")

    def inner():
        raise KeyError
'''


def test_what_is_missing_is_found() -> None:
    node = ast.parse(SAMPLE).body[0]
    assert isinstance(node, ast.FunctionDef)
    names = parameters(node, bound=False)
    assert gaps(Public("poor", node, names, inspect.cleandoc(ast.get_docstring(node) or ""))) == [
        "poor does not document b, c",
        "poor does not say that it raises InputError, ValueError",
    ]
    whole = (
        "Add.\n\nArgs:\n    a, b: the terms.\n    c: another.\n\nRaises:\n    InputError, ValueError: if negative.\n"
    )
    assert gaps(Public("rich", node, names, whole)) == []


@pytest.mark.parametrize(
    "kind", [kind for name, kind in METHODS.items() if name != "single"], ids=lambda kind: kind.__name__
)
def test_a_methods_docstring_links_its_paper_and_says_how_it_differs(kind: type[motet.Method]) -> None:
    doc = inspect.getdoc(kind) or ""
    assert re.search(r"https://\S+", doc)
    assert "Differences from the reference" in doc
