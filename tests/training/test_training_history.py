"""`history.csv` comes back as it was written."""

import math
from pathlib import Path

import pytest

from motet import InputError
from motet.training import HistoryRow, read_history, write_history


def row(**changes: float) -> HistoryRow:
    values = {"epoch": 1, "step": 4, "learning_rate": 0.1, "train_loss": 1.0, "validation_nll": 0.5, "seconds": 2.0}
    return HistoryRow(**(values | changes))


def test_round_trip_keeps_every_digit_and_type(tmp_path: Path) -> None:
    rows = [
        row(learning_rate=0.1 + 0.2, train_loss=1e-320, validation_nll=math.inf, validation_accuracy=1 / 3),
        row(epoch=2, learning_rate=5e-324, train_loss=1 / 3, validation_nll=-0.0, validation_accuracy=1.0),
    ]
    write_history(tmp_path / "history.csv", rows)
    read = read_history(tmp_path / "history.csv")
    assert read == rows
    assert [type(value) for value in read[0].values()] == [int, int, float, float, float, float, float]
    assert math.copysign(1, read[1].validation_nll) == -1


def test_nan_and_no_rows(tmp_path: Path) -> None:
    write_history(tmp_path / "nan.csv", [row(validation_nll=math.nan)])
    assert math.isnan(read_history(tmp_path / "nan.csv")[0].validation_nll)
    write_history(tmp_path / "empty.csv", [])
    assert read_history(tmp_path / "empty.csv") == []


def test_it_is_an_ordinary_csv_file(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [row(validation_rmse=0.5), row(epoch=2, validation_rmse=0.25)])
    assert (tmp_path / "history.csv").read_text() == (
        "epoch,step,learning_rate,train_loss,validation_nll,validation_rmse,seconds\n"
        "1,4,0.1,1.0,0.5,0.5,2.0\n2,4,0.1,1.0,0.5,0.25,2.0\n"
    )


def test_a_row_can_be_read_by_column_too() -> None:
    """As when rows were dictionaries; what does not apply is no column."""
    found = row(validation_accuracy=0.75)
    assert found["validation_accuracy"] == found.validation_accuracy == 0.75
    assert list(found) == [
        *("epoch", "step", "learning_rate", "train_loss", "validation_nll", "validation_accuracy", "seconds")
    ]
    assert "validation_rmse" not in found
    assert found == dict(found) != row()
    for name in ("validation_rmse", "keys", "loss"):
        with pytest.raises(KeyError, match=name):
            found[name]


HEAD = "epoch,step,learning_rate,train_loss,validation_nll,validation_accuracy,seconds\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "1,4,0.1,1.0,0.5,0.5,x\n", "could not convert string to float: 'x'"),
        (HEAD + "1,4,0.1,1.0,0.5,0.5,-1\n", "seconds in .*row 1 must be at least 0, but got -1"),
        (HEAD + "1,4,0.1,1.0,0.5,1.5,1\n", "validation_accuracy in .*row 1 must be at most 1, but got 1.5"),
        (HEAD + "1,4,0.1,1.0,0.5,0.5,1\n1.5,4,0.1,1.0,0.5,0.5,1\n", "epoch in .*row 2 must be a valid integer"),
        (HEAD + "0,4,0.1,1.0,0.5,0.5,1\n", "epoch in .*row 1 must be greater than or equal to 1, but got 0"),
        (HEAD.replace("step", "steps") + "1,4,0.1,1.0,0.5,0.5,1\n", "step must be in .*row 1"),
        (
            HEAD.replace("epoch", "epoch,more") + "1,2,4,0.1,1.0,0.5,0.5,1\n",
            "only known fields, but got the field more",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_history(tmp_path / "history.csv")


@pytest.mark.parametrize("text", ["epoch,nll\n1,abc\n", "epoch,nll\n1\n", 'epoch,nll\n1,"0.5\n', "epoch\n1,2\n"])
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match=r"history\.csv"):
        read_history(tmp_path / "history.csv")
