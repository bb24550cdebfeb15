"""A law about devices: an ensemble runs on any device, and does not wait for it."""

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import jaxtyping
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motet.testing._law import Subject, law, require

# Copies between devices. The second is also what `Tensor.copy_` calls.
_COPIES = ("aten._to_copy", "aten.copy_")


@final
class OneDevice(TorchDispatchMode):
    """In this context an operation on tensors of different devices raises an error that names the operation.

    Torch checks this for most operations on an accelerator, but only for some on the meta device. Scalars (tensors
    without axes) on the CPU are allowed, as everywhere in torch.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Check the operation's tensors, and run it."""
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = sorted({str(tensor.device) for tensor in given if tensor.ndim > 0 or tensor.device.type != "cpu"})
        if len(devices) > 1 and not str(func).startswith(_COPIES):
            raise RuntimeError(
                f"{func} gets tensors on {' and '.join(devices)}; create tensors on the device of the inputs or of the "
                "parameters"
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta(what: str) -> Iterator[None]:
    """In this context all tensors of an operation must be on the same device, and no values may be read.

    Args:
        what: what runs in this context, for the error.

    Raises:
        AssertionError: for any error, with the line that caused it.
    """
    try:
        with OneDevice():  # type: ignore[no-untyped-call]
            yield
    except Exception as error:
        raise AssertionError(f"{what} fails on the meta device{_place(error)}: {error}") from error


def _place(error: Exception) -> str:
    """Return the innermost line outside torch and jaxtyping that an error comes from, or an empty text."""
    skipped = (*(str(Path(inspect.getfile(package)).parent) for package in (torch, jaxtyping)), __file__, "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(skipped)]
    return f", at {Path(frames[-1].filename).name}, line {frames[-1].lineno} ({frames[-1].line})" if frames else ""


@law("conv2d")
def runs_on_the_meta_device(subject: Subject) -> None:
    """The loss, its gradients, predictions and folds read no values, and create tensors on the inputs' device.

    On an accelerator, reading a value waits for all earlier operations, and a tensor on another device is an error. The
    meta device shows both without an accelerator. The law does not apply to a model that does not run there itself.
    """
    x, y = (tensor.to("meta") for tensor in subject.data(6, torch.float32))
    if not _runs(subject.case.model(torch.float32).to("meta").train(), x):
        return
    ensemble = subject.wrap(torch.float32).to("meta").train()
    with on_meta("the loss"):
        loss = ensemble.loss(x, y)
    require(loss.is_meta, f"a loss on {loss.device} for inputs on the meta device")
    with on_meta("the backward pass"):
        loss.backward()
    without = [name for name, value in ensemble.named_parameters() if value.grad is None]
    require(not without, f"no gradient on the meta device for {', '.join(without)}")
    runs: list[tuple[str, Callable[[], Tensor]]] = [
        ("the forward pass in evaluation", lambda: ensemble.eval()(x)),
        ("the prediction", lambda: ensemble.predict(x, targets=y).mean),
        ("the fold", lambda: ensemble.fold().predict(x).outputs_BMC),
    ]
    for what, run in runs:
        with on_meta(what):
            found = run()
        require(found.is_meta, f"{what} is on {found.device} for inputs on the meta device")


def _runs(model: nn.Module, x: Tensor) -> bool:
    """Return whether a model trains on the meta device by itself."""
    try:
        with on_meta("the model"):
            model(x).sum().backward()
    except AssertionError:
        return False
    return True
