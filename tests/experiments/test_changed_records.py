"""One field of a record is changed at a time: one clear error that names file and field, or the same as before."""

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motet import MIMO, InputError, Single, Training
from motet.cli.main import main
from motet.experiments import Plan, compare, load_run, run_experiment
from motet.models import MLP
from motet.report import figures, page

pytestmark = pytest.mark.long

PLAN = Plan(
    data="digits",
    model=MLP(hidden=(8,)),
    methods=(Single(), MIMO(members=2, batch_repetition=1)),
    training=Training(epochs=2, batch_size=256, learning_rate=0.1),
    seeds=(0, 1),
)
RUN = "mimo-seed0"
_EXTRA = "a_field_more"
_MISSING = object()

Path_ = tuple[str | int, ...]
Change = tuple[Path_, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of two methods and two seeds. What is done in it must leave it as it is."""
    folder = tmp_path_factory.mktemp("made")
    module = sys.modules["motet.experiments.compare"]
    quick = partial(module.latency_ratios, rounds=1, min_seconds=1e-4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "latency_ratios", lambda *a, seconds, **k: quick(*a, seconds=0.001, **k))
        compare(PLAN, folder, command="motet compare digits", progress=False)
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copied"))


def places(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every place in plain data, the containers too; of long lists the first and the last element."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    if isinstance(value, list):
        for index in dict.fromkeys((0, len(value) - 1)) if value else ():
            yield from places(value[index], (*path, index))


def changes(content: Any) -> Iterator[Change]:
    """Every place with another type, a value out of range, nothing at all; and every object with a field more."""
    yield (_EXTRA,), 1
    for path, value in places(content):
        yield path, _MISSING
        for other in (None, True, "text", "\ud800", 1, -1, 0.5, 1e300, 10**400, [], ["text"], {}, {_EXTRA: 1}):
            if type(other) is not type(value) or other != value:
                yield path, other
        if isinstance(value, dict):
            yield (*path, _EXTRA), 1
        if isinstance(value, list):
            yield path, [*value, *value[-1:]]
            yield path, value[:-1]


def changed(content: Any, change: Change) -> Any:
    path, value = change
    new = copy.deepcopy(content)
    place = new
    for part in path[:-1]:
        place = place[part]
    if value is _MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return new


OPAQUE = ("settings", "training")
"""Settings, which records do not look into."""
OPEN = ("scores", "versions", "test", "validation", "test_members")
"""Objects whose keys are free: names of scores and of packages."""
ABSENT = ("validation_accuracy", "latency_rounds")
"""Fields that a record need not have."""
DRAWN = (
    *("scores", "latency_ratio", "latency_ratio_low", "latency_ratio_high"),
    *("reliability", "risk_coverage", "disagreement_matrix", "histories"),
)
"""Parts of a row that stand in figures."""


FIGURES = (
    *((figures, name) for name in ("quality_cost", "curves", "reliability", "coverage", "disagreement")),
    (page, "selective"),
)


def kind(change: Change) -> str:
    """Changes of one kind are looked at once: the same field of the first and the last row, of one and another score.

    Settings are one kind: records hold them as they are.
    """
    path, value = change
    names = ["*" if isinstance(part, int) else part for part in path]
    if names[0] in OPAQUE:
        names = [*names[:2], *(["**"] if len(names) > 2 else [])]
    names = ["*" if index and names[index - 1] in OPEN else name for index, name in enumerate(names)]
    return f"{'.'.join(map(str, names))} = {'missing' if value is _MISSING else repr(value)[:20]}"


def at(path: Path_) -> str:
    return ".".join(map(str, path))


def named(message: str, change: Change, file: str) -> bool:
    """Whether an error names the file, and the field or, where fields contradict each other, its row.

    Of settings, source and data, which say whose the folder is, it names the folder and how the two runs differ.
    """
    path, _ = change
    if "must be empty, or contain" in message:
        return path[0] in ("settings", "source", "data") and str(Path(file).parent) in message
    there = [at(path[:length]) for length in range(1, len(path) + 1)]
    return file in message and (any(place in message for place in there) or str(path[-1]) in message)


def refused_or(outcome: Callable[[], Any], change: Change, file: str) -> Any:
    """What `outcome` returns; None if it refused the file by a clear error. Any other exception is one of the test."""
    try:
        return outcome()
    except InputError as error:
        message = str(error)
        assert named(message, change, file), f"{kind(change)}: {message}"
        assert len(message) < 600, f"{kind(change)}: {message}"
        return None


def must_be_refused(content: Any, change: Change) -> bool:
    """Whether the new value has another type than any value of that field may have; or a field is missing, or new."""
    path, value = change
    if path[0] in OPAQUE or (path == ("schema_version",) and value is _MISSING):
        return False
    if path[-1] == _EXTRA:
        return len(path) == 1 or path[-2] not in ("versions", "test_members")
    old = content
    for part in path:
        old = old[part]
    if value is _MISSING:
        free = path[-1] in ABSENT or (len(path) > 1 and path[-2] in ("versions", "test_members"))
        return isinstance(path[-1], str) and not free
    if value is None or old is None:
        return False  # null stands for what is not known, wherever that may be
    kinds: tuple[type | tuple[type, ...], ...] = (str, (int, float), list, dict)
    held = next(each for each in kinds if isinstance(old, each))
    return isinstance(value, bool) or not isinstance(value, held)


@pytest.mark.parametrize("file", ["run.json", "scores.json"])
def test_of_a_run(copied: Path, file: str, no_training: None) -> None:
    folder = copied / RUN
    path, experiment = folder / file, PLAN.experiments()[RUN]
    content, before = json.loads(path.read_text()), load_run(folder)
    assert before is not None
    for change in changes(content):
        path.write_text(json.dumps(changed(content, change)))
        run = refused_or(partial(load_run, folder), change, file)
        if run is not None:
            assert not must_be_refused(content, change), kind(change)
            again = refused_or(partial(run_experiment, experiment, folder, progress=False), change, file)
            with suppress(InputError):  # settings have tests of their errors of their own
                _ = run.experiment
            assert again in (None, run)


@pytest.mark.usefixtures("no_training", "quick_latency", "unchecked")
def test_of_a_comparison(copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "compare.json"
    content = json.loads(path.read_text())
    again = partial(compare, PLAN, copied, command="again", progress=False)
    before, drawing = again(), {name: getattr(where, name) for where, name in FIGURES}
    seen: set[str] = set()
    for change in changes(content):
        if kind(change) in seen:
            continue
        seen.add(kind(change))
        place, value = change
        path.write_text(json.dumps(changed(content, change)))
        found = refused_or(again, change, "compare.json")
        if place == ("rows",) and value is None:  # as if it had been stopped
            assert [row.scores for row in found.rows] == [row.scores for row in before.rows], "put together anew"
            path.write_text(json.dumps(changed(content, change)))
        # Drawing takes long: figures are drawn where they could change, and nothing that is like what was drawn.
        draws = place[0] == "rows" and not {*DRAWN}.isdisjoint(place) and value not in (1, 0.5)
        for where, name in FIGURES:
            monkeypatch.setattr(where, name, drawing[name] if draws else lambda *_, **__: [])
        code, said = main(["report", str(copied)]), capsys.readouterr()
        assert code in (0, 2)
        if code == 2:
            assert said.out == ""
            assert said.err.count("\n") == 1
            assert named(said.err, change, str(path)), f"{kind(change)}: {said.err}"
        if must_be_refused(content, change):
            assert (found, code) == (None, 2), kind(change)
        elif place[0] == "settings" or place == ("schema_version",):
            assert found in (None, before)
    assert len(seen) > 800
