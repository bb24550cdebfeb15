"""Folders of class folders: layouts, image modes and sizes, and what is said of bad images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from motet.data import DataOptions, ImageFiles, image_folder, load
from motet.data.formats.decode import BadImageError, decode, read_header
from motet.errors import InputError

Make = Callable[..., Path]


def picture(seed: int, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.RandomState(seed).randint(0, 256, size=(size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(values.squeeze() if bands == 1 else values, mode=None)


def fill(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), rows: int = 10, **how: Any) -> Path:
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for row in range(rows):
            picture(100 * index + row, **how).save(folder / name / f"{row:03d}.png")
    return folder


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """Two classes of ten 6x6 images, in one folder."""
    return fill(tmp_path / "pets")


def test_one_folder_is_split_by_a_fixed_seed(one: Path) -> None:
    data = load(str(one))
    assert data.spec.name == "pets"
    assert data.spec.class_names == ("cat", "dog")
    assert data.spec.input_shape == (3, 6, 6)
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 2, 4)
    assert data.test.targets.bincount().tolist() == [2, 2]
    assert isinstance(data.train.inputs, torch.Tensor)
    assert torch.equal(image_folder(one).train.inputs[:], data.train.inputs)
    other = image_folder(one, DataOptions(split_seed=1, validation_share=0.2))
    assert len(other.validation) == 4
    prepared = data.prepare(data.train.inputs)
    torch.testing.assert_close(prepared.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_pixels_are_those_of_the_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        fill(tmp_path / split, rows=3)
    data = image_folder(tmp_path)
    expected = [torch.from_numpy(np.array(picture(100 * k + row))).permute(2, 0, 1) for k in (0, 1) for row in range(3)]
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.inputs[:], torch.stack(expected))
        assert split.targets.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("layout", "sizes"),
    [
        (("train", "valid", "test"), (20, 20, 20)),
        (("train", "test"), (18, 2, 20)),
        (("Train", "validation"), (18, 2, 20)),
    ],
)
def test_layouts(tmp_path: Path, layout: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    for split in layout:
        fill(tmp_path / split)
    data = image_folder(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes


def test_images_below_class_folders_count_and_other_files_do_not(one: Path) -> None:
    (one / "cat" / "deep").mkdir()
    picture(1).save(one / "cat" / "deep" / "more.jpeg")
    (one / "cat" / "notes.txt").write_text("no image")
    (one / ".hidden").mkdir()
    data = image_folder(one)
    assert sum(map(len, (data.train, data.validation, data.test))) == 21


def test_layouts_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder of class folders.*without images in folders"):
        load(str(tmp_path))
    fill(tmp_path / "train")
    with pytest.raises(InputError, match=r"must hold val/ or test/ next to train/"):
        image_folder(tmp_path)
    fill(tmp_path / "val")
    fill(tmp_path / "valid")
    with pytest.raises(InputError, match=r"must hold each split once, but got train, val, valid"):
        image_folder(tmp_path)


def test_a_class_missing_in_one_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("cat", "dog", "eel"))
    fill(tmp_path / "test", ("cat", "dog"))
    with pytest.raises(InputError, match=r"must have a folder in the test split, but got none for eel"):
        image_folder(tmp_path)
    fill(tmp_path / "test", ("eel", "fox"))
    with pytest.raises(InputError, match=r"folder in the train split, but got fox in the test split only"):
        image_folder(tmp_path)


def test_empty_classes_and_single_ones(one: Path, tmp_path: Path) -> None:
    (one / "eel").mkdir()
    with pytest.raises(InputError, match=r"every class folder must hold images, but got none in eel"):
        image_folder(one)
    with pytest.raises(InputError, match=r"at least 2 class folders, but got 1 \(cat\)"):
        image_folder(fill(tmp_path / "alone", ("cat",)))


def test_a_class_with_too_few_images(tmp_path: Path) -> None:
    folder = fill(tmp_path / "few", ("cat", "dog"), rows=12)
    fill(folder, ("cow",), rows=1)  # every fifth image in the order of the classes is tested on
    with pytest.raises(InputError, match=r"every class must have a row to train on, but got none of cow"):
        image_folder(folder)


# --- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.full((6, 6), 0x80FF, dtype=np.uint16)), [0x80] * 3),
        (Image.new("L", (6, 6), 7), [7] * 3),
        (Image.new("RGBA", (6, 6), (10, 20, 30, 0)), [255] * 3),
        (Image.new("RGBA", (6, 6), (10, 20, 30, 255)), [10, 20, 30]),
        (Image.new("LA", (6, 6), (10, 0)), [255] * 3),
        (Image.new("P", (6, 6), 0), [0] * 3),
        (Image.new("1", (6, 6), 1), [255] * 3),
    ],
    ids=["16-bit", "grey", "transparent", "opaque", "grey alpha", "palette", "bits"],
)
def test_modes_among_colour_images(tmp_path: Path, image: Image.Image, expected: list[int]) -> None:
    for split in ("train", "val", "test"):
        fill(tmp_path / split, rows=2)
    image.save(tmp_path / "test" / "dog" / "zzz.png")
    data = image_folder(tmp_path)
    assert data.test.inputs[4:][0, :, 3, 3].tolist() == expected


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    folder = fill(tmp_path / "grey", mode="L")
    Image.fromarray(np.full((6, 6), 0xFFFF, dtype=np.uint16)).save(folder / "cat" / "deep.png")
    assert image_folder(folder).spec.input_shape == (1, 6, 6)
    picture(0).save(folder / "cat" / "colour.png")
    assert image_folder(folder).spec.input_shape == (3, 6, 6)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_images_of_one_size_need_not_be_square(tmp_path: Path) -> None:
    assert image_folder(fill(tmp_path / "wide", size=(9, 5))).spec.input_shape == (3, 5, 9)


def test_mixed_sizes_need_one(one: Path) -> None:
    picture(0, size=(30, 20)).save(one / "dog" / "large.png")
    with pytest.raises(
        InputError, match=r"one size to which they are resized, but got 20 of 6x6, 1 of 30x20.*--image-size 6"
    ):
        image_folder(one)
    data = image_folder(one, DataOptions(image_size=8))
    assert data.spec.input_shape == (3, 8, 8)


def test_the_middle_square_is_kept(tmp_path: Path) -> None:
    values = np.zeros((8, 24, 3), dtype=np.uint8)
    values[:, 8:16] = 200
    for split in ("train", "test"):
        fill(tmp_path / split, rows=2)
        Image.fromarray(values).save(tmp_path / split / "dog" / "zzz.png")
    data = image_folder(tmp_path, DataOptions(image_size=8))
    assert torch.equal(data.test.inputs[4:][0], torch.full((3, 8, 8), 200, dtype=torch.uint8))


# --- bad images ------------------------------------------------------------------------------------------------------


def spoil(folder: Path) -> None:
    (folder / "cat" / "000.png").write_bytes(b"no image")
    whole = (folder / "dog" / "003.png").read_bytes()
    (folder / "dog" / "003.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "004.png").write_bytes(b"")


def test_bad_images_are_named_and_counted(one: Path) -> None:
    spoil(one)
    with pytest.raises(InputError, match=r"2 of 20 that cannot be read: .*000\.png \(cannot be.*004\.png.*--skip-bad"):
        image_folder(one)
    (one / "cat" / "000.png").unlink()
    (one / "dog" / "004.png").unlink()
    with pytest.raises(InputError, match=r"1 of 18 that cannot be read: .*003\.png \(.*trunc"):
        image_folder(one)


@pytest.mark.parametrize("stream", [None, False, True])
def test_bad_images_are_left_out(one: Path, stream: bool | None) -> None:
    spoil(one)
    data = image_folder(one, DataOptions(skip_bad=True, stream=stream))
    assert sum(map(len, (data.train, data.validation, data.test))) == 17
    assert "images left out that cannot be read" in " ".join(data.notes)
    for split in (data.train, data.validation, data.test):
        assert len(split.inputs[:]) == len(split.targets)


def test_a_class_of_bad_images_alone(one: Path) -> None:
    for path in (one / "dog").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"every class folder must hold images, but got none in dog"):
        image_folder(one, DataOptions(skip_bad=True))


# --- images that stay in their files ----------------------------------------------------------------------------------


def test_streamed_and_in_memory_are_the_same_rows(one: Path) -> None:
    memory, stream = image_folder(one), image_folder(one, DataOptions(stream=True))
    assert isinstance(stream.train.inputs, ImageFiles)
    assert stream.train.inputs.shape == memory.train.inputs.shape
    assert torch.equal(stream.train.targets, memory.train.targets)
    assert stream.spec.mean == (0.485, 0.456, 0.406)


def test_streaming_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"streamed must be square, but got 9x5 pixels.*--image-size 5"):
        image_folder(fill(tmp_path / "wide", size=(9, 5)), DataOptions(stream=True))
    with pytest.raises(InputError, match=r"--target must be left out"):
        image_folder(tmp_path / "wide", DataOptions(target="y"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_images_cut_short_are_found_before_training_where_they_are_streamed(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "pets", rows=5, size=(40, 40))
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(f".{suffix}"))
        if suffix != "png":
            path.unlink()
    short = folder / "dog" / f"003.{suffix}"
    short.write_bytes(short.read_bytes()[:-700])
    image_folder(folder, DataOptions(stream=True, skip_bad=True))
    with pytest.raises(InputError, match=rf"1 of 10 that cannot be read: .*003\.{suffix} \("):
        image_folder(folder, DataOptions(stream=True))


def test_images_behind_which_something_else_stands_are_read(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", rows=5)
    path = folder / "dog" / "003.png"
    path.write_bytes(path.read_bytes() + b"a camera's own data")
    assert len(image_folder(folder, DataOptions(stream=True)).train) == 7


def test_links_that_lead_nowhere_are_bad_images(one: Path) -> None:
    (one / "dog" / "link.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"1 of 21 that cannot be read: .*link\.png"):
        image_folder(one)
    assert "1 of 21 images left out" in image_folder(one, DataOptions(skip_bad=True)).notes[0]


def test_none_of_the_images_is_one(one: Path) -> None:
    for path in one.rglob("*.png"):
        path.write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"20 of 20 that cannot be read"):
        image_folder(one)
    with pytest.raises(InputError, match=r"some of the images must be readable, but got none of 20, the first .*000"):
        image_folder(one, DataOptions(skip_bad=True))


# --- orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("tag", [1, 2, 3, 4, 5, 6, 7, 8, 99])
def test_images_stand_upright(tmp_path: Path, kind: str, tag: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"photo.{kind}"
    smooth = picture(3, size=(4, 2)).resize((200, 120), Image.Resampling.BILINEAR)
    smooth.save(path, exif=exif)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    header = read_header(path)
    assert (header.width, header.height) == upright.size
    assert upright.size == ((120, 200) if 5 <= tag <= 8 else (200, 120))
    whole = decode(path, size=(upright.height, upright.width), channels=3)
    assert torch.equal(whole, torch.from_numpy(np.array(upright)).permute(2, 0, 1))
    # A part near a corner, of a JPEG decoded at a fraction of its size.
    part = decode(path, size=15, channels=3, box=lambda width, height: (width - 60.0, 0.0, float(width), 60.0))
    corner = upright.resize((15, 15), Image.Resampling.BICUBIC, box=(upright.width - 60, 0, upright.width, 60))
    expected = torch.from_numpy(np.array(corner)).permute(2, 0, 1)
    assert (part.float() - expected.float()).abs().mean() < 3


def test_broken_tags_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(0).save(path, exif=b"Exif\x00\x00rubbish")
    assert read_header(path).width == 6
    assert decode(path, size=6, channels=3).shape == (3, 6, 6)


# --- what is left out, and what is no data set ------------------------------------------------------------------------


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for split in ("train", "val", "test"):
        fill(folder / split, rows=2)
    fill(folder / "spare")
    (folder / "train" / "cat" / "a.heic").write_bytes(b"")
    (folder / "train" / "dog" / "b.txt").write_bytes(b"")
    (folder / "train" / "dog" / ".hidden").write_bytes(b"")
    picture(0).save(folder / "test" / "loose.png")
    *left_out, copies = image_folder(folder).notes
    assert copies.startswith("warning: identical files in two splits")
    assert tuple(left_out) == (
        "left out: spare, next to the splits",
        "left out: 1 images in test/ that are not in a class folder",
        "left out: 2 files in train/ of other kinds (1 .heic, 1 .txt)",
    )


def test_splits_by_other_names(tmp_path: Path) -> None:
    for split in ("Training", "valid", "testing"):
        fill(tmp_path / "pets" / split, rows=3)
    data = image_folder(tmp_path / "pets")
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 6, 6)
    (tmp_path / "pets" / "Training").rename(tmp_path / "pets" / "lessons")
    with pytest.raises(
        InputError, match=r"must hold train/ next to testing/ and valid/, but got lessons, testing, valid"
    ):
        image_folder(tmp_path / "pets")


def test_a_class_called_like_a_split(tmp_path: Path) -> None:
    assert image_folder(fill(tmp_path / "trial", classes=("control", "test"))).spec.class_names == ("control", "test")


def test_a_class_that_only_training_lacks(tmp_path: Path) -> None:
    fill(tmp_path / "train", classes=("cat",))
    fill(tmp_path / "test")
    with pytest.raises(InputError, match=r"a folder in the train split, but got dog in the test split only"):
        image_folder(tmp_path)


def test_images_that_show_nothing(tmp_path: Path) -> None:
    folder = fill(tmp_path / "deep", mode="L")
    for path in folder.rglob("*.png"):
        Image.fromarray(np.full((6, 6), 200, dtype=np.uint16)).save(path)
    with pytest.raises(
        InputError, match=r"must contain different values, but got the value 0 in every pixel.*rescale them"
    ):
        image_folder(folder)
    for row, path in enumerate(folder.rglob("*.png")):
        Image.fromarray(np.full((6, 6), 200 * row, dtype=np.uint16)).save(path)
    assert "16 bits became 8 by their high byte" in image_folder(folder).notes[0]


def test_statistics_are_those_of_the_training_images(one: Path) -> None:
    before = image_folder(one)
    # Every class's images are in the order of their names: the pixels tell which are held out.
    train = {row.numpy().tobytes() for row in before.train.inputs[:]}
    for path in one.rglob("*.png"):
        with Image.open(path) as image:
            pixels = np.array(image).transpose(2, 0, 1)
        if pixels.tobytes() not in train:
            Image.new("RGB", (6, 6), (255, 0, 255)).save(path)
    after = image_folder(one)
    assert torch.equal(before.train.inputs[:], after.train.inputs[:])
    assert (before.spec.mean, before.spec.std) == (after.spec.mean, after.spec.std)
    assert not torch.equal(before.test.inputs[:], after.test.inputs[:])


def test_printers_colours_and_transparent_palettes(tmp_path: Path) -> None:
    ink = tmp_path / "ink.tiff"
    Image.new("CMYK", (6, 6), (0, 255, 255, 0)).save(ink)
    assert decode(ink, size=6, channels=3)[:, 3, 3].tolist() == [255, 0, 0]
    palette = tmp_path / "palette.gif"
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(palette, transparency=1)
    assert decode(palette, size=6, channels=3)[:, 3, 3].tolist() == [255] * 3
    Image.new("RGB", (6, 6), (1, 2, 3)).save(
        palette, save_all=True, append_images=[Image.new("RGB", (6, 6), (9, 9, 9))]
    )
    assert decode(palette, size=6, channels=3)[:, 3, 3].tolist() == [1, 2, 3], "the first picture of an animation"
    deep = tmp_path / "float.tiff"
    Image.new("F", (6, 6), 0.5).save(deep)
    with pytest.raises(BadImageError, match="floating-point pixels"):
        decode(deep, size=6, channels=1)
