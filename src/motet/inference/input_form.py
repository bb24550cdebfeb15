"""What an ensemble's inputs look like, as the example passed to `wrap` has shown it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from motet._internal.nested import Inputs, NestedInputs, is_nested
from motet._internal.wording import with_article
from motet.errors import InputError


@final
@dataclass(frozen=True, kw_only=True)
class InputForm:
    """The number of axes and the kind of numbers of every tensor of an input.

    Attributes:
        names: the tensors' names in a tuple or dictionary; ``("",)`` if the input is one tensor.
        axes: the number of axes of each, with the batch.
        dtypes: the type of each. Only its kind counts: floating-point numbers, integers or truth values.
        is_nested: whether the input is a tuple or a dictionary.
    """

    names: tuple[str, ...]
    axes: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    is_nested: bool

    @classmethod
    def of(cls, example: Inputs) -> "InputForm":
        """Return the form of an example."""
        nested = isinstance(example, NestedInputs)
        tensors = example.tensors if isinstance(example, NestedInputs) else (example,)
        return cls(
            names=example.names if isinstance(example, NestedInputs) else ("",),
            axes=tuple(each.ndim for each in tensors),
            dtypes=tuple(each.dtype for each in tensors),
            is_nested=nested,
        )

    def describes(self, given: Any) -> bool:
        """Whether a tuple, list or dictionary has exactly the tensors of these inputs, by their names."""
        if not self.is_nested or not (is_nested(given) or isinstance(given, list)):
            return False
        try:
            found = NestedInputs.of(tuple(given) if isinstance(given, list) else given)
        except InputError:  # not a batch; the caller's own check says why
            return False
        return set(found.names) == set(self.names)

    def check_axes(self, x: Any) -> None:
        """Check the number of axes of every tensor.

        Raises:
            InputError: if a tensor has another number than in the example, or if a tensor is missing.
        """
        if not isinstance(x, Tensor) and (not self.is_nested or not isinstance(x, NestedInputs)):
            raise InputError(
                "inputs must be one tensor, like the example passed to wrap",
                got=f"a batch with {', '.join(x.names)}"
                if isinstance(x, NestedInputs)
                else with_article(type(x).__name__),
                fix="Pass the tensor itself, or pass the whole input as the example",
            )
        if isinstance(x, Tensor):
            if self.is_nested or x.ndim != self.axes[0]:
                raise self._wrong_axes(x)
            return
        for name, tensor, axes in zip(self.names, x.tensors, self.axes, strict=True):
            if tensor.ndim != axes + x.batch_axes - 1:
                raise InputError(
                    f"the input {name!r} must have {axes} axes, like the example passed to wrap",
                    got=f"shape {tuple(tensor.shape)}",
                    fix="Pass one batch, with the examples along the first axis of every tensor",
                )

    def _wrong_axes(self, x: Tensor) -> InputError:
        if self.is_nested:
            return InputError(
                f"inputs must have the tensors {', '.join(self.names)}, like the example passed to wrap",
                got=f"one tensor of shape {tuple(x.shape)}",
                fix="Pass a tuple or dictionary like the example",
            )
        return InputError(
            f"inputs must be one batch with {self.axes[0]} axes, like the example passed to wrap",
            got=f"shape {tuple(x.shape)}",
            fix="Pass examples (B, ...) to the ensemble; separate inputs for the members (B, M, ...) go to "
            "forward_distinct",
        )

    def adopt_nested(self, given: Any, network: nn.Module | None = None) -> NestedInputs:
        """Return a user's tuple or dictionary as a batch, in the types that the network reads.

        Args:
            given: a tuple, a mapping, or a batch.
            network: the network, whose floating-point type floating-point tensors get, and on whose device arrays are
                placed; None to leave both.

        Raises:
            InputError: for missing or unknown entries, different first axes, and other kinds of numbers than in the
                example.
        """
        like = None if network is None else floating_tensor_of(network)

        def convert(value: Any, name: str) -> Tensor | None:
            tensor = _entry(value, name)
            return tensor if tensor is None or value is tensor or like is None else tensor.to(like.device)

        if isinstance(given, list):
            given = tuple(given)
        if not isinstance(given, NestedInputs):
            if not is_nested(given):
                raise InputError(
                    f"inputs must be a tuple or dictionary with {', '.join(self.names)}, like the example passed to "
                    "wrap",
                    got=f"shape {tuple(given.shape)}"
                    if hasattr(given, "shape")
                    else with_article(type(given).__name__),
                    fix="Pass the same tuple or dictionary as the example, with other rows",
                )
            given = NestedInputs.of(given, convert)
        missing = [name for name in self.names if name not in given.names]
        unknown = [name for name in given.names if name not in self.names]
        if missing or unknown:
            said = [f"without {', '.join(missing)}"] if missing else []
            said += [f"with {', '.join(unknown)}"] if unknown else []
            raise InputError(
                f"inputs must have exactly the tensors {', '.join(self.names)}, like the example passed to wrap",
                got=f"inputs {' and '.join(said)}",
                fix="Pass these tensors, or wrap the model with an example that has the others",
            )
        batch = given.in_order_of(self.names)
        tensors = tuple(
            cast(each, dtype, like, f"the input {name!r}")
            for name, each, dtype in zip(self.names, batch.tensors, self.dtypes, strict=True)
        )
        return NestedInputs(batch.structure, tensors, batch_axes=batch.batch_axes)


def cast(x: Tensor, like_example: torch.dtype, network: Tensor | None, what: str) -> Tensor:
    """Return a tensor in the type that the network reads.

    Args:
        x: the tensor. Integers are never changed into other integers, except that small ones become int64 where the
            example had larger ones.
        like_example: the type of the example.
        network: a floating-point tensor of the network; None if it has none.
        what: what it is, for errors.

    Raises:
        InputError: for complex numbers, or real numbers where the network reads integers.
    """
    if x.is_complex():
        raise complex_error(what, x.dtype)
    if like_example.is_floating_point:
        return x if network is None else x.to(network.dtype)
    if like_example == torch.bool:
        return x.bool()
    if x.is_floating_point():
        raise InputError(
            f"{what} must be integers, like the example passed to wrap",
            got=f"{what} of dtype {x.dtype}",
            fix="Pass x.long()",
        )
    return x if x.dtype in (torch.int64, torch.int32) else x.long()


def complex_error(what: str, dtype: torch.dtype) -> InputError:
    """Return the error for complex inputs."""
    return InputError(
        f"{what} must be real numbers", got=f"{what} of dtype {dtype}", fix="Pass torch.view_as_real(x), for example"
    )


def floating_tensor_of(network: nn.Module) -> Tensor | None:
    """Return the first floating-point parameter or buffer, which has the network's type and device."""
    for tensors in (network.parameters(), network.buffers()):
        for each in tensors:
            if each.is_floating_point():
                return each
    return None


def _entry(value: Any, name: str) -> Tensor | None:
    """Return an entry of a tuple or dictionary as a tensor; None if it is none, such as a string or None."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray | list) and not hasattr(value, "__array__"):
        return None
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"the input {name!r} must be a tensor, or lists of numbers of one length",
            got=str(error),
            fix="Pad its rows to one length, for example with tokenizer(..., padding=True, return_tensors='pt')",
        ) from error
    return torch.from_numpy(np.array(array)) if array.dtype.kind in "biuf" else None


def example_of(given: Any) -> Any:
    """Return an example as a tensor or a batch; anything else unchanged, for the caller to refuse.

    Args:
        given: a tensor, a tuple, or a mapping such as a tokenizer returns.
    """
    if isinstance(given, tuple | Mapping):
        return NestedInputs.of(given, _entry)
    return given
