"""Columns of the report's tables: scores and costs with their names and explanations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from motet.data import DataDescription
from motet.report.numbers import NO_BREAK, TIMES


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score or cost as a column of a table. `better` is the direction of better values, if there is one."""

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
        explanation="Fraction of test examples whose most probable class is correct. Higher is better.",
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
        explanation="Negative log-likelihood, in nats per example. It measures accuracy and calibration together. "
        "Lower is better.",
    ),
    Column(
        key="deviance",
        head="Deviance",
        explanation="Poisson deviance: twice the difference between the log-likelihood of a perfect prediction of the "
        "counts and that of this prediction. Lower is better.",
    ),
    Column(
        key="crps",
        head="CRPS",
        explanation="Continuous ranked probability score, in the target's units: the distance between the predicted "
        "distribution and the target. For a prediction without uncertainty it is the absolute error. Lower is better.",
    ),
    Column(
        key="coverage_90",
        head=f"90{NO_BREAK}% coverage",
        better="neither",
        kind="percent",
        explanation="Fraction of test targets inside the predictions' central 90% intervals, in percent. 90 is "
        "best: lower values mean overconfidence, higher values underconfidence.",
    ),
    Column(
        key="coverage_error",
        head="Coverage error",
        explanation="Calibration error of intervals: the mean absolute difference between the coverage of central "
        "50, 80, 90 and 95% intervals and these levels. Lower is better.",
    ),
    Column(
        key="interval_width",
        head=f"90{NO_BREAK}% width",
        better="neither",
        explanation="Mean width of the central 90% intervals, in the target's units. At equal coverage, narrower "
        "intervals are better.",
    ),
    Column(
        key="ece",
        head="ECE",
        explanation="Expected calibration error: the mean absolute difference between confidence and accuracy, over 15 "
        "bins. Lower is better.",
    ),
    Column(
        key="brier",
        head="Brier",
        explanation="Brier score: squared distance between the predicted probabilities and the true class, summed "
        "over the classes. Lower is better.",
    ),
    Column(
        key="disagreement",
        head=f"Disagreement{NO_BREAK}%",
        better="neither",
        kind="percent",
        explanation="Fraction of test examples on which two members predict different classes, averaged over "
        "pairs. Neither low nor high is better by itself: useful members are both different and accurate.",
    ),
    Column(
        key="parameters",
        head="Parameters",
        kind="count",
        explanation="Number of trainable parameters. Lower is cheaper.",
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
        explanation="Measured time of one prediction with all members, relative to the single network: the median over "
        "rounds of timings, and in brackets the quartiles, if they were recorded. Lower is faster. None is marked if "
        "the lowest is between the quartiles of another, or another between its quartiles.",
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
        explanation="Accuracy of a single member, averaged over members. Higher is better.",
    ),
    Column(
        key="member_rmse",
        head="Member RMSE",
        explanation="Root mean squared error of a single member, in the target's units, averaged over members. "
        "Lower is better.",
    ),
    Column(
        key="member_nll",
        head="Member NLL",
        explanation="Negative log-likelihood of a single member, averaged over members. Lower is better.",
    ),
    Column(
        key="member_crps",
        head="Member CRPS",
        explanation="Continuous ranked probability score of a single member, in the target's units, averaged over "
        "members. Lower is better.",
    ),
    Column(
        key="pairwise_kl",
        head="Pairwise KL",
        better="neither",
        explanation="Kullback-Leibler divergence between the predictions of two members, averaged over pairs, in "
        "nats. It measures how different members are.",
    ),
    Column(
        key="disagreement_over_error",
        head="Disagreement / error",
        better="neither",
        explanation="Disagreement divided by the error rate. It measures how different members are, corrected for how "
        "often they are wrong.",
    ),
)

_OF_LABELS = {
    "accuracy": "Fraction of labels that are predicted correctly, over all test examples and labels. Higher is better.",
    "brier": "Brier score: squared distance between the predicted probabilities of 0 and 1 and the true label, averaged"
    " over labels. Lower is better.",
    "disagreement": "Fraction of labels on which two members predict differently, averaged over pairs. Neither low nor "
    "high is better by itself: useful members are both different and accurate.",
    "member_accuracy": "Fraction of labels that a single member predicts correctly, averaged over members. Higher is "
    "better.",
}


def columns_for(data: DataDescription | None, columns: Sequence[Column]) -> list[Column]:
    """Return the columns with names and explanations that are right for the data.

    Args:
        data: the data; None if an older version of motet did not record it.
        columns: the columns.
    """
    if data is not None and data.in_standard_deviations:
        return [_in_standard_deviations(column) for column in columns]
    if data is not None and data.task == "multilabel":
        return [replace(each, explanation=_OF_LABELS.get(each.key, each.explanation)) for each in columns]
    return list(columns)


def _in_standard_deviations(column: Column) -> Column:
    unit = "in the target's units"
    if unit not in column.explanation:
        return column
    own = "in standard deviations of the targets, which have different units"
    return replace(column, head=f"{column.head}{NO_BREAK}(std)", explanation=column.explanation.replace(unit, own))
