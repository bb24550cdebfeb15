"""The inputs and targets that users pass: tensors, NumPy arrays, lists of numbers, loaders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from motet._internal.nested import Inputs, NestedInputs
from motet._internal.wording import with_article
from motet.errors import InputError
from motet.inference.input_form import InputForm, cast, complex_error, floating_tensor_of
from motet.likelihoods import Likelihood

_WITHOUT_A_SIZE = 256
SMALL_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32)
"""Integer types of labels besides int64."""


def as_tensor(given: object, what: str) -> Tensor:
    """Return a tensor of the user's data; a tensor as it is.

    Args:
        given: a tensor, a NumPy array, nested lists of numbers, or anything that NumPy converts to numbers.
        what: what it is, for errors: "inputs".

    Raises:
        InputError: if it is none of them.
    """
    if isinstance(given, Tensor):
        return given
    if isinstance(given, Sequence) and given and all(isinstance(each, Tensor) for each in given):
        return _stacked(given, what)
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _not_numbers(given, what, str(error)) from error
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise _not_numbers(given, what, f"{with_article(type(given).__name__)} of dtype {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch computes little with larger unsigned integers
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # A copy, because torch neither reads other byte orders nor arrays that cannot be written.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def as_inputs(given: object, network: nn.Module, form: InputForm | None) -> Any:
    """Return the user's inputs in the form in which the network reads them: a tensor, or a batch of several.

    Args:
        given: see `as_tensor`; a tuple or a dictionary if the example was one. What is not a tensor is moved to the
            network's device.
        network: the network, whose floating-point type the inputs get. Integers keep their type.
        form: what the inputs look like; None if that is not known, and then inputs keep their type.

    Raises:
        InputError: for inputs that are no numbers, complex numbers, or real numbers where the network reads integers;
            for a tuple or dictionary with other tensors than the example.
    """
    if form is not None and form.is_nested:
        return form.adopt_nested(given, network)
    if isinstance(given, NestedInputs) and form is not None:
        form.check_axes(given)
    x, like = as_tensor(given, "inputs"), floating_tensor_of(network)
    if not isinstance(given, Tensor) and like is not None:
        x = x.to(like.device)
    if form is None or like is None:
        if x.is_complex():
            raise complex_error("inputs", x.dtype)
        return x
    return cast(x, form.dtypes[0], like, "inputs")


def as_targets(given: object, likelihood: Likelihood, network: nn.Module) -> Tensor:
    """Return the user's targets as the likelihood reads them: int64 labels, and no float64 for a network in float32.

    Args:
        given: see `as_tensor`. What is not a tensor is moved to the network's device.
        likelihood: the likelihood of the targets.
        network: the network.

    Raises:
        InputError: for targets that are no numbers.
    """
    y, like = as_tensor(given, "targets"), floating_tensor_of(network)
    if not isinstance(given, Tensor) and like is not None:
        y = y.to(like.device)
    if y.dtype == torch.float64:
        return y if like is None or like.dtype == torch.float64 else y.float()
    return y.long() if likelihood.target_kind == "class" and y.dtype in SMALL_INTEGERS else y


def batches(
    given: Any, targets: object, batch_size: int | None, form: InputForm | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yield inputs and targets batch by batch; targets are None where there are none.

    Args:
        given: inputs, the tuple ``(inputs, targets)``, a `torch.utils.data.Dataset`, or a `DataLoader` of either.
        targets: the targets, if `given` does not have them.
        batch_size: rows per batch; all at once if None. A loader has its own.
        form: what the inputs look like, to tell the inputs of a model that reads two from a pair (inputs, targets).
            Dictionaries with one entry more, called ``labels``, are pairs too.

    Raises:
        InputError: for targets that are passed twice, and a batch size for a loader.
    """
    if isinstance(given, DataLoader | Dataset):
        if targets is not None:
            raise InputError(
                "targets must be passed once",
                got=f"targets= and {with_article(type(given).__name__)}, which may have its own",
                fix="Pass a data set or loader of pairs (inputs, targets), without targets=",
            )
        yield from (_pair(item, form) for item in _loader(given, batch_size))
        return
    if isinstance(given, tuple) and len(given) == 2 and not (form is not None and form.describes(given)):
        if targets is not None:
            raise InputError(
                "targets must be passed once", got="targets= and the pair (inputs, targets)", fix="Leave targets= out"
            )
        given, targets = given
    x = _unsplit(given, form)
    y = None if targets is None else as_tensor(targets, "targets")
    size = batch_size or max(1, len(x))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        # What was no tensor is converted again, and then moved to the network's device.
        yield (
            (x[rows] if not isinstance(x, Tensor) or isinstance(given, Tensor) else x[rows].numpy()),
            None if y is None else y[rows],
        )


def _loader(given: Any, batch_size: int | None) -> Any:
    if not isinstance(given, DataLoader):
        if batch_size is None:
            batch_size = _WITHOUT_A_SIZE if isinstance(given, IterableDataset) else max(1, min(len(given), 4096))
        return DataLoader(given, batch_size=batch_size)
    if batch_size is not None:
        raise InputError(
            "the batch size must be passed once",
            got=f"batch_size={batch_size} and a DataLoader, which has its own",
            fix="Leave batch_size out",
        )
    return given


def _unsplit(given: Any, form: InputForm | None) -> Inputs:
    if form is None or not form.is_nested or isinstance(given, NestedInputs):
        return given if isinstance(given, NestedInputs) else as_tensor(given, "inputs")
    return form.adopt_nested(given)


def _pair(item: Any, form: InputForm | None) -> tuple[Any, Any]:
    if form is not None and form.is_nested:
        if isinstance(item, Mapping) and "labels" in item and "labels" not in form.names:
            return {name: value for name, value in item.items() if name != "labels"}, item["labels"]
        if form.describes(item) or isinstance(item, Mapping):
            return item, None
    if isinstance(item, list | tuple) and len(item) in (1, 2) and not isinstance(item[0], int | float):
        return (item[0], None) if len(item) == 1 else (item[0], item[1])
    if isinstance(item, Tensor | np.ndarray):
        return item, None
    raise InputError(
        "a data set or loader must give inputs, or pairs (inputs, targets)",
        got=f"{with_article(type(item).__name__)}{f' of {len(item)}' if hasattr(item, '__len__') else ''}",
        fix="Return (x, y) from the data set",
    )


def _stacked(given: Sequence[Any], what: str) -> Tensor:
    try:
        return torch.stack(list(given))
    except RuntimeError as error:
        raise _not_numbers(given, what, str(error)) from error


def _not_numbers(given: object, what: str, found: str) -> InputError:
    if hasattr(given, "prepare") and hasattr(given, "test"):  # a motet.Dataset, which has three splits
        return InputError(
            f"{what} must be those of one split",
            got="a motet.Dataset",
            fix="Pass dataset.prepare(dataset.test.inputs), or use motet.evaluation.predict_split",
        )
    return InputError(
        f"{what} must be a tensor, a NumPy array, or something that NumPy converts to an array of numbers",
        got=found if len(found) <= 200 else f"{found[:197]}...",
        fix="Convert them to numbers with the same shape in each row, for example with torch.stack or np.stack",
    )
