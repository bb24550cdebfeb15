"""Banks: shared parameters, and the coefficients with which the members' layers mix them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.renamed_settings import renamed_arguments
from motet.layers.parameter_roles import ParameterRoles

Shape = tuple[int, ...]


class Bank(ParameterRoles, ABC):
    """A vector of parameters that is read as templates, with each member's coefficients for each layer.

    The weight of layer l of member m is ``sum_t alpha_mlt T_t`` over the templates that the layer reads
    (MixtureEnsembles, equation 2). Reading is circular: after the last entry comes the first. So every entry is used,
    for any number of entries.

    The coefficients are never decayed (Savarese and Maire 2019; MixtureEnsembles, appendix A.1), because they set the
    scale of whole layers.

    Args:
        entries: the parameters, ``(n,)``.
        coefficients_MR: every member's coefficients, ``(M, R)``: those of the first layer, of the second, and so on.
        shapes: the shapes of the layers' weights.
        counts: the number of templates that each layer mixes; they add up to R.
        disjoint: whether the members of a layer read consecutive templates, instead of all the same.
        coefficient_lr_scale: the coefficients' learning rate as a multiple of the optimiser's.
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
        coefficient_lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.coefficient_lr_scale = coefficient_lr_scale
        self.entries = nn.Parameter(entries)
        self.coefficients_MR = nn.Parameter(coefficients_MR)
        self.shapes, self.counts, self.disjoint = tuple(shapes), tuple(counts), disjoint
        self._composed: list[Sequence[Tensor]] | None = None

    @abstractmethod
    def compose(self, entries: Tensor, coefficients_MR: Tensor) -> list[Sequence[Tensor]]:
        """Return every member's weight for every layer. It is linear in both arguments, and uses only the arguments.

        One member's coefficients are enough if all members read the same templates.
        """

    @abstractmethod
    def templates(self, layer: int, member: int) -> Float[Tensor, "template ..."]:
        """Return the templates that a member's layer mixes, ``(t, *shape)``."""

    @property
    @abstractmethod
    def summary_note(self) -> str:
        """The bank's line in `motet.summary`."""

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
        """The scale of the coefficients."""
        return {"coefficients_MR": self.coefficient_lr_scale}

    def coefficients(self, layer: int) -> Float[Tensor, "member template"]:
        """Return every member's coefficients of one layer, ``(M, t)``."""
        every: tuple[Tensor, ...] = self.coefficients_MR.split(list(self.counts), dim=1)
        return every[layer]

    def weight(self, layer: int, member: int) -> Float[Tensor, "..."]:
        """Return the weight of a member's layer; within `composed`, the one computed before."""
        if self._composed is not None:
            return self._composed[layer][member]
        with no_autocast(self.entries):
            mixed: Tensor = torch.tensordot(self.coefficients(layer)[member], self.templates(layer, member), dims=1)
            return mixed

    @contextmanager
    def composed(self) -> Iterator[None]:
        """Compute all weights at once for this context, because computing them one by one costs more, above all
        backwards.
        """
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
@renamed_arguments(coefficient_lr="coefficient_lr_scale")
class TemplateBank(Bank):
    """Layers of one shape, which read whole templates in turn (MixtureEnsembles, section 3.1).

    The bank holds ``T = ceil(n / size)`` consecutive templates; the last one is completed from the start of the first.
    A layer mixes t consecutive templates, and the next layer continues after them, circularly. Members of a layer all
    read the same templates or, if `disjoint`, consecutive ones: then corresponding layers of different members have no
    template in common as long as there are enough (section 4.2).

    Args:
        entries, coefficients_MR, shapes, counts, disjoint, coefficient_lr_scale: see `Bank`.
    """

    def __init__(
        self,
        entries: Float[Tensor, "entries"],
        coefficients_MR: Float[Tensor, "member reads"],
        *,
        shapes: Sequence[Shape],
        counts: Sequence[int],
        disjoint: bool,
        coefficient_lr_scale: float = 1.0,
    ) -> None:
        super().__init__(
            entries,
            coefficients_MR,
            shapes=shapes,
            counts=counts,
            disjoint=disjoint,
            coefficient_lr_scale=coefficient_lr_scale,
        )
        assert len(set(self.shapes)) == len(set(self.counts)) == 1
        self.size = math.prod(self.shapes[0])
        self.number = math.ceil(len(entries) / self.size)

    @staticmethod
    def choose_counts(entries: int, shapes: Sequence[Shape], *, wanted: int, readers: int) -> list[int]:
        """Return the number of templates for each layer: `wanted`, or more if that is needed to use all templates.

        Args:
            entries: the number of entries of the bank.
            shapes: the shapes of the layers' weights.
            wanted: the number of templates that a layer should mix.
            readers: the number of members that read different templates.
        """
        number = math.ceil(entries / math.prod(shapes[0]))
        return [min(number, max(wanted, math.ceil(number / (len(shapes) * readers))))] * len(shapes)

    def compose(self, entries: Tensor, coefficients_MR: Tensor) -> list[Sequence[Tensor]]:
        """Compute one matrix product: (layers members, T) coefficients, zero if not read, times (T, size) templates."""
        matrix_LMT = self.matrix(coefficients_MR)
        layers, members, _ = matrix_LMT.shape
        templates = circular(entries, self.number * self.size).view(self.number, self.size)
        weights = (matrix_LMT.flatten(0, 1) @ templates).view(layers * members, *self.shapes[0]).unbind()
        return [weights[layer * members : (layer + 1) * members] for layer in range(layers)]

    def matrix(self, coefficients_MR: Float[Tensor, "member reads"]) -> Float[Tensor, "layer member template"]:
        """Return every layer's and member's coefficient of every template, zero if it is not read."""
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
        """Return the indices of the templates that a member's layer mixes, in the order of its coefficients."""
        turn = layer * len(self.coefficients_MR) + member if self.disjoint else layer
        return [(turn * self.counts[layer] + index) % self.number for index in range(self.counts[layer])]

    def templates(self, layer: int, member: int) -> Float[Tensor, "template ..."]:
        """See `Bank.templates`."""
        every = circular(self.entries, self.number * self.size).view(self.number, *self.shapes[layer])
        return every[self.reads(layer, member)]

    @property
    def summary_note(self) -> str:
        """The number and shape of the templates."""
        shape = "x".join(map(str, self.shapes[0]))
        whole = "" if len(self.entries) % self.size == 0 else f" ({len(self.entries) / self.size:.3f} whole)"
        return f"{self.number} templates of {shape}{whole} for {len(self.shapes)} layers, {self.counts[0]} each"


def circular(entries: Float[Tensor, "entries"], length: int) -> Float[Tensor, "length"]:
    """Return the first `length` entries, repeated circularly."""
    if length == len(entries):
        return entries
    if length < 2 * len(entries):
        return torch.cat([entries, entries[: length - len(entries)]]) if length > len(entries) else entries[:length]
    return entries.repeat(math.ceil(length / len(entries)))[:length]


def no_autocast(tensor: Tensor) -> torch.autocast:
    """Switch autocast off, because mixing in half precision would round the templates' gradients once more."""
    device = tensor.device.type
    return torch.autocast(device if torch.amp.is_autocast_available(device) else "cpu", enabled=False)
