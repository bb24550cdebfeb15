"""Typed records against what is written in the file, field by field."""

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from motet import InputError
from motet._internal.typed_records import (
    SCHEMA_VERSION,
    Amount,
    Count,
    Number,
    Share,
    absent,
    from_plain,
    read_record,
    record,
    to_plain,
    write_record,
)


@record
class Inner:
    name: str
    values: tuple[float, ...] = ()


@record
class Outer:
    count: Annotated[int, Field(ge=0)]
    kind: Literal["a", "b"]
    score: Number = math.nan
    inner: Inner | None = None
    scores: dict[str, Number] = Field(default_factory=dict)


WHOLE = Outer(count=2, kind="a", score=0.5, inner=Inner(name="x", values=(1.0, 2.5)), scores={"nll": 0.25})


def test_a_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, WHOLE)
    assert json.loads(path.read_text())["schema_version"] == SCHEMA_VERSION
    assert read_record(path, Outer) == WHOLE


def test_nan_is_null_and_comes_back_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, Outer(count=0, kind="b", scores={"nll": math.inf}))
    content = json.loads(path.read_text())
    assert content["score"] is None
    assert content["scores"] == {"nll": None}
    back = read_record(path, Outer)
    assert math.isnan(back.score)
    assert math.isnan(back.scores["nll"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": "2"}, "count in FILE must be a valid integer, but got '2'"),
        ({"count": True}, "count in FILE must be a valid integer, but got True"),
        ({"count": 2.5}, "count in FILE must be a valid integer"),
        ({"count": -1}, "count in FILE must be greater than or equal to 0, but got -1"),
        ({"kind": "c"}, "kind in FILE must be 'a' or 'b', but got 'c'"),
        ({"inner": {"name": "x", "values": [1.0, "2"]}}, "inner.values.1 in FILE must be a valid number, but got '2'"),
        ({"inner": {"values": []}}, "inner.name must be in FILE, but got no such field"),
        ({"scores": {"nll": []}}, "scores.nll in FILE must be a valid number, but got []"),
        ({"extra": 1}, "FILE must hold only known fields, but got the field extra"),
        ({"schema_version": SCHEMA_VERSION + 1}, "schema_version in FILE must be at most"),
        ({"schema_version": "1"}, "schema_version in FILE must be an integer"),
        ({"inner": ["x" * 1000]}, "..."),
    ],
)
def test_one_field_changed_is_one_error_that_names_it(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        from_plain({"schema_version": SCHEMA_VERSION, **to_plain(WHOLE), **change}, Outer, where="FILE")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [[], "text", None, 3])
def test_what_is_no_record_is_named(content: object) -> None:
    with pytest.raises(InputError, match="FILE must hold a record"):
        from_plain(content, Outer, where="FILE")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record.json must be a complete JSON file"):
        read_record(path, Outer)


def test_older_files_are_upgraded_and_what_they_lack_is_named() -> None:
    def upgrade(old: dict[str, object]) -> dict[str, object]:
        return {"count": old["number"], "kind": "a"}

    assert from_plain({"number": 3}, Outer, where="FILE", upgrade=upgrade).count == 3
    with pytest.raises(InputError, match=r"FILE must have the fields of a record, but got KeyError: 'number'"):
        from_plain({}, Outer, where="FILE", upgrade=upgrade)


@record
class Ranged:
    count: Count
    amount: Amount
    share: Share
    note: str | None = absent()


RANGED = Ranged(count=1, amount=math.nan, share=1.00001, note="x")


def test_ranges_take_what_is_not_known_and_name_what_is_out_of_them() -> None:
    assert math.isnan(from_plain(to_plain(RANGED), Ranged, where="FILE").amount)
    for change, said in (
        ({"count": -1}, "count in FILE must be greater than or equal to 0"),
        ({"count": 10**400}, "count in FILE must be less than or equal to"),
        ({"count": None}, "count in FILE must be a valid integer"),
        ({"amount": -0.5}, "amount in FILE must be at least 0, but got -0.5"),
        ({"share": -0.5}, "share in FILE must be at least 0, but got -0.5"),
        ({"share": 1.5}, "share in FILE must be at most 1, but got 1.5"),
        ({"share": 10**400}, "share in FILE must be a valid number"),
        ({"note": "\ud800"}, r"note in FILE must hold valid Unicode text, but got .*ud800"),
        ({"note": {1, 2}}, "FILE must contain only plain data, as in JSON, but got Object of type set"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            from_plain({**to_plain(RANGED), **change}, Ranged, where="FILE", fix="Do this")
        assert str(caught.value).endswith(". Do this.")
        assert len(str(caught.value)) < 300


def test_what_does_not_apply_is_left_out() -> None:
    assert "note" in to_plain(RANGED)
    nothing = Ranged(count=1, amount=0.5, share=0.5)
    assert nothing.note is None
    assert "note" not in to_plain(nothing)
    assert from_plain(to_plain(nothing), Ranged, where="FILE") == nothing


def test_records_answer_as_the_dictionaries_they_were() -> None:
    with pytest.deprecated_call(match=r"Ranged is no longer a dictionary: use \.count instead of \['count'\]"):
        assert RANGED["count"] == 1  # type: ignore[index]
    with pytest.raises(KeyError, match="other"):
        RANGED["other"]  # type: ignore[index]
