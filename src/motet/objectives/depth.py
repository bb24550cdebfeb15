"""Losses over the outputs of members that predict at several depths: EarlyExit, DUN and MIMMO."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.likelihoods import Categorical, Likelihood
from motet.objectives.base import ExitObjective
from motet.types import Progress


@final
@dataclass(frozen=True, kw_only=True)
class DepthELBO(ExitObjective):
    """The evidence lower bound with a categorical posterior over depths (MIMMO, appendix A; DUN's VI).

    ``sum_m [ sum_i theta_{m,i} mean_rows(NLL_{m,i}) + alpha / N KL(theta_m || 1/D) ]`` is the negative bound for one
    example. ``alpha`` is on the paper's scale, relative to the log-likelihood of all N training examples: alpha = N
    gives the KL divergence the weight of one example's loss (45000 in the paper's grid, with N = 45000).

    N is `Progress.examples`, which `motet.training.fit` passes. If your own training loop passes no progress, the batch
    is treated as the whole training set, and N is its number of rows. With small batches, pass
    ``progress=Progress(...)``.

    Attributes:
        alpha: weight of the KL divergence to the uniform prior, at least 0.
        warm_start_epochs: the number of epochs in which the weights are those of the prior, without a KL term and
            without gradients to the weights (5 in MIMMO, appendix B).
    """

    alpha: float = 1.0
    warm_start_epochs: float = 0.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        _check_number("alpha", self.alpha)
        _check_number("warm_start_epochs", self.warm_start_epochs)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the negative ELBO for one example, summed over members."""
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood, weights_BM)
        # Computed in the same way as the weights, so that the KL divergence of equal weights is exactly 0.
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

    ``-1/N logsumexp_d(l_d - log D)``, where ``l_d`` is the log-likelihood of the training set at each depth, estimated
    by N times the batch's mean; summed over members. For N see `DepthELBO`.

    The posterior over depths, ``softmax_d(l_d)``, needs l_d over the whole training set. It is estimated by a running
    sum that is kept with the network: each training step multiplies the sum by 1 - B / N and adds its rows'
    log-likelihoods, so that roughly the last epoch counts. An estimate from a single batch, as in the original code,
    would choose a depth by chance, because its noise is multiplied by N / B.

    Attributes:
        warm_start_epochs: the number of epochs in which the depths have equal weight and the posterior stays uniform.
    """

    warm_start_epochs: float = 0.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        _check_number("warm_start_epochs", self.warm_start_epochs)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the negative log marginal likelihood for one example; it does not depend on the current weights."""
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood, weights_BM)
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
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, "member depth"] | None:
        """Return the running log-likelihood at each depth; None during the warm start.

        Args:
            exits_BMDC: natural parameters of every exit, the deepest last.
            targets_BM: targets.
            likelihood: the distribution whose natural parameters the outputs are.
            logits_MD: the running sum so far.
            weights_BM: factors of each row's and member's loss; 1 if None.
            progress: how far training has come; None if the warm start is over and the batch is the training set.
        """
        if _is_warming(progress, self.warm_start_epochs):
            return None
        rows = len(targets_BM)
        kept = max(0.0, 1 - rows / _examples(progress, targets_BM))
        return kept * logits_MD - rows * _mean_nll(exits_BMDC, targets_BM, likelihood, weights_BM).to(logits_MD.dtype)


@final
@dataclass(frozen=True, kw_only=True)
class ExitSum(ExitObjective):
    """The weighted sum of all exits' losses, as in early-exit ensembles (Qendro et al. 2021).

    ``sum_m [ NLL_{m,D} + alpha sum_{i<D} NLL_{m,i} + beta mean_{i<j} H(p_{m,i}, p_{m,j}) ]``, averaged over rows
    [yamle, methods/early_exit.py]. The cross-entropy H between two exits' predictions is *added*: a positive beta makes
    exits more similar, a negative one less similar. The weights over depths are not used.

    Attributes:
        alpha: weight of the loss of every exit but the deepest, at least 0.
        beta: weight of the cross-entropy between pairs of exits, for class probabilities only.
    """

    alpha: float = 1.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        _check_number("alpha", self.alpha)
        _check_number("beta", self.beta, least=-math.inf)

    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss, summed over exits and members, averaged over rows.

        Raises:
            InputError: if `beta` is not 0 and the likelihood has no class probabilities.
        """
        nll_MD = _mean_nll(exits_BMDC, targets_BM, likelihood, weights_BM)
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
        pairs = entropies_BMDD[..., first, second]
        if weights_BM is not None:
            pairs = pairs * weights_BM.unsqueeze(-1)
        return loss + self.beta * pairs.mean(dim=(0, 2)).sum()


def _mean_nll(
    exits_BMDC: Tensor, targets_BM: Tensor, likelihood: Likelihood, weights_BM: Tensor | None = None
) -> Tensor:
    """Return the NLL averaged over rows, ``(M, D)``, with the weights of the rows if there are any."""
    depths = exits_BMDC.shape[2]
    targets = targets_BM.unsqueeze(2).expand(-1, -1, depths, *targets_BM.shape[2:])
    nll_BMD = likelihood.nll(exits_BMDC, targets)
    return (nll_BMD if weights_BM is None else nll_BMD * weights_BM.unsqueeze(-1)).mean(dim=0)


def _examples(progress: Progress | None, targets_BM: Tensor) -> int:
    return len(targets_BM) if progress is None or progress.examples is None else progress.examples


def _is_warming(progress: Progress | None, epochs: float) -> bool:
    return progress is not None and progress.epoch < epochs


def _check_number(name: str, value: float, least: float = 0.0) -> None:
    if not (least <= value < math.inf) or value == -math.inf:
        raise InputError(
            f"{name} must be a {'finite number of at least 0' if least == 0 else 'finite number'}",
            got=f"{name}={value}",
            fix=f"Pass {name}=1.0, for example",
        )
