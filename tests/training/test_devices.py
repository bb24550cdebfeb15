"""Devices and precisions that are not there."""

import pytest
import torch

from motet import InputError, Training
from motet.training import resolve_device, resolve_precision


def test_cpu_and_auto() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_no_cuda(name: str) -> None:
    with pytest.raises(InputError, match=f"device {name} must exist on this machine.*0 devices.*--device cpu"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:-1", "42"])
def test_nonsense(name: str) -> None:
    with pytest.raises(InputError):
        resolve_device(name)


@pytest.mark.parametrize("name", ["meta", "xla", "cpu:1", "cuda:999"])
def test_devices_that_torch_knows_and_the_machine_has_not(name: str) -> None:
    with pytest.raises(InputError, match="must exist on this machine"):
        resolve_device(name)


def test_precisions() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision(Training(), cpu) == "32-true"
    assert resolve_precision(Training(precision="bf16-mixed"), cpu) == "bf16-mixed"
    with pytest.raises(InputError, match="16-mixed needs a CUDA device"):
        resolve_precision(Training(precision="16-mixed"), cpu)
