"""How well a score tells the data that a model knows from other data."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.prediction import Prediction


def auroc(known: Shaped[Tensor, "..."], other: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
    """Chance that an out-of-distribution row scores higher than a known one; equal scores count half.

    From 0 to 1; 0.5 is chance. Exact, by ranks (Mann and Whitney's statistic), in double precision.

    Args:
        known: scores of rows in distribution, ``(N,)``, higher for what looks stranger.
        other: scores of rows out of distribution, ``(K,)``.

    Raises:
        InputError: no rows on one side, NaN, or scores of another shape.

    >>> auroc(torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.3]))
    tensor(0.8750, dtype=torch.float64)
    """
    known_N, other_K = _checked(known, other)
    known_N = known_N.sort().values
    below = torch.searchsorted(known_N, other_K)
    not_above = torch.searchsorted(known_N, other_K, right=True)
    wins = int((below + not_above).sum())  # twice: a tie counts 1, a win 2. Whole numbers, so exact.
    return torch.tensor(wins / (2 * len(known_N) * len(other_K)), dtype=torch.float64)


def fpr_at_tpr(known: Shaped[Tensor, "..."], other: Shaped[Tensor, "..."], tpr: float = 0.95) -> Float[Tensor, ""]:
    """Share of out-of-distribution rows that pass as known where at least `tpr` of the known rows do.

    From 0 (best) to 1. Known rows are the positives (Liang et al. 2018, ODIN): the threshold is the least score that
    lets `tpr` of them pass, and rows that score just as much pass too.

    Args:
        known: scores of rows in distribution, ``(N,)``, higher for what looks stranger.
        other: scores of rows out of distribution, ``(K,)``.
        tpr: above 0, at most 1.

    Raises:
        InputError: no rows on one side, NaN, scores of another shape, or a `tpr` outside (0, 1].

    >>> fpr_at_tpr(torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.3]))
    tensor(0.5000, dtype=torch.float64)
    """
    if not 0 < tpr <= 1:
        raise InputError("tpr must lie above 0 and be at most 1", got=f"tpr={tpr}", fix="Pass tpr=0.95")
    known_N, other_K = _checked(known, other)
    # The smallest count whose share is at least tpr, decided on the very ratio that is compared: 0.95 * 20 is not 19.
    passing = int((torch.arange(1, len(known_N) + 1, dtype=torch.float64) / len(known_N) < tpr).sum())
    threshold = known_N.sort().values[passing]
    return (other_K <= threshold).double().mean()


def uncertainties(prediction: Prediction) -> dict[str, Float[Tensor, "batch"]]:
    """The scores that tell data apart, ``(B,)`` each, higher for what looks stranger.

    ``max_probability``: minus the probability of the most probable class; ``entropy``: of the ensemble's prediction;
    ``mutual_information``: what the members disagree about (0 with one member, which then tells nothing apart).

    Raises:
        InputError: for regression, whose predictions have no class probabilities.
    """
    return {
        "max_probability": -prediction.confidence,
        "entropy": prediction.entropy,
        "mutual_information": prediction.mutual_information,
    }


def ood_scores(known: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """AUROC and FPR at 95 % TPR by each of the `uncertainties`: ``{"entropy": {"auroc": ..., "fpr95": ...}, ...}``."""
    return {
        name: {"auroc": float(auroc(known[name], other[name])), "fpr95": float(fpr_at_tpr(known[name], other[name]))}
        for name in known
    }


def _checked(known: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    for what, scores in (("known", known), ("other", other)):
        if scores.ndim != 1 or len(scores) == 0 or bool(scores.isnan().any()):
            raise InputError(
                "scores of known and other rows must be one number a row, at least one of each, and none NaN",
                got=f"{what} scores of shape {tuple(scores.shape)} with {int(scores.isnan().sum())} NaN",
                fix="Pass for example prediction.entropy of each set",
            )
    return known.detach().cpu().double(), other.detach().cpu().double()
