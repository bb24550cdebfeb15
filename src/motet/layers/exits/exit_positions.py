"""Exits of a model that predicts at positions of an example, such as pixels or tokens."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@final
@dataclass(frozen=True, kw_only=True)
class ExitPositions:
    """Where the features of the exits are, and how their positions become those of the model's output.

    An exit predicts at the positions of its features. If there are fewer or more of them than in the model's output, as
    in the middle of a U-Net, its outputs are interpolated linearly.

    Attributes:
        class_axis: the axis of the classes in the model's output.
        features: for each exit the axis of its features: 1 or -1.
        scales: for each exit the sizes of the model's output relative to those of the exit's features.
    """

    class_axis: int
    features: tuple[Literal[1, -1], ...] = ()
    scales: tuple[tuple[Fraction, ...], ...] = ()

    def own_output(self, output: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """Return the model's own output with its classes last."""
        return output.movedim(self.class_axis, -1)

    def as_model(self, outputs: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """Undo `own_output`."""
        return outputs.movedim(-1, self.class_axis)

    def size(self, depth: int, outputs: Float[Tensor, "rows ..."]) -> tuple[int, ...]:
        """Return the positions of the model's output for the outputs of an exit, ``(rows, *p, C)``."""
        return tuple(round(n * scale) for n, scale in zip(outputs.shape[1:-1], self.scales[depth], strict=True))


def resized(outputs: Float[Tensor, "rows ..."], size: tuple[int, ...]) -> Float[Tensor, "rows ..."]:
    """Return outputs ``(rows, *p, C)`` interpolated to positions ``(rows, *size, C)``."""
    if tuple(outputs.shape[1:-1]) == size:
        return outputs
    larger = F.interpolate(outputs.movedim(-1, 1), size=size, mode=_MODES[len(size)], align_corners=False)
    return larger.movedim(1, -1)
