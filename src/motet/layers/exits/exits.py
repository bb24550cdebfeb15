"""A network that predicts at several depths."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.exits.depth_weights import DepthWeights
from motet.layers.exits.exit_positions import ExitPositions, resized
from motet.layers.multi_head import MultiHead
from motet.likelihoods import Categorical, Likelihood


@final
class Exits(MemberLayer):
    """A network with exits at named points before its own output, which is the deepest exit.

    The output of a point is passed on through the network unchanged, and is also read by the exit's head.

    Args:
        network: maps rows to rows ``(M B, C)``.
        points: names of the network's submodules, in the order in which they run; each runs once in a pass.
        heads: for each point, a module that maps its output to rows ``(M B, C)``; or, with `output`, to the input of
            that layer.
        output: the name of the network's output layer, if all depths share it; None if heads have their own.
        weights: the members' weights over the ``D = len(points) + 1`` depths.
        likelihood: the distribution whose natural parameters the outputs are, used to average them for one member
            (`member`); `Categorical` if None.
        skip_below: in evaluation, a depth to which every member gives less weight is left out, and layers that only
            such depths need do not run. The other weights are rescaled to add up to 1.
        written: the `points` whose output the network later changes in place; their heads get a copy.
        shares: for each point the fraction of the layers before it, which summaries and evaluations show; if not given,
            the points are taken to be at equal distances.
        positions: for a network that predicts at positions, where they are; None for rows ``(M B, C)``.
    """

    def __init__(
        self,
        network: nn.Module,
        points: Sequence[str],
        heads: Sequence[nn.Module],
        weights: DepthWeights,
        *,
        likelihood: Likelihood | None = None,
        output: str | None = None,
        skip_below: float = 0.0,
        written: Collection[str] = (),
        shares: Sequence[float] | None = None,
        positions: ExitPositions | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.points = tuple(points)
        self.heads = nn.ModuleList(heads)
        self.weights = weights
        self.likelihood = likelihood or Categorical()
        self.output = output
        self.skip_below = skip_below
        self.written = frozenset(written)
        self.positions = positions
        depths = len(self.points) + 1
        self.shares = tuple(depth / depths for depth in range(1, depths)) if shares is None else tuple(shares)
        self._kept: tuple[Tensor, int, tuple[int, ...]] | None = None

    @property
    def summary_note(self) -> str:
        """The places of the exits."""
        places = [f"{name} ({share:.0%} of the layers)" for name, share in zip(self.points, self.shares, strict=True)]
        return f"exits after {', '.join(places)} and at the end" if places else ""

    def forward(
        self, x: Inputs, depths: tuple[int, ...] | None = None
    ) -> Float[Tensor, "out_rows depth *positions out"]:
        """Return the outputs of every depth, or of those in `depths`, the deepest last: ``(M B, D, C)``; with positions
        ``(M B, D, *P, C)``.

        The network runs up to the deepest of `depths`.
        """
        wanted = tuple(range(len(self.points) + 1)) if depths is None else depths
        return torch.stack(_read_out(self, partial(self.network, x), wanted), dim=1)

    def kept(self) -> tuple[int, ...] | None:
        """The depths that a prediction needs: None for all, as always in training.

        It is computed at the first access after a change of mode or weights, and not in every pass, because reading
        weights synchronises with an accelerator.
        """
        logits_MD = self.weights.logits_MD
        if self.training or self.skip_below == 0 or logits_MD.is_meta:
            return None
        version = -1 if logits_MD.is_inference() else logits_MD._version
        # The tensor is compared too, because loading a state may replace it by another one with its own version.
        if self._kept is None or version < 0 or self._kept[0] is not logits_MD or self._kept[1] != version:
            with torch.no_grad():
                largest = self.weights().exp().amax(dim=0)
                largest[largest.argmax()] = 1.0  # at least one depth is kept for any bound
                self._kept = logits_MD, version, tuple((largest >= self.skip_below).nonzero().flatten().tolist())
        return self._kept[2]

    def log_weights(self, depths: tuple[int, ...] | None = None) -> Float[Tensor, "member depth"]:
        """Return the log of the members' weights over all depths, or over those in `depths`; they add up to 1."""
        log_weights_MD: Tensor = self.weights()
        return log_weights_MD if depths is None else log_weights_MD[:, list(depths)].log_softmax(dim=-1)

    def train(self, mode: bool = True) -> "Exits":
        """As in every module; the kept depths are computed again when the mode changes."""
        if mode != self.training:
            self._kept = None
        super().train(mode)
        return self

    @torch.no_grad()
    def member(self, member: int) -> nn.Module:
        """Return the network that computes one member's weighted average over the depths, ``(B, C)``:
        log-probabilities.
        """
        return _OneMember(self, member)

    def subset(self, indices: Sequence[int]) -> "Exits":
        """Itself: the network, the heads and the weights are those of the members."""
        return self

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        shared = "" if self.output is None else f", output={self.output!r}"
        return f"points={self.points}{shared}" + (f", skip_below={self.skip_below}" if self.skip_below else "")


@final
class _OneMember(nn.Module):
    """One member's average over depths. `member_network` replaces the member layers inside it."""

    log_weights_D: Tensor

    def __init__(self, exits: Exits, member: int) -> None:
        super().__init__()
        self.network, self.heads = exits.network, exits.heads
        self.points, self.output, self.written = exits.points, exits.output, exits.written
        self.likelihood, self.positions = exits.likelihood, exits.positions
        depths = exits.kept()
        self.depths = tuple(range(len(self.points) + 1)) if depths is None else depths
        self.register_buffer("log_weights_D", exits.log_weights(depths)[member].clone())
        self.training = exits.training

    def forward(self, *x: Any, **named: Any) -> Float[Tensor, "batch *out"]:
        """Return natural parameters ``(B, C)`` for inputs ``(B, ...)``, passed as the model itself takes them; with
        positions in the shape that the model has.
        """
        found = _read_out(self, partial(self.network, *x, **named), self.depths)
        outputs_BDC = torch.stack(found, dim=1 if self.positions is None else -2)
        average = self.likelihood.average(outputs_BDC, self.log_weights_D.to(outputs_BDC.dtype))
        return average if self.positions is None else self.positions.as_model(average)


def read_exit(taps: Exits | _OneMember, depth: int, output: Tensor) -> Tensor:
    """Return the rows ``(M B, C)`` of an exit, or ``(M B, *P, C)`` at the positions of the network's output.

    Args:
        taps: the network with exits.
        depth: the index of the exit.
        output: the output of the network's point.
    """
    rows: Tensor = taps.heads[depth](output)
    if taps.positions is not None:
        rows = _at_positions(taps, taps.positions, depth, rows)
        return resized(rows, taps.positions.size(depth, rows))
    if taps.output is not None:
        layer = taps.network.get_submodule(taps.output)
        weight = (layer.layer if isinstance(layer, MultiHead) else layer).weight
        assert isinstance(weight, Tensor)
        # An output convolution reads one position: features (B, F) become (B, F, 1, 1) for it.
        rows = layer(rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))).flatten(1)
    return rows


def read_output(taps: Exits | _OneMember, output: Tensor) -> Tensor:
    """Return the rows of the deepest exit, the network's own output, in the form of `read_exit`."""
    return output if taps.positions is None else taps.positions.own_output(output)


def _at_positions(taps: Exits | _OneMember, positions: ExitPositions, depth: int, rows: Tensor) -> Tensor:
    """Return the outputs at the positions of an exit's features, ``(M B, *p, C)``."""
    if taps.output is None:  # the head makes outputs, with their classes last
        return rows
    layer = taps.network.get_submodule(taps.output)
    weight = (layer.layer if isinstance(layer, MultiHead) else layer).weight
    assert isinstance(weight, Tensor)
    axis = -1 if weight.ndim == 2 else 1
    outputs: Tensor = layer(rows.movedim(positions.features[depth], axis))
    return outputs.movedim(axis, -1)


class _EnoughError(Exception):
    """Raised when the deepest requested exit has been read."""


def _read_out(taps: Exits | _OneMember, run: Callable[[], Tensor], depths: Sequence[int]) -> list[Tensor]:
    """Return the outputs of the exits at `depths`, in that order; `run` runs the network up to the deepest."""
    reading = _Reading(taps, last=depths[-1])
    # Hooks for this pass only: permanent hooks would be in every copy of the network that a user makes.
    handles = [
        taps.network.get_submodule(taps.points[depth]).register_forward_hook(partial(reading.at_point, depth))
        for depth in depths
        if depth < len(taps.points)
    ]
    try:
        with suppress(_EnoughError):
            reading.exits[len(taps.points)] = read_output(taps, run())
    finally:
        for handle in handles:
            handle.remove()
    for depth in depths:
        if depth not in reading.exits:
            raise InputError(
                "every module named in the setting exits must run in each forward pass",
                got=f"{taps.points[depth]!r}, which did not run",
                fix="Pass exits=(...) with modules that always run",
            )
    found = [reading.exits[depth] for depth in depths]
    if taps.positions is None:
        return found
    # If the network has run to its end, the size of its output is known and not only estimated from the features'.
    return [resized(outputs, tuple(found[-1].shape[1:-1])) for outputs in found]


@final
class _Reading:
    """The outputs of the exits in one pass, up to the one at depth `last`."""

    def __init__(self, taps: Exits | _OneMember, *, last: int) -> None:
        self.taps, self.last = taps, last
        self.exits: dict[int, Tensor] = {}

    def at_point(self, depth: int, _: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        taps = self.taps
        self.exits[depth] = read_exit(taps, depth, output)
        if depth == self.last:
            raise _EnoughError
        return output.clone() if taps.points[depth] in taps.written and torch.is_grad_enabled() else None
