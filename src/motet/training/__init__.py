"""Training: the loop, schedules, checkpoints."""

from motet.training.checkpoint import CHECKPOINT, load_weights
from motet.training.devices import resolve_device, resolve_precision
from motet.training.evaluate import predict_split, predict_split_distinct
from motet.training.evaluate_shift import (
    evaluate_clean,
    evaluate_official,
    evaluate_ood,
    evaluate_shift,
    evaluate_shifted,
    evaluate_table_shift,
    summarise_shifts,
)
from motet.training.fit import fit
from motet.training.history import read_history, write_history
from motet.training.member_checkpoint import checkpoint_files, load_run_weights, newest_checkpoint
from motet.training.settings import Training
from motet.training.shifted import shifted_files, shifted_images, shifted_table

__all__ = [
    "CHECKPOINT",
    "Training",
    "checkpoint_files",
    "evaluate_clean",
    "evaluate_official",
    "evaluate_ood",
    "evaluate_shift",
    "evaluate_shifted",
    "evaluate_table_shift",
    "fit",
    "load_run_weights",
    "load_weights",
    "newest_checkpoint",
    "predict_split",
    "predict_split_distinct",
    "read_history",
    "resolve_device",
    "resolve_precision",
    "shifted_files",
    "shifted_images",
    "shifted_table",
    "summarise_shifts",
    "write_history",
]
