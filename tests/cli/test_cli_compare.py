"""motet compare DATA."""

import gzip
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn.datasets
import torch
from torch import nn

Motet = Callable[..., Any]
Refused = Callable[..., str]
SMALL = ("--epochs", 1, "--seeds", 1, "--model", "mlp")
NET = "from torch import nn\ndef net(num_classes):\n    return nn.Sequential({})\n"
LAYERS = "nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes)"


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("whole_report")
def test_a_table_a_report_and_a_folder(motet: Motet, here: Path) -> None:
    code, out, err = motet("compare", "digits", "--methods", "single", "mimo", "--members", 2, *SMALL)
    assert code == 0
    head, *rows = out.splitlines()
    for column in ("Method", "Accuracy", "NLL", "ECE", "Parameters", "FLOPs", "Latency", "Training"):
        assert column in head
    assert [row.split("  ")[0] for row in rows] == ["Single network", "MIMO"]
    lines = err.splitlines()
    assert lines[0].startswith("[1/2] Single network, seed 0: trained in ")
    assert lines[1].startswith("[2/2] MIMO, seed 0: trained in ")
    assert lines[2:] == ["report: runs/compare-digits/report.html"]
    folder = here / "runs" / "compare-digits"
    assert names(folder) == {"compare.json", "report.html", "single-seed0", "mimo-seed0"}
    record = json.loads((folder / "compare.json").read_text())
    assert (
        record["command"] == "motet compare digits --methods single mimo --members 2 --epochs 1 --seeds 1 --model mlp"
    )
    assert json.loads((folder / "mimo-seed0" / "run.json").read_text())["settings"]["method"]["members"] == 2


@pytest.mark.slow
def test_again_it_trains_nothing_and_shows_the_same(motet: Motet, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compare", "digits", "--methods", "single", *SMALL, "--out", "out")
    first = motet(*arguments)
    (here / "out" / "report.html").unlink()

    def fit(*_: object, **__: object) -> None:
        raise AssertionError("this must not train")

    monkeypatch.setattr("motet.experiments.run.fit", fit)
    code, out, err = motet(*arguments)
    assert (code, out) == (0, first.out)
    assert err.splitlines() == ["out is already finished; nothing to train", "report: out/report.html"]
    assert (here / "out" / "report.html").exists()


@pytest.mark.slow
def test_json_is_the_record_and_nothing_else(motet: Motet, here: Path) -> None:
    code, out, _ = motet("compare", "digits", "--methods", "single", *SMALL, "--json")
    assert code == 0
    assert json.loads(out) == json.loads((here / "runs/compare-digits/compare.json").read_text())


@pytest.mark.slow
def test_seeds_show_standard_errors(motet: Motet, here: Path) -> None:
    code, out, _ = motet("compare", "digits", "--methods", "single", "--epochs", 1, "--seeds", 2, "--model", "mlp")
    assert code == 0
    assert "±" in out
    assert names(here / "runs/compare-digits") >= {"single-seed0", "single-seed1"}


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["my.py:net", "my:net", "./my.py:net"])
def test_own_models(motet: Motet, here: Path, reference: str) -> None:
    Path("my.py").write_text(NET.format(LAYERS))
    code, out, err = motet("compare", "digits", "--model", reference, "--methods", "mimo", "--epochs", 1, "--seeds", 1)
    assert code == 0, err
    assert "MIMO" in out
    record = json.loads((here / "runs/compare-digits/mimo-seed0/run.json").read_text())
    assert record["source"]["text"] == Path("my.py").read_text()


@pytest.mark.slow
def test_ctrl_c_leaves_a_comparison_to_go_on_with(motet: Motet, here: Path) -> None:
    arguments = ("compare", "digits", "--methods", "single", "multihead", *SMALL)
    seen = 0

    def count(module: nn.Module, _: object) -> None:
        nonlocal seen
        seen += isinstance(module, nn.Flatten) and module.training
        if seen == 40:
            seen += 1
            os.kill(os.getpid(), signal.SIGINT)

    handle = nn.modules.module.register_module_forward_pre_hook(count)
    code, out, err = motet(*arguments)
    handle.remove()
    assert (code, out) == (130, "")
    last = err.splitlines()[-1]
    assert last.startswith("motet: stopped by SIGINT after step ")
    assert "run the same command again to continue from runs/compare-digits/multihead-seed0/checkpoint" in last
    code, out, err = motet(*arguments)
    assert code == 0
    assert "[1/2] Single network, seed 0: kept" in err
    assert "[2/2] Multihead, seed 0: continuing from its checkpoint" in err
    assert len(out.splitlines()) == 3


# -- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["digit"], "Did you mean 'digits'?"),
        (["Digits"], "Did you mean 'digits'?"),
        (["fashion_mnist"], "Did you mean 'fashion-mnist'?"),
        (["../../etc"], "Known: digits, fashion-mnist, mnist"),
        (["digits", "--methods", "mino"], "Did you mean 'mimo'?"),
        (["digits", "--methods", "single,mimoo"], "Did you mean 'mimo'?"),
        (["digits", "--methods"], "at least one method must be named"),
        (["digits", "--model", "small-cn"], "Did you mean 'small_cnn'?"),
        (["digits", "--model", "wrn-9-1"], "depth"),
        (["digits", "--model", "nofile.py:net"], "the file of a function must exist"),
        (["digits", "--model", "nomodule:net"], "nomodule must be importable"),
        (["digits", "--members", "0"], "members=0"),
        (["digits", "--members", "-1"], "members=-1"),
        (["digits", "--epochs", "0"], "epochs=0"),
        (["digits", "--seeds", "0"], "seeds=0"),
        (["digits", "--device", "cuda:64"], "device cuda:64 must exist on this machine"),
        (["digits", "--device", "gpu"], "the device must be one that torch knows"),
        (["digits", "--methods", "mimo", "--first", "nolayer", "--model", "mlp"], "nolayer"),
        (["digits", "--methods", "mimo", "--last", "nolayer", "--model", "mlp"], "nolayer"),
        (["mnist"], "MOTET_DATA"),
        (["mnist", "--data-dir", "nowhere"], "nowhere"),
    ],
    ids=" ".join,
)
def test_refused(refused: Refused, arguments: list[str], part: str) -> None:
    assert part in refused("compare", *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_no_cuda(refused: Refused) -> None:
    line = refused("compare", "digits", "--device", "cuda")
    assert "got 0 devices of type 'cuda'. Pass --device cpu" in line


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["digits", "--epoch", "3"], "--epochs"),
        (["digits", "--method", "mimo"], "--methods"),
        (["digits", "--member", "3"], "--members"),
        (["digits", "--data_dirs", "x"], "--data-dir"),
        (["digits", "--jsno"], "--json"),
        (["digits", "--members", "four"], "--members"),
        (["digits", "--members", "2.5"], "--members"),
        (["digits", "--seeds", "0", "1", "2"], "--help"),
        (["digits", "extra"], "extra"),
        ([], "DATA"),
        (["digits", "--members"], "--members"),
    ],
    ids=" ".join,
)
def test_typing_errors_in_flags_get_a_suggestion(motet: Motet, here: Path, arguments: list[str], meant: str) -> None:
    code, out, err = motet("compare", *arguments)
    assert (code, out) == (2, "")
    assert meant in err
    assert "Traceback" not in err
    assert "{None}" not in err, "a detail of the parser's"
    assert names(here) == set()


OWN = {
    "syntax error": ("def net(:\n", "SyntaxError"),
    "no function": ("def network():\n    pass\n", "Did you mean 'network'?"),
    "wrong type": ("def net():\n    return 3\n", "must return a torch.nn.Module"),
    "odd arguments": ("def net(depth, width):\n    pass\n", "also needs depth, width"),
    "wrong outputs": (NET.format(LAYERS.replace("num_classes)", "7)")), "must have 10 outputs for digits, but got"),
    "wrong inputs": (NET.format(LAYERS.replace("64", "65")), "must accept the example batch"),
    "no body": (NET.format("nn.Flatten(), nn.Linear(64, num_classes)"), "MIMO needs a body"),
    "it raises": ("def net():\n    return 1 / 0\n", "ZeroDivisionError: division by zero (my.py, line 2)"),
    "it leaves": ("import sys\nsys.exit('bye')\n", "SystemExit: bye (my.py, line 2)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", OWN)
def test_own_models_that_do_not_fit(refused: Refused, case: str) -> None:
    text, part = OWN[case]
    Path("my.py").write_text(text)
    assert part in refused("compare", "digits", "--model", "my.py:net", "--methods", "mimo")


@pytest.mark.slow
def test_an_own_model_that_was_changed_is_not_answered_with_old_scores(motet: Motet, refused: Refused) -> None:
    Path("my.py").write_text(NET.format(LAYERS))
    arguments = ("compare", "digits", "--model", "my.py:net", "--methods", "single", "--epochs", 1, "--seeds", 1)
    assert motet(*arguments, "--out", "here").code == 0
    Path("my.py").write_text(NET.format(LAYERS.replace("8", "16")))
    assert "an earlier version of my.py" in refused(*arguments, "--out", "here")
    assert motet(*arguments, "--out", "other").code == 0


def test_an_output_folder_that_holds_another_run(motet: Motet, refused: Refused) -> None:
    assert motet("compare", "digits", "--methods", "single", *SMALL, "--out", "here").code == 0
    line = refused("compare", "digits", "--methods", "mimo", *SMALL, "--out", "here")
    assert "here must be empty, or contain the same run, but got another run there" in line
    assert "Choose another folder with --out" in line


@pytest.mark.slow
def test_another_comparison_in_the_folder_that_nobody_chose(motet: Motet) -> None:
    single = ("compare", "digits", "--methods", "single", *SMALL)
    other = (*single, "--learning-rate", "0.01", "--batch-size", "16")
    for arguments, folder in ((single, "compare-digits"), (other, "compare-digits-2"), (single, "compare-digits")):
        assert motet(*arguments).err.splitlines()[-1] == f"report: runs/{folder}/report.html"
    training = json.loads(Path("runs/compare-digits-2/compare.json").read_text())["training"]
    assert (training["learning_rate"], training["batch_size"]) == (0.01, 16)


def test_an_output_folder_that_is_a_file_or_somebody_elses(refused: Refused) -> None:
    Path("notes.txt").write_text("mine")
    assert "the output must be a folder" in refused("compare", "digits", *SMALL, "--out", "notes.txt")
    assert "must be empty or contain a run" in refused("compare", "digits", *SMALL, "--out", ".")
    line = refused("compare", "digits", *SMALL, "--out", "notes.txt/deep/sub")
    assert "the output must be a folder, but got notes.txt, a file" in line


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_comparison(refused: Refused, content: str) -> None:
    Path("out").mkdir()
    Path("out/compare.json").write_text(content)
    assert "out/compare.json" in refused("compare", "digits", *SMALL, "--out", "out")


# -- data files ---------------------------------------------------------------------------------------------------

MNIST = ("compare", "mnist", "--data-dir", "data", "--methods", "single", *SMALL)


def test_data_files_that_are_right(motet: Motet, mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert motet(*MNIST).code == 0
    monkeypatch.setenv("MOTET_DATA", str(mnist))
    assert motet("compare", "mnist", "--methods", "single", *SMALL, "--out", "other").code == 0


def test_a_missing_file_is_named_with_where_to_get_it(refused: Refused, mnist: Path) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    line = refused(*MNIST)
    assert "t10k-labels-idx1-ubyte.gz" in line
    assert "yann.lecun.com" in line


@pytest.mark.parametrize("keep", [0, 3, 9, 40, 500])
def test_a_truncated_file(refused: Refused, mnist: Path, keep: int) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    assert "train-images-idx3-ubyte.gz" in refused(*MNIST)


def test_a_damaged_file(refused: Refused, mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "train-images-idx3-ubyte.gz" in refused(*MNIST)


def test_labels_out_of_range(refused: Refused, mnist: Path, idx: Callable[..., bytes]) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((40,), bytes([10] * 40))))
    assert "must lie in 0..9, but got 40 labels above 9" in refused(*MNIST)


def test_more_images_than_labels(refused: Refused, mnist: Path, idx: Callable[..., bytes]) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((39,), bytes(39))))
    assert "40 images and 39 labels" in refused(*MNIST)


def test_a_web_page_instead_of_data(refused: Refused, mnist: Path) -> None:
    (mnist / "train-labels-idx1-ubyte.gz").write_text("<!DOCTYPE html><title>404</title>")
    assert "must begin as an IDX file" in refused(*MNIST)


def test_fewer_rows_than_a_batch(refused: Refused, motet: Motet, mnist: Path, idx: Callable[..., bytes]) -> None:
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx((50, 28, 28), bytes(50 * 784))))
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((50,), bytes(range(10)) * 5)))
    assert "batch_size must be at most the 42 rows" in refused(*MNIST, "--batch-size", 128)
    code, _, said = motet(*MNIST)  # without a batch size, one is chosen for the data
    assert code == 0
    assert "batch size 4 instead of 128, so that an epoch of 42 training rows has 10 steps" in said


# -- disks --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_full_disk_and_then_a_free_one(motet: Motet, small_disk: Path) -> None:
    """A real one. Whatever write fails, the same command goes on once there is space."""
    arguments = ("compare", "digits", "--methods", "single", "multihead", *SMALL, "--out", small_disk / "out")
    ballast = small_disk / "ballast"
    for free in (0, 1, 30, 100):
        ballast.write_bytes(bytes(1024))
        usage = os.statvfs(small_disk)
        ballast.write_bytes(bytes(max(1024 + usage.f_bavail * usage.f_bsize - free * 1024, 0)))
        code, out, err = motet(*arguments)
        assert (code, out) == (2, ""), free
        last = err.splitlines()[-1]
        assert last.startswith("motet: the disk is full: writing ")
        assert "run the same command again" in last
        assert "Traceback" not in err
        assert not list(small_disk.rglob("*.part"))
        for path in small_disk.rglob("*.json"):
            json.loads(path.read_text())
        ballast.unlink()
    os.system(f"mount -o remount,size=8m {small_disk}")
    code, out, err = motet(*arguments)
    assert code == 0, err
    assert len(out.splitlines()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("out", ["closed", "closed/deep/out"])
def test_no_permission(
    motet: Motet, here: Path, as_nobody: Callable[[], Any], out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody may be unable to read the environment that this runs in: what comes from there is read before.
    digits = sklearn.datasets.load_digits()
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    motet("compare", "digits", "--methods", "single", *SMALL)  # imports what is imported late
    here.joinpath("closed").mkdir(mode=0o555)
    with as_nobody():
        code, printed, err = motet("compare", "digits", "--methods", "single", *SMALL, "--out", out)
    assert (code, printed) == (2, "")
    assert err.startswith("motet: no permission to use closed")
    assert "Choose another folder with --out" in err
    assert err.count("\n") == 1
    assert names(here / "closed") == set()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [200, 80, 40])
def test_a_narrow_terminal_gets_the_table_in_parts(motet: Motet, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    arguments = ("compare", "digits", "--methods", "single", "mimo", *SMALL)
    heads = motet(*arguments).out.splitlines()[0].split("  ")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes it for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", motet(*arguments).out)
    lines = [line.rstrip() for line in plain.splitlines()]
    assert max(map(len, lines)) <= columns
    for head in filter(None, map(str.strip, heads)):
        assert any(head in line for line in lines), "no head is cut"
    parts = plain.count("Method ")
    assert parts == plain.count("MIMO ") == plain.count("Single network ")
    assert (parts == 1) == (columns == 200)
    assert "…" not in plain


@pytest.mark.slow
def test_thin_rows_and_what_is_left_out(motet: Motet, here: Path) -> None:
    Path("my.py").write_text(NET.format("nn.Flatten(), nn.Linear(64, num_classes)"))
    code, out, err = motet("compare", "digits", "--model", "my.py:net", "--epochs", 1, "--seeds", 1)
    assert code == 0, err
    assert "MIMO is left out: MIMO needs a body" in err
    assert "MIMO" not in [line.split("  ")[0] for line in out.splitlines()]
    code, out, err = motet("compare", "digits", "--methods", "single,deep-ensemble@0.5", *SMALL)
    assert code == 0, err
    assert [line.split("  ")[0] for line in out.splitlines()[1:]] == [
        "Single network",
        "Deep ensemble, width \N{MULTIPLICATION SIGN}0.5",
    ]
    assert "[2/2] Deep ensemble, width \N{MULTIPLICATION SIGN}0.5, seed 0: trained" in err
    assert (here / "runs" / "compare-digits-2" / "deep-ensemble-x0.5-seed0").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--methods", "deep-ensmble@0.5"], "Did you mean 'deep-ensemble'?"),
        (["--methods", "mimo@"], "width factor must be a number above 0"),
        (["--methods", "mimo@0,5"], "but got 0. Write mimo@0.5"),
        (["--methods", "mimo@0.3", "--model", "small_cnn"], "width=1 times 0.3"),
        (["--methods", "mimo@0.5", "--model", "timm:resnet18"], "which has no width"),
        (["--model", "timm:resnet19"], "Similar: resnet18"),
        (["--model", "vgg-cnn"], "at least 21x21"),
        (["--first", "nolayer"], "first must name a layer of the model"),
    ],
    ids=str,
)
def test_refused_widths_and_models(refused: Refused, arguments: list[str], part: str) -> None:
    assert part in refused("compare", "digits", *arguments)
