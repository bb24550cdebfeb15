"""How a batch is dealt to members whose inputs are mixed: MixMo (Rame, Sun & Cord, ICCV 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.grouping.base import Grouping
from motet.grouping.permuted import Permuted
from motet.types import Batch, Progress

# From this part of training on, cuts become rarer [mixmo-pytorch, RATIO_EPOCH_DECREASE].
_CUT_UNTIL = 11 / 12


@final
@dataclass(frozen=True, kw_only=True)
class Mixed(Grouping):
    """Each member sees its own permutation of the repeated batch, and the M inputs of a row are mixed in shares.

    The shares of each row are drawn from a Dirichlet distribution. A step mixes linearly, each input by its share
    everywhere, or, with `cut_probability`, cuts: one input fills a box whose nominal area is its share, and the others
    are mixed linearly outside. Which member's input is in the box is drawn once for the step, box and shares for each
    row. Losses are weighted with ``w_m = M lambda_m^(1/r) / sum_j lambda_j^(1/r)``, where lambda are the shares that
    really came about: the mean of a mask, whose box may be clipped at the border.

    Random numbers are drawn where the generator lives, so that a seed gives the same batch on every device.

    Attributes:
        batch_repetition, input_repetition: as in `motet.grouping.Permuted`, which deals the examples. (The authors'
            permutation of member 0's order is, for each member, such a permutation too.)
        alpha: of the symmetric Dirichlet distribution; shares are equal, 1/M, if it is 0 or less.
        cut_probability: of a step that cuts: constant until 11/12 of training, then falling linearly to 0. Constant
            where the progress is not known.
        weight_root: r; 1 weights losses by the shares, and more evens the weights out.
    """

    # The authors' loader reads, and so augments, every repetition of an example anew [mixmo-pytorch, loaders].
    augments_dealt: ClassVar[bool] = True

    batch_repetition: int = 4
    input_repetition: float = 0.0
    alpha: float = 2.0
    cut_probability: float = 0.5
    weight_root: float = 3.0

    def __post_init__(self) -> None:
        _ = self._permuted  # checks the two repetitions
        if not math.isfinite(self.alpha):
            raise InputError(
                "alpha must be a finite number", got=f"alpha={self.alpha}", fix="Pass 2.0, or 0.0 for equal shares"
            )
        if not 0 <= self.cut_probability <= 1:
            raise InputError(
                "cut_probability must lie in [0, 1]",
                got=f"cut_probability={self.cut_probability}",
                fix="Pass 0 to mix linearly always, 1 to cut always",
            )
        if not (self.weight_root > 0 and math.isfinite(self.weight_root)):
            raise InputError(
                "weight_root must be a positive, finite number",
                got=f"weight_root={self.weight_root}",
                fix="Pass 1 to weight losses by the shares, 3 for the paper's",
            )

    @property
    def _permuted(self) -> Permuted:
        return Permuted(batch_repetition=self.batch_repetition, input_repetition=self.input_repetition)

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Rows ``(u b, M, ...)`` with their shares, ``(u b, M)`` or ``(u b, M, H, W)``, and loss weights ``(u b, M)``.

        One member has nothing to be mixed with: its batch has neither.

        Raises:
            InputError: for cuts of inputs that are no images ``(u, channels, H, W)``.
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
        else:  # the Dirichlet distribution is symmetric: in random order the shares would be no other
            mixing = lambda_BM = shares_BM.to(x.device)
        return Batch(
            inputs=batch.inputs,
            targets_BM=batch.targets_BM,
            distinct=True,
            mixing=mixing,
            weights_BM=self.weights(lambda_BM),
        )

    def weights(self, lambda_BM: Float[Tensor, "batch member"]) -> Float[Tensor, "batch member"]:
        """Loss weights ``M lambda_m^(1/r) / sum_j lambda_j^(1/r)``; they add up to M in each row."""
        rooted_BM = lambda_BM.pow(1 / self.weight_root)
        return lambda_BM.shape[1] * rooted_BM / rooted_BM.sum(dim=1, keepdim=True)

    def cut_probability_at(self, progress: Progress | None) -> float:
        """The probability that a step cuts, now."""
        if progress is None or progress.fraction < _CUT_UNTIL:
            return self.cut_probability
        return self.cut_probability * (1 - progress.fraction) / (1 - _CUT_UNTIL)

    def _shares(self, rows: int, members: int, dtype: torch.dtype, generator: Generator | None) -> Tensor:
        if self.alpha <= 0:
            return torch.full((rows, members), 1 / members, dtype=dtype)
        alphas = torch.full((rows, members), self.alpha, dtype=dtype, device=_place(generator))
        # What torch.distributions.Dirichlet calls; that class takes no generator.
        shares: Tensor = torch._sample_dirichlet(alphas, generator=generator)
        return shares


def _boxes(share_B: Tensor, height: int, width: int, generator: Generator | None) -> Tensor:
    """A box for each row: ``(B, 4)`` top, bottom, left, right. CutMix's, clipped where it leaves the image.

    Its sides are ``int(H sqrt(share))`` and ``int(W sqrt(share))``, of which half, rounded down, lies on either side
    of its centre, which may be any pixel.
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
    # A share of 1 for the first input leaves nothing to divide, but a clipped box leaves pixels to fill.
    others = torch.where(total > 0, others / total, 1 / others.shape[1])
    return torch.cat([inside, (1 - inside) * others[:, :, None, None]], dim=1)


def _uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator, device=_place(generator))


def _place(generator: Generator | None) -> torch.device | None:
    return None if generator is None else generator.device
