"""Score an ensemble or a run: on the test data, under distribution shift, and against other data sets."""

from motet.evaluation.aggregate import risks_at_shown, selective_comparison, side_by_side
from motet.evaluation.cache import EvaluationCache
from motet.evaluation.clean import score_clean, score_part
from motet.evaluation.comparison_records import Measure, SideBySide
from motet.evaluation.exits import ExitScores, score_exits
from motet.evaluation.out_of_distribution import evaluate_ood, load_ood
from motet.evaluation.predict import predict_split, predict_split_distinct
from motet.evaluation.records import Evaluation, read_evaluation
from motet.evaluation.shift_source import find_shift
from motet.evaluation.shifted import (
    evaluate_clean,
    evaluate_official,
    evaluate_shift,
    evaluate_shifted,
    evaluate_table_shift,
    summarise_shifts,
)
from motet.evaluation.shifted_rows import shifted_files, shifted_images, shifted_table
from motet.evaluation.throughput import score_distinct, throughput_in_words

__all__ = [
    "Evaluation",
    "EvaluationCache",
    "ExitScores",
    "Measure",
    "SideBySide",
    "evaluate_clean",
    "evaluate_official",
    "evaluate_ood",
    "evaluate_shift",
    "evaluate_shifted",
    "evaluate_table_shift",
    "find_shift",
    "load_ood",
    "predict_split",
    "predict_split_distinct",
    "read_evaluation",
    "risks_at_shown",
    "score_clean",
    "score_distinct",
    "score_exits",
    "score_part",
    "selective_comparison",
    "shifted_files",
    "shifted_images",
    "shifted_table",
    "side_by_side",
    "summarise_shifts",
    "throughput_in_words",
]
