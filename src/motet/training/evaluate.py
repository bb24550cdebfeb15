"""Predictions for a whole split."""

import torch

from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.prediction import Prediction


def predict_split(ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512) -> Prediction:
    """Predict every row of `split`, in order, in evaluation mode and in the weights' own precision.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: one of the dataset's, or other rows of the same shape.
        batch_size: rows per forward pass.
    """
    device = next(ensemble.parameters()).device
    parts = [
        ensemble.predict(dataset.prepare(x.to(device))).outputs_BMC for x, _ in in_order(split, batch_size=batch_size)
    ]
    return Prediction(
        outputs_BMC=torch.cat(parts),
        likelihood=ensemble.likelihood,
        combination=ensemble.combination,
        targets=split.targets.to(device),
    )
