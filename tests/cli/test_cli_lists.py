"""motet methods | data | recipes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from motet.data import DATASETS
from motet.methods import METHODS
from motet.recipes import recipes

Motet = Callable[..., Any]
LISTS = {"methods": METHODS, "data": DATASETS, "recipes": recipes()}


@pytest.mark.parametrize("command", LISTS)
def test_a_line_each(motet: Motet, command: str) -> None:
    code, out, err = motet(command)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(LISTS[command])
    assert all(len(line.split()) > 3 for line in out.splitlines())


@pytest.mark.parametrize("command", LISTS)
def test_json(motet: Motet, command: str) -> None:
    code, out, err = motet(command, "--json")
    assert (code, err) == (0, "")
    assert list(json.loads(out)) == list(LISTS[command])


def test_data_says_where_files_come_from(motet: Motet) -> None:
    lines = {line.split()[0]: line for line in motet("data").out.splitlines()}
    assert "--data-dir" not in lines["digits"]
    assert "--data-dir" in lines["fashion-mnist"]


def test_misspelt_flags_get_a_suggestion(motet: Motet) -> None:
    code, out, err = motet("methods", "--jsn")
    assert (code, out) == (2, "")
    assert "--json" in err
    assert motet("methods", "mimo").code == 2
