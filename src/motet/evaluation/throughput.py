"""Scores of the test split in throughput use: a different example for each member, M examples in one pass."""

from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation.clean import clean_scores
from motet.evaluation.predict import predict_split_distinct
from motet.evaluation.records import CleanScores, Evaluation
from motet.metrics import flops


def score_distinct(ensemble: Ensemble, dataset: Dataset, *, seed: int = 0) -> CleanScores:
    """Return `motet.evaluation.clean.score_clean` with each example predicted by one member.

    Args:
        ensemble: an ensemble whose members have separate inputs, on any device.
        dataset: a data set on the same device; its test split is scored.
        seed: decides which examples are predicted together.

    Raises:
        InputError: if members do not have separate inputs.
    """
    prediction = predict_split_distinct(ensemble, dataset, dataset.test, seed=seed)
    example = dataset.prepare(dataset.test.inputs[:1])
    return clean_scores(prediction, flops=distinct_flops(ensemble, example), seed=seed)


def distinct_flops(ensemble: Ensemble, example: Shaped[Tensor, "batch ..."]) -> int:
    """Return the floating-point operations for one example in throughput use, counted like `motet.metrics.flops`."""
    x_BM = example[:1].unsqueeze(1).repeat_interleave(ensemble.members, dim=1)
    return -(-flops(_ForwardDistinct(ensemble), x_BM) // ensemble.members)


def throughput_in_words(evaluation: Evaluation) -> str:
    """Return one sentence about what throughput use saves and costs.

    Raises:
        InputError: unless both ensemble use and throughput use were evaluated.
    """
    before, after = evaluation.ensemble, evaluation.distinct
    if before is None or after is None:
        raise InputError(
            "throughput use can be compared with ensemble use only if both were evaluated",
            got="an evaluation without one of them",
            fix="Evaluate the run with distinct=True",
        )
    times = f"{after.flops / before.flops:.2f} times"
    name = "accuracy" if "accuracy" in before.scores else "rmse"
    old, new = before.scores[name], after.scores[name]
    if name == "accuracy":
        points = 100 * (new - old)
        what = f"accuracy is {100 * new:.2f} % instead of {100 * old:.2f} %"
        change = f"{abs(points):.2f} points {'lower' if points < 0 else 'higher'}" if points else "no lower"
    else:
        what = f"the RMSE is {new:.4g} instead of {old:.4g}"
        change = f"{abs(new / old - 1):.1%} {'higher' if new > old else 'lower'}" if new != old else "no higher"
    return (
        f"Throughput use: {evaluation.members} examples per pass, each by one member, take {times} the "
        f"operations of ensemble use per example; {what}, {change}."
    )


@final
class _ForwardDistinct(nn.Module):
    """An ensemble as a module on M different examples, for `flops`."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x_BM: Shaped[Tensor, "batch member ..."]) -> Float[Tensor, "batch member *positions out"]:
        return self.ensemble.forward_distinct(x_BM)
