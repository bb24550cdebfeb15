"""Training: the loop, schedules, checkpoints."""

from motet.training.checkpoint import CHECKPOINT, load_weights
from motet.training.devices import resolve_device, resolve_precision
from motet.training.evaluate import predict_split, predict_split_distinct
from motet.training.fit import fit
from motet.training.history import read_history, write_history
from motet.training.settings import Training

__all__ = [
    "CHECKPOINT",
    "Training",
    "fit",
    "load_weights",
    "predict_split",
    "predict_split_distinct",
    "read_history",
    "resolve_device",
    "resolve_precision",
    "write_history",
]
