"""How differently the members predict. Zero for members that are copies of each other."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Combination
from motet.metrics._checks import check_labels, check_logits, widen

ErrorOf = Literal["ensemble", "member"]

_MANY_MEMBERS = 16
_ENTRIES = 4_000_000  # of the outputs that are looked at together


def disagreement_matrix(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "member member"]:
    """Fraction of rows on which members i and j predict different classes, ``(M, M)``.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: no rows, NaN or inf.
    """
    check_logits(logits_BMC)
    label_MB = logits_BMC.argmax(dim=-1).t().contiguous()
    _, members, classes = logits_BMC.shape
    if classes < members:
        # Class by class, in double precision because they are counts.
        chosen = ((label_MB == label).double() for label in range(classes))
        agree_MM = torch.stack([chosen_MB @ chosen_MB.t() for chosen_MB in chosen]).sum(dim=0)
        return (1 - agree_MM / len(logits_BMC)).float()
    # Member by member: all pairs at once would take M times the memory of the labels.
    return torch.stack([(label_MB != label_B).float().mean(dim=1) for label_B in label_MB])


def disagreement(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, ""]:
    """Fraction of rows on which two members predict different classes, a mean over pairs; NaN for one member.

    MIMO, section 3.2, whose formula says "equal" where its text and its numbers mean "different".

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: no rows, NaN or inf.

    >>> disagreement(torch.tensor([[[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]]))
    tensor(0.6667)
    """
    return _mean_over_pairs(disagreement_matrix(logits_BMC))


def kl_matrix(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "member member"]:
    """``KL(p_i || p_j)`` of members i and j in nats, a mean over rows, ``(M, M)``. It is not symmetric.

    It is inf where member j rules out (logit -inf) what member i thinks possible.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: no rows, NaN or inf.
    """
    check_logits(logits_BMC)
    log_p_BMC = widen(logits_BMC).log_softmax(dim=-1)
    if log_p_BMC.shape[1] > _MANY_MEMBERS:
        return _kl_by_products(log_p_BMC)
    rows = []
    for member in range(log_p_BMC.shape[1]):  # all pairs at once would take M times the memory of the outputs
        log_p_B1C = log_p_BMC[:, member : member + 1]
        p_B1C = log_p_B1C.exp()
        # 0 log(0 / q) is 0, whatever q is; written out it would be NaN for -inf logits.
        terms_BMC = torch.where(p_B1C > 0, p_B1C * (log_p_B1C - log_p_BMC), 0.0)
        rows.append(terms_BMC.sum(dim=-1).mean(dim=0))
    return torch.stack(rows).clamp_min(0)  # rounding may leave -1e-9 between members that are nearly the same


def _kl_by_products(log_p_BMC: Tensor) -> Tensor:
    """`kl_matrix` as products of matrices, ``sum p_i log p_i - sum p_i log p_j``: for hundreds of members.

    The two sums are nearly equal where members are, hence double precision.
    """
    rows, members, classes = log_p_BMC.shape
    cross_MM = log_p_BMC.new_zeros((members, members), dtype=torch.float64)
    ruled_out_MM = torch.zeros_like(cross_MM, dtype=torch.bool)
    for part_BMC in log_p_BMC.split(max(1, _ENTRIES // (members * classes))):
        log_p = part_BMC.double().transpose(0, 1).flatten(1)  # (M, b C)
        p, impossible = log_p.exp(), log_p.isneginf()
        # 0 log(0 / q) is 0, whatever q is.
        cross_MM += p @ log_p.masked_fill(impossible, 0.0).t()
        if bool(impossible.any()):
            ruled_out_MM |= (p > 0).double() @ impossible.double().t() > 0
    kl_MM = (cross_MM.diagonal().unsqueeze(1) - cross_MM) / rows
    return kl_MM.clamp_min(0).masked_fill(ruled_out_MM, torch.inf).to(log_p_BMC.dtype)


def pairwise_kl(logits_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, ""]:
    """Mean over pairs i < j of ``KL(p_i || p_j)`` in nats; NaN for one member.

    MIMO, section 3.2. One direction only, as in AveragePairwiseDiversity of robustness-metrics: the value depends on
    the order of the members.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.

    Raises:
        InputError: no rows, NaN or inf.

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
    """Disagreement divided by the error rate: weak members differ more by being wrong more often.

    NaN for one member, and where there is no error.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.
        y_B: class labels ``(B,)``.
        error: ``"ensemble"`` divides by the error rate of the combined prediction (robustness-metrics),
            ``"member"`` by the mean error rate of the members (Fort et al. 2019 divide by
            one member's).
        combination: how members are combined; it matters for ``error="ensemble"`` only.

    Raises:
        InputError: no rows, NaN or inf, labels of another shape or outside the classes, an unknown `error`.

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
    # Members that disagree while the ensemble is never wrong would give inf: no ratio, rather than an endless one.
    return torch.where(rate > 0, disagreement(logits_BMC) / rate, torch.nan)


def _mean_over_pairs(matrix_MM: Float[Tensor, "member member"]) -> Float[Tensor, ""]:
    """Mean over i < j. One member has no pairs, and the mean of nothing is NaN."""
    i, j = torch.triu_indices(len(matrix_MM), len(matrix_MM), offset=1, device=matrix_MM.device)
    return matrix_MM[i, j].mean()
