"""Frost from the user's photographs, and the grown ice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motet import InputError
from motet.shifts import Draws, corrupt, frost_from
from motet.shifts._ice import COUNT, ice
from motet.shifts.frost import _scaled, frost


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


def test_only_the_five_that_the_original_draws_if_they_are_there(tmp_path: Path) -> None:
    black = torch.zeros(60, 1, 32, 32, dtype=torch.uint8)
    names = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg", "mine.png")
    for number, name in enumerate(names):
        Image.new("L", (40, 40), 30 * (number + 1)).save(tmp_path / name)
    levels = {int(level) for level in corrupt(black, frost_from(tmp_path), severity=2).unique()}
    assert levels == {9, 18, 27, 36, 45}
    (tmp_path / "frost3.png").unlink()
    levels = {int(level) for level in corrupt(black, frost_from(tmp_path), severity=2).unique()}
    assert levels == {9, 18, 36, 45, 54, 63}


@pytest.mark.parametrize(("size", "factor", "wanted"), [
    (7, 0.5, [6, 43, 102, 128]),
    (5, 0.4, [8, 44]),
    (3, 2.0, [0, 3, 8, 22, 45, 56]),
])  # fmt: skip
def test_photographs_are_resized_as_by_opencv(size: int, factor: float, wanted: list[int]) -> None:
    line = torch.tensor([0, 11, 56, 29, 90, 113, 128][:size], dtype=torch.uint8)
    made = _scaled(line.expand(3, size, size).contiguous(), factor, (1, 1))
    assert made[0, 0].tolist() == wanted  # cv2.resize(line, (0, 0), fx=factor, fy=factor)


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least one \.png, \.jpg or \.jpeg"):
        frost_from(tmp_path)
    (tmp_path / "frost1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"every frost photograph.*frost1\.png"):
        frost_from(tmp_path)


def test_grown_ice_is_like_the_originals_photographs() -> None:
    black = torch.zeros(4000, 3, 32, 32, dtype=torch.uint8)
    draws = Draws(seed=0, index_B=torch.arange(len(black)), stream="windows")
    windows = frost(black, draws, share=0.0, weight=1.0, scale=0.2 / 32).float()
    assert abs(float(windows.mean()) - 164) < 3
    assert abs(float(windows.flatten(1).std(dim=1).mean()) - 28.6) < 2
    assert abs(float(windows.mean(dim=(1, 2, 3)).std()) - 39) < 4  # bright and dark pictures
    red, green, blue = windows.mean(dim=(0, 2, 3)).tolist()
    assert red + 15 < green < blue - 5
    assert not np.array_equal(ice(1), ice(2))
    assert COUNT == 5
