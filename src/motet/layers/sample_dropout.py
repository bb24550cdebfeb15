"""Dropout whose masks are samples of a network."""

from collections.abc import Sequence
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.parameter_roles import ParameterRoles

Masks = Literal["fixed", "fresh"]
MASKS: tuple[Masks, ...] = get_args(Masks)


@final
class SampleDropout(MemberLayer):
    """Drops entries in training and at test: rows ``(S B)`` in, each sample's with masks of its own.

    In training every row has a new mask, as with `torch.nn.Dropout`. At test masks are either as new (``"fresh"``),
    or ``"fixed"``: sample s has one mask for all rows, drawn once for the shape of a row from a generator that the
    seed and the layer's number alone decide. What is kept is scaled by ``1 / (1 - rate)``.

    Args:
        rate: the probability of dropping an entry, in [0, 1).
        samples: S.
        masks: see above.
        seed: of the fixed masks.
        index: the layer's number, so that layers differ.
        layout: says how many samples run.
        chosen: which of the fixed masks, by their place in the generator's order, are the samples'; the first S if
            None.
    """

    layout: Layout

    def __init__(
        self,
        rate: float,
        samples: int,
        *,
        masks: Masks,
        seed: int,
        index: int,
        layout: Layout,
        chosen: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.rate, self.samples, self.masks = rate, samples, masks
        self.chosen = tuple(range(samples) if chosen is None else chosen)
        self.seed, self.index = seed, index
        self.layout = layout
        self._drawn: Tensor | None = None

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """``(S B, ...)``, dropped."""
        if self.rate == 0:
            return x
        if self.training or self.masks == "fresh":
            return F.dropout(x, self.rate, training=True)
        running = self.layout.members or self.samples
        kept = self.fixed(x.shape[1:], x)[:running]
        dropped: Tensor = (x.unflatten(0, (running, -1)) * kept.unsqueeze(1)).flatten(0, 1)
        return dropped

    # Kept for later passes, which may want gradients: inference mode's own tensors could not be used there.
    @torch.inference_mode(False)
    @torch.no_grad()
    def fixed(self, shape: torch.Size, like: Tensor) -> Tensor:
        """Every sample's scaled mask for rows of `shape`, ``(S, *shape)``, with the device and type of `like`."""
        drawn = self._drawn
        if drawn is None or drawn.shape[1:] != shape or drawn.device != like.device or drawn.dtype != like.dtype:
            # Multiplied by a prime: seed 0 of layer 1 is not seed 1 of layer 0. Drawn on the CPU whatever the device,
            # and sample by sample, so that the first samples are the same whatever their number.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.index)
            draws = torch.stack([torch.rand(shape, generator=generator) for _ in range(max(self.chosen) + 1)])
            draws = draws[list(self.chosen)]
            drawn = ((draws >= self.rate) / (1 - self.rate)).to(like)
            self._drawn = drawn
        return drawn

    def member(self, member: int) -> nn.Module:
        """The sample's own mask alone, for rows ``B``; with fresh masks, a sample like any other."""
        return _OneSample(self, member).train(self.training)

    def subset(self, indices: Sequence[int]) -> "SampleDropout":
        """The chosen samples, with the masks that they had."""
        chosen = [self.chosen[index] for index in indices]
        own = SampleDropout(
            self.rate,
            len(chosen),
            masks=self.masks,
            seed=self.seed,
            index=self.index,
            layout=self.layout,
            chosen=chosen,
        )
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"rate={self.rate}, samples={self.samples}, masks={self.masks!r}"


@final
class _OneSample(ParameterRoles):
    def __init__(self, dropout: SampleDropout, sample: int) -> None:
        super().__init__()
        # A copy under a tuple: registered, it would be taken for a layer of all members again.
        self._of = (dropout,)
        self.sample = sample
        self._mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        (dropout,) = self._of
        if dropout.rate == 0:
            return x
        if self.training or dropout.masks == "fresh":
            return F.dropout(x, dropout.rate, training=True)
        mask = self._mask
        if mask is None or mask.shape != x.shape[1:] or mask.device != x.device or mask.dtype != x.dtype:
            mask = self._mask = dropout.fixed(x.shape[1:], x)[self.sample].clone()
            dropout._drawn = None  # the other samples' masks are not needed here
        dropped: Tensor = x * mask
        return dropped
