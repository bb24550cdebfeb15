"""Training: the loop, schedules and checkpoints."""

from motet._internal.moved import moved_names
from motet.training.checkpoint import CHECKPOINT, load_weights
from motet.training.devices import resolve_device, resolve_precision
from motet.training.fit import fit
from motet.training.for_data import settings_for
from motet.training.history import History, HistoryRow, read_history, write_history
from motet.training.member_checkpoint import checkpoint_files, load_run_weights, newest_checkpoint
from motet.training.settings import Training

__all__ = [
    "CHECKPOINT",
    "History",
    "HistoryRow",
    "Training",
    "checkpoint_files",
    "fit",
    "load_run_weights",
    "load_weights",
    "newest_checkpoint",
    "read_history",
    "resolve_device",
    "resolve_precision",
    "settings_for",
    "write_history",
]

__getattr__ = moved_names(
    __name__,
    {
        name: f"motet.evaluation.{name}"
        for name in (
            "evaluate_clean",
            "evaluate_official",
            "evaluate_ood",
            "evaluate_shift",
            "evaluate_shifted",
            "evaluate_table_shift",
            "predict_split",
            "predict_split_distinct",
            "shifted_files",
            "shifted_images",
            "shifted_table",
            "summarise_shifts",
        )
    },
)
