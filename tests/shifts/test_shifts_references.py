"""Each corruption against the slow, obvious one."""

import numpy as np
import pytest
import torch
from slow_corruptions import photographs, slow
from torch import Tensor

from motet.shifts import CORRUPTIONS, SETS, SEVERITIES, Draws, corrupt
from motet.shifts.blur import ZOOM_CIFAR, ZOOM_IMAGENET, zoom_factors

BIT_EQUAL = ("pixelate", "jpeg_compression", "impulse_noise", "mimmo_translation")


def reference(images: Tensor, name: str, severity: int, constants: str) -> Tensor:
    numbers = CORRUPTIONS[name].constants_at(severity, constants)
    out = []
    for row, image in enumerate(images):
        draws = Draws(seed=7, index_B=torch.tensor([row]), stream=f"{name}/{severity}")
        out.append(slow(name, image.permute(1, 2, 0).numpy().copy(), draws, numbers))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


def check(images: Tensor, name: str, severity: int, constants: str) -> None:
    fast = corrupt(images, name, severity=severity, seed=7, constants=constants)
    wanted = reference(images, name, severity, constants)
    assert fast.shape == images.shape
    assert fast.dtype == torch.uint8
    off = (fast.int() - wanted.int()).abs()
    if name in BIT_EQUAL:
        assert int(off.max()) == 0
    # Single precision tips a value over a whole number now and then.
    assert int(off.max()) <= 1, f"{int((off > 1).sum())} of {off.numel()} values differ by up to {int(off.max())}"
    assert float((off > 0).double().mean()) < 0.003


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_small_images(name: str, severity: int, images: Tensor) -> None:
    check(images, name, severity, "cifar")


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", SETS["cifar-c-19"])
def test_imagenets_constants(name: str, severity: int) -> None:
    check(photographs(1, 3, 48, 48), name, severity, "imagenet")


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 24, 40)], ids=str)
@pytest.mark.slow
def test_grey_tiny_and_oblong_images(name: str, shape: tuple[int, int, int]) -> None:
    for severity in (2, 4):
        check(photographs(2, *shape, seed=1), name, severity, "cifar")


@pytest.mark.parametrize(
    ("constants", "grids"),
    [
        (ZOOM_CIFAR, [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)]),
        (ZOOM_IMAGENET, [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]),
    ],
)
def test_zoom_factors_are_the_originals_to_the_last_bit(constants, grids) -> None:
    for (step, count), (end, original_step) in zip(constants, grids, strict=True):
        assert zoom_factors(step, int(count)) == tuple(np.arange(1, end, original_step).tolist())
