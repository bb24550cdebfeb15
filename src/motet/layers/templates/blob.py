"""A blob: one vector of parameters for layers of all shapes."""

import math
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet._internal.renamed_settings import renamed_arguments
from motet.layers.templates.bank import Bank, Shape, circular

Filling = Literal["permute", "tile", "interpolate"]
"""How layers larger than the blob are filled, see `ParameterBlob`."""


@final
@renamed_arguments(coefficient_lr="coefficient_lr_scale")
class ParameterBlob(Bank):
    """Layers of any shapes, which read one vector in sequence (MixtureEnsembles, section 5.1).

    A layer reads t consecutive templates of its own shape, and the next layer continues after them, circularly. A layer
    that is larger than the blob is filled in one of three ways. ``"permute"``: the vector is repeated within a
    template, and each repetition after the first is another permutation of it. ``"tile"``: the vector is repeated in
    the same order, as in the reference code. If its length and that of a row of the weight have a common factor, rows
    of the weight are then equal, and so are outputs: 320 entries give 5 different rows of 64. ``"interpolate"``: a
    weight with fewer outputs and inputs is read, enlarged bilinearly (Plummer et al. 2022) and scaled to the variance
    of its entries. Each position of a kernel is enlarged separately, because neighbouring positions in memory are not
    neighbours in the kernel. If not even one kernel fits, it is permuted.

    Args:
        entries, coefficients_MR, shapes, counts, disjoint, coefficient_lr_scale: see `Bank`.
        filling: how layers larger than the blob are filled.
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
        filling: Filling = "permute",
    ) -> None:
        super().__init__(
            entries,
            coefficients_MR,
            shapes=shapes,
            counts=counts,
            disjoint=disjoint,
            coefficient_lr_scale=coefficient_lr_scale,
        )
        self.filling = filling
        self.read_shapes = tuple(read_shape(shape, len(entries), filling) for shape in self.shapes)
        readers = len(coefficients_MR) if disjoint else 1
        passes = [math.ceil(readers * math.prod(shape) / len(entries)) for shape in self.read_shapes]
        # Not buffers, because they can be made again; on the CPU, and then kept on the device of the entries.
        cpu = torch.device("cpu")
        self._orders = {
            (each, cpu): permutations(len(entries), each) for layer, each in enumerate(passes) if self._permutes(layer)
        }

    @staticmethod
    def choose_counts(
        entries: int, shapes: Sequence[Shape], *, wanted: int, readers: int, filling: Filling = "permute"
    ) -> list[int]:
        """Return the number of templates for each layer: `wanted` if possible, or more until every entry is read.

        Args:
            entries: the number of entries of the blob.
            shapes: the shapes of the layers' weights.
            wanted: the number of templates that a layer should mix.
            readers: the number of members that read different templates.
            filling: how layers larger than the blob are filled.
        """
        sizes = [math.prod(read_shape(shape, entries, filling)) for shape in shapes]
        most = [math.ceil(entries / math.prod(shape)) for shape in shapes]
        counts = [min(wanted, own) for own in most]
        while (missing := entries - readers * sum(c * s for c, s in zip(counts, sizes, strict=True))) > 0:
            growing = [index for index, own in enumerate(most) if counts[index] < own]
            if not growing:  # one layer, enlarged from slightly fewer entries than there are
                break
            more = max(1, missing // (readers * sum(sizes[index] for index in growing)))
            for index in growing:
                counts[index] = min(counts[index] + more, most[index])
        return counts

    def compose(self, entries: Tensor, coefficients_MR: Tensor) -> list[Sequence[Tensor]]:
        """Read every layer's templates in one pass over the vector, and mix them with one matrix product per layer."""
        readers = len(coefficients_MR) if self.disjoint else 1
        lengths = [
            readers * count * math.prod(shape) for count, shape in zip(self.counts, self.read_shapes, strict=True)
        ]
        parts = circular(entries, sum(lengths)).split(lengths)
        starts = [sum(lengths[:layer]) for layer in range(len(lengths))]
        coefficients = coefficients_MR.split(list(self.counts), dim=1)
        weights: list[Sequence[Tensor]] = []
        for layer, (plain, own_MT) in enumerate(zip(parts, coefficients, strict=True)):
            part = self._permuted(entries, starts[layer], lengths[layer]) if self._permutes(layer) else plain
            if readers == 1:
                mixed = own_MT @ part.view(self.counts[layer], -1)
            else:
                mixed = torch.bmm(own_MT.unsqueeze(1), part.view(readers, self.counts[layer], -1)).squeeze(1)
            weights.append(self._filled(mixed, layer).unbind())
        return weights

    def reads(self, layer: int, member: int) -> range:
        """Return the positions that a member's layer reads. Position p is entry ``p % n``, unless the layer is filled
        with permutations.
        """
        readers = len(self.coefficients_MR) if self.disjoint else 1
        sizes = [count * math.prod(shape) for count, shape in zip(self.counts, self.read_shapes, strict=True)]
        start = readers * sum(sizes[:layer]) + (member * sizes[layer] if self.disjoint else 0)
        return range(start, start + sizes[layer])

    def templates(self, layer: int, member: int) -> Float[Tensor, "template ..."]:
        """See `Bank.templates`."""
        places = self.reads(layer, member)
        if self._permutes(layer):
            start = self.reads(layer, 0).start
            read = self._permuted(self.entries, start, places.stop - start)[places.start - start :]
        else:
            read = circular(self.entries.roll(-(places.start % len(self.entries))), len(places))
        return self._filled(read.view(self.counts[layer], -1), layer)

    def _permutes(self, layer: int) -> bool:
        """Whether a layer reads the whole vector more than once within a template, in different orders."""
        return self.filling != "tile" and math.prod(self.read_shapes[layer]) > len(self.entries)

    def _permuted(self, entries: Tensor, start: int, length: int) -> Float[Tensor, "length"]:
        """Return `length` entries from position `start`: the vector, and then permutations of it."""
        number = len(entries)
        passes = math.ceil(length / number)
        held = self._orders.get((passes, entries.device))
        if held is None:
            made = self._orders.get((passes, torch.device("cpu")))  # absent if some members were selected
            held = (permutations(number, passes) if made is None else made).to(entries.device)
            if type(held) is Tensor:  # not a fake one, as in tracing
                self._orders[passes, entries.device] = held
        rolled = entries.roll(-(start % number))
        return rolled.expand(passes, number).gather(1, held).reshape(-1)[:length]

    def _filled(self, rows: Tensor, layer: int) -> Tensor:
        """Return rows of the layer's shape from rows that were read."""
        shape, small = self.shapes[layer], self.read_shapes[layer]
        if small == shape:
            return rows.view(-1, *shape)
        kernels = rows.view(-1, small[0], small[1], math.prod(small[2:]))
        outputs, inputs = (_enlarging(few, many, rows) for few, many in zip(small[:2], shape[:2], strict=True))
        return torch.einsum("rabk,ao,bi->roik", kernels, outputs, inputs).reshape(-1, *shape)

    @property
    def summary_note(self) -> str:
        """The number of entries and how they are read."""
        few, many = min(self.counts), max(self.counts)
        each = f"{few}" if few == many else f"{few} to {many}"
        return f"{len(self.entries):,} entries for {len(self.shapes)} layers of all shapes, {each} templates each"


def permutations(number: int, passes: int) -> Int64[Tensor, "passes number"]:
    """Return permutations of ``0 .. number - 1``; the first is the identity.

    They are drawn with `numpy.random.RandomState`, whose stream NumPy has frozen, so that a checkpoint has the same
    weights in every version. More passes begin with the same permutations.

    Args:
        number: the number of entries.
        passes: the number of permutations.
    """
    orders = np.random.RandomState(0).random_sample((passes, number)).argsort(axis=1, kind="stable")
    orders[:1] = np.arange(number)
    return torch.from_numpy(orders)


def read_shape(shape: Shape, entries: int, filling: Filling) -> Shape:
    """Return the shape that a layer reads: its own, or one with fewer outputs and inputs if it is to be enlarged.

    Args:
        shape: the shape of the layer's weight.
        entries: the number of entries of the blob.
        filling: how layers larger than the blob are filled.
    """
    kernel = math.prod(shape[2:])
    kernels = entries // kernel
    if filling != "interpolate" or math.prod(shape) <= entries or kernels == 0:
        return shape
    # A common factor for both, as closely as integers allow, that uses as many entries as possible.
    outputs = min(shape[0], max(1, math.isqrt(kernels * shape[0] // shape[1])))
    inputs = min(shape[1], kernels // outputs)
    outputs = min(shape[0], kernels // inputs)
    return (outputs, inputs, *shape[2:])


def _enlarging(few: int, many: int, like: Tensor) -> Float[Tensor, "few many"]:
    """Return the matrix of linear interpolation, scaled so that independent entries keep their mean variance."""
    eye = torch.eye(few, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
    matrix = F.interpolate(eye.unsqueeze(0), size=many, mode="linear")[0]
    return (matrix * (many / matrix.square().sum()).sqrt()).to(like.dtype)
