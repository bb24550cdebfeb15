"""Settings have the types that they declare."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
import torch

from motet import MIMO, Experiment, InputError, Training
from motet._internal.field_types import check_field_types
from motet.data import Augmentation, DataOptions
from motet.models import MLP


@dataclass(frozen=True)
class Settings:
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    name: str = "a"
    some: int | None = None
    either: int | float = 1
    choice: Literal["x", "y"] = "x"
    many: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "a")
    other: Any = None
    unknown: "NotThere" = None
    inner: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Known:
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    name: str = "a"
    some: int | None = None
    either: int | float = 1
    choice: Literal["x", "y"] = "x"
    many: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "a")
    other: Any = None
    inner: Training = field(default_factory=Training)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({"count": np.int64(3)}, 3),
        ({"rate": 1}, 1.0),
        ({"rate": np.float32(0.5)}, 0.5),
        ({"rate": Fraction(1, 2)}, 0.5),
        ({"flag": np.bool_(True)}, True),
        ({"some": None}, None),
        ({"some": 4}, 4),
        ({"either": 2}, 2),
        ({"either": 2.5}, 2.5),
        ({"many": [1, 2]}, (1.0, 2.0)),
        ({"pair": [2, "b"]}, (2, "b")),
        ({"other": object}, object),
        ({"name": np.str_("b")}, "b"),
    ],
)
def test_what_means_the_same_becomes_the_same(given: dict[str, Any], becomes: object) -> None:
    settings = Known(**given)
    check_field_types(settings)
    (name,) = given
    value = getattr(settings, name)
    assert value == becomes
    assert type(value) is type(becomes)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"count": 1.5}, "count must be an integer, but got count=1.5"),
        ({"count": 2.0}, "count must be an integer"),
        ({"count": True}, "count must be an integer"),
        ({"count": "2"}, "count must be an integer"),
        ({"count": None}, "count must be an integer"),
        ({"count": 10**30}, "below 2"),
        ({"count": -(10**30)}, "below 2"),
        ({"rate": "0.5"}, "rate must be a number"),
        ({"rate": True}, "rate must be a number"),
        ({"rate": 1j}, "rate must be a number"),
        ({"flag": 1}, "flag must be True or False"),
        ({"flag": "yes"}, "flag must be True or False"),
        ({"name": 3}, "name must be text"),
        ({"some": 1.0}, "some must be an integer or None"),
        ({"choice": 3}, "choice must be one of 'x', 'y'"),
        ({"many": 1.0}, "many must be a tuple of numbers"),
        ({"many": ("1",)}, "many must be a tuple of numbers"),
        ({"pair": (1,)}, "pair must be a tuple"),
        ({"inner": "training"}, "inner must be Training"),
    ],
)
def test_another_type_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_field_types(Known(**given))


def test_types_that_cannot_be_resolved_are_not_checked() -> None:
    check_field_types(Settings(count=1.5))  # type: ignore[arg-type]


def test_without_conversion_values_stay_as_they_are() -> None:
    settings = Known(rate=1)
    check_field_types(settings, convert=False)
    assert type(settings.rate) is int


BASE: dict[str, Any] = {"data": "digits", "model": MLP(), "method": MIMO()}


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Training, {"epochs": 1.5}),
        (Training, {"epochs": True}),
        (Training, {"epochs": 10**9}),
        (Training, {"learning_rate": "0.02"}),
        (Training, {"learning_rate": None}),
        (Training, {"early_stopping": 1.5}),
        (Training, {"batch_size": 8.0}),
        (Training, {"batch_size": "8"}),
        (Training, {"largest_batch_size": 1.0}),
        (Training, {"nesterov": "no"}),
        (Training, {"decay_norm_and_bias": 1}),
        (Training, {"milestones": 3}),
        (Training, {"milestones": ("a",)}),
        (Training, {"optimizer": 3}),
        (Training, {"augment": "flip"}),
        (Training, {"warmup_epochs": "1"}),
        (Augmentation, {"crop": 1.5}),
        (Augmentation, {"flip": "yes"}),
        (DataOptions, {"target": 3}),
        (DataOptions, {"image_size": 32.0}),
        (DataOptions, {"split_seed": 0.5}),
        (DataOptions, {"drop": "a"}),
        (Experiment, BASE | {"seed": 1.5}),
        (Experiment, BASE | {"seed": "0"}),
        (Experiment, BASE | {"data": 3}),
        (Experiment, BASE | {"first": 3}),
        (Experiment, BASE | {"data_options": {}}),
        (Experiment, BASE | {"objective": "sum"}),
    ],
)
def test_fields_of_settings(make: Any, wrong: dict[str, Any], unchecked: None) -> None:
    with pytest.raises(InputError):
        make(**wrong)


def test_a_methods_fields(unchecked: None) -> None:
    with pytest.raises(InputError, match="input_repetition must be a number"):
        Experiment(**BASE | {"method": MIMO(input_repetition=True)})
    with pytest.raises(InputError, match="input_repetition must be a number"):
        MIMO(input_repetition=True).wrap(torch.nn.Linear(2, 2), example=torch.zeros(1, 2))


def test_good_settings_are_the_same_run(unchecked: None) -> None:
    assert Training(epochs=np.int64(3), learning_rate=1, milestones=[1, 2]) == Training(
        epochs=3, learning_rate=1.0, milestones=(1.0, 2.0)
    )
    assert Experiment(**BASE, first="0", seed=np.int64(1)).first == ("0",)
