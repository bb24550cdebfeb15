"""Metrics of quality, calibration and diversity (pure functions of predictions), and the cost of networks."""

from motet.likelihoods import gaussian_crps
from motet.metrics.by_target import target_scores
from motet.metrics.calibration import Reliability, ece, reliability
from motet.metrics.classification import accuracy, brier, member_accuracy, member_nll, nll
from motet.metrics.cost import flops, parameters
from motet.metrics.diversity import (
    disagreement,
    disagreement_matrix,
    disagreement_over_error,
    kl_matrix,
    pairwise_kl,
)
from motet.metrics.latency import Latency, latency_ratios
from motet.metrics.numbers import coverage, coverage_error, crps, deviance, interval_width, pit
from motet.metrics.ood import auroc, fpr_at_tpr, ood_scores, uncertainties
from motet.metrics.ptflops import ptflops
from motet.metrics.regression import member_rmse, rmse
from motet.metrics.running import RunningScores
from motet.metrics.scores import member_scores, score
from motet.metrics.segmentation import mean_iou, pixel_accuracy
from motet.metrics.selective import (
    COVERAGES,
    RiskCoverage,
    aurc,
    risk_coverage,
    risk_coverage_of,
    selective_risk,
)
from motet.metrics.shift import (
    ALEXNET_ERRORS,
    by_corruption,
    corruption_errors,
    mce,
    mean_by_severity,
    mean_over_shifts,
)

__all__ = [
    "ALEXNET_ERRORS",
    "COVERAGES",
    "Latency",
    "Reliability",
    "RiskCoverage",
    "RunningScores",
    "accuracy",
    "aurc",
    "auroc",
    "brier",
    "by_corruption",
    "corruption_errors",
    "coverage",
    "coverage_error",
    "crps",
    "deviance",
    "disagreement",
    "disagreement_matrix",
    "disagreement_over_error",
    "ece",
    "flops",
    "fpr_at_tpr",
    "gaussian_crps",
    "interval_width",
    "kl_matrix",
    "latency_ratios",
    "mce",
    "mean_by_severity",
    "mean_iou",
    "mean_over_shifts",
    "member_accuracy",
    "member_nll",
    "member_rmse",
    "member_scores",
    "nll",
    "ood_scores",
    "pairwise_kl",
    "parameters",
    "pit",
    "pixel_accuracy",
    "ptflops",
    "reliability",
    "risk_coverage",
    "risk_coverage_of",
    "rmse",
    "score",
    "selective_risk",
    "target_scores",
    "uncertainties",
]
