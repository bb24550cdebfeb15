"""Loading by name: MNIST-like files, where they are looked for, and what is said when they are not there."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from motet.data import DATASETS, Dataset, fashion_mnist, load, mnist
from motet.errors import InputError

FASHION_FIRST = (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)
MNIST_FIRST = (5, 0, 4, 1, 9, 2, 1, 3, 1, 4)


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOTET_DATA", raising=False)


def row_numbers(data: Dataset) -> list[list[int]]:
    """The pixels of the generated images are their row numbers."""
    return [split.inputs[:, 0, 0, 0].tolist() for split in (data.train, data.validation, data.test)]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("joint", ["-", "."])
def test_files_in_every_spelling(mnist_folder: Any, zipped: bool, joint: str) -> None:
    data = fashion_mnist(mnist_folder(zipped=zipped, joint=joint))
    assert data.train.inputs.shape == (50, 1, 28, 28)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.targets.dtype == torch.int64
    train, validation, test = row_numbers(data)
    assert sorted(train + validation) == list(range(60))
    assert test == list(range(20))
    assert [row % 10 for row in train] == data.train.targets.tolist()
    assert data.validation.targets.bincount().tolist() == [1] * 10


def test_normalisation_and_class_names(mnist_folder: Any) -> None:
    folder = mnist_folder()
    fashion, digits = fashion_mnist(folder), mnist(folder)
    assert (fashion.spec.mean, fashion.spec.std) == ((0.2860,), (0.3530,))
    assert (digits.spec.mean, digits.spec.std) == ((0.1307,), (0.3081,))
    assert (fashion.spec.name, digits.spec.name) == ("fashion-mnist", "mnist")
    assert (fashion.spec.class_names[9], digits.spec.class_names[9]) == ("Ankle boot", "9")
    assert len(fashion.spec.class_names) == fashion.spec.outputs == 10
    white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
    torch.testing.assert_close(mnist(folder).prepare(white)[0, 0, 0, 0], torch.tensor((1 - 0.1307) / 0.3081))


def test_a_full_training_file_gives_10000_validation_rows(mnist_folder: Any) -> None:
    data = mnist(mnist_folder(train=60_000, zipped=False))
    assert (len(data.train), len(data.validation), len(data.test)) == (50_000, 10_000, 20)
    assert data.validation.targets.bincount().tolist() == [1_000] * 10


@pytest.mark.parametrize(("rows", "held"), [(2, 1), (7, 1), (13, 2), (600, 100)])
def test_a_smaller_training_file_gives_a_sixth(mnist_folder: Any, rows: int, held: int) -> None:
    data = mnist(mnist_folder(train=rows))
    assert (len(data.train), len(data.validation)) == (rows - held, held)


def test_the_split_is_the_same_every_time(mnist_folder: Any) -> None:
    folder = mnist_folder()
    pinned = [8, 17, 19, 23, 25, 42, 46, 50, 51, 54]
    assert row_numbers(mnist(folder))[1] == row_numbers(fashion_mnist(folder))[1] == pinned


# --- files that do not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "shape", "values", "code", "match"),
    [
        ("train-labels-idx1-ubyte", (59,), None, 8, "as many images as labels, but got 60 images and 59 labels"),
        ("t10k-labels-idx1-ubyte", (20,), bytes([10, 200] + [0] * 18), 8, r"0\.\.9, but got 2 labels above 9, up to"),
        ("train-images-idx3-ubyte", (60, 28, 27), None, 8, r"\(N, 28, 28\), but got uint8 of shape \(60, 28, 27\)"),
        ("train-images-idx3-ubyte", (60,), None, 8, r"\(N, 28, 28\), but got uint8 of shape \(60,\)"),
        (
            "train-labels-idx1-ubyte",
            (60, 1),
            None,
            8,
            r"train labels of shape \(N,\), but got uint8 of shape \(60, 1\)",
        ),
        ("train-labels-idx1-ubyte", (60,), None, 9, r"uint8 train labels.*but got int8"),
    ],
)
def test_files_that_are_not_what_their_names_say(
    mnist_folder: Any, idx_bytes: Any, *, file: str, shape: tuple[int, ...], values: bytes | None, code: int, match: str
) -> None:
    folder = mnist_folder(zipped=False)
    (folder / file).write_bytes(idx_bytes(shape, values, code=code))
    with pytest.raises(InputError, match=match) as caught:
        mnist(folder)
    assert file in str(caught.value)


def test_one_training_row_leaves_none_to_train_on(mnist_folder: Any) -> None:
    with pytest.raises(InputError, match="train split needs at least one row"):
        mnist(mnist_folder(train=1))


def test_a_missing_file_is_named(mnist_folder: Any) -> None:
    folder = mnist_folder()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"four files of mnist, but got a folder without t10k-labels-idx1-ubyte\.gz"):
        mnist(folder)


def test_the_two_datasets_are_told_apart(mnist_folder: Any, tmp_path: Path) -> None:
    clothes = mnist_folder(tmp_path / "clothes", first_labels=FASHION_FIRST)
    numbers = mnist_folder(tmp_path / "numbers", first_labels=MNIST_FIRST)
    fashion_mnist(clothes)
    mnist(numbers)
    with pytest.raises(InputError, match="files of mnist, but got those of fashion-mnist"):
        mnist(clothes)
    with pytest.raises(InputError, match="files of fashion-mnist, but got those of mnist"):
        fashion_mnist(numbers)


# --- by name ---------------------------------------------------------------------------------------------------------


def test_every_entry_loads(mnist_folder: Any) -> None:
    folder = mnist_folder()
    for name in ("digits", "toy", "fashion-mnist", "mnist"):
        data = load(name, folder if DATASETS[name].needs_files else None)
        assert data.spec.name == name
    assert all("\n" not in entry.description for entry in DATASETS.values())
    without_files = [name for name, entry in DATASETS.items() if not entry.needs_files]
    assert without_files == ["digits", "toy"]


def test_folders_are_searched_in_turn(mnist_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, variable = tmp_path / "given", tmp_path / "variable"
    monkeypatch.setenv("MOTET_DATA", str(variable))
    # From the last resort to the first choice: each new folder wins over those before it.
    for rows, folder in enumerate((variable, variable / "mnist", given, given / "mnist"), start=30):
        mnist_folder(folder, test=rows)
        assert len(load("mnist", given).test) == rows
    assert len(load("mnist").test) == 31


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"got 'fashon_mnist'. Did you mean 'fashion-mnist'. Known: digits, "):
        load("fashon_mnist")


def test_missing_files_are_named_with_the_folders_and_the_source(
    mnist_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, variable = tmp_path / "given", tmp_path / "variable"
    monkeypatch.setenv("MOTET_DATA", str(variable))
    (mnist_folder(variable) / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InputError) as caught:
        load("fashion-mnist", given)
    message = str(caught.value)
    assert f"{variable} without train-images-idx3-ubyte.gz (" in message
    for folder in (given, variable):
        assert f"{folder}, " in message or f"{folder})" in message
        assert str(folder / "fashion-mnist") in message
    assert "github.com/zalandoresearch/fashion-mnist" in message


def test_without_any_folder_the_four_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_DATA", "")
    with pytest.raises(
        InputError, match=r"train-images-idx3-ubyte\.gz, .*MOTET_DATA is set.*yann\.lecun\.com"
    ) as caught:
        load("mnist")
    assert str(caught.value).count("idx1-ubyte.gz") == 2


@pytest.mark.slow
def test_importing_the_package_leaves_scikit_learn_alone() -> None:
    code = "import sys, motet.data; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_test_files_of_the_other_data_set(tmp_path: Path, mnist_folder: Any, idx_bytes: Any) -> None:
    folder = mnist_folder(zipped=False)
    labels = bytes([9, 2, 1, 1, 6, 1, 4, 6, 5, 7, *([0] * 10)])
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes((20,), labels))
    fashion_mnist(folder)
    with pytest.raises(InputError, match="files of mnist, but got the test files of fashion-mnist"):
        mnist(folder)
