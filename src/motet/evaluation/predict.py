"""Predict a whole split."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet._internal.evaluation_mode import evaluating
from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.likelihoods.positions import targets_last
from motet.prediction import Prediction


def predict_split(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512, combined: bool = False
) -> Prediction:
    """Predict every row of `split`, in order, in evaluation mode and in the weights' own precision.

    The prediction and its targets are in the targets' own units, also if the data set stores them standardised.

    If the ensemble is distributed over several processes, each runs its own members, and all get the prediction of all
    members.

    Args:
        ensemble: an ensemble on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: one of the dataset's splits, or other rows of the same shape.
        batch_size: rows per forward pass.
        combined: with several processes, whether only the members' combination is needed, which reduces the traffic.
    """
    device = next(ensemble.parameters()).device
    parts = [
        ensemble.predict(dataset.prepare(x.to(device))).outputs_BMC for x, _ in in_order(split, batch_size=batch_size)
    ]
    outputs_BMC = torch.cat(parts)
    if (shard := ensemble.shard) is not None:
        outputs_BMC = (
            shard.combined(outputs_BMC, ensemble.combination, ensemble.likelihood)
            if combined
            else shard.gather(outputs_BMC)
        )
    return prediction_of(ensemble, dataset, outputs_BMC, split.targets.to(device))


@torch.no_grad()
def predict_split_distinct(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512, seed: int = 0
) -> Prediction:
    """Predict every row of `split` once, by one member, with M different rows in each pass: throughput use.

    `seed` decides which member predicts a row, and together with which other rows. If the last pass is not full, rows
    that have already been predicted fill it, and their second prediction is dropped. The ensemble runs in evaluation
    mode and in the weights' own precision; the rows of the result are in the order of the split.

    Args:
        ensemble: an ensemble whose members have separate inputs, on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: one of the dataset's splits, or other rows of the same shape.
        batch_size: rows per forward pass and member; each pass has M times as many.
        seed: the seed for grouping the rows.

    Returns:
        A prediction with one member, ``(B, 1, C)``.

    Raises:
        InputError: if members do not have separate inputs, on a folded ensemble, and for a batch size below 1.
    """
    if batch_size < 1:
        raise InputError("batch_size must be at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more")
    device, members, rows = next(ensemble.parameters()).device, ensemble.members, len(split)
    order_N = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    passes = -(-rows // members)
    index_PM = order_N[torch.arange(passes * members) % rows].view(passes, members)
    with evaluating(ensemble):
        parts = [
            ensemble.forward_distinct(dataset.prepare(split.inputs[index_BM.to(split.inputs.device)].to(device)))
            for index_BM in index_PM.split(batch_size)
        ]
    outputs_NC = torch.cat(parts).flatten(0, 1)[:rows]
    back_N = order_N.argsort().to(device)
    return prediction_of(ensemble, dataset, outputs_NC[back_N].unsqueeze(1), split.targets.to(device))


def prediction_of(
    ensemble: Ensemble,
    dataset: Dataset,
    outputs_BMC: Float[Tensor, "batch member *positions out"],
    targets: Shaped[Tensor, "batch ..."],
) -> Prediction:
    """Return a prediction of rows of a data set, in the targets' own units.

    Args:
        ensemble: the ensemble. If it does not know how its targets were standardised (`Ensemble.scale_targets`), it was
            trained on those of `dataset`.
        dataset: the data set.
        outputs_BMC: the members' outputs.
        targets: the targets as the data set stores them.
    """
    targets = targets_last(targets, outputs_BMC.shape[2:-1], ensemble.likelihood)
    return Prediction(
        outputs_BMC=outputs_BMC,
        likelihood=ensemble.likelihood,
        combination=ensemble.combination,
        targets=dataset.spec.targets_in_own_units(targets),
        target_scale=ensemble.target_scale or dataset.spec.target_scale,
    )
