"""Scores of the test split by some of an ensemble's members."""

from collections.abc import Sequence

import torch

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.evaluation.clean import in_own_units
from motet.evaluation.predict import predict_split
from motet.evaluation.records import PartScores
from motet.inference.subset import chosen_members, surviving_members
from motet.metrics import flops

# Those of a whole evaluation.
_SCORES = ("accuracy", "rmse", "nll", "ece", "brier")


def score_part(
    ensemble: Ensemble,
    dataset: Dataset,
    *,
    members: int | Sequence[int] | None = None,
    lost: float | Sequence[int] | None = None,
    seed: int = 0,
) -> PartScores:
    """Score the members that run and are not lost: their scores, and the operations that one example takes.

    Args:
        ensemble: on any device.
        dataset: on the same device; its test split is scored.
        members, lost: see `motet.Ensemble.predict`; who is lost at random is drawn once, for all examples.
        seed: of who is lost.

    Raises:
        InputError: for members that are none, repeated or not there.
    """
    chosen = tuple(range(ensemble.members)) if members is None else chosen_members(members, ensemble.members)
    if lost is not None:
        chosen = surviving_members(lost, chosen, ensemble.members, generator=torch.Generator().manual_seed(seed))
    part = ensemble.subset(chosen)
    return PartScores(
        members=chosen,
        scores=in_own_units(predict_split(part, dataset, dataset.test), dataset, _SCORES),
        flops=flops(part.fold(), dataset.prepare(dataset.test.inputs[:1])),
    )
