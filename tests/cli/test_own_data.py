"""motet compare on the user's own folders and tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Motet = Callable[..., Any]
QUICK = ("--methods", "single", "mimo", "--epochs", 2, "--seeds", 1, "--batch-size", 16)


@pytest.fixture
def houses(here: Path) -> Path:
    random = np.random.RandomState(0)
    rooms, size = random.randint(1, 9, 80), random.rand(80)
    price = 1e5 * rooms + 3e5 * size
    town = [("Rome", "Oslo", "")[row % 3] for row in range(80)]
    rows = zip(rooms, size, town, price, ["yes" if p > 6e5 else "no" for p in price], strict=True)
    (here / "houses.csv").write_text("rooms,size,town,price,dear\n" + "\n".join(",".join(map(str, r)) for r in rows))
    return here / "houses.csv"


@pytest.fixture
def pets(here: Path) -> Path:
    for k, name in enumerate(("cat", "dog")):
        (here / "pets" / name).mkdir(parents=True)
        for row in range(30):
            values = np.random.RandomState(row).randint(0, 128, size=(8, 8, 3), dtype=np.uint8) + 100 * k
            Image.fromarray(values.astype(np.uint8)).save(here / "pets" / name / f"{row}.png")
    return here / "pets"


@pytest.mark.slow
@pytest.mark.usefixtures("whole_report")
def test_regression_on_a_table(motet: Motet, here: Path, houses: Path) -> None:
    code, out, err = motet("compare", houses, "--target", "price", "--drop", "dear", *QUICK)
    assert code == 0, err
    assert out.split()[1:3] == ["RMSE", "NLL"]
    folder = here / "runs" / "compare-houses"
    record = json.loads((folder / "compare.json").read_text())
    assert record["data"]["task"] == "regression"
    rmse = record["rows"][0]["scores"]["rmse"]["mean"]
    assert 1e4 < rmse < 1e7, "in the unit of the prices"
    history = (folder / "single-seed0" / "history.csv").read_text().splitlines()
    assert float(dict(zip(history[0].split(","), history[-1].split(","), strict=True))["validation_rmse"]) > 1e4
    page = (folder / "report.html").read_text()
    assert "RMSE" in page
    assert "houses" in page
    assert "NaN" not in page
    evaluated = motet("evaluate", folder / "single-seed0", "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["ensemble"]["scores"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    again = motet("compare", houses, "--target", "price", "--drop", "dear", *QUICK)
    assert (again.code, again.out) == (0, out)
    assert "is already finished" in again.err


def test_classification_on_a_table(motet: Motet, here: Path, houses: Path) -> None:
    code, out, _ = motet("compare", houses, "--target", "dear", "--drop", "price", *QUICK)
    assert code == 0
    assert out.split()[1].startswith("Accuracy")
    record = json.loads((here / "runs" / "compare-houses" / "compare.json").read_text())
    assert record["data"]["class_names"] == ["no", "yes"]


@pytest.mark.slow
@pytest.mark.usefixtures("whole_report")
def test_a_folder_of_images(motet: Motet, here: Path, pets: Path) -> None:
    (pets / "cat" / "7.png").write_bytes(b"no image")
    code, _, err = motet("compare", "pets/", "--skip-bad", *QUICK)
    assert code == 0, err
    assert "note: 1 of 60 images left out that cannot be read, the first pets/cat/7.png" in err
    record = json.loads((here / "runs" / "compare-pets" / "compare.json").read_text())
    assert record["data"]["class_names"] == ["cat", "dog"]
    assert record["data"]["split"].startswith("20% test and 10% validation images")
    assert record["training"]["augment"]["type"] == "Augmentation"


def test_what_is_refused(refused: Callable[..., str], houses: Path, pets: Path, here: Path) -> None:
    assert "Pass --target with one of rooms, size" in refused("compare", houses)
    assert "Did you mean 'price'" in refused("compare", houses, "--target", "prize")
    assert "--target must be left out for the images" in refused("compare", pets, "--target", "y")
    assert "--image-size must be left out for digits" in refused("compare", "digits", "--image-size", 3)
    assert "must exist, but got nowhere.csv: there is no file or folder nowhere.csv" in refused(
        "compare", "nowhere.csv", "--target", "y"
    )
    assert "home folder in a path must be known, but got ~nosuchuser/x" in refused("compare", "~nosuchuser/x")
    (here / "notes.md").write_text("a,b")
    assert "a file of another kind" in refused("compare", "notes.md")
    (pets / "dog" / "1.png").write_bytes(b"")
    assert "dog/1.png" in refused("compare", pets)


def test_missing_files_are_named_with_checksum_and_folder(refused: Callable[..., str]) -> None:
    line = refused("compare", "cifar10")
    for part in ("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a", "cifar10", "--data-dir"):
        assert part in line
