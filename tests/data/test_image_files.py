"""Images that stay in their files: the same batches for a seed whatever the number of threads, and bounded memory."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from motet.data import ImageFiles, Split, batches, in_order
from motet.data.formats import image_files as module
from motet.data.formats.decode import centre, decode
from motet.errors import InputError


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Thirty JPEGs of several sizes."""
    made = []
    for row in range(30):
        random = np.random.RandomState(row)
        small = random.randint(0, 256, size=(6, 5 + row % 4, 3), dtype=np.uint8)
        made.append(tmp_path / f"{row:02d}.jpg")
        Image.fromarray(small).resize((60 + row, 50), Image.Resampling.BICUBIC).save(made[-1])
    return made


def split_of(paths: list[Path], workers: int = 2) -> Split:
    inputs = ImageFiles(paths, size=16, channels=3, workers=workers)
    return Split(inputs=inputs, targets=torch.arange(len(paths)))


def epoch(split: Split, **how: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    settings = {"batch_size": 8, "seed": 5, "epoch": 0, "resized_crop": 0.2} | how
    return list(batches(split, **settings))


def same(one: Any, other: Any) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_seed_gives_the_same_batches_for_any_number_of_threads(paths: list[Path]) -> None:
    first = epoch(split_of(paths))
    assert [x.shape for x, _ in first] == [(8, 3, 16, 16)] * 3
    for workers in (1, 5):
        assert same(epoch(split_of(paths, workers)), first)
    assert not same(epoch(split_of(paths), seed=6), first)
    assert not same(epoch(split_of(paths), epoch=1), first)


def test_a_resumed_epoch_sees_what_was_left(paths: list[Path]) -> None:
    assert same(epoch(split_of(paths), skip=2), epoch(split_of(paths))[2:])


def test_targets_belong_to_their_images(paths: list[Path]) -> None:
    split = split_of(paths)
    whole = split.inputs[:]
    for x, y in epoch(split, resized_crop=0.0):
        assert torch.equal(x, whole[y])
    together = torch.cat([x for x, _ in in_order(split, 7)])
    assert torch.equal(together, whole)
    assert torch.equal(split.inputs[torch.tensor([3, 1])], whole[[3, 1]])
    assert torch.equal(split.inputs[:3], whole[:3])
    assert torch.equal(split.inputs[torch.tensor([[3, 1], [0, 3]])], whole[torch.tensor([[3, 1], [0, 3]])])


@pytest.mark.slow
def test_random_parts_lie_in_the_image_and_have_the_area_asked_for() -> None:
    random = np.random.RandomState(0)
    areas = []
    for _ in range(500):
        left, upper, right, lower = module.random_part(random.rand(4), 0.25)(100, 80)
        assert 0 <= left < right <= 100.0001
        assert 0 <= upper < lower <= 80.0001
        assert 0.7 < (right - left) / (lower - upper) < 1.4
        areas.append((right - left) * (lower - upper) / 8000)
    assert min(areas) > 0.24
    assert 0.25 < min(areas) < 0.3
    assert max(areas) > 0.9


def test_decoding_is_pillows(paths: list[Path]) -> None:
    with Image.open(paths[0]) as image:
        box = centre()(*image.size)
        expected = image.convert("RGB").resize((40, 40), Image.Resampling.BICUBIC, box=box)
    decoded = decode(paths[0], size=40, channels=3, box=centre())
    assert torch.equal(decoded, torch.from_numpy(np.array(expected)).permute(2, 0, 1))
    grey = decode(paths[0], size=40, channels=1, box=centre())
    assert grey.shape == (1, 40, 40)


def test_jpegs_decoded_small_are_close_to_those_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    smooth = Image.fromarray(np.random.RandomState(0).randint(0, 256, size=(8, 8, 3), dtype=np.uint8))
    smooth.resize((400, 300), Image.Resampling.BICUBIC).save(path, quality=95)
    with Image.open(path) as image:
        whole = image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC, box=centre(0.875)(400, 300))
    small = decode(path, size=32, channels=3, box=centre(0.875))
    difference = (small.float() - torch.from_numpy(np.array(whole)).permute(2, 0, 1).float()).abs()
    assert float(difference.mean()) < 2


def test_only_a_few_batches_are_decoded_ahead(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen, lock, real = [], threading.Lock(), module.decode

    def counting(path: Path, **how: Any) -> torch.Tensor:
        with lock:
            seen.append(path)
        return real(path, **how)

    monkeypatch.setattr(module, "decode", counting)
    stream = split_of(paths * 10).inputs.split(4)
    for taken in range(1, 6):
        next(stream)
        assert len(seen) <= 4 * (taken + 3)
    stream.close()  # type: ignore[attr-defined]
    after = len(seen)
    assert after < 60, "what was not begun is given up"


def test_a_bad_image_is_named(paths: list[Path]) -> None:
    paths[4].write_bytes(paths[4].read_bytes()[:300])
    with pytest.raises(InputError, match=r"1 of 30 that cannot be read: .*04\.jpg.*--skip-bad"):
        epoch(split_of(paths))


def test_moving_and_selecting_decode_nothing(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("this must not decode")

    monkeypatch.setattr(module, "decode", fail)
    files = split_of(paths).to("cpu").inputs
    assert isinstance(files, ImageFiles)
    some = files.index_select(0, torch.tensor([2, 0]))
    assert some.paths == (paths[2], paths[0])
    assert (len(some), some.ndim, some.is_floating_point()) == (2, 4, False)
