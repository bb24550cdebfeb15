"""Records of settings with one field changed: one `InputError` that names the field, or settings with that value."""

import json
import math
from dataclasses import MISSING, dataclass, fields
from typing import Any

import pytest

from motet import (
    Bernoulli,
    Categorical,
    DeepEnsemble,
    Experiment,
    Gaussian,
    HeteroscedasticGaussian,
    Independent,
    InputError,
    Joint,
    Modular,
    ModularExits,
    Poisson,
    Training,
    grouping,
    models,
)
from motet._internal.plain_records import LEFT_OUT, from_record, to_record
from motet.data import Augmentation, DataOptions
from motet.experiments.experiment import _own_types
from motet.methods import METHODS
from motet.objectives import DepthELBO, DepthMarginalLikelihood, ExitSum

SETTINGS: list[Any] = [
    *(kind() for kind in METHODS.values()),
    Training(milestones=(1.0, 2.5), early_stopping=3),
    Augmentation(),
    DataOptions(target="y", drop=("a", "b"), validation_share=0.2),
    models.MLP(),
    models.SmallCNN(),
    models.WideResNet(),
    models.MIMMOResNet(),
    models.VGGCNN(),
    models.DenseNetBC(),
    models.ResNet50(),
    models.TimmModel(name="resnet18"),
    models.CustomModel(function="a.py:b"),
    Independent(),
    Modular(),
    Joint(),
    ModularExits(),
    ExitSum(),
    DepthELBO(),
    DepthMarginalLikelihood(),
    grouping.Permuted(),
    grouping.Shared(),
    grouping.Split(),
    grouping.Mixed(),
    Categorical(class_axis=1, ignore_index=255),
    Bernoulli(class_axis=1, ignore_index=255),
    Gaussian(class_axis=1),
    HeteroscedasticGaussian(class_axis=-1),
    Poisson(class_axis=1),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 2**64, 10**400, 0.5, 2.5, -0.5, 1e308),
    *("", "five", "auto", "sum", "3", "é"),
    *(
        [],
        [1],
        [1, 2],
        [2.5],
        ["a"],
        [None],
        [True],
        [[1]],
        {},
        {"type": "Nothing"},
        to_record(METHODS["mimo"]()),
        {"a": 1},
    ),
]


pytestmark = pytest.mark.usefixtures("unchecked")


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def read(record: Any) -> Any:
    return from_record(record, _own_types())


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, where an int may stand for a float."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def test_all_settings_of_motets_are_changed() -> None:
    complete = {kind for kind in _own_types() if not getattr(kind, "__abstractmethods__", None)}
    assert {type(settings) for settings in SETTINGS} | {Experiment} == complete


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: type(settings).__name__)
def test_one_field_changed(settings: Any) -> None:
    record = as_json(to_record(settings))
    assert read(record) == settings
    name = type(settings).__name__
    for item in fields(settings):
        others = {key: value for key, value in record.items() if key != item.name}
        for value in VALUES:
            changed = record | {item.name: value}
            try:
                found = read(changed)
            except InputError as error:
                said = str(error)
                assert "\n" not in said
                assert item.name in said or "known type" in said or name in said, (changed, said)
            else:
                # A field added later is written only if it has another value than its default.
                unwritten = bool(item.metadata.get(LEFT_OUT)) and getattr(found, item.name) == item.default
                expected = others if unwritten else changed
                assert same(as_json(to_record(found)), expected), f"{changed} was read as {found}"
        if item.default is MISSING and item.default_factory is MISSING:
            with pytest.raises(
                InputError, match=f"{name} must have all its fields, but got no field called {item.name}"
            ):
                read(others)
        else:
            assert read(others) is not None  # the default
    with pytest.raises(InputError, match=f"{name} must have only its fields, but got the unknown field speed"):
        read(record | {"speed": 1})


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"type": "Training", "epochs": "five"}, "epochs of Training must be a valid integer, but got 'five'"),
        ({"type": "Training", "epochs": True}, "epochs of Training must be .*integer, but got True"),
        ({"type": "Training", "epochs": None}, "epochs of Training must be .*integer, but got None"),
        ({"type": "Training", "epochs": [5]}, r"epochs of Training must be .*integer, but got \[5\]"),
        ({"type": "MIMO", "members": 2.5}, "members of MIMO must be .*integer.*, but got 2.5"),
        ({"type": "MIMO", "input_repetition": "x"}, "input_repetition of MIMO must be a valid number, but got 'x'"),
        ({"type": "MIMO", "input_repetition": 2}, "input_repetition"),
        ({"type": "Training", "optimizer": "adam"}, "optimizer of Training must be 'sgd' or 'adamw', but got 'adam'"),
        ({"type": "Training", "augment": 3}, "augment of Training must be"),
        (
            {"type": "Training", "augment": {"type": "MIMO"}},
            "augment of Training must be a record of Augmentation, but got a record of MIMO",
        ),
        ({"type": "Training", "augment": {"type": "Augmentation", "crop": "4"}}, "crop of Augmentation must be"),
        ({"type": "MLP", "hidden": [3, "4"]}, "hidden of MLP must be"),
        ({"type": "MLP", "hidden": 3}, "hidden of MLP must be a list, but got 3"),
    ],
)
def test_the_field_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(record)


@pytest.mark.slow
@pytest.mark.parametrize("field", [item.name for item in fields(Experiment)])
def test_one_field_of_an_experiment_changed(field: str) -> None:
    experiment = Experiment(
        data="digits", model=models.MLP(), method=DeepEnsemble(), first=("a",), likelihood="gaussian"
    )
    record = as_json(experiment.to_record())
    others = (models.SmallCNN(), Training(epochs=3), DataOptions(target="y"), Independent(reduction="sum"))
    accepted = 0
    for value in [*VALUES, "poisson", *(as_json(to_record(other)) for other in others)]:
        changed = record | {field: value}
        try:
            found = Experiment.from_record(changed)
        except InputError:
            continue  # one line: see tests/test_errors.py
        else:
            accepted += value is not None
            again = as_json(found.to_record())
            if field == "objective" and value is None:
                assert found == experiment
            elif field == "likelihood" and value is None:
                assert found.likelihood is None
            else:
                assert same(again, changed), f"{changed} was read as {found}"
    assert accepted, "no value of this field is read"


@dataclass(frozen=True, kw_only=True)
class Fussy:
    """Settings whose own checks are no better than Python's."""

    rate: float = 1.0
    names: list[str] | None = None

    def __post_init__(self) -> None:
        math.sqrt(self.rate)


def test_any_error_of_the_settings_own_checks_is_one_line() -> None:
    assert from_record({"type": "Fussy", "rate": 4, "names": ["a"]}, [Fussy]) == Fussy(rate=4.0, names=["a"])
    with pytest.raises(
        InputError, match=r"the settings in a record of Fussy must be valid, but got ValueError: .*line \d+"
    ):
        from_record({"type": "Fussy", "rate": -1.0}, [Fussy])
