"""`history.csv` comes back as it was written."""

import math
from pathlib import Path

import pytest

from motet import InputError
from motet.training import read_history, write_history


def test_round_trip_keeps_every_digit_and_type(tmp_path: Path) -> None:
    rows = [
        {"epoch": 1, "learning_rate": 0.1 + 0.2, "train_loss": 1e-320, "validation_nll": math.inf},
        {"epoch": 2, "learning_rate": 5e-324, "train_loss": 1 / 3, "validation_nll": -0.0},
    ]
    write_history(tmp_path / "history.csv", rows)
    read = read_history(tmp_path / "history.csv")
    assert read == rows
    assert [type(value) for value in read[0].values()] == [int, float, float, float]


def test_nan_and_no_rows(tmp_path: Path) -> None:
    write_history(tmp_path / "nan.csv", [{"epoch": 1, "nll": math.nan}])
    assert math.isnan(read_history(tmp_path / "nan.csv")[0]["nll"])
    write_history(tmp_path / "empty.csv", [])
    assert read_history(tmp_path / "empty.csv") == []


def test_it_is_an_ordinary_csv_file(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [{"epoch": 1, "nll": 0.5}, {"epoch": 2, "nll": 0.25}])
    assert (tmp_path / "history.csv").read_text() == "epoch,nll\n1,0.5\n2,0.25\n"


@pytest.mark.parametrize("text", ["epoch,nll\n1,abc\n", "epoch,nll\n1\n", 'epoch,nll\n1,"0.5\n', "epoch\n1,2\n"])
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match=r"history\.csv"):
        read_history(tmp_path / "history.csv")
