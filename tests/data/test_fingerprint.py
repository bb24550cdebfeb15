"""Fingerprints: the same for the same data, others for other data, and quick."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from motet.data import DataOptions, Dataset, fingerprint, load
from motet.data._fingerprint import of_tensors

Y = DataOptions(target="y")


def write_table(path: Path, last: float = 0.5) -> Path:
    path.write_text("a,y\n" + "".join(f"{row},{row / 7}\n" for row in range(30)) + f"1,{last}\n")
    return path


def write_images(folder: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for row in range(6):
            values = np.random.RandomState(10 * label + row).randint(0, 256, size=(6, 6, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / name / f"{row}.bmp")
    return folder


def test_a_tables_is_that_of_its_file(tmp_path: Path) -> None:
    first, second = write_table(tmp_path / "a.csv"), write_table(tmp_path / "b.csv")
    assert fingerprint(str(first)) == fingerprint(str(second)) == load(str(first), options=Y).fingerprint
    write_table(second, last=0.25)
    assert fingerprint(str(first)) != fingerprint(str(second))


def test_a_folders_is_that_of_its_images_names_and_sizes(tmp_path: Path) -> None:
    one, two = write_images(tmp_path / "one"), write_images(tmp_path / "two")
    held = fingerprint(str(one))
    assert held == fingerprint(str(two)) == load(str(one)).fingerprint
    assert held == load(str(one), options=DataOptions(stream=True)).fingerprint
    (two / "readme.txt").write_text("no image")
    assert held == fingerprint(str(two))
    (two / "cat" / "0.bmp").rename(two / "cat" / "00.bmp")
    renamed = fingerprint(str(two))
    (two / "cat" / "00.bmp").rename(two / "dog" / "00.bmp")
    moved = fingerprint(str(two))
    (two / "dog" / "00.bmp").rename(two / "cat" / "0.bmp")
    assert held == fingerprint(str(two))
    with (two / "cat" / "0.bmp").open("ab") as file:
        file.write(b"longer")
    assert len({held, renamed, moved, fingerprint(str(two))}) == 4


def test_named_sets_in_memory_are_that_of_their_rows(tmp_path: Path, cifar10_folder: Any, mnist_folder: Any) -> None:
    cifar, plain, zipped = (tmp_path / name for name in ("cifar", "plain", "zipped"))
    cifar10_folder(cifar)
    data = load("cifar10", cifar)
    assert data.fingerprint == fingerprint("cifar10", cifar) != ""
    fifth = DataOptions(validation_share=0.2)
    assert load("cifar10", cifar, options=fifth).fingerprint == fingerprint("cifar10", cifar, options=fifth)
    cifar10_folder(cifar, rows=19)
    assert fingerprint("cifar10", cifar) not in ("", data.fingerprint)
    mnist_folder(plain, zipped=False)
    mnist_folder(zipped, zipped=True)
    assert fingerprint("mnist", plain) == fingerprint("mnist", zipped) == load("mnist", plain).fingerprint != ""


def test_what_is_computed_or_not_at_hand_has_none(tmp_path: Path) -> None:
    for name in ("digits", "toy", "cifar10", "imagenet", "tiny-imagenet", str(tmp_path / "none.csv"), "nothing"):
        assert fingerprint(name, tmp_path) == ""
    assert load("digits").fingerprint == load("toy").fingerprint == ""


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 4, 4), (5,)])
def test_every_value_and_the_order_of_rows_count(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.arange(10 * int(np.prod(shape))).reshape(10, *shape).to(dtype)
    y = torch.arange(10) % 2

    def of(x: torch.Tensor, y: torch.Tensor) -> str:
        parts = {"train": slice(6), "validation": slice(6, 8), "test": slice(8, 10)}
        return of_tensors(Dataset.from_tensors("mine", **{name: (x[at], y[at]) for name, at in parts.items()}))

    pixel, order, target = x.clone(), x.clone(), y.clone()
    pixel.view(-1)[7] += 1
    order[[0, 2]] = order[[2, 0]]  # with targets that are alike
    target[9] = 0
    assert of(x, y) == of(x.clone(), y.clone())
    assert len({of(x, y), of(pixel, y), of(order, y), of(x, target)}) == 4


def test_a_set_of_cifars_size_takes_no_time() -> None:
    x, y = torch.zeros(6000, 3, 32, 32, dtype=torch.uint8), torch.arange(6000) % 10
    data = Dataset.from_tensors("mine", train=(x, y), validation=(x, y), test=(x, y))
    of_tensors(data)
    start = time.perf_counter()
    of_tensors(data)
    assert time.perf_counter() - start < 1.0  # measured: a hundredth of a second
