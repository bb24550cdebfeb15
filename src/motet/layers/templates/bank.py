"""Parameters that the layers of all members are mixtures of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.layers.parameter_roles import ParameterRoles

Shape = tuple[int, ...]


class Bank(ParameterRoles, ABC):
    """A vector of parameters that is read as templates, and each member's coefficients for each layer.

    The weight of layer l of member m is ``sum_t alpha_mlt T_t`` over the templates that the layer reads
    (MixtureEnsembles, equation 2). Reading goes round: behind the last entry comes the first. So every entry is used,
    whatever their number.

    The coefficients are never decayed (Savarese and Maire 2019; MixtureEnsembles, appendix A.1): they set the scale of
    whole layers.

    Args:
        entries: the parameters, ``(n,)``.
        coefficients_MR: every member's coefficients, ``(M, R)``: those of the first layer, of the second, and so on.
        shapes: the layers' weights' shapes.
        counts: how many templates each layer mixes; they add up to R.
        disjoint: whether the members of a layer read one after the other, rather than all the same.
        coefficient_lr: the coefficients' learning rate as a multiple of the optimiser's.
    """

    undecayed_parameters = frozenset({"coefficients_MR"})
    member_parameters = frozenset({"coefficients_MR"})

    def __init__(
        self,
        entries: Float[Tensor, "entries"],
        coefficients_MR: Float[Tensor, "member reads"],
        *,
        shapes: Sequence[Shape],
        counts: Sequence[int],
        disjoint: bool,
        coefficient_lr: float = 1.0,
    ) -> None:
        super().__init__()
        self.coefficient_lr = coefficient_lr
        self.entries = nn.Parameter(entries)
        self.coefficients_MR = nn.Parameter(coefficients_MR)
        self.shapes, self.counts, self.disjoint = tuple(shapes), tuple(counts), disjoint
        self._composed: list[Sequence[Tensor]] | None = None

    @abstractmethod
    def compose(self, entries: Tensor, coefficients_MR: Tensor) -> list[Sequence[Tensor]]:
        """For every layer, every member's weight: linear in both arguments, and free of what the bank itself holds.

        Fewer members' coefficients will do where members read the same.
        """

    @abstractmethod
    def templates(self, layer: int, member: int) -> Float[Tensor, "template ..."]:
        """What a member's layer mixes, ``(t, *shape)``."""

    @property
    @abstractmethod
    def summary_note(self) -> str:
        """What `motet.summary` says about the bank."""

    @property
    def learning_rate_scales(self) -> Mapping[str, float]:
        """Of the coefficients."""
        return {"coefficients_MR": self.coefficient_lr}

    def coefficients(self, layer: int) -> Float[Tensor, "member template"]:
        """Every member's coefficients of one layer, ``(M, t)``."""
        every: tuple[Tensor, ...] = self.coefficients_MR.split(list(self.counts), dim=1)
        return every[layer]

    def weight(self, layer: int, member: int) -> Float[Tensor, "..."]:
        """The weight of a member's layer; the one made beforehand within `composed`."""
        if self._composed is not None:
            return self._composed[layer][member]
        with no_autocast(self.entries):
            mixed: Tensor = torch.tensordot(self.coefficients(layer)[member], self.templates(layer, member), dims=1)
            return mixed

    @contextmanager
    def composed(self) -> Iterator[None]:
        """Within this context all weights are there: made at once, for one by one costs more, backwards above all."""
        with no_autocast(self.entries):
            self._composed = self.compose(self.entries, self.coefficients_MR)
        try:
            yield
        finally:
            self._composed = None

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return self.summary_note


@final
class TemplateBank(Bank):
    """Layers of one shape, which read whole templates in turn (MixtureEnsembles, section 3.1).

    The bank holds ``T = ceil(n / size)`` templates, one behind the other; what the last one lacks it takes from the
    start of the first. A layer mixes t templates in a row, and the next layer goes on where it stopped, round and
    round. Members of a layer all read the same, or, `disjoint`, each those behind the other's: then corresponding
    layers of different members have no template in common as long as there are enough (section 4.2).
    """

    def __init__(
        self,
        entries: Float[Tensor, "entries"],
        coefficients_MR: Float[Tensor, "member reads"],
        *,
        shapes: Sequence[Shape],
        counts: Sequence[int],
        disjoint: bool,
        coefficient_lr: float = 1.0,
    ) -> None:
        super().__init__(
            entries, coefficients_MR, shapes=shapes, counts=counts, disjoint=disjoint, coefficient_lr=coefficient_lr
        )
        assert len(set(self.shapes)) == len(set(self.counts)) == 1
        self.size = math.prod(self.shapes[0])
        self.number = math.ceil(len(entries) / self.size)

    @staticmethod
    def choose_counts(entries: int, shapes: Sequence[Shape], *, wanted: int, readers: int) -> list[int]:
        """Templates for each layer: as many as wanted, or as many more as it takes to have all of them read."""
        number = math.ceil(entries / math.prod(shapes[0]))
        return [min(number, max(wanted, math.ceil(number / (len(shapes) * readers))))] * len(shapes)

    def compose(self, entries: Tensor, coefficients_MR: Tensor) -> list[Sequence[Tensor]]:
        """One matrix product: (layers members, T) coefficients, zero where not read, times (T, size) templates."""
        matrix_LMT = self.matrix(coefficients_MR)
        layers, members, _ = matrix_LMT.shape
        templates = circular(entries, self.number * self.size).view(self.number, self.size)
        weights = (matrix_LMT.flatten(0, 1) @ templates).view(layers * members, *self.shapes[0]).unbind()
        return [weights[layer * members : (layer + 1) * members] for layer in range(layers)]

    def matrix(self, coefficients_MR: Float[Tensor, "member reads"]) -> Float[Tensor, "layer member template"]:
        """Every layer's and member's coefficient of every template, zero where it is not read."""
        members, layers, count = len(coefficients_MR), len(self.shapes), self.counts[0]
        device = coefficients_MR.device
        turns_LM = torch.arange(layers, device=device).unsqueeze(1)
        if self.disjoint:
            turns_LM = turns_LM * members + torch.arange(members, device=device)
        reads_LMT = (turns_LM.unsqueeze(2) * count + torch.arange(count, device=device)) % self.number
        own_LMT = coefficients_MR.unflatten(1, (layers, count)).transpose(0, 1)
        matrix_LMT = coefficients_MR.new_zeros(layers, members, self.number)
        return matrix_LMT.scatter(2, reads_LMT.expand(-1, members, -1), own_LMT)

    def reads(self, layer: int, member: int) -> list[int]:
        """Which templates a member's layer mixes, in the order of its coefficients."""
        turn = layer * len(self.coefficients_MR) + member if self.disjoint else layer
        return [(turn * self.counts[layer] + index) % self.number for index in range(self.counts[layer])]

    def templates(self, layer: int, member: int) -> Float[Tensor, "template ..."]:
        """See `Bank.templates`."""
        every = circular(self.entries, self.number * self.size).view(self.number, *self.shapes[layer])
        return every[self.reads(layer, member)]

    @property
    def summary_note(self) -> str:
        """Number and shape of the templates."""
        shape = "x".join(map(str, self.shapes[0]))
        whole = "" if len(self.entries) % self.size == 0 else f" ({len(self.entries) / self.size:.3f} whole)"
        return f"{self.number} templates of {shape}{whole} for {len(self.shapes)} layers, {self.counts[0]} each"


def circular(entries: Float[Tensor, "entries"], length: int) -> Float[Tensor, "length"]:
    """The first `length` entries, going round as often as it takes."""
    if length == len(entries):
        return entries
    if length < 2 * len(entries):
        return torch.cat([entries, entries[: length - len(entries)]]) if length > len(entries) else entries[:length]
    return entries.repeat(math.ceil(length / len(entries)))[:length]


def no_autocast(tensor: Tensor) -> torch.autocast:
    """Mixing in half precision would round the templates' gradients once more than a network's own weights."""
    device = tensor.device.type
    return torch.autocast(device if torch.amp.is_autocast_available(device) else "cpu", enabled=False)
