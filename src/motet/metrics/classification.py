"""Metrics of class predictions, for the combined prediction and for each member."""

from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.likelihoods import Categorical
from motet.metrics._checks import check_filled, check_labels, check_logits, check_not_nan, check_probs, widen


def accuracy(probs_BC: Float[Tensor, "batch out"], y_B: Integer[Tensor, "batch"]) -> Float[Tensor, ""]:
    """Fraction of rows whose most probable class is the true one. Higher is better.

    Args:
        probs_BC: class probabilities ``(B, C)``, or any scores whose largest value is the prediction.
        y_B: class labels ``(B,)``.

    Raises:
        InputError: for no rows, NaN, and labels that have another shape or are out of range.

    >>> import torch
    >>> accuracy(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    tensor(0.5000)
    """
    check_filled(probs_BC)
    check_not_nan(probs_BC)
    check_labels(y_B, rows=probs_BC.shape[0], classes=probs_BC.shape[1])
    return (probs_BC.argmax(dim=-1) == y_B).float().mean()


def nll(logits_BMC: Float[Tensor, "batch member out"], y_B: Integer[Tensor, "batch"]) -> Float[Tensor, ""]:
    """Negative log-likelihood of the members' mixture in nats, a mean over rows. Lower is better.

    ``-logsumexp_m(log p_m(y)) + log M``, computed from logits, so that it is exact even if probabilities underflow. The
    evaluation code of MIMO (in uncertainty-baselines) and EnsembleCrossEntropy of robustness-metrics compute the same.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``. A logit of -inf excludes a class. The NLL is inf if all members
            exclude the true class of a row.
        y_B: class labels ``(B,)``.

    Raises:
        InputError: for no rows, NaN or inf, and labels that have another shape or are out of range.

    >>> import torch
    >>> nll(torch.zeros(1, 3, 2), torch.tensor([1]))
    tensor(0.6931)
    """
    check_logits(logits_BMC)
    check_labels(y_B, rows=logits_BMC.shape[0], classes=logits_BMC.shape[2])
    return Categorical().mixture_nll(widen(logits_BMC), y_B.long()).mean()


def brier(probs_BC: Float[Tensor, "batch out"], y_B: Integer[Tensor, "batch"]) -> Float[Tensor, ""]:
    """Brier score: the squared error summed over classes, a mean over rows. From 0 (best) to 2.

    Brier (1950) uses the sum over classes. Some papers divide it by the number of classes, others by two.

    Args:
        probs_BC: class probabilities ``(B, C)``.
        y_B: class labels ``(B,)``.

    Raises:
        InputError: for no rows, NaN, values that are not probabilities, and labels that have another shape or are out
            of range.

    >>> import torch
    >>> brier(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    tensor(2.)
    """
    check_probs(probs_BC)
    check_labels(y_B, rows=probs_BC.shape[0], classes=probs_BC.shape[1])
    truth_BC = F.one_hot(y_B.long(), probs_BC.shape[1])
    return (widen(probs_BC) - truth_BC).square().sum(dim=-1).mean()


def member_accuracy(
    logits_BMC: Float[Tensor, "batch member out"], y_B: Integer[Tensor, "batch"]
) -> Float[Tensor, "member"]:
    """Each member's accuracy, ``(M,)``.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.
        y_B: class labels ``(B,)``.

    Raises:
        InputError: for no rows, NaN or inf, and labels that have another shape or are out of range.

    >>> import torch
    >>> member_accuracy(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.tensor([1]))
    tensor([1., 0.])
    """
    check_logits(logits_BMC)
    check_labels(y_B, rows=logits_BMC.shape[0], classes=logits_BMC.shape[2])
    return (logits_BMC.argmax(dim=-1) == y_B.unsqueeze(1)).float().mean(dim=0)


def member_nll(logits_BMC: Float[Tensor, "batch member out"], y_B: Integer[Tensor, "batch"]) -> Float[Tensor, "member"]:
    """Each member's negative log-likelihood in nats, a mean over rows, ``(M,)``.

    The mean over members is the Gibbs cross-entropy, an upper bound of `nll`.

    Args:
        logits_BMC: the members' logits ``(B, M, C)``.
        y_B: class labels ``(B,)``.

    Raises:
        InputError: for no rows, NaN or inf, and labels that have another shape or are out of range.

    >>> import torch
    >>> member_nll(torch.zeros(1, 2, 2), torch.tensor([0]))
    tensor([0.6931, 0.6931])
    """
    check_logits(logits_BMC)
    check_labels(y_B, rows=logits_BMC.shape[0], classes=logits_BMC.shape[2])
    y_BM = y_B.long().unsqueeze(1).expand(-1, logits_BMC.shape[1])
    return Categorical().nll(widen(logits_BMC), y_BM).mean(dim=0)
