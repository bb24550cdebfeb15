"""Predict with a trained ensemble, and score it: what a run ends with."""

from collections.abc import Sequence
from pathlib import Path

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.evaluation import predict_split
from motet.experiments.records import Cost, Scores
from motet.metrics import flops, member_scores, parameters, score
from motet.training import HistoryRow


def score_run(ensemble: Ensemble, dataset: Dataset, folder: Path, history: Sequence[HistoryRow]) -> Scores:
    """Predict, keep the test predictions in `folder`, and score both held-out splits."""
    validation = predict_split(ensemble, dataset, dataset.validation)
    test = predict_split(ensemble, dataset, dataset.test)
    share = ensemble.share
    if share is None or share.grid.is_first:
        test.save(folder / "predictions.safetensors")
    example = dataset.prepare(dataset.test.inputs[:1])
    in_own_units = dataset.spec.in_own_units
    counts = parameters(ensemble), flops(ensemble.fold(), example)
    learned, operations = counts if share is None else map(share.total, counts)
    return Scores(
        test=in_own_units(score(test)),
        test_members=_each_in_own_units(member_scores(test), dataset),
        validation=in_own_units(score(validation)),
        cost=Cost(parameters=learned, flops=operations, train_seconds=sum(row.seconds for row in history)),
        epochs=len(history),
        communication=None if share is None else share.communication(ensemble),
    )


def _each_in_own_units(scores: dict[str, list[float]], dataset: Dataset) -> dict[str, tuple[float, ...]]:
    """Scores of each member, in the targets' own unit."""
    return {
        name: tuple(dataset.spec.in_own_units({name: value})[name] for value in values)
        for name, values in scores.items()
    }
