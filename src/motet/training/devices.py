"""Choose the device and the precision of a run."""

import logging
from typing import TYPE_CHECKING, Any

import torch

from motet.distributed import current_launch
from motet.errors import InputError
from motet.training.settings import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; ``"auto"`` is the first CUDA device if there is one, otherwise the CPU.

    Processes that ``torchrun`` started on one machine are distributed over its CUDA devices, unless `name` has a
    number.

    Raises:
        InputError: if the name is not a device, or if this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda", _own_cuda()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError("the device must be one that torch knows", got=repr(name), fix="Pass cpu or cuda") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    # torch stores the index in 8 bits, so that "cuda:200" becomes negative.
    if not 0 <= (device.index or 0) < count.get(device.type, 0):
        raise InputError(
            f"device {name} must exist on this machine",
            got=f"{count.get(device.type, 0)} devices of type {device.type!r}",
            fix="Pass --device cpu, or --device auto to use what is available",
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", _own_cuda())
    return device if device.type == "cpu" else torch.device(device.type, device.index or 0)


def _own_cuda() -> int:
    launch = current_launch()
    return 0 if launch is None else launch.local_rank % torch.cuda.device_count()


def resolve_precision(training: Training, device: torch.device) -> str:
    """Return the precision for `device`; ``"auto"`` is bfloat16 on CUDA devices that support it, otherwise float32.

    Raises:
        InputError: for a precision that `device` does not support.
    """
    if training.precision == "16-mixed" and device.type != "cuda":
        raise InputError(
            "precision 16-mixed needs a CUDA device", got=f"device {device}", fix="Pass precision bf16-mixed or auto"
        )
    if training.precision != "auto":
        return training.precision
    return "bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"


def make_fabric(device: torch.device, precision: Any) -> "Fabric":
    """Return Lightning Fabric on one device. Importing it takes a second, so it is imported only when training
    starts.
    """
    from lightning_fabric import Fabric

    # It prints the precision at every run, which is already in the run's record.
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=device.type, devices=1 if device.index is None else [device.index], precision=precision
        )
    finally:
        logger.setLevel(before)
