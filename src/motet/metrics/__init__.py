"""How good, how calibrated, how diverse and how costly: pure functions of predictions, and measures of networks."""

from motet.metrics.calibration import Reliability, ece, reliability
from motet.metrics.classification import accuracy, brier, member_accuracy, member_nll, nll
from motet.metrics.cost import Latency, flops, latency_ratios, parameters
from motet.metrics.diversity import (
    disagreement,
    disagreement_matrix,
    disagreement_over_error,
    kl_matrix,
    pairwise_kl,
)
from motet.metrics.ptflops import ptflops
from motet.metrics.regression import member_rmse, rmse
from motet.metrics.scores import member_scores, score

__all__ = [
    "Latency",
    "Reliability",
    "accuracy",
    "brier",
    "disagreement",
    "disagreement_matrix",
    "disagreement_over_error",
    "ece",
    "flops",
    "kl_matrix",
    "latency_ratios",
    "member_accuracy",
    "member_nll",
    "member_rmse",
    "member_scores",
    "nll",
    "pairwise_kl",
    "parameters",
    "ptflops",
    "reliability",
    "rmse",
    "score",
]
