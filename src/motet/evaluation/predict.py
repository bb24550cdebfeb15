"""Predictions for a whole split."""

import torch

from motet._internal.evaluation_mode import evaluating
from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.prediction import Prediction


def predict_split(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512, combined: bool = False
) -> Prediction:
    """Predict every row of `split`, in order, in evaluation mode and in the weights' own precision.

    Of an ensemble over several processes each asks its own members, and all get the prediction of all.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: one of the dataset's, or other rows of the same shape.
        batch_size: rows per forward pass.
        combined: over several processes, whether the members' combination is all that is asked for: less is sent.
    """
    device = next(ensemble.parameters()).device
    parts = [
        ensemble.predict(dataset.prepare(x.to(device))).outputs_BMC for x, _ in in_order(split, batch_size=batch_size)
    ]
    outputs_BMC = torch.cat(parts)
    if (share := ensemble.share) is not None:
        outputs_BMC = (
            share.combined(outputs_BMC, ensemble.combination, ensemble.likelihood)
            if combined
            else share.gather(outputs_BMC)
        )
    return Prediction(
        outputs_BMC=outputs_BMC,
        likelihood=ensemble.likelihood,
        combination=ensemble.combination,
        targets=split.targets.to(device),
    )


@torch.no_grad()
def predict_split_distinct(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512, seed: int = 0
) -> Prediction:
    """Predict every row of `split` once, by one member, M different rows in a pass: throughput use.

    Which member predicts a row, and beside which others, is drawn with `seed`. Where the last pass has places left,
    rows that have been predicted already fill them, and their second prediction is dropped. In evaluation mode and in
    the weights' own precision; the order of the rows is the split's.

    Args:
        ensemble: whose members have inputs of their own; on any device, batches are moved to it.
        dataset: normalises the inputs.
        split: one of the dataset's, or other rows of the same shape.
        batch_size: passes through the network at a time, each with M rows.
        seed: of the order in which rows are laid side by side.

    Returns:
        A prediction with one member, ``(B, 1, C)``.

    Raises:
        InputError: where members have no inputs of their own, on a folded ensemble, and for a batch size below 1.
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
    return Prediction(
        outputs_BMC=outputs_NC[back_N].unsqueeze(1),
        likelihood=ensemble.likelihood,
        combination=ensemble.combination,
        targets=split.targets.to(device),
    )
