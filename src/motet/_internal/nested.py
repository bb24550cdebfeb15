"""Inputs that are not one tensor: tuples and dictionaries of tensors, nested, whose tensors share their first axis."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from motet._internal.wording import with_article
from motet.errors import InputError


@final
class NestedInputs:
    """A batch of inputs in a tuple, a list or a dictionary. It is split, indexed, joined and moved like one tensor.

    Operations on axes act on the batch axes only: `shape` is ``(B,)``, or ``(B, M)`` where each member has its own
    examples. ``torch.cat`` and ``torch.stack`` accept it.

    Args:
        structure: the tuple, list or dictionary, with a `Place` where a tensor belongs. Everything else in it is
            passed to the model unchanged.
        tensors: the tensors, in the order of their places.
        batch_axes: the number of leading axes that all tensors share.
    """

    def __init__(self, structure: Any, tensors: tuple[Tensor, ...], *, batch_axes: int = 1) -> None:
        self.structure, self.tensors, self.batch_axes = structure, tensors, batch_axes

    @classmethod
    def of(cls, given: Any, convert: Callable[[Any, str], Tensor | None] | None = None) -> "NestedInputs":
        """Return the batch for what a user passes.

        Args:
            given: a tuple, a list or a mapping.
            convert: returns the tensor of an entry with this name, or None for an entry that is passed on unchanged; by
                default tensors are taken, and NumPy arrays of numbers are converted.

        Raises:
            InputError: if there is no tensor with a batch axis, or if the tensors have different first axes.
        """
        tensors: list[Tensor] = []
        names: list[str] = []

        def visit(value: Any, name: str) -> Any:
            if is_nested(value):
                return _rebuilt(value, [visit(item, _inside(name, key)) for key, item in _items(value)])
            tensor = (convert or _tensor)(value, name)
            if tensor is None or tensor.ndim == 0:
                return value
            tensors.append(tensor)
            names.append(name)
            return Place(len(tensors) - 1, name)

        structure = visit(given, "")
        if not tensors:
            raise InputError(
                "inputs in a tuple or dictionary must have at least one tensor with a batch axis",
                got=f"{with_article(type(given).__name__)} without one",
                fix="Pass the tensors that the model reads, with the batch as their first axis",
            )
        if len({len(each) for each in tensors}) > 1:
            shapes = ", ".join(f"{name}: {tuple(each.shape)}" for name, each in zip(names, tensors, strict=True))
            raise InputError(
                "all tensors of an input must have one row per example, so the same first axis",
                got=shapes,
                fix="Give each of them the batch as the first axis, or make one that all examples share a part of the "
                "model (a buffer)",
            )
        return cls(structure, tuple(tensors))

    @property
    def value(self) -> Any:
        """The tuple, list or dictionary with its tensors."""
        return self._filled(self.structure)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Place):
            return self.tensors[value.index]
        if is_nested(value):
            return _rebuilt(value, [self._filled(item) for _, item in _items(value)])
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, such as ``input_ids`` or ``0``."""
        return tuple(place.name for place in sorted(_places(self.structure), key=lambda place: place.index))

    def map(self, change: Callable[[Tensor], Tensor], *, batch_axes: int | None = None) -> "NestedInputs":
        """Return the batch with every tensor changed.

        Args:
            change: changes one tensor.
            batch_axes: the number of batch axes afterwards; the same as before if None.
        """
        axes = self.batch_axes if batch_axes is None else batch_axes
        return NestedInputs(self.structure, tuple(map(change, self.tensors)), batch_axes=axes)

    def in_order_of(self, names: tuple[str, ...]) -> "NestedInputs":
        """Return the batch with its tensors in the order of these names, which are its own."""
        if names == self.names:
            return self
        index = {name: i for i, name in enumerate(names)}

        def moved(value: Any) -> Any:
            if isinstance(value, Place):
                return Place(index[value.name], value.name)
            return _rebuilt(value, [moved(item) for _, item in _items(value)]) if is_nested(value) else value

        by_name = dict(zip(self.names, self.tensors, strict=True))
        return NestedInputs(moved(self.structure), tuple(by_name[name] for name in names), batch_axes=self.batch_axes)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __iter__(self) -> Iterator["NestedInputs"]:
        return iter(self.unbind())

    def __repr__(self) -> str:
        return f"NestedInputs({describe(self)})"

    @property
    def shape(self) -> torch.Size:
        """The sizes of the batch axes."""
        return self.tensors[0].shape[: self.batch_axes]

    @property
    def ndim(self) -> int:
        """The number of batch axes."""
        return self.batch_axes

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return self.tensors[0].device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point tensor, or else of the first tensor."""
        return next((each for each in self.tensors if each.is_floating_point()), self.tensors[0]).dtype

    @property
    def is_cuda(self) -> bool:
        """Whether the first tensor is on a CUDA device."""
        return self.tensors[0].is_cuda

    @property
    def is_meta(self) -> bool:
        """Whether a tensor is on the meta device."""
        return any(each.is_meta for each in self.tensors)

    def is_inference(self) -> bool:
        """Whether a tensor was made in inference mode."""
        return any(each.is_inference() for each in self.tensors)

    def is_floating_point(self) -> bool:
        """Whether all tensors are floating-point numbers."""
        return all(each.is_floating_point() for each in self.tensors)

    def detach(self) -> "NestedInputs":
        """Without gradient history."""
        return self.map(Tensor.detach)

    def clone(self) -> "NestedInputs":
        """Copies of the tensors."""
        return self.map(Tensor.clone)

    def cpu(self) -> "NestedInputs":
        """On the CPU."""
        return self.map(Tensor.cpu)

    def to(self, device: torch.device | str | None = None, *, non_blocking: bool = False) -> "NestedInputs":
        """On another device. Types are not changed."""
        return self.map(lambda each: each.to(device=device, non_blocking=non_blocking))

    def __getitem__(self, index: Any) -> "NestedInputs":
        """Rows: of a slice, or of a tensor of indices, whose axes become the batch axes."""
        if isinstance(index, slice):
            return self.map(lambda each: each[index])
        if isinstance(index, int):
            return self.map(lambda each: each[index], batch_axes=self.batch_axes - 1)
        index = torch.as_tensor(index)
        added = 1 if index.dtype == torch.bool else index.ndim
        # Tensors may be on different devices; the indices follow each of them.
        return self.map(lambda each: each[index.to(each.device)], batch_axes=self.batch_axes - 1 + added)

    def index_select(self, dim: int, index: Tensor) -> "NestedInputs":
        """The rows with these indices along a batch axis."""
        return self.map(lambda each: each.index_select(dim, index.to(each.device)))

    def unsqueeze(self, dim: int) -> "NestedInputs":
        """With a new batch axis of one entry."""
        return self.map(lambda each: each.unsqueeze(dim), batch_axes=self.batch_axes + 1)

    def expand(self, *sizes: int) -> "NestedInputs":
        """With these sizes of the batch axes."""
        own = self.batch_axes
        return self.map(lambda each: each.expand(*sizes, *each.shape[own:]), batch_axes=len(sizes))

    def expand_as(self, other: "NestedInputs") -> "NestedInputs":
        """With the sizes of another batch with as many batch axes."""
        return self.expand(*other.shape)

    def repeat(self, *repeats: int) -> "NestedInputs":
        """Repeated along the batch axes."""
        own = self.batch_axes
        return self.map(lambda each: each.repeat(*repeats, *(1,) * (each.ndim - own)))

    def transpose(self, one: int, other: int) -> "NestedInputs":
        """With two batch axes exchanged."""
        return self.map(lambda each: each.transpose(one, other))

    def flatten(self, start: int, end: int) -> "NestedInputs":
        """With the batch axes from `start` to `end` in one."""
        return self.map(lambda each: each.flatten(start, end), batch_axes=self.batch_axes - (end - start))

    def unflatten(self, dim: int, sizes: tuple[int, ...]) -> "NestedInputs":
        """With a batch axis split into several."""
        return self.map(lambda each: each.unflatten(dim, sizes), batch_axes=self.batch_axes + len(sizes) - 1)

    def split(self, rows: int) -> tuple["NestedInputs", ...]:
        """Parts of this many rows."""
        return tuple(self[start : start + rows] for start in range(0, len(self), rows))

    def chunk(self, parts: int) -> tuple["NestedInputs", ...]:
        """This many equal parts."""
        return self.split(-(-len(self) // parts))

    def unbind(self, dim: int = 0) -> tuple["NestedInputs", ...]:
        """The entries along a batch axis."""
        axes = self.batch_axes - 1
        return tuple(self.map(partial(_selected, dim, i), batch_axes=axes) for i in range(self.shape[dim]))

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Join batches with ``torch.cat`` and ``torch.stack`` along a batch axis."""
        if func not in (torch.cat, torch.stack):
            return NotImplemented
        batches: list[NestedInputs] = list(args[0])
        first, more = batches[0], int(func is torch.stack)
        columns = zip(*(each.tensors for each in batches), strict=True)
        joined = tuple(func(column, *args[1:], **(kwargs or {})) for column in columns)
        return cls(first.structure, joined, batch_axes=first.batch_axes + more)


@final
class Place:
    """Where a tensor belongs in a structure.

    Args:
        index: its position among the tensors.
        name: its name, for messages.
    """

    def __init__(self, index: int, name: str) -> None:
        self.index, self.name = index, name

    def __repr__(self) -> str:
        return self.name


Inputs = Tensor | NestedInputs


def as_one(positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return what a module was called with as one input: a tensor, a batch, a tuple or a dictionary.

    Raises:
        TypeError: for arguments with and without names at once, and for none.
    """
    if named and not positional:
        return named
    if named or not positional:
        raise TypeError("inputs are passed either in order or by name")
    return positional[0] if len(positional) == 1 else positional


def is_nested(value: Any) -> bool:
    """Whether a value is a tuple, a mapping, or a list that contains tensors."""
    if isinstance(value, tuple | Mapping):
        return True
    return isinstance(value, list) and any(isinstance(item, Tensor | np.ndarray | Place) for item in value)


def describe(x: Inputs) -> str:
    """Return the shape of an input, for messages: of each tensor with its name if there are several."""
    if isinstance(x, Tensor):
        return f"shape {tuple(x.shape)}"
    return ", ".join(f"{name}: {tuple(each.shape)}" for name, each in zip(x.names, x.tensors, strict=True))


def tensors_of(x: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of an input."""
    return (x,) if isinstance(x, Tensor) else x.tensors


def map_inputs(x: Inputs, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the input with every tensor changed; the batch axes must stay."""
    return change(x) if isinstance(x, Tensor) else x.map(change)


def with_tensors(x: Inputs, tensors: Sequence[Tensor]) -> Inputs:
    """Return an input of the same structure with these tensors."""
    if isinstance(x, Tensor):
        return tensors[0]
    return NestedInputs(x.structure, tuple(tensors), batch_axes=x.batch_axes)


def joined(parts: Sequence[Inputs]) -> Any:
    """Return batches joined along their first axis."""
    return torch.cat(list(parts))  # type: ignore[arg-type]


def _selected(dim: int, index: int, tensor: Tensor) -> Tensor:
    return tensor.select(dim, index)


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))


def _rebuilt(value: Any, items: list[Any]) -> Any:
    if isinstance(value, Mapping):
        # A plain dictionary: it is unpacked into keywords, and other mappings may not accept what is put into them.
        return dict(zip(value, items, strict=True))
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _inside(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _tensor(value: Any, name: str) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.as_tensor(value)
    return None


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, Place):
        yield value
    elif is_nested(value):
        for _, item in _items(value):
            yield from _places(item)
