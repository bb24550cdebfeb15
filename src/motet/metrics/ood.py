"""Out-of-distribution detection: how well an uncertainty score separates in-distribution data from other data."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.prediction import Prediction


def auroc(known: Shaped[Tensor, "..."], other: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
    """Probability that an out-of-distribution row has a higher score than an in-distribution one; ties count half.

    From 0 to 1; 0.5 is chance. The value is exact: it is computed from ranks (the Mann-Whitney statistic).

    Args:
        known: scores of in-distribution rows, ``(N,)``. Higher scores mean less like the in-distribution data.
        other: scores of out-of-distribution rows, ``(K,)``.

    Raises:
        InputError: if one of the two is empty, contains NaN or has another number of axes.

    >>> auroc(torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.3]))
    tensor(0.8750, dtype=torch.float64)
    """
    known_N, other_K = _checked(known, other)
    known_N = known_N.sort().values
    below = torch.searchsorted(known_N, other_K)
    not_above = torch.searchsorted(known_N, other_K, right=True)
    wins = int((below + not_above).sum())  # twice the number of wins: a win counts 2, a tie 1
    return torch.tensor(wins / (2 * len(known_N) * len(other_K)), dtype=torch.float64)


def fpr_at_tpr(known: Shaped[Tensor, "..."], other: Shaped[Tensor, "..."], tpr: float = 0.95) -> Float[Tensor, ""]:
    """Fraction of out-of-distribution rows that are accepted at a threshold that accepts `tpr` of the in-distribution
    rows.

    From 0 (best) to 1. In-distribution rows are the positives (Liang et al. 2018, ODIN). The threshold is the lowest
    score that accepts at least `tpr` of them. Rows with exactly this score are accepted.

    Args:
        known: scores of in-distribution rows, ``(N,)``. Higher scores mean less like the in-distribution data.
        other: scores of out-of-distribution rows, ``(K,)``.
        tpr: the fraction of in-distribution rows to accept (true positive rate), above 0 and at most 1.

    Raises:
        InputError: if one of the two is empty, contains NaN or has another number of axes, and for a `tpr` outside
            (0, 1].

    >>> fpr_at_tpr(torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.3]))
    tensor(0.5000, dtype=torch.float64)
    """
    if not 0 < tpr <= 1:
        raise InputError("tpr must lie above 0 and be at most 1", got=f"tpr={tpr}", fix="Pass tpr=0.95")
    known_N, other_K = _checked(known, other)
    # The index of the first row whose fraction k / N is at least tpr. ceil(tpr * N) may be too large, because products
    # are rounded: 0.07 * 100 is slightly more than 7.
    passing = int((torch.arange(1, len(known_N) + 1, dtype=torch.float64) / len(known_N) < tpr).sum())
    threshold = known_N.sort().values[passing]
    return (other_K <= threshold).double().mean()


def uncertainties(prediction: Prediction) -> dict[str, Float[Tensor, "batch"]]:
    """Return the uncertainty scores by name, each ``(B,)``. Higher scores mean less like the in-distribution data.

    Positions (pixels, tokens) are rows, see `Prediction.by_row`.

    - ``max_probability``: minus the probability of the most probable class;
    - ``entropy``: the entropy of the ensemble's prediction;
    - ``mutual_information``: the disagreement of the members. With one member it is always 0.

    Raises:
        InputError: for regression, which has no class probabilities.
    """
    prediction = prediction.by_row()
    return {
        "max_probability": -prediction.confidence,
        "entropy": prediction.entropy,
        "mutual_information": prediction.mutual_information,
    }


def ood_scores(known: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Return AUROC and FPR at 95 % TPR for each of the `uncertainties`.

    The result has the form ``{"entropy": {"auroc": ..., "fpr95": ...}, ...}``.
    """
    return {
        name: {"auroc": float(auroc(known[name], other[name])), "fpr95": float(fpr_at_tpr(known[name], other[name]))}
        for name in known
    }


def _checked(known: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    for what, scores in (("known", known), ("other", other)):
        if scores.ndim != 1 or len(scores) == 0 or bool(scores.isnan().any()):
            raise InputError(
                "known and other must each have one number for each row, at least one row and no NaN",
                got=f"{what} scores of shape {tuple(scores.shape)} with {int(scores.isnan().sum())} NaN",
                fix="Pass for example prediction.entropy of each data set",
            )
    return known.detach().cpu().double(), other.detach().cpu().double()
