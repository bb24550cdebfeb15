"""CIFAR's pickled batches: what they hold, how they are split, and that reading them executes nothing."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motet.data import cifar10, cifar100, load
from motet.data.formats.pickle_file import read_pickle
from motet.errors import InputError

Write = Callable[..., Path]


def pixels(rows: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, size=(rows, 3072), dtype=np.uint8)


@pytest.fixture
def write10(cifar10_folder: Write) -> Write:
    return cifar10_folder


def write100(folder: Path, rows: int = 200) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(["train", "test"]):
        labels = [row % 100 for row in range(rows)]
        content = {"data": pixels(rows, seed), "fine_labels": labels, "coarse_labels": [0] * rows}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(n) for n in range(100)]}, protocol=2))
    return folder


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_pixels_labels_and_names(tmp_path: Path, write10: Write, protocol: int) -> None:
    data = cifar10(write10(tmp_path, protocol=protocol))
    assert data.spec.input_shape == (3, 32, 32)
    assert data.spec.class_names[3] == "class 3"
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 10, 20)
    assert torch.equal(data.test.inputs[:], torch.from_numpy(pixels(20, 5)).view(20, 3, 32, 32))
    assert data.test.targets.tolist() == [(5 + row) % 10 for row in range(20)]
    assert data.validation.targets.bincount().tolist() == [1] * 10
    every = torch.cat([data.train.inputs[:], data.validation.inputs[:]]).view(100, -1)
    expected = torch.cat([torch.from_numpy(pixels(20, seed)) for seed in range(5)])
    assert {row.numpy().tobytes() for row in every} == {row.numpy().tobytes() for row in expected}


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    data = cifar100(write100(tmp_path), validation_share=0.5)
    assert (data.spec.outputs, len(data.train), len(data.validation)) == (100, 100, 100)
    assert data.test.targets.tolist() == [row % 100 for row in range(200)]


def test_by_name_in_the_archives_folder(tmp_path: Path, write10: Write) -> None:
    write10(tmp_path / "cifar-10-batches-py")
    write100(tmp_path / "cifar-100-python")
    assert load("cifar10", tmp_path).spec.name == "cifar10"
    assert load("cifar100", tmp_path).spec.name == "cifar100"


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("call", [os.system, eval, __import__, getattr])
def test_a_pickle_that_would_execute_something_is_refused(tmp_path: Path, write10: Write, call: Any) -> None:
    folder = write10(tmp_path)
    trace = tmp_path / "executed"
    bomb = Evil(call, f"touch {trace}")
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": bomb, b"labels": [0]}, protocol=2))
    with pytest.raises(InputError, match=r"test_batch must be a pickled dictionary.*asks for"):
        cifar10(folder)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"<html>",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": pixels(2, 0)}, protocol=2)[:-20],
        pickle.dumps({"data": np.zeros((2, 3072))}, protocol=2),
        pickle.dumps({"data": np.array([{}], dtype=object)}, protocol=2),
        pickle.dumps({"data": np.asfortranarray(pixels(2, 0))}, protocol=2),
        pickle.dumps({"data": 1}, protocol=2)[:-1] + b"Q.",  # a reference to something outside
        pickle.dumps({"data": {"data": 1}}, protocol=2),
        pickle.dumps({"data": [[1]]}, protocol=2),
        pickle.dumps({("data",): 1}, protocol=2),
        b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.",  # a million tuples as a key: Python itself would crash
        b"\x80\x02}K\x01" + b"q\x00h\x00h\x00\x87" * 2000 + b"Ns.",
        b"\x80\x04}(N" + b"(N" * 2000 + b"t" * 2000 + b"Nu.",
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x02}U\x01a" + b"]" * 100_000 + b"a" * 99_999 + b"s.",
        b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc.",  # an announcement of 2^62 bytes
        b"\x85.",
        b"t.",
    ],
)
def test_damaged_and_foreign_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"must be a pickled dictionary"):
        read_pickle(path)


def test_many_tuples_side_by_side_are_data(tmp_path: Path) -> None:
    # As Python 3 writes bytes for older protocols: _codecs.encode of a tuple for each name.
    names = [f"name {number}".encode() for number in range(3000)]
    (tmp_path / "file").write_bytes(pickle.dumps({b"names": names, b"two": (1, 2)}, protocol=2))
    assert read_pickle(tmp_path / "file") == {"names": names, "two": (1, 2)}


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("data_batch_2", {"labels": [0]}, r"data_batch_2 must hold bytes of shape \(N, 3072\).*but got nothing"),
        ("data_batch_2", {"data": pixels(2, 0)[:, :9], "labels": [0, 0]}, r"shape \(2, 9\)"),
        ("data_batch_2", {"data": pixels(2, 0), "labels": [0]}, "2 labels under 'labels'"),
        ("data_batch_2", {"data": pixels(1, 0), "labels": [10]}, "labels from 0 to 9"),
        ("data_batch_2", {"data": pixels(1, 0), "labels": ["a"]}, "labels from 0 to 9"),
        ("batches.meta", {"label_names": ["a"]}, "10 names under 'label_names'"),
    ],
)
def test_batches_that_do_not_fit(
    tmp_path: Path, write10: Write, *, file: str, content: dict[str, Any], match: str
) -> None:
    folder = write10(tmp_path)
    (folder / file).write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=match):
        cifar10(folder)


def test_a_missing_batch_is_named(tmp_path: Path, write10: Write) -> None:
    (write10(tmp_path) / "data_batch_4").unlink()
    with pytest.raises(InputError, match=r"a folder without data_batch_4"):
        cifar10(tmp_path)


@pytest.mark.skipif("MOTET_TEST_DATA" not in os.environ, reason="MOTET_TEST_DATA is no folder with the official data")
def test_the_official_pixels_and_labels() -> None:
    data = load("cifar10", Path(os.environ["MOTET_TEST_DATA"]))
    digest = hashlib.sha256(data.test.inputs[:].numpy().tobytes() + data.test.targets.numpy().tobytes())
    assert data.test.targets[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert data.spec.class_names[:2] == ("airplane", "automobile")
    assert digest.hexdigest() == "2c33b053d1cd726af8d86e174a96dd89d7000ba1412add026d68142375b89d51"


@pytest.mark.parametrize("said", [b"testing batch 1 of 1", "training batch 3 of 5"])
def test_swapped_batches(tmp_path: Path, write10: Write, said: Any) -> None:
    folder = write10(tmp_path)
    content = {"data": pixels(2, 0), "labels": [0, 1], "batch_label": said}
    (folder / "data_batch_2").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(
        InputError, match=r"data_batch_2 must hold the training batch 2, but got the t.* of \d.*swapped"
    ):
        cifar10(folder)
    (folder / "data_batch_2").write_bytes(pickle.dumps(content | {"batch_label": b"training batch 2 of 5"}, protocol=2))
    cifar10(folder)
    hundred = write100(tmp_path / "100")
    content = {"data": pixels(100, 0), "fine_labels": list(range(100)), "batch_label": b"training batch 1 of 1"}
    (hundred / "train").write_bytes(pickle.dumps(content, protocol=2))
    cifar100(hundred)
    (hundred / "test").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=r"test must hold the testing batch, but got the training batch 1 of 1"):
        cifar100(hundred)
