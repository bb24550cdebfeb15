"""The record that a run is: plain data and back, and nothing in it that cannot be run."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from motet import MIMO, DeepEnsemble, Experiment, InputError, Modular, ModularNetwork, Single, Training, models
from motet._internal.files import to_json
from motet._internal.plain_records import from_record, to_record
from motet._internal.renamed_settings import with_new_names
from motet.evaluation.aggregate import mean_over_seeds
from motet.methods import METHODS
from motet.objectives import Independent

MODELS = [models.MLP(hidden=(3, 4)), models.SmallCNN(width=2), models.WideResNet(depth=10, width=1)]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [*MODELS, models.CustomModel(function="a.py:b")], ids=lambda m: type(m).__name__)
def test_records_come_back_as_they_were_through_json(method: str, model: models.ModelSettings) -> None:
    settings = Experiment(
        data="digits",
        model=model,
        method=METHODS[method](),
        training=Training(epochs=3, milestones=(1.0, 2.0), schedule="step", early_stopping=2),
        seed=2**64 - 1,
        first=("a", "b"),
    )
    record = json.loads(to_json(settings.to_record()))
    assert Experiment.from_record(record) == settings
    assert json.loads(to_json(Experiment.from_record(record).to_record())) == record


def test_the_objective_that_is_really_used_stands_in_the_record() -> None:
    settings = Experiment(data="digits", model=MODELS[0], method=Single())
    assert settings.objective == Independent(reduction="sum")
    assert settings.to_record()["objective"] == {"type": "Independent", "reduction": "sum"}
    changed = dataclasses.replace(settings, objective=Independent(reduction="mean"))
    assert Experiment.from_record(changed.to_record()).objective == Independent(reduction="mean")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        None,
        "Experiment",
        {"type": "os.system"},
        {"type": ["Experiment"]},
        {"type": "Experiment"},
        {"type": "Experiment", "data": "digits", "unknown": 1},
        {"type": "MIMO", "members": 3},
        {"type": "Training", "epochs": 1},
    ],
)
def test_other_records_are_refused(record: Any) -> None:
    with pytest.raises(InputError):
        Experiment.from_record(record)


def test_a_misspelt_type_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'MIMO'"):
        from_record({"type": "MIM0"}, [MIMO, Training])


def test_values_in_a_record_are_checked_like_any_others() -> None:
    with pytest.raises(InputError, match="members=0"):
        from_record({"type": "MIMO", "members": 0}, [MIMO])


def test_nested_tuples_of_settings() -> None:
    @dataclasses.dataclass(frozen=True)
    class Outer:
        parts: tuple[MIMO, ...]

    outer = Outer((MIMO(members=2), MIMO(members=3)))
    assert from_record(json.loads(to_json(to_record(outer))), [Outer, MIMO]) == outer


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(InputError, match=f"seed={seed}"):
        Experiment(data="digits", model=MODELS[0], method=Single(), seed=seed)


@pytest.mark.usefixtures("unchecked")
def test_a_module_is_not_a_models_settings() -> None:
    good: dict[str, Any] = {"data": "digits", "model": MODELS[0], "method": Single()}
    for wrong in ({"model": torch.nn.Linear(2, 2)}, {"method": "mimo"}, {"training": None}, {"model": models.mlp}):
        (name,) = wrong
        with pytest.raises(InputError, match=f"{name} must be a"):
            Experiment(**(good | wrong))


def test_mean_and_standard_error_by_hand() -> None:
    one = mean_over_seeds([0.9])
    assert one.mean == 0.9
    assert math.isnan(one.standard_error)
    found = mean_over_seeds([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3)
    # Deviations -4/3, -1/3, 5/3: variance (16 + 1 + 25) / 9 / 2, over 3 seeds.
    assert found.standard_error == pytest.approx(math.sqrt(42 / 18 / 3))


@pytest.mark.parametrize("values", [[], [None], [1.0, None], [math.nan, 1.0], [math.inf]])
def test_missing_values_have_no_mean(values: list[float | None]) -> None:
    found = mean_over_seeds(values)
    assert math.isnan(found.mean)
    assert math.isnan(found.standard_error)


def test_recipes_are_experiments_with_records(tmp_path: Path) -> None:
    from motet.recipes import load_recipe, recipes

    assert {"mimo:digits", "baselines:single_digits"} <= recipes().keys()
    for name, summary in recipes().items():
        settings = load_recipe(name)
        assert Experiment.from_record(json.loads(to_json(settings.to_record()))) == settings
        assert summary.endswith(".")


def test_another_method_brings_its_own_objective() -> None:
    first = Experiment(data="digits", model=models.MLP(), method=ModularNetwork(members=3, lam=0.95))
    assert first.with_method(ModularNetwork(members=3, lam=0.5)).objective == Modular(lam=0.5)
    assert first.with_method(MIMO()).objective == Independent()
    asked = Experiment(data="digits", model=models.MLP(), method=MIMO(), objective=Independent(reduction="mean"))
    assert asked.with_method(DeepEnsemble()).objective == Independent(reduction="mean")


COMMITTED = sorted((Path(__file__).resolve().parents[2] / "results").rglob("compare.json"))


@pytest.mark.slow
@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.parent.name)
def test_committed_records_are_read(file: Path) -> None:
    """Records of before classes outside motet could stand in them."""
    settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
    assert settings
    for record in settings.values():
        experiment = Experiment.from_record(record)
        again = json.loads(to_json(experiment.to_record()))
        assert {key: again[key] for key in record} == with_new_names(record)
