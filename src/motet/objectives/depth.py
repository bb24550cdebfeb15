"""Losses over the outputs of members that predict at several depths: EarlyExit, DUN and MIMMO."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Likelihood
from motet.objectives.base import ExitObjective
from motet.types import Progress


@final
@dataclass(frozen=True, kw_only=True)
class DepthELBO(ExitObjective):
    """The evidence lower bound with a categorical posterior over depths (MIMMO, appendix A; DUN's VI).

    ``sum_m [ sum_i theta_{m,i} mean_rows(NLL_{m,i}) + alpha / N KL(theta_m || 1/D) ]``, the negative bound for one
    example. ``alpha`` is on the paper's scale, beside the log-likelihood of all N training examples: alpha = N weighs
    the KL divergence like one example's loss (45000 in the paper's grid, with N = 45000).

    N is `Progress.examples`, which `motet.training.fit` passes. Where a loop of the user's own passes none, the batch
    is taken for all there is, and N is its rows: pass ``progress=Progress(...)`` with small batches.

    Attributes:
        alpha: weight of the KL divergence to the uniform prior, at least 0.
        warm_start_epochs: for this long the weights are the prior's: no KL, and no gradient to them (5 in MIMMO,
            appendix B).
    """

    alpha: float = 1.0
    warm_start_epochs: float = 0.0

    def __post_init__(self) -> None:
        _check_number("alpha", self.alpha)
        _check_number("warm_start_epochs", self.warm_start_epochs)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """The negative ELBO for one example, summed over members."""
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood)
        # As the weights are computed: the KL divergence of equal weights is then 0, and not a rounding error.
        log_prior_MD = torch.zeros_like(log_weights_MD).log_softmax(dim=-1)
        if _is_warming(progress, self.warm_start_epochs):
            return (log_prior_MD.exp() * nll_MD).sum()
        weights_MD = log_weights_MD.exp()
        divergence = (weights_MD * (log_weights_MD - log_prior_MD)).sum()
        return (weights_MD * nll_MD).sum() + self.alpha / _examples(progress, targets_BM) * divergence


@final
@dataclass(frozen=True, kw_only=True)
class DepthMarginalLikelihood(ExitObjective):
    """The marginal likelihood with the depth integrated out exactly (DUN's MLL).

    ``-1/N logsumexp_d(l_d - log D)`` with the log-likelihood of the training set at each depth, ``l_d``, estimated by
    N times the batch's mean; summed over members. For N see `DepthELBO`.

    The posterior over depths, ``softmax_d(l_d)``, needs l_d over the whole training set. It is a running sum, kept with
    the network: each training step adds its rows' log-likelihoods and forgets the share B / N of what was there, so
    that about the last epoch counts. One batch alone, as in the original code, would choose a depth by chance: its
    noise is multiplied by N / B.

    Attributes:
        warm_start_epochs: for this long the depths count equally, and the posterior stays uniform.
    """

    warm_start_epochs: float = 0.0

    def __post_init__(self) -> None:
        _check_number("warm_start_epochs", self.warm_start_epochs)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """The negative log marginal likelihood for one example; the weights so far play no part in it."""
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood)
        if _is_warming(progress, self.warm_start_epochs):
            return nll_MD.mean(dim=1).sum()
        examples, depths = _examples(progress, targets_BM), nll_MD.shape[1]
        return (math.log(depths) - torch.logsumexp(-examples * nll_MD, dim=1)).sum() / examples

    def estimate(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        logits_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, "member depth"] | None:
        """The running log-likelihood at each depth; None during the warm start."""
        if _is_warming(progress, self.warm_start_epochs):
            return None
        rows = len(targets_BM)
        kept = max(0.0, 1 - rows / _examples(progress, targets_BM))
        return kept * logits_MD - rows * _mean_nll(exits_BMDC, targets_BM, likelihood).to(logits_MD.dtype)


@final
@dataclass(frozen=True, kw_only=True)
class ExitSum(ExitObjective):
    """The weighted sum of all exits' losses, as early-exit ensembles are trained (Qendro et al. 2021).

    ``sum_m [ NLL_{m,D} + alpha sum_{i<D} NLL_{m,i} + beta mean_{i<j} H(p_{m,i}, p_{m,j}) ]``, averaged over rows
    [yamle, methods/early_exit.py]. The cross-entropy H between two exits' predictions is *added*: a positive beta pulls
    them together, a negative one apart. The weights over depths play no part in it.

    Attributes:
        alpha: weight of each exit's loss but the deepest's, at least 0.
        beta: weight of the cross-entropy between pairs of exits, for class probabilities only.
    """

    alpha: float = 1.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        _check_number("alpha", self.alpha)
        _check_number("beta", self.beta, least=-math.inf)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Summed over exits and members, averaged over rows."""
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood)
        loss = nll_MD[:, -1].sum() + self.alpha * nll_MD[:, :-1].sum()
        depths = nll_MD.shape[1]
        if self.beta == 0 or depths == 1:
            return loss
        if not isinstance(likelihood, Categorical):
            raise InputError(
                "the term between pairs of exits (beta) needs class probabilities",
                got=f"the likelihood {likelihood}",
                fix="Pass beta=0.0, or use the Categorical likelihood",
            )
        log_p = exits_BMDC.log_softmax(dim=-1)
        entropies_BMDD = -log_p.exp() @ log_p.transpose(-1, -2)  # row i, column j: H(p_i, p_j)
        first, second = torch.triu_indices(depths, depths, offset=1, device=log_p.device)
        return loss + self.beta * entropies_BMDD[..., first, second].mean(dim=(0, 2)).sum()


def _mean_nll(exits_BMDC: Tensor, targets_BM: Tensor, likelihood: Likelihood) -> Tensor:
    """``(M, D)``: mean over rows."""
    depths = exits_BMDC.shape[2]
    targets = targets_BM.unsqueeze(2).expand(-1, -1, depths, *targets_BM.shape[2:])
    return likelihood.nll(exits_BMDC, targets).mean(dim=0)


def _examples(progress: Progress | None, targets_BM: Tensor) -> int:
    return len(targets_BM) if progress is None or progress.examples is None else progress.examples


def _is_warming(progress: Progress | None, epochs: float) -> bool:
    return progress is not None and progress.epoch < epochs


def _check_number(name: str, value: float, least: float = 0.0) -> None:
    if not (least <= value < math.inf) or value == -math.inf:
        raise InputError(
            f"{name} must be a {'number from 0' if least == 0 else 'finite number'}",
            got=f"{name}={value}",
            fix=f"Pass {name}=1.0, for example",
        )
