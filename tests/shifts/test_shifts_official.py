"""Official corrupted test sets, from files of the same form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motet import InputError
from motet.shifts import CifarC, ImageNetC


def write_cifar_c(folder: Path, rows: int = 7, labels: int = 35) -> np.ndarray:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5 * rows, 6, 8, 3), dtype=np.uint8)
    np.save(folder / "fog.npy", images)
    np.save(folder / "snow.npy", images[::-1].copy())
    np.save(folder / "labels.npy", np.tile(np.arange(rows), 5)[:labels].astype(np.uint8))
    return images


@pytest.mark.parametrize("labels", [35, 7])
def test_cifar_c_comes_severity_by_severity(tmp_path: Path, labels: int) -> None:
    images = write_cifar_c(tmp_path, labels=labels)
    official = CifarC(tmp_path)
    assert official.names == ("fog", "snow")
    for severity in range(1, 6):
        parts = list(official.batches("fog", severity, batch_size=3))
        assert [len(x) for x, _ in parts] == [3, 3, 1]
        x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
        assert x.shape == (7, 3, 6, 8)
        assert np.array_equal(x.permute(0, 2, 3, 1).numpy(), images[7 * (severity - 1) : 7 * severity])
        assert y.tolist() == list(range(7))
        assert y.dtype == torch.int64


def test_cifar_c_is_not_read_whole(tmp_path: Path) -> None:
    write_cifar_c(tmp_path)
    assert isinstance(CifarC(tmp_path)._images["fog"], np.memmap)


def test_the_official_size_and_layout(tmp_path: Path) -> None:
    """``CIFAR-10-C/<name>.npy`` of 50,000 images, severities in blocks of 10,000; as sparse files."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    images = np.lib.format.open_memmap(folder / "fog.npy", mode="w+", dtype=np.uint8, shape=(50_000, 32, 32, 3))
    for severity in range(1, 6):
        for row in (0, 9_999):
            images[10_000 * (severity - 1) + row, 5, 7] = (severity, row % 256, 9)
    images.flush()
    labels = np.tile(np.arange(10_000) * 7 % 10, 5).astype(np.uint8)
    np.save(folder / "labels.npy", labels)
    official = CifarC(folder)
    assert official.classes == 10
    assert official.image_shape("fog") == (3, 32, 32)
    for severity in (1, 4, 5):
        parts = list(official.batches("fog", severity, batch_size=5_000))
        assert [x.shape for x, _ in parts] == [(5_000, 3, 32, 32)] * 2
        assert parts[0][0][0, :, 5, 7].tolist() == [severity, 0, 9]
        assert parts[1][0][-1, :, 5, 7].tolist() == [severity, 9_999 % 256, 9]
        assert torch.cat([y for _, y in parts]).tolist() == labels[:10_000].tolist()


def test_bad_cifar_c_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.npy.*no \.npy file"):
        CifarC(tmp_path)
    images = write_cifar_c(tmp_path)
    good = CifarC(tmp_path)
    with pytest.raises(InputError, match="Did you mean 'fog'"):
        good.batches("fogg", 1, batch_size=3)
    with pytest.raises(InputError, match="severity"):
        good.batches("fog", 0, batch_size=3)
    with pytest.raises(InputError, match="batch_size"):
        good.batches("fog", 1, batch_size=0)
    np.save(tmp_path / "labels.npy", np.zeros(9, dtype=np.uint8))
    with pytest.raises(InputError, match="as many images as the 9 labels"):
        CifarC(tmp_path)
    np.save(tmp_path / "labels.npy", np.zeros(35))
    with pytest.raises(InputError, match="one integer per row"):
        CifarC(tmp_path)
    write_cifar_c(tmp_path)
    for wrong in (images[:-1], images.astype(np.float32), images[..., :2], images[..., 0]):
        np.save(tmp_path / "fog.npy", wrong)
        with pytest.raises(InputError, match=r"fog\.npy must hold uint8 images"):
            CifarC(tmp_path)
    np.save(tmp_path / "fog.npy", images[:30])
    np.save(tmp_path / "labels.npy", np.zeros(7, dtype=np.uint8))
    with pytest.raises(InputError, match=r"fog\.npy must hold as many images as the 7 labels"):
        CifarC(tmp_path)
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "snow.npy", np.concatenate([images] * 5))
    np.save(tmp_path / "labels.npy", np.zeros(35, dtype=np.uint8))
    with pytest.raises(InputError, match=r"equally many images, but got 35 in fog\.npy, 175 in snow\.npy"):
        CifarC(tmp_path)
    write_cifar_c(tmp_path)
    for labels, wrong in ((np.arange(35), "the same 7 labels"), (np.full(35, -1), "classes from 0, not -1")):
        np.save(tmp_path / "labels.npy", labels)
        with pytest.raises(InputError, match=wrong):
            CifarC(tmp_path)
    write_cifar_c(tmp_path)
    whole = (tmp_path / "fog.npy").read_bytes()
    (tmp_path / "fog.npy").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"must be a NumPy array, but got .*fog\.npy"):
        CifarC(tmp_path)
    (tmp_path / "fog.npy").write_bytes(b"PK no array")
    with pytest.raises(InputError, match="must be a NumPy array"):
        CifarC(tmp_path)


def write_imagenet_c(folder: Path) -> None:
    for family, name in (("weather", "fog"), ("noise", "shot_noise")):
        for severity in range(1, 6):
            for label, wnid in enumerate(("n01", "n02")):
                place = folder / family / name / str(severity) / wnid
                place.mkdir(parents=True)
                for number in range(2):
                    Image.new("RGB", (8, 8), (10 * severity, 100 * label, number)).save(place / f"{number}.png")


def test_imagenet_c_comes_class_by_class(tmp_path: Path) -> None:
    write_imagenet_c(tmp_path)
    official = ImageNetC(tmp_path)
    assert set(official.names) == {"fog", "shot_noise"}
    (x, y), (last, _) = official.batches("fog", 4, batch_size=3)
    assert x.shape == (3, 3, 8, 8)
    assert x[:, :, 0, 0].tolist() == [[40, 0, 0], [40, 0, 1], [40, 100, 0]]
    assert y.tolist() == [0, 0, 1]
    assert last[:, :, 0, 0].tolist() == [[40, 100, 1]]
    turned = ImageNetC(tmp_path / "weather", classes=("n02", "n00", "n01"))
    assert turned.names == ("fog",)
    assert torch.cat([y for _, y in turned.batches("fog", 1, batch_size=2)]).tolist() == [0, 0, 2, 2]


def test_bad_imagenet_c_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold folders"):
        ImageNetC(tmp_path)
    write_imagenet_c(tmp_path)
    with pytest.raises(InputError, match=r"n02.*Pass classes="):
        ImageNetC(tmp_path, classes=("n01", "n03"))
    with pytest.raises(InputError, match="Did you mean 'fog'"):
        ImageNetC(tmp_path).batches("frog", 1, batch_size=2)
    place = tmp_path / "weather" / "fog" / "2" / "n02"
    Image.new("RGB", (9, 8)).save(place / "1.png")
    with pytest.raises(InputError, match=r"the same size, but got .*1.png of 9x8 after 8x8"):
        list(ImageNetC(tmp_path).batches("fog", 2, batch_size=2))
    assert ImageNetC(tmp_path).image_shape("fog") == (3, 8, 8)
    assert len(ImageNetC(tmp_path).files("fog", 2)) == 4
    strange = tmp_path / "noise" / "shot_noise" / "3" / "n07"
    strange.mkdir()
    with pytest.raises(InputError, match=r"n07 in .*shot_noise/3"):
        ImageNetC(tmp_path)
    strange.rmdir()
    (place / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"must be readable.*1\.png"):
        list(ImageNetC(tmp_path).batches("fog", 2, batch_size=2))
    for child in (tmp_path / "weather" / "fog" / "5").rglob("*.png"):
        child.unlink()
    with pytest.raises(InputError, match=r"must have images at each severity, but got none in .*fog/5"):
        ImageNetC(tmp_path)
    for child in sorted((tmp_path / "weather" / "fog" / "5").rglob("*"), reverse=True):
        child.rmdir()
    (tmp_path / "weather" / "fog" / "5").rmdir()
    with pytest.raises(InputError, match="fog without 5"):
        ImageNetC(tmp_path)
