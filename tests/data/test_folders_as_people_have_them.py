"""Image folders with hidden folders, thumbnails, copies, pipes and odd names, small ones, and huge images."""

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from motet.data import Augmentation, Dataset, image_folder
from motet.data.formats.decode import decode
from motet.data.formats.memory import MemoryBound
from motet.errors import InputError
from motet.training import Training, settings_for


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of 20 colour images."""
    for index, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for row in range(20):
            noise = np.random.RandomState(100 * index + row).randint(0, 256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "pets" / name / f"{row:03}.png")
    return tmp_path / "pets"


def size(data: Dataset) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


@pytest.mark.parametrize(
    "inside",
    [
        *(".ipynb_checkpoints", ".thumbnails", "thumbs", "Thumbnails", "__MACOSX", "@eaDir", "more/.hidden"),
        "more/deeper/_thumbs",
    ],
)
def test_hidden_and_thumbnail_folders_at_any_depth(pets: Path, inside: str) -> None:
    shutil.copytree(pets / "cat", pets / "cat" / inside)
    data = image_folder(pets)
    assert size(data) == 40
    assert any("left out: 20 " in note for note in data.notes)


def test_a_class_may_be_called_like_a_thumbnail_folder(pets: Path) -> None:
    (pets / "cat").rename(pets / "thumbs")
    for path in (pets / "thumbs").iterdir():
        path.rename(path.with_stem(f"thumb {path.stem}"))
    assert image_folder(pets).spec.class_names == ("dog", "thumbs")


def test_ordinary_subfolders_are_read(pets: Path) -> None:
    (pets / "cat" / "2024").mkdir()
    (pets / "cat" / "000.png").rename(pets / "cat" / "2024" / "000.png")
    data = image_folder(pets)
    assert (size(data), data.notes) == (40, ())


def test_identical_files_in_two_splits_and_in_two_classes(pets: Path) -> None:
    for row in range(20):
        shutil.copy(pets / f"cat/{row:03}.png", pets / f"cat/copy of {row:03}.png")
    notes = image_folder(pets).notes
    assert len(notes) == 1
    assert notes[0].startswith("warning: identical files in two splits: ")
    shutil.copy(pets / "cat/000.png", pets / "dog/999.png")
    assert any("warning: identical files in two classes: 3 images" in note for note in image_folder(pets).notes)


@pytest.mark.parametrize("suffix", [".jfif", ".JPG", ".avif", ".webp"])
def test_suffixes(pets: Path, suffix: str) -> None:
    for path in sorted(pets.rglob("*.png")):
        kind = {".jfif": "JPEG", ".JPG": "JPEG", ".avif": "AVIF", ".webp": "WEBP"}[suffix]
        if kind == "AVIF" and ".avif" not in Image.registered_extensions():
            pytest.skip("this Pillow was built without AVIF")
        Image.open(path).save(path.with_suffix(suffix), format=kind)
        path.unlink()
    assert size(image_folder(pets)) == 40


def test_pipes_sockets_and_devices_are_never_opened(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "pipe.png")
    (pets / "dog" / "device.png").symlink_to("/dev/zero")
    # The path of a socket must be short.
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(pets / "cat")
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
        data = image_folder(pets)
    assert size(data) == 40
    assert sum("left out" in note for note in data.notes) >= 1


def test_links_in_a_circle(pets: Path) -> None:
    (pets / "cat" / "again").symlink_to(pets, target_is_directory=True)
    (pets / "dog" / "self.png").symlink_to(pets / "dog" / "self.png")
    with pytest.raises(InputError, match=r"self\.png"):
        image_folder(pets)
    (pets / "dog" / "self.png").unlink()
    assert size(image_folder(pets)) == 40


def test_names_that_are_not_utf8(pets: Path) -> None:
    (pets / "cat" / "000.png").rename(pets / "cat" / os.fsdecode(b"\xff\xfe.png"))
    assert size(image_folder(pets)) == 40


# -- small folders -------------------------------------------------------------------------------------------------


def test_a_small_folder_gets_a_batch_size_and_augmentation(pets: Path) -> None:
    training, notes = settings_for(Training(augment=None), image_folder(pets))
    assert training.batch_size == 4, "28 images: 7 steps, because batches have at least 4"
    assert training.augment == Augmentation(crop=2, flip=True)
    assert [note.partition(",")[0] for note in notes] == [
        "batch size 4 instead of 128",
        "augmentation by random crops (padding 2 pixels) and flips",
    ]


def test_settings_that_were_made_are_not_changed(pets: Path) -> None:
    asked = Training(batch_size=7, augment=Augmentation())
    assert settings_for(asked, image_folder(pets)) == (asked, ())


def images(rows: int, channels: int = 3, names: tuple[str, ...] = ("a1", "b1")) -> Dataset:
    def split(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.zeros(rows, channels, 8, 8, dtype=torch.uint8)
        return x, torch.arange(rows) % len(names)

    return Dataset.from_tensors("x", train=split(rows), validation=split(10), test=split(10), class_names=names)


@pytest.mark.parametrize(
    ("rows", "batch"),
    [(1, 1), (3, 3), (4, 4), (40, 4), (79, 4), (80, 8), (640, 64), (1279, 64), (1280, 128), (2000, 128)],
)
def test_the_batch_size_by_the_number_of_rows(rows: int, batch: int) -> None:
    training, notes = settings_for(Training(), images(max(rows, 1)))
    assert training.batch_size == batch
    assert bool(notes) == (batch < 128)


@pytest.mark.parametrize(
    ("data", "flip"),
    [
        (lambda: images(100), True),
        (lambda: images(100, channels=1), False),
        (lambda: images(100, names=("left hand", "right hand")), False),
        (lambda: images(100, names=tuple("abcdef")), False),
        (lambda: images(100, names=("bright", "dark")), True),
    ],
)
def test_images_are_flipped_only_if_that_does_not_change_them(data: Callable[[], Dataset], flip: bool) -> None:
    training, _ = settings_for(Training(augment=None), data())
    assert training.augment is not None
    assert (training.augment.flip, training.augment.crop) == (flip, 1)


def test_large_data_are_not_augmented_by_default() -> None:
    assert settings_for(Training(augment=None), images(10_000))[0].augment == Augmentation()


# -- arrays and huge images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "match"),
    [
        ((20, 32, 32, 3), torch.uint8, r"last axis seems to be the channels. Pass x.permute\(0, 3, 1, 2\)"),
        ((20, 28, 28, 1), torch.float32, r"last axis seems to be the channels. Pass x.permute\(0, 3, 1, 2\)"),
        ((20, 24, 32, 4), torch.uint8, r"last axis seems to be the channels. Pass x.permute\(0, 3, 1, 2\)"),
        ((20, 28, 28), torch.uint8, r"without an axis of channels. Pass x.unsqueeze\(1\)"),
    ],
)
def test_axes_of_images_are_not_guessed(shape: tuple[int, ...], dtype: torch.dtype, match: str) -> None:
    rows = torch.zeros(shape, dtype=dtype), torch.arange(shape[0]) % 2
    with pytest.raises(InputError, match=match):
        Dataset.from_tensors("x", train=rows, validation=rows, test=rows)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((20, 3, 32, 32), torch.uint8),
        ((20, 4, 4, 4), torch.uint8),
        ((20, 64, 10, 3), torch.float32),
        ((20, 12, 7), torch.float32),
        ((20, 784), torch.uint8),
    ],
)
def test_other_axes_are_accepted(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    rows = torch.zeros(shape, dtype=dtype), torch.arange(shape[0]) % 2
    assert Dataset.from_tensors("x", train=rows, validation=rows, test=rows).spec.input_shape == shape[1:]


def test_a_memory_bound_lets_only_as_many_threads_go_on() -> None:
    bound, used, most = MemoryBound(100), [0], [0]
    lock = threading.Lock()
    start = threading.Barrier(6)

    def work(needed: int) -> None:
        start.wait()
        for _ in range(50):
            with bound.hold(needed):
                with lock:
                    used[0] += min(needed, 100)
                    most[0] = max(most[0], used[0])
                with lock:
                    used[0] -= min(needed, 100)

    threads = [threading.Thread(target=work, args=(needed,)) for needed in (40, 40, 40, 60, 100, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most[0] <= 100


def test_the_memory_is_free_again_after_an_error() -> None:
    bound = MemoryBound(100)
    with pytest.raises(ZeroDivisionError), bound.hold(100):
        _ = 1 / 0
    with bound.hold(100):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_image_is_decoded_as_a_small_one_looks(tmp_path: Path, kind: str) -> None:
    """Decoding at a reduced size gives nearly the pixels of the whole image resized."""
    ramp = np.linspace(0, 255, 4000)
    whole = np.stack([np.tile(ramp, (3000, 1)), np.tile(ramp[:3000, None], (1, 4000)), np.full((3000, 4000), 90.0)], 2)
    path = tmp_path / f"large.{kind.lower()}"
    Image.fromarray(whole.astype(np.uint8)).save(path, format=kind)
    pixels: Any = decode(path, size=(32, 32), channels=3)
    small = Image.fromarray(whole.astype(np.uint8)).resize((32, 32), Image.Resampling.BOX)
    own = np.asarray(pixels).reshape(3, 32, 32).transpose(1, 2, 0).astype(float)
    assert np.abs(own - np.asarray(small, dtype=float)).max() < 6
