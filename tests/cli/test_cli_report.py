"""motet report FOLDER."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Motet = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("whole_report")
COMPARE = ("compare", "digits", "--methods", "single", "--epochs", 1, "--seeds", 1, "--model", "mlp", "--out", "out")


@pytest.mark.slow
def test_the_page_and_the_table_once_more(motet: Motet) -> None:
    first = motet(*COMPARE)
    Path("out/report.html").unlink()
    code, out, err = motet("report", "out")
    assert (code, out) == (0, first.out)
    assert err == "report: out/report.html\n"
    assert Path("out/report.html").exists()
    assert motet("report", "out", "--out", "elsewhere/page.html").code == 0
    assert Path("elsewhere/page.html").exists()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3", "{}", '{"rows": null}', '{"settings": {}, "rows": []}'])
def test_what_is_no_finished_comparison(refused: Callable[..., str], content: str | None) -> None:
    if content is not None:
        Path("out").mkdir()
        Path("out/compare.json").write_text(content)
    assert "out/compare.json" in refused("report", "out")


def test_rows_that_are_none(refused: Callable[..., str]) -> None:
    Path("out").mkdir()
    Path("out/compare.json").write_text(json.dumps({"settings": {}, "rows": [{"method": "mimo"}]}))
    refused("report", "out")


@pytest.mark.slow
def test_a_folder_in_the_pages_place(motet: Motet, refused: Callable[..., str]) -> None:
    motet(*COMPARE)
    Path("page.html").mkdir()
    assert "Is a directory: page.html" in motet("report", "out", "--out", "page.html").err
