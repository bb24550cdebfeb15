"""The public functions with a cache: the same rows as without one, nothing scored twice, and nothing mixed up."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motet import MIMO, Dataset, Ensemble
from motet.data import Split
from motet.evaluation import (
    EvaluationCache,
    evaluate_clean,
    evaluate_ood,
    evaluate_shift,
    evaluate_table_shift,
    shift_results,
)
from motet.shifts import CORRUPTIONS, Corruption


def pictures(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(256, (rows, 3, 8, 8), generator=generator, dtype=torch.uint8),
        torch.randint(3, (rows,), generator=generator),
    )


@pytest.fixture(name="dataset")
def _dataset() -> Dataset:
    return Dataset.from_tensors(
        "pictures", train=pictures(20, 1), validation=pictures(6, 2), test=pictures(23, 3), outputs=3
    )


@pytest.fixture(name="ensemble")
def _ensemble() -> Ensemble:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    return MIMO(members=2).wrap(net, example=torch.zeros(1, 3, 8, 8))


@pytest.fixture(name="cache")
def _cache(ensemble: Ensemble, dataset: Dataset, tmp_path: Path) -> EvaluationCache:
    return EvaluationCache.for_ensemble(tmp_path / "cache", ensemble, dataset, about="MIMO")


@pytest.fixture(name="scored")
def _scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every set of rows that is scored."""
    counted: list[int] = []
    whole = shift_results.score_batches

    def count(*arguments: Any) -> Any:
        counted.append(1)
        return whole(*arguments)

    monkeypatch.setattr(shift_results, "score_batches", count)
    return counted


@pytest.mark.slow
def test_a_stopped_evaluation_goes_on(
    ensemble: Ensemble, dataset: Dataset, cache: EvaluationCache, scored: list[int]
) -> None:
    settings: dict[str, Any] = {"severities": (1, 3), "seed": 4, "batch_size": 10}
    whole = list(evaluate_shift(ensemble, dataset, "mimmo", **settings))
    assert len(scored) == len(whole) == 10
    stopped = evaluate_shift(ensemble, dataset, "mimmo", **settings, cache=cache)
    assert [next(stopped) for _ in range(4)] == whole[:4]
    stopped.close()
    assert len(scored) == 14
    assert list(evaluate_shift(ensemble, dataset, "mimmo", **settings, cache=cache)) == whole
    assert len(scored) == 20
    assert list(evaluate_shift(ensemble, dataset, "mimmo", **settings, cache=cache)) == whole
    assert len(scored) == 20
    cache.clear()
    assert not cache.folder.exists()


def test_what_a_row_depends_on(ensemble: Ensemble, dataset: Dataset, cache: EvaluationCache, scored: list[int]) -> None:
    other: dict[str, dict[str, Any]] = {
        "nothing": {},
        "seed": {"seed": 1},
        "batch size": {"batch_size": 7},
        "constants": {"constants": "imagenet"},
        "rows": {"split": dataset.validation},
    }
    for number, changed in enumerate(other.values(), start=1):
        arguments: dict[str, Any] = {"severities": (2,)} | changed
        found = [list(evaluate_shift(ensemble, dataset, "gaussian_noise", **arguments, cache=cache)) for _ in range(2)]
        assert found[0] == found[1]
        assert len(scored) == number
    for number, split in enumerate((None, dataset.validation), start=1 + len(other)):
        row = evaluate_clean(ensemble, dataset, split, cache=cache)
        assert evaluate_clean(ensemble, dataset, split, cache=cache) == row
        assert len(scored) == number
    scored.clear()
    assert evaluate_clean(ensemble, dataset) == evaluate_clean(ensemble, dataset, cache=cache)
    assert len(scored) == 1


def test_a_corruption_that_motet_does_not_have_is_never_kept(
    ensemble: Ensemble, dataset: Dataset, cache: EvaluationCache, scored: list[int]
) -> None:
    fog = CORRUPTIONS["fog"]
    own = Corruption(
        name="fog", family="noise", description="black", apply=lambda images, *_: images * 0, levels=fog.levels
    )
    (kept,) = evaluate_shift(ensemble, dataset, [fog], severities=(1,), cache=cache)
    for _ in range(2):
        (row,) = evaluate_shift(ensemble, dataset, [own], severities=(1,), cache=cache)
        assert row["nll"] != kept["nll"]
    assert len(scored) == 3
    found = list(evaluate_shift(ensemble, dataset, [fog, own], severities=(1,)))
    assert found == [kept, row], "two of one name"


def test_data_sets_out_of_distribution(ensemble: Ensemble, dataset: Dataset, cache: EvaluationCache) -> None:
    images = {"one": pictures(9, 8), "two": pictures(9, 9)}
    others = {name: Split(inputs=inputs, targets=targets) for name, (inputs, targets) in images.items()}
    rows = evaluate_ood(ensemble, dataset, others)
    assert evaluate_ood(ensemble, dataset, {"one": others["one"]}, cache=cache) == rows[:3]
    asked: list[int] = []
    ensemble.register_forward_hook(lambda *_: asked.append(1))
    assert evaluate_ood(ensemble, dataset, others, cache=cache) == rows
    assert len(asked) == 2, "the known rows, and the second set's"
    assert evaluate_ood(ensemble, dataset, others, cache=cache) == rows
    assert len(asked) == 2


def test_tables(tmp_path: Path, scored: list[int]) -> None:
    def split(rows: int) -> tuple[Tensor, Tensor]:
        return torch.randn(rows, 4), torch.randn(rows, 1)

    dataset = Dataset.from_tensors("table", train=split(30), validation=split(5), test=split(17))
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    ensemble = MIMO(members=2).wrap(net, example=torch.zeros(1, 4), likelihood=dataset.spec.likelihood)
    cache = EvaluationCache.for_ensemble(tmp_path / "cache", ensemble, dataset, about="MIMO")
    rows = list(evaluate_table_shift(ensemble, dataset, severities=(1,)))
    for _ in range(2):
        assert list(evaluate_table_shift(ensemble, dataset, severities=(1,), cache=cache)) == rows
    assert len(scored) == 6
