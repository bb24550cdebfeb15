"""The measures a comparison may hold, as columns: what they are called and what they mean."""

from dataclasses import dataclass
from typing import Literal

from motet.report.numbers import NO_BREAK, TIMES


@dataclass(frozen=True, kw_only=True)
class Column:
    """A measure as a column. `better` says which end of it is good, if any."""

    key: str
    head: str
    explanation: str
    better: Literal["lower", "higher", "neither"] = "lower"
    kind: Literal["number", "percent", "count", "ratio", "seconds"] = "number"


COMPARED = (
    Column(
        key="accuracy",
        head=f"Accuracy{NO_BREAK}%",
        better="higher",
        kind="percent",
        explanation="Share of test examples whose most probable class is the right one. Higher is better.",
    ),
    Column(
        key="rmse",
        head="RMSE",
        explanation="Root mean squared error: the typical distance between prediction and target, in the target's "
        "units. Lower is better.",
    ),
    Column(
        key="nll",
        head="NLL",
        explanation="Negative log-likelihood, in nats an example: how surprised the prediction was by what was true. "
        "It rewards being right and being honest about doubt. Lower is better.",
    ),
    Column(
        key="deviance",
        head="Deviance",
        explanation="Poisson deviance: twice the log-likelihood that the expected counts lack to counts that had been "
        "known. Lower is better.",
    ),
    Column(
        key="crps",
        head="CRPS",
        explanation="Continuous ranked probability score, in the target's units: how far the whole predicted "
        "distribution lies from what was true; for a prediction without doubt the absolute error. Lower is better.",
    ),
    Column(
        key="coverage_90",
        head=f"90{NO_BREAK}% coverage",
        better="neither",
        kind="percent",
        explanation="Share of test targets inside the predictions' central 90% intervals, in percent. 90 is best: less "
        "is overconfident, more is overcautious.",
    ),
    Column(
        key="coverage_error",
        head="Coverage error",
        explanation="Calibration error of intervals: the average gap between the coverage of central 50, 80, 90 and "
        "95% intervals and what they promise. Lower is better.",
    ),
    Column(
        key="interval_width",
        head=f"90{NO_BREAK}% width",
        better="neither",
        explanation="Mean width of the central 90% intervals, in the target's units. Narrow is good where the coverage "
        "is right.",
    ),
    Column(
        key="ece",
        head="ECE",
        explanation="Expected calibration error: the average gap between how confident the predictions are and how "
        "often they are right, over 15 bins. Lower is better.",
    ),
    Column(
        key="brier",
        head="Brier",
        explanation="Brier score: squared distance between the predicted probabilities and the truth, summed over the "
        "classes. Lower is better.",
    ),
    Column(
        key="disagreement",
        head=f"Disagreement{NO_BREAK}%",
        better="neither",
        kind="percent",
        explanation="Share of test examples on which two members predict different classes, averaged over pairs. "
        "Neither end is good in itself: members must differ to help each other, and be right.",
    ),
    Column(
        key="parameters",
        head="Parameters",
        kind="count",
        explanation="Numbers the network has learned, and has to store. Lower is cheaper.",
    ),
    Column(
        key="flops",
        head="FLOPs",
        kind="count",
        explanation="Floating-point operations to predict one example with all members. Lower is cheaper.",
    ),
    Column(
        key="latency_ratio",
        head=f"Latency{NO_BREAK}{TIMES}",
        kind="ratio",
        explanation="Time of one prediction with all members, measured, relative to the single network. Lower is "
        "faster.",
    ),
    Column(
        key="train_seconds",
        head="Training",
        kind="seconds",
        explanation="Time to train one seed from scratch on the hardware below. Lower is faster.",
    ),
)
MEMBERS = (
    Column(
        key="member_accuracy",
        head=f"Member accuracy{NO_BREAK}%",
        better="higher",
        kind="percent",
        explanation="Accuracy of one member alone, averaged over members. Higher is better.",
    ),
    Column(
        key="member_rmse",
        head="Member RMSE",
        explanation="Root mean squared error of one member alone, averaged over members. Lower is better.",
    ),
    Column(
        key="member_nll",
        head="Member NLL",
        explanation="Negative log-likelihood of one member alone, averaged over members. Lower is better.",
    ),
    Column(
        key="member_crps",
        head="Member CRPS",
        explanation="Continuous ranked probability score of one member alone, averaged over members. Lower is better.",
    ),
    Column(
        key="pairwise_kl",
        head="Pairwise KL",
        better="neither",
        explanation="Kullback-Leibler divergence between the predictions of two members, averaged over pairs: how "
        "different they are, in nats.",
    ),
    Column(
        key="disagreement_over_error",
        head="Disagreement / error",
        better="neither",
        explanation="Disagreement divided by the members' error rate: how different members are for how often they "
        "are wrong.",
    ),
)
