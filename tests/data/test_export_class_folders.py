"""The tool that writes a named data set's images to class folders."""

import runpy
from pathlib import Path

import pytest

from motet.data import image_folder, load

TOOL = Path(__file__).parents[2] / "tools" / "export_class_folders.py"


def test_digits_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(TOOL))["main"]
    assert main(["digits", str(tmp_path / "out"), "--per-class", "5"]) == 0
    data, digits = image_folder(tmp_path / "out"), load("digits")
    assert data.spec.class_names == tuple(map(str, range(10)))
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 10)
    first = digits.train.inputs[int((digits.train.targets == 3).nonzero()[0])]
    assert bool((data.train.inputs[15] == digits.spec.to_bytes(first)).all())
    assert main(["digits", str(tmp_path / "out")]) == 2
    assert main(["toy", str(tmp_path / "toy")]) == 2
    said = capsys.readouterr().err
    assert "must be new or empty" in said
    assert "images of named classes" in said
