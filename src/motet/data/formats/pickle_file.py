"""Read pickled dictionaries of arrays without executing code.

A pickle is a program: loading it calls the functions that it names. Here it can only name an array, its dtype, and the
function that encodes text to bytes, and each of them is replaced by a class that only stores its arguments.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.errors import InputError


@final
class _Array:
    """Replaces ``numpy.ndarray``: stores its state."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@final
class _Dtype:
    """Replaces ``numpy.dtype``: stores its name."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """Byte order and fields, which bytes do not have."""


def _new_array(*_: Any) -> _Array:
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """The function with which Python 3 pickles bytes for older protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")
    },  # NumPy 2 renamed the module
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


@final
class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a data file does not need")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside the file")


def read_pickle(path: Path) -> dict[str, Any]:
    """Return the dictionary in a pickle file that contains only lists, text, numbers and arrays of bytes.

    Keys and text are returned as str; arrays as uint8 tensors.

    Raises:
        InputError: if the file is missing, damaged, or asks for anything else (an UnpicklingError inside).
    """
    again = "Download the data again from its official source"
    try:
        packed = path.read_bytes()
        _check_nesting(packed)
        content = _Reader(io.BytesIO(packed), encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}")
        return {_text(key): _plain(value) for key, value in content.items()}
    except OSError as error:
        raise InputError(f"{path} must be readable", got=str(error), fix=again) from error
    except Exception as error:  # a damaged pickle can raise any error
        raise InputError(
            f"{path} must be a pickled dictionary of plain data and arrays of bytes",
            got=f"{type(error).__name__}: {error}",
            fix=again,
        ) from error


def _check_nesting(packed: bytes) -> None:
    """Raise an error for tuples in tuples in tuples, about a thousand deep.

    Python computes the hash of such a dictionary's key by recursion in C, which ends the process.
    """
    stack: list[int] = []  # how deep each object is nested
    kept: dict[object, int] = {}
    for operation, argument, _ in pickletools.genops(packed):
        name = operation.name
        if name in _GETS:
            stack.append(kept.get(argument, 0))
        elif name in _PUTS:
            kept[len(kept) if argument is None else argument] = stack[-1] if stack else 0
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            pops, pushes = _EFFECTS[name]
            at = len(stack) - pops if pops >= 0 else _last_mark(stack)
            inner = stack[at:]
            del stack[at:]
            deepest = 1 + max(inner, default=0) if name in _TUPLES else 0
            if deepest > _DEEPEST:
                raise pickle.UnpicklingError(f"tuples inside tuples, more than {_DEEPEST} deep")
            stack.extend([_MARK if name == "MARK" else deepest] * pushes)


def _last_mark(stack: list[int]) -> int:
    return next(index for index in range(len(stack) - 1, -1, -1) if stack[index] == _MARK)


def _effect(operation: pickletools.OpcodeInfo) -> tuple[int, int]:
    """Return how many objects an operation takes from the stack (-1: down to the last mark), and how many it leaves."""
    if pickletools.markobject in operation.stack_before:
        below = operation.stack_before.index(pickletools.markobject)
        # The list or dictionary below the mark is left where it was.
        return -1, len(operation.stack_after) - below
    return len(operation.stack_before), len(operation.stack_after)


_EFFECTS = {operation.name: _effect(operation) for operation in pickletools.opcodes}
_GETS = frozenset({"BINGET", "LONG_BINGET", "GET"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"})
_MARK = -1
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"})
_DEEPEST = 1000


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return _array(value)
    for item in value if isinstance(value, list | tuple) else (value,):
        if not (item is None or isinstance(item, bytes | str | int | float)):
            raise pickle.UnpicklingError(f"a {type(item).__name__} where plain data are expected")
    return value


def _text(key: Any) -> str:
    if not isinstance(key, bytes | str):
        raise pickle.UnpicklingError(f"a {type(key).__name__} as a key")
    return key.decode("latin1") if isinstance(key, bytes) else key


def _array(array: _Array) -> UInt8[Tensor, "..."]:
    _, shape, dtype, fortran, raw = array.state
    if not isinstance(dtype, _Dtype) or dtype.name != "u1" or not isinstance(raw, bytes) or fortran:
        raise pickle.UnpicklingError("an array of something other than bytes in rows")
    sizes = tuple(int(size) for size in shape)
    if math.prod(sizes) != len(raw) or min(sizes, default=1) < 0:
        raise pickle.UnpicklingError(f"an array of shape {sizes} with {len(raw)} bytes")
    return torch.from_numpy(np.frombuffer(raw, dtype=np.uint8).reshape(sizes).copy())
