"""Which device and which precision a run uses."""

import logging
from typing import TYPE_CHECKING, Any

import torch

from motet.distributed import launched
from motet.errors import InputError
from motet.training.settings import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def resolve_device(name: str = "auto") -> torch.device:
    """The device called `name`; ``"auto"`` is the first CUDA device where there is one, else the CPU.

    Processes that ``torchrun`` started on one machine take its CUDA devices in turn, unless `name` has a number.

    Raises:
        InputError: if the name is no device, or that device is not in this machine.
    """
    if name == "auto":
        return torch.device("cuda", _own_cuda()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError("the device must be one that torch knows", got=repr(name), fix="Pass cpu or cuda") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    # torch keeps an index in 8 bits: "cuda:200" comes out negative.
    if not 0 <= (device.index or 0) < count.get(device.type, 0):
        raise InputError(
            f"device {name} must be in this machine",
            got=f"{count.get(device.type, 0)} devices of type {device.type!r}",
            fix="Pass --device cpu, or --device auto to take what is there",
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", _own_cuda())
    return device if device.type == "cpu" else torch.device(device.type, device.index or 0)


def _own_cuda() -> int:
    launch = launched()
    return 0 if launch is None else launch.local_rank % torch.cuda.device_count()


def resolve_precision(training: Training, device: torch.device) -> str:
    """The precision that ``"auto"`` stands for on `device`: bfloat16 where CUDA has it, else float32.

    Raises:
        InputError: for a precision that `device` does not have.
    """
    if training.precision == "16-mixed" and device.type != "cuda":
        raise InputError(
            "precision 16-mixed needs a CUDA device", got=f"device {device}", fix="Pass precision bf16-mixed or auto"
        )
    if training.precision != "auto":
        return training.precision
    return "bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"


def make_fabric(device: torch.device, precision: Any) -> "Fabric":
    """Lightning Fabric on one device. It takes a second to import: only where training starts."""
    from lightning_fabric import Fabric

    # It tells the terminal about the precision, at every run; that stands in the run's record.
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=device.type, devices=1 if device.index is None else [device.index], precision=precision
        )
    finally:
        logger.setLevel(before)
