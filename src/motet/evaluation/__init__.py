"""Everything that scores an ensemble: on data as they are, under shift, and against data out of distribution."""

from motet.evaluation.predict import predict_split, predict_split_distinct
from motet.evaluation.shifted import (
    evaluate_clean,
    evaluate_official,
    evaluate_ood,
    evaluate_shift,
    evaluate_shifted,
    evaluate_table_shift,
    summarise_shifts,
)
from motet.evaluation.shifted_rows import shifted_files, shifted_images, shifted_table

__all__ = [
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
]
