"""The grouping of MixMo (Rame, Sun & Cord, ICCV 2021): each member's input is mixed with those of the others."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet._internal.nested import NestedInputs
from motet.errors import InputError
from motet.grouping.base import Grouping
from motet.grouping.permuted import Permuted
from motet.types import Batch, Progress

# From this fraction of training on, cuts become rarer [mixmo-pytorch, RATIO_EPOCH_DECREASE].
_CUT_UNTIL = 11 / 12


@final
@dataclass(frozen=True, kw_only=True)
class Mixed(Grouping):
    """Each member sees its own permutation of the repeated batch, and the M inputs of a row are mixed.

    Paper: https://arxiv.org/abs/2103.06132.

    The mixing ratios of each row are drawn from a Dirichlet distribution. A step mixes linearly (each input has its
    ratio everywhere) or, with probability `cut_probability`, by cutting: one input fills a box whose nominal area is
    its ratio, and the others are mixed linearly outside. The member whose input fills the box is drawn once per step,
    box and ratios once per row. Losses are weighted with ``w_m = M lambda_m^(1/r) / sum_j lambda_j^(1/r)``, where
    lambda are the actual ratios: the means of the masks, whose boxes may be clipped at the border.

    Random numbers are drawn on the generator's device, so that a seed gives the same batch on every device.

    Attributes:
        batch_repetition, input_repetition: as in `motet.grouping.Permuted`, which assigns the examples. (The authors
            permute the order of member 0 for each member, which is such a permutation too.)
        alpha: the parameter of the symmetric Dirichlet distribution; ratios are equal, 1/M, if it is 0 or less.
        cut_probability: the probability that a step cuts: constant until 11/12 of training, then decreasing linearly to
            0. Constant if the progress is unknown.
        weight_root: r; with 1 losses are weighted with the ratios, larger values make the weights more equal.
    """

    # The authors' loader reads, and so augments, every repetition of an example separately [mixmo-pytorch, loaders].
    augments_dealt: ClassVar[bool] = True

    batch_repetition: int = 4
    input_repetition: float = 0.0
    alpha: float = 2.0
    cut_probability: float = 0.5
    weight_root: float = 3.0

    def __post_init__(self) -> None:
        _ = self._permuted  # checks both repetitions
        if not math.isfinite(self.alpha):
            raise InputError(
                "alpha must be a finite number", got=f"alpha={self.alpha}", fix="Pass 2.0, or 0.0 for equal ratios"
            )
        if not 0 <= self.cut_probability <= 1:
            raise InputError(
                "cut_probability must lie in [0, 1]",
                got=f"cut_probability={self.cut_probability}",
                fix="Pass 0 to always mix linearly, or 1 to always cut",
            )
        if not (self.weight_root > 0 and math.isfinite(self.weight_root)):
            raise InputError(
                "weight_root must be a positive, finite number",
                got=f"weight_root={self.weight_root}",
                fix="Pass 1 to weight losses with the mixing ratios, or 3, as in the paper",
            )

    @property
    def _permuted(self) -> Permuted:
        return Permuted(batch_repetition=self.batch_repetition, input_repetition=self.input_repetition)

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."] | NestedInputs,
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Return rows ``(u b, M, ...)``, mixing ratios ``(u b, M)`` or ``(u b, M, H, W)``, and loss weights ``(u b,
        M)``.

        With one member there is nothing to mix: its batch has neither ratios nor weights.

        Args:
            x, y, members, generator, progress: see `Grouping.deal`.

        Raises:
            InputError: if boxes are cut and the inputs are not images ``(u, channels, H, W)``.
        """
        if self.cut_probability > 0 and members > 1 and x.ndim != 4:
            raise InputError(
                "cutting boxes needs images, (batch, channels, height, width)",
                got=f"inputs of shape {tuple(x.shape)}",
                fix="Mix linearly: cut_probability=0",
            )
        batch = self._permuted.deal(x, y, members=members, generator=generator)
        if members == 1:
            return batch
        dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
        shares_BM = self._shares(len(batch.inputs), members, dtype, generator)
        cut = self.cut_probability > 0 and _uniform((), generator).item() < self.cut_probability_at(progress)
        if cut:
            height, width = x.shape[-2:]
            corners_B4 = _boxes(shares_BM[:, 0], height, width, generator).to(x.device)
            order = torch.randperm(members, generator=generator, device=_place(generator)).to(x.device)
            masks = _masks(shares_BM.to(x.device), corners_B4, height, width)[:, order]
            mixing, lambda_BM = masks, masks.mean(dim=(2, 3))
        else:  # The Dirichlet distribution is symmetric, so the order of the ratios does not matter.
            mixing = lambda_BM = shares_BM.to(x.device)
        return Batch(
            inputs=batch.inputs,
            targets_BM=batch.targets_BM,
            distinct=True,
            mixing=mixing,
            weights_BM=self.weights(lambda_BM),
        )

    def weights(self, lambda_BM: Float[Tensor, "batch member"]) -> Float[Tensor, "batch member"]:
        """Return loss weights ``M lambda_m^(1/r) / sum_j lambda_j^(1/r)``; they add up to M in each row."""
        rooted_BM = lambda_BM.pow(1 / self.weight_root)
        return lambda_BM.shape[1] * rooted_BM / rooted_BM.sum(dim=1, keepdim=True)

    def cut_probability_at(self, progress: Progress | None) -> float:
        """Return the probability that a step cuts at this point of training."""
        if progress is None or progress.fraction < _CUT_UNTIL:
            return self.cut_probability
        return self.cut_probability * (1 - progress.fraction) / (1 - _CUT_UNTIL)

    def _shares(self, rows: int, members: int, dtype: torch.dtype, generator: Generator | None) -> Tensor:
        if self.alpha <= 0:
            return torch.full((rows, members), 1 / members, dtype=dtype, device=_place(generator))
        alphas = torch.full((rows, members), self.alpha, dtype=dtype, device=_place(generator))
        # torch.distributions.Dirichlet calls this too, but that class takes no generator.
        shares: Tensor = torch._sample_dirichlet(alphas, generator=generator)
        return shares


def _boxes(share_B: Tensor, height: int, width: int, generator: Generator | None) -> Tensor:
    """Return a box for each row, ``(B, 4)``: top, bottom, left, right. As in CutMix, clipped at the image's border.

    Its sides are ``int(H sqrt(share))`` and ``int(W sqrt(share))``. Half of each side, rounded down, is on either side
    of the centre, which may be any pixel.
    """
    edges = []
    for size in (height, width):
        half_B = (size * share_B.sqrt()).long() // 2
        centre_B = torch.randint(size, share_B.shape, generator=generator, device=_place(generator)).to(share_B.device)
        edges += [(centre_B - half_B).clamp_min(0), (centre_B + half_B).clamp_max(size)]
    return torch.stack(edges, dim=1)


def _masks(shares_BM: Tensor, corners_B4: Tensor, height: int, width: int) -> Tensor:
    """Masks ``(B, M, H, W)``: 1 for the first input in the box, the other inputs' relative shares outside."""
    top, bottom, left, right = corners_B4.view(-1, 4, 1).unbind(dim=1)
    y, x = torch.arange(height, device=shares_BM.device), torch.arange(width, device=shares_BM.device)
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    inside = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1).to(shares_BM.dtype)
    others = shares_BM[:, 1:]
    total = others.sum(dim=1, keepdim=True)
    # If the first input's ratio is 1, the others have nothing to divide, but a clipped box leaves pixels to fill.
    others = torch.where(total > 0, others / total, 1 / others.shape[1])
    return torch.cat([inside, (1 - inside) * others[:, :, None, None]], dim=1)


def _uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator, device=_place(generator))


def _place(generator: Generator | None) -> torch.device | None:
    if generator is not None:
        return generator.device
    # Whether a step cuts depends on a random number, and meta tensors have no values.
    return torch.device("cpu") if torch.get_default_device().type == "meta" else None
