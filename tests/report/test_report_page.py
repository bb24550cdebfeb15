import copy
import json
import re
from html.parser import HTMLParser

import pytest

from motet._internal.files import to_json
from motet.errors import InputError
from motet.report import render, write_report

HOSTILE = """<img src=x onerror=alert(1)> & "quoted" 'single' </script></style> {{ 7 * 7 }}"""


class Page(HTMLParser):
    """Tags, attributes and the text outside of scripts, styles and figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data) -> None:
        if not {"script", "style", "svg"} & set(self.open):
            self.text += data


@pytest.fixture(params=["classification", "regression", "one method", "one seed", "nothing but rows"])
def any_record(request, record):
    if request.param == "regression":
        return request.getfixturevalue("regression")
    if request.param == "one method":
        record["rows"] = record["rows"][:1]
    if request.param == "one seed":
        record["seeds"] = [0]
        for row in record["rows"]:
            row["histories"] = row["histories"][:1]
            for value in row["scores"].values():
                value["standard_error"] = None
    if request.param == "nothing but rows":
        return {"rows": [{"method": "single", "label": "Single", "scores": {}, "cost": {}}]}
    return record


@pytest.mark.slow
def test_the_page_is_self_contained_and_well_formed(any_record) -> None:
    html = render(any_record)
    page = Page(html)
    assert page.open == []
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}:
                assert value == "data:," or (value or "").startswith("#"), (tag, name, value)
    assert not {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "video", "audio", "base", "form"}
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")|@import|url\((?!#)", html)
    assert "default-src 'none'" in html


@pytest.mark.slow
def test_ids_are_unique(record) -> None:
    record["rows"] += copy.deepcopy(record["rows"])
    ids = [attributes["id"] for _, attributes in Page(render(record)).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20


@pytest.mark.slow
def test_the_same_record_gives_the_same_page_also_through_json(record) -> None:
    assert render(record) == render(json.loads(to_json(record)))


def hostile(value, key=""):
    if isinstance(value, dict):
        changed = {name: hostile(item, name) for name, item in value.items()}
        return changed | {HOSTILE: HOSTILE} if key == "training" else changed
    if isinstance(value, list):
        return [hostile(item, key) for item in value]
    return HOSTILE if isinstance(value, str) and key not in ("method", "task") else value  # a task is one of three


@pytest.mark.slow
def test_everything_the_record_says_is_escaped(record) -> None:
    html = render(hostile(record))
    page = Page(html)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"img"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<img" not in html
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.text.count(HOSTILE) > 20
    assert "49" not in page.text.replace("0.49", "")


@pytest.mark.slow
def test_regression_hides_what_only_classification_has(regression, record) -> None:
    keys = {attributes.get("data-key") for tag, attributes in Page(render(regression)).tags if tag == "th"} - {None}
    assert keys == {
        *("rmse", "nll", "parameters", "flops", "latency_ratio", "train_seconds"),
        *("member_rmse", "member_nll"),
    }
    text = Page(render(regression)).text
    for absent in ("Accuracy", "ECE", "Brier", "Disagreement %", "Calibration: can the confidence be trusted?"):
        assert absent not in text
    assert "The disagreement of members was not recorded" in text


@pytest.mark.slow
def test_classification_shows_every_section(record) -> None:
    page = Page(render(record))
    for heading in (
        "All methods",
        "Quality against cost",
        "Calibration: can the confidence be trusted?",
        "Diversity: do the members differ?",
        "Single members",
        "Training curves",
        "How this was run",
    ):
        assert heading in page.text
    for fact in (
        *("motet compare digits --seeds 2", "1,077 train, 360 validation, 360 test", "21 November 2026, 07:00 UTC"),
        *("A processor, cpu, 2 threads", "motet 0.1.0, torch 2.13.0", "abc1234", "small_cnn(width=2)", "mimo-seed1"),
    ):
        assert fact in page.text
    assert page.text.count("How to read this:") == 6
    assert "No matrix for Single: with one member there are no pairs." in page.text
    # Two sizes of two wide figures, four diagrams, three matrices.
    assert [tag for tag, _ in page.tags].count("svg") == 4 + 4 + 3


@pytest.mark.slow
def test_every_column_and_heading_explains_itself(record) -> None:
    page = Page(render(record))
    titles = [attributes.get("title") for tag, attributes in page.tags if tag == "button"]
    assert len(titles) == 15
    assert all(titles)
    for title in set(titles) - {"The ensemble method"}:
        assert title in page.text


@pytest.mark.slow
def test_one_member_everywhere_says_so(record) -> None:
    record["rows"] = record["rows"][:1]
    text = Page(render(record)).text
    assert "Every method here has only one member, so there are no pairs to compare." in text


@pytest.mark.slow
def test_a_record_without_a_commit_says_so(record) -> None:
    record["commit"] = None
    assert "not recorded" in Page(render(record)).text


@pytest.mark.slow
def test_numbers_that_are_null_leave_no_trace_of_nan(record) -> None:
    for row in record["rows"]:
        for part in ("scores", "cost"):
            row[part] = {key: {"mean": None, "standard_error": None} for key in row[part]}
        row["histories"] = [[{"epoch": 1, "validation_nll": None}]]
        row["disagreement_matrix"] = [[None, None], [None, None]]
    html = render(record)
    assert not re.search(r"\b(nan|None|inf)\b", html)
    assert "No method has a finite negative log-likelihood" in html


@pytest.mark.parametrize("rows", [[], None])
def test_no_rows_is_an_input_error(rows, tmp_path) -> None:
    with pytest.raises(InputError, match="at least one row"):
        write_report({"rows": rows}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_row_without_a_label_is_an_input_error(record) -> None:
    del record["rows"][1]["label"]
    with pytest.raises(InputError, match=r"rows\.1\.label must be in the comparison, but got no such field"):
        render(record)


@pytest.mark.slow
def test_write_report_makes_the_file(record, tmp_path) -> None:
    write_report(record, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == render(record)
