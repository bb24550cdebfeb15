"""Scores of each exit of a network by itself, for methods with exits at several depths."""

from typing import Any

import torch

from motet._internal.evaluation_mode import evaluating
from motet._internal.typed_records import Share, record
from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.evaluation.predict import prediction_of
from motet.evaluation.shift_records import Scores
from motet.layers import Exits
from motet.metrics import score

_SHOWN = ("accuracy", "rmse", "nll", "deviance", "crps", "ece")


@record
class ExitScores:
    """Scores of one exit by itself: of the members' combined predictions at this depth.

    Attributes:
        place: the name of the submodule after which the exit is; empty for the network's own output.
        depth: the fraction of the layers that come before the exit; 1 for the network's own output.
        weight: the exit's weight in the prediction, mean over members.
        scores: scores by name.
    """

    place: str
    depth: Share
    weight: Share
    scores: Scores


@torch.no_grad()
def score_exits(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512
) -> tuple[ExitScores, ...] | None:
    """Return the scores of each exit, in order of depth; None for an ensemble without exits.

    If the exits differ much, an average with equal weights (`motet.EarlyExit`) suffers from the worst ones.

    Args:
        ensemble: an ensemble on any device; batches are moved to it.
        dataset: a data set on the same device.
        split: one of its splits.
        batch_size: rows per forward pass.
    """
    network = ensemble.network
    if not isinstance(network, Exits) or not network.points:
        return None
    device = next(ensemble.parameters()).device
    with evaluating(ensemble):
        parts = [
            ensemble.forward_exits(dataset.prepare(x.to(device))) for x, _ in in_order(split, batch_size=batch_size)
        ]
        weights_D = network.weights().exp().mean(dim=0).clamp(max=1).tolist()
    targets = split.targets.to(device)
    places: Any = zip((*network.points, ""), (*network.shares, 1.0), weights_D, torch.cat(parts).unbind(2), strict=True)
    return tuple(
        ExitScores(place=place, depth=depth, weight=weight, scores=_scores(ensemble, dataset, outputs_BMC, targets))
        for place, depth, weight, outputs_BMC in places
    )


def _scores(ensemble: Ensemble, dataset: Dataset, outputs_BMC: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    found = score(prediction_of(ensemble, dataset, outputs_BMC, targets))
    return {name: value for name, value in found.items() if name in _SHOWN}
