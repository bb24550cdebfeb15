"""Frost from the user's photographs, and the grown ice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motet import InputError
from motet.shifts import corrupt, frost_from
from motet.shifts._ice import COUNT, ice


def test_photographs_are_laid_over_images(tmp_path: Path, images: Tensor) -> None:
    Image.new("RGB", (400, 300), (200, 100, 50)).save(tmp_path / "frost1.png")
    (tmp_path / "notes.txt").write_text("not a photograph")
    out = corrupt(images, frost_from(tmp_path), severity=2)
    wanted = (images.float() + 0.3 * torch.tensor([200.0, 100.0, 50.0]).view(3, 1, 1) + 0.001).clamp(0, 255)
    assert torch.equal(out, wanted.to(torch.uint8))


def test_each_photograph_is_used_and_small_ones_are_enlarged(tmp_path: Path) -> None:
    for level in (50, 150):
        Image.new("L", (20, 30), level).save(tmp_path / f"{level}.jpg")
    black = torch.zeros(40, 1, 32, 32, dtype=torch.uint8)
    out = corrupt(black, frost_from(str(tmp_path)), severity=2)
    assert {int(level) for level in out.unique()} == {15, 45}


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least one \.png, \.jpg or \.jpeg"):
        frost_from(tmp_path)
    (tmp_path / "frost1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"every frost photograph.*frost1\.png"):
        frost_from(tmp_path)


def test_grown_ice_is_like_frost() -> None:
    means = [float(ice(number).float().mean()) for number in range(COUNT)]
    assert all(100 < mean < 160 for mean in means)
    picture = ice(0).numpy().astype(float)
    assert picture.std() > 35  # crystals, not a film
    assert (picture[2] >= picture[0]).mean() > 0.95  # blue
    assert not np.array_equal(picture, ice(1).numpy())
