import enum
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from motet._internal.plain_records import from_record, to_record
from motet.errors import InputError
from motet.methods import METHODS, MIMO, Single
from motet.models import MLP, CustomModel, SmallCNN, WideResNet
from motet.objectives import Independent


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    widths: tuple[int, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    inners: tuple[Inner, ...] = ()
    flag: bool = False


KNOWN = (Inner, Outer)

FULL = Outer(
    inner=Inner(rate=1e-5, name="é"),
    widths=(1, 2),
    pairs=((1, 2), (3, 4)),
    inners=(Inner(), Inner(rate=2.0)),
    flag=True,
)


@pytest.mark.parametrize("settings", [FULL, Outer(inner=Inner()), Inner()])
def test_settings_go_through_json_and_back(settings: Any) -> None:
    record = to_record(settings)
    assert from_record(json.loads(json.dumps(record)), KNOWN) == settings
    assert from_record(record, KNOWN) == settings
    assert record["type"] == type(settings).__name__


def test_a_record_is_plain_data() -> None:
    assert to_record(FULL) == {
        "type": "Outer",
        "inner": {"type": "Inner", "rate": 1e-5, "name": "é"},
        "widths": [1, 2],
        "pairs": [[1, 2], [3, 4]],
        "inners": [{"type": "Inner", "rate": 0.1, "name": None}, {"type": "Inner", "rate": 2.0, "name": None}],
        "flag": True,
    }


@pytest.mark.parametrize(
    "settings",
    [
        *(kind() for kind in METHODS.values()),
        MIMO(members=2, batch_repetition=2, input_repetition=0.6),
        MLP(hidden=(3, 4)),
        SmallCNN(width=2),
        WideResNet(depth=16, width=4),
        CustomModel(function="file.py:make"),
        Independent(reduction="mean"),
    ],
    ids=str,
)
def test_the_librarys_own_settings_go_there_and_back(settings: Any) -> None:
    assert from_record(json.loads(json.dumps(to_record(settings))), [type(settings)]) == settings


def test_missing_fields_take_their_defaults() -> None:
    assert from_record({"type": "Inner"}, KNOWN) == Inner()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"type": "Iner"}, "known type, but got 'Iner'. Did you mean 'Inner'"),
        ({"rate": 1.0}, "known type, but got None"),
        ({}, "known type, but got None"),
        (None, "known type, but got None"),
        ([], "known type, but got None"),
        ("Inner", "known type"),
        ({"type": ["Inner"]}, "known type"),
        ({"type": "Inner", "speed": 1}, "Inner must have only its fields.*speed.*version of motet"),
        ({"type": "Outer"}, "Outer must have all its fields.*inner"),
        ({"type": "Outer", "inner": {"type": "System"}}, "known type, but got 'System'"),
        ({"type": "Outer", "inner": {"type": "Inner"}, "inners": [{"type": "os"}]}, "known type, but got 'os'"),
    ],
)
def test_records_of_something_else_are_refused(record: Any, message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        from_record(record, KNOWN)


def test_a_records_values_are_checked_as_the_settings_check_them() -> None:
    with pytest.raises(InputError, match="members=0"):
        from_record({"type": "MIMO", "members": 0}, [MIMO, Single])


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True, kw_only=True)
class Anything:
    value: Any = 1
    made: int = field(init=False, default=3)


@pytest.mark.parametrize(
    "value", [Colour.RED, Path("a"), frozenset({1}), math.inf, math.nan, {"a": 1}, len, int, torch.float32, (1, {2})]
)
def test_a_setting_that_a_record_cannot_give_back_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"value of Anything must be a setting that a record can hold"):
        to_record(Anything(value=value))


@pytest.mark.parametrize("value", [1, 1.5, "a", True, None, (1, "b")])
def test_other_settings_come_back_and_made_fields_are_not_recorded(value: object) -> None:
    record = to_record(Anything(value=value))
    assert record.keys() == {"type", "value"}
    assert from_record(record, [Anything]) == Anything(value=value)
