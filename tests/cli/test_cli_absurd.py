"""Absurd input ends soon, with one line and exit code 2."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motet.cli.main import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    def run(command: str) -> str:
        assert main(command.split()) == 2
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert lines[-1].startswith("motet: ")
        assert len(lines) == 1, said.err
        assert said.out == ""
        return lines[-1]

    return run


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("run mimo:digits --method.members 4294967296", "members must be at most 10,000"),
        ("run mimo:digits --method.members 99999999999999999999999", "members must be an integer below 2^64"),
        ("compare digits --seeds 99999999999999999999", "seeds must be at most 1,000"),
        ("compare digits --members 100000", "members must be at most 10,000"),
        ("compare digits --epochs 99999999999", "epochs must be at most 1,000,000"),
        ("compare digits --batch-size 999999999999999999999999", "batch_size must be an integer below 2^64"),
        ("compare digits --learning-rate 1e400", "learning_rate must be finite"),
        ("compare digits --methods single@1e400", "a width factor must be a number above 0"),
        ("run mimo:digits --training.weight-decay nan", "weight_decay must be finite"),
        ("compare /", "the root of the file system"),
        ("compare /../", "the root of the file system"),
        ("run mimo:digits --data /", "the root of the file system"),
        ("run mimo:digits --out /", "an output folder must be empty"),
        ("evaluate /", "an evaluation needs the folder of one run"),
        ("report /", "a report needs the folder of a comparison"),
        ("compare digits --methods single --model sys:exit", "ended the program"),
        ("run sys:exit", "must return an experiment"),
        ("run :", "must be given as module:function"),
        ("compare digits --model :", "module:function"),
    ],
)
def test_absurd_numbers_and_places(command: str, says: str, refused: Callable[[str], str]) -> None:
    assert says in refused(command)
    assert not [path for path in Path().rglob("*") if path.is_file()]


NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(64, outputs)
    def forward(self, x):
        {forward}
        return self.layer(x.flatten(1))
def net(num_classes):
    {factory}
    return Net(num_classes)
"""


@pytest.mark.parametrize(
    ("forward", "factory", "where"),
    [
        ("{}['wrapped']", "", "KeyError: 'wrapped' (own.py, line 9)"),
        ("self.training and len(x) > 8 and {}['late']", "", "KeyError: 'late' (own.py, line 9)"),
        ("not self.training and len(x) > 100 and {}['test']", "", "KeyError: 'test' (own.py, line 9)"),
        ("", "1 / 0", "ZeroDivisionError: division by zero (own.py, line 12)"),
        ("", "raise SystemExit(5)", "ended the program"),
    ],
)
def test_errors_in_the_users_own_code(
    forward: str, factory: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.py").write_text(NET.format(forward=forward or "pass", factory=factory or "pass"))
    assert (
        main(["compare", "digits", "--methods", "single", "--epochs", "1", "--seeds", "1", "--model", "own.py:net"])
        == 2
    )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("motet: ")
    assert where in last


@pytest.mark.parametrize("name", ["run.json", "scores.json", "compare.json"])
@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "{", "", "null", "1e999", "\x00", '"\\ud800"'])
def test_damaged_records(name: str, content: str, refused: Callable[[str], str]) -> None:
    Path("out").mkdir()
    for other in ("run.json", "scores.json"):
        Path("out", other).write_text(json.dumps({}))
    Path("out", name).write_text(content)
    refused("evaluate out")
    refused("report out")
