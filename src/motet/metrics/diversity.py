"""Diversity: metrics of the difference between members' predictions. They are 0 for equal members."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Combination
from motet.metrics._checks import check_labels, check_logits, widen

ErrorOf = Literal["ensemble", "member"]

_MANY_MEMBERS = 16  # above this number `kl_matrix` is computed with matrix products
_ENTRIES = 4_000_000  # the number of outputs that are processed at once


def disagreement_matrix(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "member member"]:
    """Fraction of rows on which members i and j predict different classes, ``(M, M)``.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: for no rows, and NaN or inf.
    """
    check_logits(logits_BMC)
    label_MB = logits_BMC.argmax(dim=-1).t().contiguous()
    _, members, classes = logits_BMC.shape
    if classes < members:
        # Loop over classes. Double precision keeps the counts exact.
        chosen = ((label_MB == label).double() for label in range(classes))
        agree_MM = torch.stack([chosen_MB @ chosen_MB.t() for chosen_MB in chosen]).sum(dim=0)
        return (1 - agree_MM / len(logits_BMC)).float()
    # Loop over members, because all pairs at once would need M times the memory of the labels.
    return torch.stack([(label_MB != label_B).float().mean(dim=1) for label_B in label_MB])


def disagreement(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, ""]:
    """Fraction of rows on which two members predict different classes, a mean over pairs; NaN for one member.

    See MIMO, section 3.2. The formula there counts equal predictions, but the text and the numbers mean different
    predictions.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: for no rows, and NaN or inf.

    >>> disagreement(torch.tensor([[[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]]))
    tensor(0.6667)
    """
    return _mean_over_pairs(disagreement_matrix(logits_BMC))


def kl_matrix(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "member member"]:
    """``KL(p_i || p_j)`` of members i and j in nats, a mean over rows, ``(M, M)``, not symmetric.

    An entry is inf if member j excludes (logit -inf) a class that member i does not exclude.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: for no rows, and NaN or inf.
    """
    check_logits(logits_BMC)
    log_p_BMC = widen(logits_BMC).log_softmax(dim=-1)
    if log_p_BMC.shape[1] > _MANY_MEMBERS:
        return _kl_by_products(log_p_BMC)
    rows = []
    for member in range(log_p_BMC.shape[1]):  # all pairs at once would need M times the memory of the outputs
        log_p_B1C = log_p_BMC[:, member : member + 1]
        p_B1C = log_p_B1C.exp()
        # 0 log(0 / q) is 0 for every q; computed directly it would be NaN for -inf logits.
        terms_BMC = torch.where(p_B1C > 0, p_B1C * (log_p_B1C - log_p_BMC), 0.0)
        rows.append(terms_BMC.sum(dim=-1).mean(dim=0))
    return torch.stack(rows).clamp_min(0)  # rounding may give -1e-9 for nearly equal members


def _kl_by_products(log_p_BMC: Tensor) -> Tensor:
    """Return `kl_matrix` for many members, as matrix products: ``sum p_i log p_i - sum p_i log p_j``.

    Double precision is used because the two sums are nearly equal for similar members.
    """
    rows, members, classes = log_p_BMC.shape
    cross_MM = log_p_BMC.new_zeros((members, members), dtype=torch.float64)
    ruled_out_MM = torch.zeros_like(cross_MM, dtype=torch.bool)
    for part_BMC in log_p_BMC.split(max(1, _ENTRIES // (members * classes))):
        log_p = part_BMC.double().transpose(0, 1).flatten(1)  # (M, b C)
        p, impossible = log_p.exp(), log_p.isneginf()
        # 0 log(0 / q) is 0 for every q.
        cross_MM += p @ log_p.masked_fill(impossible, 0.0).t()
        if bool(impossible.any()):
            ruled_out_MM |= (p > 0).double() @ impossible.double().t() > 0
    kl_MM = (cross_MM.diagonal().unsqueeze(1) - cross_MM) / rows
    return kl_MM.clamp_min(0).masked_fill(ruled_out_MM, torch.inf).to(log_p_BMC.dtype)


def pairwise_kl(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, ""]:
    """Mean over pairs i < j of ``KL(p_i || p_j)`` in nats; NaN for one member.

    See MIMO, section 3.2. Only one direction is used, as in AveragePairwiseDiversity of robustness-metrics. The value
    therefore depends on the order of the members.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: for no rows, and NaN or inf.

    >>> pairwise_kl(torch.zeros(1, 2, 3))
    tensor(0.)
    """
    return _mean_over_pairs(kl_matrix(logits_BMC))


def disagreement_over_error(
    logits_BMC: Float[Tensor, "batch member out"],
    y_B: Integer[Tensor, "batch"],
    error: ErrorOf = "ensemble",
    *,
    combination: Combination = "mixture",
) -> Float[Tensor, ""]:
    """Disagreement divided by the error rate; NaN for one member, and if there are no errors.

    Members with more errors also disagree more often. The division corrects for this.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.
        y_B: class labels ``(B,)``.
        error: ``"ensemble"`` divides by the error rate of the combined prediction (robustness-metrics), ``"member"`` by
            the mean error rate of the members (Fort et al. 2019 divide by the error rate of one member).
        combination: how members are combined. Only used for ``error="ensemble"``.

    Raises:
        InputError: for no rows, NaN or inf, labels that have another shape or are out of range, and an unknown `error`.

    >>> disagreement_over_error(torch.tensor([[[0.0, 1.0], [3.0, 0.0]]]), torch.tensor([1]))
    tensor(1.)
    """
    if error not in get_args(ErrorOf):
        raise InputError(
            "error must be 'ensemble' or 'member'",
            got=repr(error),
            fix="Pass error='ensemble' to divide by the error of the combined prediction",
        )
    check_logits(logits_BMC)
    check_labels(y_B, rows=logits_BMC.shape[0], classes=logits_BMC.shape[2])
    if error == "member":
        wrong = logits_BMC.argmax(dim=-1) != y_B.unsqueeze(1)
    elif combination == "mixture":
        wrong = Categorical().mixture(widen(logits_BMC)).argmax(dim=-1) != y_B
    else:
        wrong = Categorical().geometric(widen(logits_BMC)).argmax(dim=-1) != y_B
    rate = wrong.float().mean()
    # Without errors the result is NaN, not inf.
    return torch.where(rate > 0, disagreement(logits_BMC) / rate, torch.nan)


def _mean_over_pairs(matrix_MM: Float[Tensor, "member member"]) -> Float[Tensor, ""]:
    """Return the mean over pairs i < j. With one member there are no pairs, and the mean is NaN."""
    i, j = torch.triu_indices(len(matrix_MM), len(matrix_MM), offset=1, device=matrix_MM.device)
    return matrix_MM[i, j].mean()
