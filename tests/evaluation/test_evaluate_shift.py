"""Evaluation under shift against doing it all at once, by hand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from motet import MIMO, Dataset, Ensemble, InputError, Prediction
from motet.data import Split
from motet.evaluation import (
    evaluate_clean,
    evaluate_official,
    evaluate_ood,
    evaluate_shift,
    evaluate_table_shift,
    summarise_shifts,
)
from motet.metrics import score
from motet.shifts import SEVERITIES, CifarC, corrupt, shift_table


def pictures(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(256, (rows, 3, 8, 8), generator=generator, dtype=torch.uint8),
        torch.randint(3, (rows,), generator=generator),
    )


@pytest.fixture(name="dataset")
def _dataset() -> Dataset:
    return Dataset.from_tensors(
        "pictures", train=pictures(20, 1), validation=pictures(6, 2), test=pictures(23, 3), mean=(0.5,), std=(0.3,),
        outputs=3,
    )  # fmt: skip


@pytest.fixture(name="ensemble")
def _ensemble() -> Ensemble:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    return MIMO(members=2).wrap(net, example=torch.zeros(1, 3, 8, 8))


def by_hand(ensemble: Ensemble, dataset: Dataset, inputs: Tensor) -> dict[str, float]:
    prediction: Prediction = ensemble.predict(dataset.prepare(inputs), targets=dataset.test.targets)
    return {name: score(prediction)[name] for name in ("accuracy", "nll", "ece", "brier")}


@pytest.mark.slow
def test_rows_are_those_of_the_whole_set_at_once(ensemble: Ensemble, dataset: Dataset) -> None:
    rows = list(evaluate_shift(ensemble, dataset, "mimmo", seed=4, batch_size=10, severities=(2, 5)))
    assert [(row["corruption"], row["severity"]) for row in rows[:3]] == [
        ("mimmo_translation", 2), ("mimmo_translation", 5), ("mimmo_rotation", 2)
    ]  # fmt: skip
    assert len(rows) == 10
    for row in rows:
        images = corrupt(dataset.test.inputs, str(row["corruption"]), severity=int(row["severity"]), seed=4)
        wanted = by_hand(ensemble, dataset, images)
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
        assert row["rows"] == 23


@pytest.mark.slow
def test_the_batch_size_changes_nothing(ensemble: Ensemble, dataset: Dataset) -> None:
    for name in ("gaussian_noise", "fog", "jpeg_compression"):
        small, large = (list(evaluate_shift(ensemble, dataset, name, batch_size=size)) for size in (4, 100))
        assert len(small) == 5
        for a, b in zip(small, large, strict=True):
            assert a == pytest.approx(b, abs=1e-6)


def test_several_names_other_rows_and_the_clean_row(ensemble: Ensemble, dataset: Dataset) -> None:
    rows = list(evaluate_shift(ensemble, dataset, ["fog", "snow"], split=dataset.validation, severities=[3]))
    assert [(row["corruption"], row["rows"]) for row in rows] == [("fog", 6), ("snow", 6)]
    clean = evaluate_clean(ensemble, dataset, batch_size=7)
    wanted = by_hand(ensemble, dataset, dataset.test.inputs)
    assert {name: clean[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
    assert (clean["corruption"], clean["severity"]) == ("none", 0)


def test_one_batch_is_held_at_a_time(ensemble: Ensemble, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    whole = Ensemble.predict

    def spied(self: Ensemble, x: Tensor, **more: object) -> Prediction:
        sizes.append(len(x))
        return whole(self, x, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Ensemble, "predict", spied)
    list(evaluate_shift(ensemble, dataset, "contrast", batch_size=9, severities=(1,)))
    assert sizes == [9, 9, 5]


def test_modes_are_left_alone(ensemble: Ensemble, dataset: Dataset) -> None:
    ensemble.train()
    before = {name: value.clone() for name, value in ensemble.state_dict().items()}
    list(evaluate_shift(ensemble, dataset, "contrast", severities=(1,)))
    assert ensemble.training
    assert all(torch.equal(value, before[name]) for name, value in ensemble.state_dict().items())


def test_official_files(ensemble: Ensemble, dataset: Dataset, tmp_path: Path) -> None:
    test = dataset.test.inputs
    for name in ("fog", "contrast"):
        parts = [corrupt(test, name, severity=severity).permute(0, 2, 3, 1).numpy() for severity in SEVERITIES]
        np.save(tmp_path / f"{name}.npy", np.concatenate(parts))
    np.save(tmp_path / "labels.npy", np.tile(dataset.test.targets.numpy(), 5).astype(np.uint8))
    official = list(evaluate_official(ensemble, dataset, CifarC(tmp_path), ["contrast"], batch_size=8))
    own = list(evaluate_shift(ensemble, dataset, "contrast", batch_size=8))
    assert official == own
    assert len(list(evaluate_official(ensemble, dataset, CifarC(tmp_path)))) == 10


@pytest.mark.slow
def test_tables() -> None:
    def split(rows: int) -> tuple[Tensor, Tensor]:
        return torch.randn(rows, 4) * 5, torch.randn(rows, 1)

    dataset = Dataset.from_tensors("table", train=split(30), validation=split(5), test=split(17))
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    ensemble = MIMO(members=2).wrap(net, example=torch.zeros(1, 4), likelihood=dataset.spec.likelihood)
    rows = list(evaluate_table_shift(ensemble, dataset, batch_size=6))
    assert len(rows) == 15
    train = dataset.train.inputs
    for row in rows:
        x = shift_table(
            dataset.test.inputs, str(row["corruption"]), severity=int(row["severity"]), mean=train.mean(0),
            std=train.std(0, correction=0),
        )  # fmt: skip
        wanted = score(ensemble.predict(dataset.prepare(x), targets=dataset.test.targets))
        assert row["rmse"] == pytest.approx(wanted["rmse"], abs=1e-5)
        assert row["nll"] == pytest.approx(wanted["nll"], abs=1e-5)
        assert row["crps"] == pytest.approx(wanted["crps"], abs=1e-5)
    assert set(summarise_shifts(rows)["mean"]) == {"rmse", "nll", "crps"}


def test_out_of_distribution(ensemble: Ensemble, dataset: Dataset) -> None:
    other = Split(inputs=torch.cat((pictures(11, 9)[0], dataset.train.inputs[:2])), targets=torch.zeros(13).long())
    rows = evaluate_ood(ensemble, dataset, {"noise": other, "known": dataset_again(dataset)}, batch_size=5)
    assert [(row["dataset"], row["score"]) for row in rows] == [
        (name, each) for name in ("noise", "known") for each in ("max_probability", "entropy", "mutual_information")
    ]
    assert [(row["rows"], row["dropped"]) for row in rows[:3]] == [(11, 2)] * 3
    known = ensemble.predict(dataset.prepare(dataset.test.inputs)).entropy
    strange = ensemble.predict(dataset.prepare(other.inputs[:11])).entropy
    wins = (strange[:, None] > known[None]).double() + 0.5 * (strange[:, None] == known[None]).double()
    assert rows[1]["auroc"] == pytest.approx(float(wins.mean()), abs=1e-6)


def dataset_again(dataset: Dataset) -> Split:
    """The test rows with one value changed in each, so that they are not dropped."""
    inputs = dataset.test.inputs.clone()
    inputs[:, 0, 0, 0] = 255 - inputs[:, 0, 0, 0]
    return Split(inputs=inputs, targets=dataset.test.targets)


def test_summary_by_hand() -> None:
    rows = [
        {"corruption": name, "severity": s, "rows": 5, "accuracy": a, "nll": 2 * a}
        for name, accuracies in (("fog", (0.9, 0.7)), ("snow", (0.5, 0.1)))
        for s, a in zip((1, 2), accuracies, strict=True)
    ]
    reference = [{**row, "accuracy": 0.5} for row in rows]
    summary = summarise_shifts(rows, reference=reference)
    assert summary["mean"] == pytest.approx({"accuracy": 0.55, "nll": 1.1})
    assert summary["by_severity"]["accuracy"] == pytest.approx({1: 0.7, 2: 0.4})
    assert summary["mce"] == pytest.approx(100 * (0.2 / 0.5 + 0.7 / 0.5) / 2)
    assert summarise_shifts(rows, reference={"fog": 0.2, "snow": 0.7})["mce"] == pytest.approx(100.0)
    assert "mce" not in summarise_shifts(rows)
    with pytest.raises(InputError, match="at least one row"):
        summarise_shifts([])


def test_bad_input(ensemble: Ensemble, dataset: Dataset, unchecked: None) -> None:

    def first(rows: Iterator[object]) -> None:
        next(rows)

    with pytest.raises(InputError, match="Did you mean 'cifar-c'"):
        first(evaluate_shift(ensemble, dataset, "cifr-c"))
    with pytest.raises(InputError, match="severity"):
        first(evaluate_shift(ensemble, dataset, "fog", severities=(0,)))
    with pytest.raises(InputError, match="shifts of tables need"):
        first(evaluate_table_shift(ensemble, dataset))
    floats = Split(inputs=dataset.test.inputs / 255, targets=dataset.test.targets)
    with pytest.raises(InputError, match="images must be uint8"):
        first(evaluate_shift(ensemble, dataset, "fog", split=floats))
    with pytest.raises(InputError, match="the same shape and dtype"):
        evaluate_ood(ensemble, dataset, {"floats": floats})
    with pytest.raises(InputError, match="all occur in the other sets"):
        evaluate_ood(ensemble, dataset, {"itself": dataset.test})
