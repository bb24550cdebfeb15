"""evaluation.json: one clear error for every field that is not as it was written; files of older versions."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from motet import MIMO, Experiment, InputError, Training
from motet._internal.typed_records import SCHEMA_VERSION, record_json, to_plain
from motet.cli._evaluation_tables import robustness_lines
from motet.evaluation import SideBySide, read_evaluation, risks_at_shown, side_by_side
from motet.evaluation.records import Evaluation, write_evaluation
from motet.experiments import Run, evaluate, evaluate_part, evaluate_robustness, gather, run_experiment
from motet.models import MLP
from motet.report import render

OLD = Path(__file__).with_name("evaluation-without-schema-version.json")
ROW = {"key": "mimo", "method": "mimo", "label": "MIMO", "members": 2, "runs": ["mimo-seed0"]}


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was evaluated in every way."""
    folder = tmp_path_factory.mktemp("evaluated")
    for at in range(6):
        image = folder / "other" / "test" / f"class{at % 2}" / f"{at}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(256, (9, 9), generator=torch.Generator().manual_seed(at)).byte().numpy()).save(
            image
        )
        shutil.copytree(folder / "other" / "test", folder / "other" / "train", dirs_exist_ok=True)
    experiment = Experiment(
        data="digits",
        model=MLP(hidden=(8,)),
        method=MIMO(members=2, batch_repetition=1),
        training=Training(epochs=1, batch_size=256),
    )
    run = run_experiment(experiment, folder / "mimo-seed0", progress=False)
    evaluate(run, distinct=True, device="cpu")
    evaluate_part(run, members=[1], device="cpu")
    evaluate_robustness([run], shift="fog", severities=(1, 4), ood=[str(folder / "other")], reference=run, device="cpu")
    return run


@pytest.fixture(name="evaluated")
def _evaluated(run: Run, tmp_path: Path) -> Path:
    """A comparison's folder with the run's evaluation."""
    (tmp_path / "mimo-seed0").mkdir()
    shutil.copy(run.folder / "evaluation.json", tmp_path / "mimo-seed0")
    return tmp_path


def gathered(folder: Path) -> SideBySide:
    return gather(folder, {"rows": [ROW]})


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value stands: of lists the first and the last item."""
    if at:
        yield at
    items: list[Any] = []
    if isinstance(content, dict):
        items = list(content)
    elif isinstance(content, list) and content:
        items = sorted({0, len(content) - 1})
    for item in items:
        yield from places(content[item], (*at, item))


def changes(content: Any) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """What was done, to which field, and the content after it: one field at a time."""
    for at in places(content):
        for value in ("text", None, True, -1, 2.5, 10**30, float("inf"), [], {"text": 1}):
            changed = copy.deepcopy(content)
            inner(changed, at)[at[-1]] = value
            yield f"{value!r}", at, changed
        changed = copy.deepcopy(content)
        del inner(changed, at)[at[-1]]
        yield "missing", at, changed
        if isinstance(inner(content, (*at, "")), dict):
            changed = copy.deepcopy(content)
            inner(changed, (*at, ""))["extra"] = 1
            yield "extra", (*at, "extra"), changed


def inner(content: Any, at: tuple[Any, ...]) -> Any:
    for item in at[:-1]:
        content = content[item]
    return content


@pytest.mark.long
def test_one_field_changed_is_one_clear_error_or_can_be_shown(evaluated: Path) -> None:
    path = evaluated / "mimo-seed0" / "evaluation.json"
    whole, content = gathered(evaluated), json.loads(path.read_text())
    assert {"ensemble", "distinct", "part", "shifts", "ood"} <= content.keys()
    refused = shown = 0
    drawn: set[str] = set()
    for what, at, changed in changes(content):
        path.write_text(json.dumps(changed))
        try:
            found = gathered(evaluated)
        except InputError as error:
            refused += 1
            line = str(error)
            assert "\n" not in line
            assert len(line) < 400, line
            assert str(path) in line
            # Where several fields must fit together the error names the section, and the field in its words.
            assert ".".join(map(str, at)) in line or f"{at[0]}." in line or str(at[-1]) in line, (what, at, line)
        else:
            shown += 1
            assert robustness_lines(found, shift="fog", ood=list(content["ood"])) is not None
            evaluation = read_evaluation(path)
            assert evaluation is not None
            write_evaluation(evaluated / "again.json", evaluation)
            assert record_json(read_evaluation(evaluated / "again.json")) == record_json(evaluation)
            kind = ".".join("*" if isinstance(item, int) else item for item in at)
            if found != whole and kind not in drawn and at[0] in {"shifts", "ood"} and len(drawn) < 4:
                drawn.add(kind)
                assert "Distribution shift" in render({"rows": [ROW]}, found)
    assert refused > 1000
    assert shown > 100


@pytest.mark.slow
def test_extra_missing_and_wrong_fields_are_named(evaluated: Path) -> None:
    path = evaluated / "mimo-seed0" / "evaluation.json"
    content = json.loads(path.read_text())
    for at, value, said in [
        (("members",), "2", "members in FILE must be a valid integer, but got '2'"),
        (("part", "members", 0), -1, "part.members.0 in FILE must be greater than or equal to 0"),
        (("ensemble", "flops"), 2.5, "ensemble.flops in FILE must be a valid integer"),
        (("ensemble", "scores", "accuracy"), 1.5, "ensemble.scores in FILE must be scores with accuracy at most 1"),
        (("ensemble", "risk_coverage", "risk", 3), 2, "ensemble.risk_coverage.risk.3 in FILE must be at most 1"),
        (("ensemble", "risk_coverage", "coverage", 3), 2, "must be the coverages 0.01, 0.02, ..., 1"),
        (("shifts", "fog", "kind"), "sounds", "shifts.fog.kind in FILE must be 'images', 'table' or 'files'"),
        (("shifts", "fog", "rows", 1, "severity"), 6, "shifts.fog.rows.1.severity in FILE must be less than"),
        (("shifts", "fog", "rows", 1, "severity"), 1, "rows hold each corruption once at each of its severities"),
        (("shifts", "fog", "averaged", 0), "snow", "averaged are among the corruptions of its rows"),
        (("shifts", "fog", "by_severity", "nll"), {"1": 2.0}, "by_severity has each of its severities"),
        (("ood", next(iter(content["ood"])), "extra"), 1, "must hold only known fields, but got the field ood."),
        (("schema_version",), SCHEMA_VERSION + 1, "schema_version in FILE must be at most"),
    ]:
        changed = copy.deepcopy(content)
        inner(changed, at)[at[-1]] = value
        path.write_text(json.dumps(changed))
        with pytest.raises(InputError) as caught:
            gathered(evaluated)
        assert said.replace("FILE", str(path)) in str(caught.value)


def test_a_wrong_record_stops_the_next_evaluation_before_it_begins(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    content = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(content | {"members": None}))
    again = Run(folder, run.record, run.scores)
    before = (folder / "evaluation.json").read_bytes()
    told: list[str] = []
    for evaluated_again in (
        lambda: evaluate(again, device="cpu"),
        lambda: evaluate_part(again, members=1, device="cpu"),
        lambda: evaluate_robustness([again], shift="fog", device="cpu", say=told.append),
    ):
        with pytest.raises(InputError, match=r"members in .*evaluation\.json must be a valid integer, but got None"):
            evaluated_again()
    assert (folder / "evaluation.json").read_bytes() == before
    assert told == []
    (folder / "evaluation.json").unlink()  # moved away, as the error advises
    assert evaluate(again, device="cpu").members == 2


def test_a_file_of_before_there_was_a_schema_version(tmp_path: Path) -> None:
    content = json.loads(OLD.read_text())
    assert "schema_version" not in content
    evaluation = read_evaluation(OLD)
    assert isinstance(evaluation, Evaluation)
    assert to_plain(evaluation) == content
    write_evaluation(tmp_path / "evaluation.json", evaluation)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"schema_version": SCHEMA_VERSION} | content
    assert read_evaluation(tmp_path / "evaluation.json") == evaluation
    # What the command printed when the file was written.
    assert robustness_lines(side_by_side([("run", "MIMO", [evaluation])]), shift="fog", ood=["mnist"]) == [
        "fog: severities 1, 3; 359 rows each",
        "             accuracy     NLL     ECE   Brier    AURC    mCE",
        "unshifted      0.7075  1.4468  0.4206  0.6431  0.1508",
        "mean over 1    0.6769  1.6766  0.4573  0.7286  0.1805  106.4",
        "mCE: mean corruption error, in % of that of out/single-seed0",
        "",
        "error at coverage     0.5     0.8     0.9    0.95       1",
        "unshifted          0.1944  0.2326  0.2562  0.2661  0.2925",
        "mean over 1        0.2056  0.2622  0.2809  0.3026  0.3231",
        "",
        "mean over severities  accuracy     NLL     ECE   Brier",
        "fog                     0.6769  1.6766  0.4573  0.7286",
        "",
        "against mnist: 40 images, none overlaps",
        "                     AUROC   FPR95",
        "max probability     1.0000  0.0000",
        "entropy             1.0000  0.0000",
        "mutual information  0.0087  1.0000",
    ]
    assert evaluation.ensemble is not None
    assert evaluation.ensemble.risk_coverage is not None
    assert risks_at_shown([evaluation.ensemble.risk_coverage.risk])["1"].mean == pytest.approx(0.2925, abs=1e-4)


def test_the_first_files_said_less(tmp_path: Path) -> None:
    content = json.loads(OLD.read_text())
    for name in ("notes", "fingerprint", "split"):
        del content["data"][name]
    del content["shifts"]["fog"]["risk_coverage"]
    content = {name: content[name] for name in ("method", "members", "data", "motet", "ensemble", "shifts")}
    del content["ensemble"]["risk_coverage"]
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content))
    evaluation = read_evaluation(path)
    assert evaluation is not None
    assert evaluation.data.notes is None
    (shift,) = side_by_side([("run", "MIMO", [evaluation])]).shifts
    assert shift.methods[0].selective is None
    path.write_text(json.dumps(content | {"data": 3}))
    with pytest.raises(InputError, match="must have the fields of a record"):
        read_evaluation(path)
