"""Dropout with masks that define the members of an MC-dropout ensemble."""

from collections.abc import Sequence
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet._internal.renamed_settings import renamed_arguments
from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.parameter_roles import ParameterRoles

Masks = Literal["fixed", "fresh"]
MASKS: tuple[Masks, ...] = get_args(Masks)


@final
@renamed_arguments(samples="members")
class SampleDropout(MemberLayer):
    """Drops entries in training and at test: rows ``(M B)`` in, with separate masks for each member.

    In training every row has a new mask, as with `torch.nn.Dropout`. At test masks are either new in each pass
    (``"fresh"``) or ``"fixed"``: each member has one mask for all rows, drawn once for the shape of a row from a
    generator that depends only on the seed and the layer's index. Kept entries are multiplied by ``1 / (1 - rate)``.

    Args:
        rate: the probability of dropping an entry, in [0, 1).
        members: M.
        masks: ``"fixed"`` or ``"fresh"``, see above.
        seed: the seed of the fixed masks.
        index: the layer's index, so that layers have different masks.
        layout: says how many members run.
        axis: the axis of the rows.
        chosen: indices of the fixed masks, in the order of the generator, that belong to the members; the first M if
            None.
        active: names the member that runs, where members run one after another; None where they never do.
    """

    layout: Layout

    def __init__(
        self,
        rate: float,
        members: int,
        *,
        masks: Masks,
        seed: int,
        index: int,
        layout: Layout,
        axis: int = 0,
        chosen: Sequence[int] | None = None,
        active: ActiveMember | None = None,
    ) -> None:
        super().__init__()
        self.rate, self.members, self.masks = rate, members, masks
        self.chosen = tuple(range(members) if chosen is None else chosen)
        self.seed, self.index = seed, index
        self.layout, self.axis, self.active = layout, axis, active
        self._drawn: Tensor | None = None

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """Return rows ``(M B, ...)`` with dropped entries."""
        if self.rate == 0:
            return x
        if self.training or self.masks == "fresh":
            return F.dropout(x, self.rate, training=True)
        if self.active is not None and self.active.member is not None:
            alone = x.movedim(self.axis, 0)
            return (alone * self.fixed(alone.shape[1:], x)[self.active.member]).movedim(0, self.axis)
        running = self.layout.members or self.members
        rows = x.movedim(self.axis, 0)
        kept = self.fixed(rows.shape[1:], x)[:running]
        dropped: Tensor = (rows.unflatten(0, (running, -1)) * kept.unsqueeze(1)).flatten(0, 1)
        return dropped.movedim(0, self.axis)

    # Masks are kept for later passes, which may need gradients, so they must not be tensors of inference mode.
    @torch.inference_mode(False)
    @torch.no_grad()
    def fixed(self, shape: torch.Size, like: Tensor) -> Tensor:
        """Return every member's scaled mask for rows of `shape`, ``(M, *shape)``, with the device and dtype of
        `like`.
        """
        drawn = self._drawn
        if drawn is None or drawn.shape[1:] != shape or drawn.device != like.device or drawn.dtype != like.dtype:
            # Multiplied by a prime, so that seed 0 of layer 1 differs from seed 1 of layer 0. Drawn on the CPU for
            # every device, and one member after another, so that the first masks do not depend on the number of
            # members.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.index)
            draws = torch.stack(
                [torch.rand(shape, generator=generator, device="cpu") for _ in range(max(self.chosen) + 1)]
            )
            draws = draws[list(self.chosen)]
            drawn = ((draws >= self.rate) / (1 - self.rate)).to(like)
            self._drawn = drawn
        return drawn

    def member(self, member: int) -> nn.Module:
        """The member's mask, for rows ``B``; with fresh masks, a layer that draws new masks."""
        return _OneSample(self, member).train(self.training)

    def subset(self, indices: Sequence[int]) -> "SampleDropout":
        """The chosen members, with their masks."""
        chosen = [self.chosen[index] for index in indices]
        own = SampleDropout(
            self.rate,
            len(chosen),
            masks=self.masks,
            seed=self.seed,
            index=self.index,
            layout=self.layout,
            axis=self.axis,
            chosen=chosen,
            active=self.active,
        )
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"rate={self.rate}, members={self.members}, masks={self.masks!r}"


@final
class _OneSample(ParameterRoles):
    def __init__(self, dropout: SampleDropout, sample: int) -> None:
        super().__init__()
        # A copy in a tuple: as a registered submodule it would count as a layer of all members again.
        self._of = (dropout,)
        self.sample = sample
        self._mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        (dropout,) = self._of
        if dropout.rate == 0:
            return x
        if self.training or dropout.masks == "fresh":
            return F.dropout(x, dropout.rate, training=True)
        mask, rows = self._mask, x.movedim(dropout.axis, 0)
        if mask is None or mask.shape != rows.shape[1:] or mask.device != x.device or mask.dtype != x.dtype:
            mask = self._mask = dropout.fixed(rows.shape[1:], x)[self.sample].clone()
            dropout._drawn = None  # the other members' masks are not needed here
        dropped: Tensor = rows * mask
        return dropped.movedim(0, dropout.axis)
