"""Records of runs and comparisons: what is written is read back, and what older versions of motet wrote still is."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet import MIMO, InputError, Single, Training
from motet._internal.renamed_settings import with_new_names
from motet._internal.typed_records import SCHEMA_VERSION, from_plain, record_json, to_plain
from motet.cli._show import comparison_text
from motet.cli.main import main
from motet.experiments import Plan, compare, evaluate, find_run, find_runs, load_run, run_experiment
from motet.experiments.records import (
    Comparison,
    RunRecord,
    Source,
    StartedComparison,
    as_comparison,
    read_comparison,
    read_run_record,
    read_scores,
)
from motet.models import MLP
from motet.report import render, write_report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "results").rglob("compare.json"))
BEFORE = Path(__file__).parent / "data" / "run-before-records"
"""Made by motet as it was before its records had types and a schema version."""
PLAN = Plan(
    data="digits",
    model=MLP(hidden=(8,)),
    methods=(Single(), MIMO(members=2, batch_repetition=1)),
    training=Training(epochs=2, batch_size=64, learning_rate=0.1),
    seeds=(0,),
)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A copy of `BEFORE` to work in."""
    return Path(shutil.copytree(BEFORE, tmp_path / "run"))


def fields(content: Any) -> Any:
    """The names of all fields of plain data, without what stands in them."""
    if isinstance(content, dict):
        return {name: fields(value) for name, value in content.items()}
    return fields(content[0]) if isinstance(content, list) and content else None


# -- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_latency")
def test_files_have_the_fields_they_always_had_and_a_schema_version(tmp_path: Path) -> None:
    compare(PLAN, tmp_path, command="motet compare digits", progress=False)
    for name in ("compare.json", "mimo-seed0/run.json", "mimo-seed0/scores.json"):
        now, then = (json.loads((folder / name).read_text()) for folder in (tmp_path, BEFORE))
        assert next(iter(now)) == "schema_version"
        assert now.pop("schema_version") == SCHEMA_VERSION
        if name == "compare.json":
            assert all(row["cost"].pop("latency_rounds") == 1 for row in now["rows"])  # newer than those files
        assert fields(now) == fields(then), name
    first = (tmp_path / "mimo-seed0" / "history.csv").read_text().partition("\n")[0]
    assert first == (BEFORE / "mimo-seed0" / "history.csv").read_text().partition("\n")[0]


def test_a_comparison_that_has_begun_is_no_finished_one(tmp_path: Path) -> None:
    started = StartedComparison(settings={"a": {"seed": 0}}, source=(), data=None)
    (tmp_path / "compare.json").write_text(record_json(started))
    assert read_comparison(tmp_path / "compare.json") == started
    with pytest.raises(InputError, match="at least one row"):
        as_comparison(tmp_path / "compare.json")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_source_one_or_several(count: int) -> None:
    sources = tuple(Source(file=f"{index}.py", sha256=64 * str(index), text="x = 1") for index in range(count))
    content = json.loads((BEFORE / "mimo-seed0" / "run.json").read_text()) | {"schema_version": SCHEMA_VERSION}
    plain = [to_plain(source) for source in sources]
    content["source"] = None if count == 0 else plain[0] if count == 1 else plain
    record = from_plain(content, RunRecord, where="run.json")
    assert record.source == sources
    assert to_plain(record)["source"] == content["source"]
    content["source"] = [{"file": "x.py", "sha256": "", "text": 3}]
    with pytest.raises(InputError, match=r"source\.0\.text in run\.json must be a valid string, but got 3"):
        from_plain(content, RunRecord, where="run.json")


def test_records_can_still_be_read_as_the_dictionaries_they_were() -> None:
    record = as_comparison(BEFORE / "compare.json")
    with pytest.deprecated_call(match=r"Comparison is no longer a dictionary: use \.rows instead of \['rows'\]"):
        rows = record["rows"]  # type: ignore[index]
    assert rows == record.rows
    with pytest.raises(KeyError, match="nothing"):
        record["nothing"]  # type: ignore[index]


# -- what older versions wrote ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*COMMITTED, BEFORE / "compare.json"], ids=lambda path: path.parent.name)
def test_committed_comparisons_are_read_and_keep_every_number(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    found = read_comparison(path)
    assert isinstance(found, Comparison)
    assert to_plain(found) == {
        name: value for name, value in with_new_names(content).items() if name != "schema_version"
    }


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_comparisons_make_the_readmes_table_and_a_page(path: Path) -> None:
    table = comparison_text(as_comparison(path)).rstrip()
    assert f"```\n{table}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
    page = render(path)
    for row in as_comparison(path).rows:
        assert f"<span>{row.label}" in page


def without(*names: str) -> Callable[[dict[str, Any]], None]:
    """Drops fields, by their paths; ``rows.`` means every row."""

    def change(content: dict[str, Any]) -> None:
        for name in names:
            *place, last = name.split(".")
            held = content["rows"] if place[:1] == ["rows"] else [content]
            for each in held:
                inner = each
                for part in place[1:] if place[:1] == ["rows"] else place:
                    inner = inner[part]
                inner.pop(last, None)

    return change


def numbers_alone(content: dict[str, Any]) -> None:
    for row in content["rows"]:
        row["cost"]["train_seconds"] = row["cost"]["train_seconds"]["mean"]


def quartiles(content: dict[str, Any]) -> None:
    for row in content["rows"]:
        cost = row["cost"]
        cost["latency_ratio_quartiles"] = [cost.pop("latency_ratio_low"), cost.pop("latency_ratio_high")]


OLDER = {
    "no likelihood": without("likelihood"),
    "no widths": without("left_out", "rows.key", "rows.width", "rows.model"),
    "no curves": without("rows.risk_coverage"),
    "no intervals": without("rows.coverage"),
    "no fingerprint": without("data.split", "data.notes", "data.fingerprint"),
    "no source": without("source"),
    "numbers alone": numbers_alone,
    "quartiles": quartiles,
}


@pytest.mark.parametrize("layout", OLDER)
def test_layouts_of_before_make_the_same_table(layout: str) -> None:
    content = json.loads((ROOT / "results" / "demo" / "compare.json").read_text(encoding="utf-8"))
    content.pop("schema_version", None)
    expected = comparison_text(as_comparison(content))
    OLDER[layout](content)
    found = as_comparison(content)
    # Numbers alone have no errors, so that the last column is narrower.
    end = expected.index("Training") - 10 if layout == "numbers alone" else None
    shown = comparison_text(found).splitlines()
    assert [line[:end] for line in shown] == [line[:end] for line in expected.splitlines()]
    assert all(row.key == row.method and row.width == 1 for row in found.rows)


def test_a_run_of_before_is_read(before: Path) -> None:
    run = load_run(before / "mimo-seed0")
    assert run is not None
    assert to_plain(run.record) == json.loads((before / "mimo-seed0" / "run.json").read_text())
    assert to_plain(run.scores) == json.loads((before / "mimo-seed0" / "scores.json").read_text())
    assert [row.epoch for row in run.history] == [1, 2]
    assert run.history[-1].validation_accuracy == float(
        (before / "mimo-seed0" / "history.csv").read_text().splitlines()[-1].split(",")[5]
    )
    assert run.experiment == PLAN.experiments()["mimo-seed0"]


def test_runs_of_before_are_finished(before: Path, no_training: None) -> None:
    said: list[str] = []
    experiment = PLAN.experiments()["mimo-seed0"]
    run_experiment(experiment, before / "mimo-seed0", progress=False, say=said.append)
    found = compare(PLAN, before, command="again", progress=False, say=said.append)
    assert said == [f"{folder} is already finished; nothing to train" for folder in (before / "mimo-seed0", before)]
    assert found == as_comparison(BEFORE / "compare.json")


@pytest.mark.usefixtures("quick_latency", "no_training")
def test_a_comparison_of_before_that_was_stopped_goes_on(before: Path) -> None:
    content = json.loads((before / "compare.json").read_text())
    (before / "compare.json").write_text(
        json.dumps({name: content[name] for name in ("settings", "source", "data")} | {"rows": None})
    )
    found = compare(PLAN, before, command="again", progress=False)
    assert [row.scores for row in found.rows] == [row.scores for row in as_comparison(BEFORE / "compare.json").rows]


def test_a_run_of_before_whose_scores_are_missing_is_scored(before: Path) -> None:
    folder = before / "mimo-seed0"
    (folder / "scores.json").unlink()
    run = run_experiment(PLAN.experiments()["mimo-seed0"], folder, progress=False)
    then = read_scores(BEFORE / "mimo-seed0" / "scores.json")
    assert run.scores.test == pytest.approx(then.test, rel=1e-5)
    assert run.scores.epochs == then.epochs
    assert replace(run.record, continued=None) == read_run_record(BEFORE / "mimo-seed0" / "run.json")
    assert [part.after_epoch for part in run.record.continued] == [2], "what was scored by another version"


def test_a_run_of_before_is_evaluated_and_reported(before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = find_run(before / "mimo-seed0")
    found = evaluate(run, distinct=True)
    assert found.ensemble.scores["nll"] == pytest.approx(run.scores.test["nll"], rel=1e-4)
    assert main(["report", str(before)]) == 0
    assert "MIMO" in capsys.readouterr().out
    assert "motet compare digits --methods single mimo" in (before / "report.html").read_text(encoding="utf-8")


def test_a_report_is_made_of_a_path_plain_data_or_a_comparison(tmp_path: Path) -> None:
    path = BEFORE / "compare.json"
    for number, source in enumerate((path, str(path), json.loads(path.read_text()), as_comparison(path))):
        write_report(source, tmp_path / f"{number}.html")
    assert len({(tmp_path / f"{number}.html").read_text(encoding="utf-8") for number in range(4)}) == 1
    with pytest.raises(InputError, match="the comparison must contain only plain data"):
        render({"rows": [{"method": "mimo", "label": object()}]})


def test_a_comparison_whose_rows_name_no_run_cannot_be_evaluated(before: Path) -> None:
    content = json.loads((before / "compare.json").read_text())
    for row in content["rows"]:
        row["runs"] = []
    (before / "compare.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"compare.json must list the folders of its runs, but got no folder in any row"
    ):
        find_runs(before)
