"""The toy function, and ImageNet's official folders in small."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motet.data import DataOptions, ImageFiles, load, toy
from motet.errors import InputError

WNIDS = ("n01443537", "n01629819", "n02000000")


def test_the_toy_function() -> None:
    data = toy()
    assert (len(data.train), len(data.validation), len(data.test)) == (64, 1000, 3000)
    assert (data.spec.task, data.spec.input_shape, data.spec.outputs) == ("regression", (1,), 1)
    x, y = data.test.inputs[:].double(), data.test.targets.double()
    assert float(x.abs().max()) < 1
    clean = x + 0.3 * torch.sin(2 * torch.pi * x) + 0.3 * torch.sin(4 * torch.pi * x)
    slope = 1 + 0.3 * 2 * torch.pi * torch.cos(2 * torch.pi * x) + 0.3 * 4 * torch.pi * torch.cos(4 * torch.pi * x)
    # To first order the noise is 0.08 (1 + f'(x) - 1) wide where f is the sum of both sines and the noise itself.
    noise = (y - clean) / slope
    steep = slope.abs() > 3
    assert float(noise[steep].std()) == pytest.approx(0.08, rel=0.25)
    assert torch.equal(toy(1).test.targets, data.test.targets)
    assert not torch.equal(toy(1).train.targets, data.train.targets)
    assert torch.equal(load("toy", options=DataOptions(split_seed=1)).train.targets, toy(1).train.targets)
    with pytest.raises(InputError, match="--image-size must be left out for toy"):
        load("toy", options=DataOptions(image_size=3))


def image(path: Path, seed: int, size: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, size=(size, size, 3), dtype=np.uint8)).save(path)


def test_tiny_imagenets_archive(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-imagenet-200"
    lines = []
    for k, wnid in enumerate(WNIDS):
        for row in range(10):
            image(folder / "train" / wnid / "images" / f"{wnid}_{row}.JPEG", 10 * k + row)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes")
    for row in range(6):
        image(folder / "val" / "images" / f"val_{row}.JPEG", 100 + row)
        lines.append(f"val_{row}.JPEG\t{WNIDS[(row + 1) % 3]}\t0\t0\t9\t9")
    image(folder / "test" / "images" / "test_0.JPEG", 1)
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines))
    (folder / "words.txt").write_text(f"{WNIDS[0]}\tgoldfish, Carassius auratus\n{WNIDS[1]}\tsalamander\n")
    data = load("tiny-imagenet", tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 6)
    assert data.spec.class_names == ("goldfish", "salamander", WNIDS[2])
    assert data.test.targets.tolist() == [0, 0, 1, 1, 2, 2]
    with Image.open(folder / "val" / "images" / "val_2.JPEG") as first:
        assert torch.equal(data.test.inputs[0], torch.from_numpy(np.array(first)).permute(2, 0, 1))
    (folder / "val" / "val_annotations.txt").write_text(lines[0])
    with pytest.raises(InputError, match=r"class of every image.*no class for 5, the first val_1\.JPEG"):
        load("tiny-imagenet", tmp_path)


def imagenet_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "imagenet"
    for k, wnid in enumerate(WNIDS):
        for row in range(100):
            path = folder / "train" / wnid / f"{row}.JPEG"
            if row == 0:
                image(path, k, size=90)
            else:
                path.symlink_to("0.JPEG")
    for row in range(1, 7):
        image(folder / "val" / f"ILSVRC2012_val_{row:08d}.JPEG", row, size=80)
    return folder


def test_imagenets_official_validation_images(tmp_path: Path) -> None:
    from scipy.io import savemat

    folder = imagenet_folder(tmp_path)
    with pytest.raises(InputError, match=r"a flat .*val with neither LOC_val_solution\.csv nor ILSVRC2012_devkit_t12"):
        load("imagenet", tmp_path)
    truth = [3, 1, 2, 2, 1, 3]
    devkit = folder / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)) + "\n")
    # The kit's numbers are not in the order of the names, and inner synsets have numbers too.
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("num_children", "i4")]
    rows = [(1, WNIDS[2], 0), (2, WNIDS[0], 0), (3, WNIDS[1], 0), (4, "n00000001", 3)]
    savemat(devkit / "meta.mat", {"synsets": np.array(rows, dtype=kinds)})
    data = load("imagenet", tmp_path)
    assert data.spec.input_shape == (3, 224, 224)
    assert (len(data.train), len(data.validation), len(data.test)) == (297, 3, 6)
    files = data.test.inputs
    assert isinstance(files, ImageFiles)
    by_number = {path.name: int(label) for path, label in zip(files.paths, data.test.targets, strict=True)}
    assert [by_number[f"ILSVRC2012_val_{row:08d}.JPEG"] for row in range(1, 7)] == [1, 2, 0, 0, 2, 1]
    assert files[:2].shape == (2, 3, 224, 224)
    lines = ["ImageId,PredictionString", *(f"ILSVRC2012_val_{n:08d},{WNIDS[n % 3]} 1 2 3 4" for n in range(1, 7))]
    (folder / "LOC_val_solution.csv").write_text("\n".join(lines))
    from_kaggle = load("imagenet", tmp_path, options=DataOptions(image_size=32))
    assert from_kaggle.test.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert from_kaggle.spec.input_shape == (3, 32, 32)


def test_imagenet_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train, val.*ILSVRC2012_img_train.tar \(md5:1d675b47"):
        load("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("LOC_val_solution.csv", "a,b\n1,2\n", r"must hold the columns ImageId and PredictionString, but got KeyError"),
        ("LOC_val_solution.csv", "ImageId,PredictionString\nx,\n", "ImageId and PredictionString, but got IndexError"),
        ("LOC_val_solution.csv", b"\xff\xfe\xff", "must hold text, but got UnicodeDecodeError"),
        ("data/ILSVRC2012_validation_ground_truth.txt", "1\nx\n", r"a number from 1 to 3 a line, but got ValueError"),
        ("data/ILSVRC2012_validation_ground_truth.txt", "1\n9\n", r"a number from 1 to 3 a line, but got KeyError: 9"),
        ("data/meta.mat", b"rubbish", r"must hold the development kit's synsets"),
    ],
)
def test_imagenets_labels_that_are_not_what_they_should_be(
    tmp_path: Path, name: str, content: str | bytes, match: str
) -> None:
    from scipy.io import savemat

    folder = imagenet_folder(tmp_path)
    kit = folder / "ILSVRC2012_devkit_t12"
    (kit / "data").mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("num_children", "i4")]
    rows = [(number, wnid, 0) for number, wnid in enumerate(WNIDS, 1)]
    savemat(kit / "data" / "meta.mat", {"synsets": np.array(rows, dtype=kinds)})
    (kit / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3\n1\n2\n3\n")
    place = kit / name if name.startswith("data") else folder / name
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=match):
        load("imagenet", tmp_path)


def test_folders_that_are_not_imagenet(tmp_path: Path) -> None:
    folder = imagenet_folder(tmp_path)
    (folder / "train" / WNIDS[0]).rename(folder / "train" / "cats")
    for name in ("imagenet", "tiny-imagenet"):
        folder.rename(tmp_path / name)
        folder = tmp_path / name
        with pytest.raises(InputError, match=rf"classes of {name} must have names like WordNet's.*got cats in .*train"):
            load(name, tmp_path)


def test_an_imagenet_unpacked_wrongly_is_refused_before_training(tmp_path: Path) -> None:
    folder = imagenet_folder(tmp_path)
    (folder / "LOC_val_solution.csv").write_text(
        "\n".join(["ImageId,PredictionString", *(f"ILSVRC2012_val_{n:08d},{WNIDS[n % 3]} 1" for n in range(1, 7))])
    )
    load("imagenet", tmp_path)
    first = folder / "train" / WNIDS[1] / "0.JPEG"
    first.write_bytes(first.read_bytes()[:200])
    with pytest.raises(InputError, match=r"1 of 6 that cannot be read: .*0\.JPEG"):
        load("imagenet", tmp_path)
