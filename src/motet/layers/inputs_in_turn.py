"""Separate inputs for the members of a network whose code uses the batch size of its input."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs, NestedInputs
from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.layout import Layout


class _AllReadError(BaseException):  # not an Exception: a model's own `except Exception` must not stop it
    """Raised when the last input layer has read a member's input."""


@final
class InputTurn:
    """Collects what reaches the input layers for one member after another.

    Attributes:
        kept: what each input layer has read, by its number; None if members are not run in turn.
        collects: whether this is a pass that ends at the last input layer.
    """

    def __init__(self, readers: int) -> None:
        self.readers = readers
        self.kept: dict[int, list[Tensor]] | None = None
        self.collects = False

    def keep(self, reader: int, x: Tensor) -> None:
        """Keep what an input layer reads for one member.

        Raises:
            _AllReadError: if all input layers have read it.
        """
        assert self.kept is not None
        rows = self.kept.setdefault(reader, [])
        rows.append(x)
        if len(self.kept) == self.readers and all(len(each) == len(rows) for each in self.kept.values()):
            raise _AllReadError


class ReadsInTurn(nn.Module):
    """A layer that reads all members' inputs: ``(M B, ...)`` rows at once, or one member's after another."""

    turn: InputTurn | None = None
    reader: int = 0

    def collected(self, x: Tensor) -> Tensor | None:
        """Return all members' rows, ``(M B, ...)``; None in a pass that only collects one member's rows.

        Args:
            x: what the layer reads in this pass.
        """
        turn = self.turn
        if turn is None or turn.kept is None:
            return x
        if turn.collects:
            turn.keep(self.reader, x)
            return None
        return torch.cat(turn.kept[self.reader])


@final
class InputsInTurn(MemberLayer):
    """A network that runs once for each member up to its input layers, and then once with all that they have read.

    In the last pass everything else, such as the batch size that the model's code uses, is that of B rows. Separate
    inputs therefore work for models that create class tokens, or reshape, by the batch size of their input. Batch norms
    before the input layers see one member's rows at a time.

    Args:
        network: the network with input layers that are `ReadsInTurn`.
        members: M.
        layout: says whether the rows are ``(M B)``, one input for each member, or ``B``, the same for all.
        joined: the names of truth values, such as padding masks, that no input layer reads: in the last pass a position
            counts if it counts for any member.
    """

    layout: Layout

    def __init__(self, network: nn.Module, members: int, *, layout: Layout, joined: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.members, self.layout, self.joined = network, members, layout, tuple(joined)
        readers = [each for each in network.modules() if isinstance(each, ReadsInTurn)]
        self.turn = InputTurn(len(readers))
        for index, each in enumerate(readers):
            each.turn, each.reader = self.turn, index

    def forward(self, x: Inputs) -> Float[Tensor, "rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, ...)`` out, member-major."""
        return self.with_rest_of(x, 0)

    def with_rest_of(self, x: Inputs, member: int) -> Tensor:
        """Return the outputs, with what the model reads elsewhere than in its input layers from this member's input.

        Args:
            x: see `forward`.
            member: the index of the member.

        Raises:
            InputError: if an input layer does not run.
        """
        if not self.layout.distinct or self.members == 1:
            out: Tensor = self.network(x)
            return out
        parts = x.chunk(self.members)
        self.turn.kept = {}
        try:
            self.turn.collects = True
            for part in parts:
                try:
                    self.network(part)
                except _AllReadError:
                    continue
                raise InputError(
                    "every layer that reads the members' inputs must run in each forward pass",
                    got="a pass in which one of them did not run",
                    fix="Pass the same tensors as in the example, or name fewer layers with first=",
                )
            self.turn.collects = False
            out = self.network(self._joined(parts, member))
        finally:
            self.turn.kept, self.turn.collects = None, False
        return out

    def _joined(self, parts: Sequence[Inputs], member: int) -> Inputs:
        chosen = parts[member]
        if not self.joined or not isinstance(chosen, NestedInputs):
            return chosen
        tensors = list(chosen.tensors)
        for index, name in enumerate(chosen.names):
            if name in self.joined:
                each = [part.tensors[index] for part in parts if isinstance(part, NestedInputs)]
                tensors[index] = torch.stack(each).amax(dim=0)
        return NestedInputs(chosen.structure, tuple(tensors), batch_axes=chosen.batch_axes)

    def member(self, member: int) -> "InputsInTurn":
        """Itself: its layers are replaced by those of the member. A shared input needs no turns."""
        return self

    def subset(self, indices: Sequence[int]) -> "InputsInTurn":
        """Itself: its layers are replaced by those of the members."""
        return self
