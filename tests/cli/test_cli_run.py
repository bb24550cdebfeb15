"""motet run RECIPE."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Motet = Callable[..., Any]
Refused = Callable[..., str]

RECIPE = """
import motet
from motet.models import MLP

def small():
    return motet.Experiment(
        data="digits",
        model=MLP(hidden=(8,)),
        method=motet.MIMO(members=2, batch_repetition=1),
        training=motet.Training(epochs=1, batch_size=128),
    )
"""


@pytest.fixture(autouse=True)
def recipe(here: Path) -> Path:
    """my.py:small, an experiment of one short epoch."""
    (here / "my.py").write_text(RECIPE)
    return here / "my.py"


def settings(folder: str = "runs/my.py-small") -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(folder, "run.json").read_text())
    return record["settings"]  # type: ignore[no-any-return]


def test_an_own_recipe_runs_as_it_is(motet: Motet) -> None:
    code, out, err = motet("run", "my.py:small")
    assert (code, err) == (0, "run: runs/my.py-small\n")
    assert out.startswith("MIMO(members=2, batch_repetition=1, input_repetition=0.0)\n")
    for name in ("accuracy", "nll", "ece", "parameters", "train_seconds"):
        assert f"\n{name} " in out
    assert settings()["training"]["epochs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["--method.members", "3"], "method.members", 3),
        (["--method.input-repetition", "0.5"], "method.input_repetition", 0.5),
        (["--method.batch_repetition", "2"], "method.batch_repetition", 2),
        (["--training.epochs", "2"], "training.epochs", 2),
        (["--training.learning-rate=0.05"], "training.learning_rate", 0.05),
        (["--training.nesterov", "False"], "training.nesterov", False),
        (["--training.nesterov", "True"], "training.nesterov", True),
        (["--training.schedule", "step", "--training.milestones", "0.5", "0.75"], "training.milestones", [0.5, 0.75]),
        (["--training.optimizer", "adamw"], "training.optimizer", "adamw"),
        (["--training.early-stopping", "2"], "training.early_stopping", 2),
        (["--training.early-stopping", "None"], "training.early_stopping", None),
        (["--training.precision", "bf16-mixed"], "training.precision", "bf16-mixed"),
        (["--model.hidden", "8", "4"], "model.hidden", [8, 4]),
        (["--objective.reduction", "mean"], "objective.reduction", "mean"),
        (["--seed", "7"], "seed", 7),
        (["--first", "1"], "first", ["1"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_every_field_can_be_overridden(motet: Motet, arguments: list[str], path: str, value: object) -> None:
    code, _, err = motet("run", "my.py:small", *arguments)
    assert code == 0, err
    found: Any = settings()
    for name in path.split("."):
        found = found[name]
    assert found == value


@pytest.mark.slow
def test_overrides_of_motets_own_recipes(motet: Motet) -> None:
    arguments = ("--method.members", 4, "--training.epochs", 1, "--training.batch-size", 512, "--out", "out")
    code, out, err = motet("run", "mimo:digits", *arguments)
    assert code == 0, err
    assert out.startswith("MIMO(members=4, ")
    assert settings("out")["method"]["members"] == 4


def test_json(motet: Motet) -> None:
    code, out, _ = motet("run", "my.py:small", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["settings"] == settings()
    assert found["folder"] == "runs/my.py-small"
    assert found["test"] == json.loads(Path("runs/my.py-small/scores.json").read_text())["test"]


def test_again_it_trains_nothing(motet: Motet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = motet("run", "my.py:small")
    monkeypatch.setattr("motet.experiments.run.fit", None)
    code, out, err = motet("run", "my.py:small")
    assert (code, out) == (0, first.out)
    assert err.splitlines()[0] == "runs/my.py-small is already finished; nothing to train"


@pytest.mark.slow
def test_help_lists_the_fields_of_this_very_recipe(motet: Motet) -> None:
    code, out, err = motet("run", "mimo:digits", "--help")
    assert (code, err) == (0, "")
    for part in ("--method.members", "--method.input-repetition", "--training.epochs", "--seed", "--out", "--json"):
        assert part in out
    other = motet("run", "baselines:single_digits", "--help").out
    assert "--method.members" not in other
    assert "--training.epochs" in other


def test_help_without_a_recipe(motet: Motet) -> None:
    assert "motet run RECIPE" in motet("run", "--help").out
    code, out, err = motet("run")
    assert (code, out) == (2, "")
    assert "motet run RECIPE" in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["mimo:digit"], "Did you mean 'mimo:digits'?"),
        (["digits"], "Did you mean 'mimo:digits'?"),
        (["my.py"], "module:function or file.py:function"),
        (["my.py:smal"], "Did you mean 'small'?"),
        (["other.py:small"], "the file of a function must exist"),
        (["nomodule:small"], "nomodule must be importable"),
        (["mimoo:digits"], "Did you mean 'mimo:digits'"),
        (["--method.members", "3", "my.py:small"], "the recipe must come first"),
        (["my.py:small", "--data", "digit"], "Did you mean 'digits'?"),
        (["my.py:small", "--method.members", "0"], "members=0"),
        (["my.py:small", "--method.input-repetition", "1.5"], "input_repetition (rho) must lie in [0, 1]"),
        (["my.py:small", "--method.input-repetition", "-0.1"], "input_repetition (rho) must lie in [0, 1]"),
        (["my.py:small", "--method.input-repetition", "nan"], "input_repetition (rho) must lie in [0, 1]"),
        (["my.py:small", "--method.batch-repetition", "0"], "batch_repetition=0"),
        (["my.py:small", "--training.epochs", "0"], "epochs=0"),
        (["my.py:small", "--training.batch-size", "5000"], "batch_size must be at most the 1079 rows"),
        (["my.py:small", "--training.batch-size", "0"], "batch_size=0"),
        (["my.py:small", "--training.learning-rate", "nan"], "learning_rate=nan"),
        (["my.py:small", "--training.precision", "16-mixed"], "16-mixed needs a CUDA device"),
        (["my.py:small", "--training.beta1", "2"], "beta1=2.0"),
        (["my.py:small", "--model.hidden", "0"], "hidden layers must have at least one unit"),
        (["my.py:small", "--seed", "-1"], "seed=-1"),
        (["my.py:small", "--seed", str(2**64)], f"seed={2**64}"),
        (["my.py:small", "--first", "none"], "none"),
        (["my.py:small", "--device", "cuda:64"], "device cuda:64"),
        (["my.py:small", "--out", "my.py"], "the output must be a folder"),
        (["my.py:small", "--out", "."], "must be empty or contain a run"),
        (["my.py:small", "--training.learning-rate", "1e30", "--training.schedule", "constant"], "learning rate 1e+30"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_refused(refused: Refused, arguments: list[str], part: str) -> None:
    assert part in refused("run", *arguments)


@pytest.mark.slow
def test_after_bad_settings_the_folder_is_free_for_good_ones(motet: Motet, refused: Refused) -> None:
    refused("run", "my.py:small", "--training.batch-size", "5000")
    refused("run", "my.py:small", "--training.learning-rate", "1e30", "--training.schedule", "constant")
    assert motet("run", "my.py:small").code == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--method.member", "3"], "--method.members"),
        (["--training.epoch", "3"], "--training.epochs"),
        (["--members", "3"], "--method.members"),
        (["--training.schedule", "cosin"], "cosine"),
        (["--training.epochs", "many"], "--training.epochs"),
        (["--training.nesterov", "no"], "True"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_typing_errors_in_flags_get_a_suggestion(motet: Motet, here: Path, arguments: list[str], meant: str) -> None:
    code, out, err = motet("run", "my.py:small", *arguments)
    assert (code, out) == (2, "")
    assert meant in err
    assert "Traceback" not in err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def small():\n    return 3\n", "a recipe must return a motet.Experiment, but got an int"),
        ("def small():\n    pass\n", "but got a NoneType"),
        ("def small(members):\n    pass\n", "when it is called without arguments, but got TypeError"),
        ("def small():\n    x = 1\n    return y\n", "NameError: name 'y' is not defined (my.py, line 3)"),
        ("import motet\nsmall = motet.Experiment\n", "TypeError"),
        (
            "import motet\nfrom torch import nn\ndef small():\n"
            "    return motet.Experiment(data='digits', model=nn.Linear(64, 10), method=motet.Single())\n",
            "model must be a ModelSettings, but got a Linear",
        ),
        ("import motet\ndef small():\n    return motet.MIMO(members=0)\n", "members=0"),
        ("small = 3\n", "must define the function small"),
        ("def small(:\n", "SyntaxError"),
    ],
)
def test_recipes_that_are_none(refused: Refused, recipe: Path, text: str, part: str) -> None:
    recipe.write_text(text)
    assert part in refused("run", "my.py:small")


def test_another_run_in_the_folder(motet: Motet, refused: Refused) -> None:
    assert motet("run", "my.py:small", "--out", "here").code == 0
    line = refused("run", "my.py:small", "--seed", "1", "--out", "here")
    assert "seed=0 where this one has 1. Choose another folder with --out" in line


@pytest.mark.slow
def test_another_run_in_the_folder_that_nobody_chose(motet: Motet) -> None:
    assert motet("run", "my.py:small").err == "run: runs/my.py-small\n"
    assert motet("run", "my.py:small", "--seed", "1").err == "run: runs/my.py-small-2\n"
    assert motet("run", "my.py:small", "--seed", "1").err.splitlines()[-1] == "run: runs/my.py-small-2"
    assert "nothing to train" in motet("run", "my.py:small").err


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_damaged_records(motet: Motet, refused: Refused, content: bytes) -> None:
    assert motet("run", "my.py:small", "--out", "here").code == 0
    for name in ("scores.json", "run.json"):
        Path("here", name).write_bytes(content)
        assert name in refused("run", "my.py:small", "--out", "here")


def test_a_damaged_checkpoint(motet: Motet) -> None:
    assert motet("run", "my.py:small").code == 0
    Path("runs/my.py-small/scores.json").unlink()
    Path("runs/my.py-small/checkpoint/last.safetensors").write_bytes(b"\x80\x04N.")
    code, out, err = motet("run", "my.py:small")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("motet: a checkpoint must be a complete file")
    assert "runs/my.py-small/checkpoint/last.safetensors" in err


@pytest.mark.slow
def test_folders_are_named_after_recipes_wherever_they_are(motet: Motet, here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "other.py").write_text(RECIPE)
    for reference, folder in (("./my.py:small", "my.py-small"), ("./sub/other.py:small", "sub-other.py-small")):
        assert motet("run", reference).err == f"run: runs/{folder}\n"


MODULAR = """
import motet
from motet.models import MLP

def modular(**settings):
    return motet.Experiment(
        data="digits",
        model=MLP(hidden=(4,)),
        method=motet.ModularNetwork(members=3),
        training=motet.Training(epochs=1, batch_size=256),
        **settings,
    )

def other():
    return modular(objective=motet.Joint())

def depth():
    return motet.Experiment(
        data="digits", model=MLP(hidden=(4, 4)), method=motet.DUN(), training=motet.Training(epochs=1, batch_size=256)
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "arguments", "objective"),
    [
        ("modular", ["--method.lam", "0.5"], {"type": "Modular", "lam": 0.5, "reduction": "mean"}),
        ("modular", ["--method.lam", "0", "--method.reduction", "sum"], {"lam": 0.0, "reduction": "sum"}),
        ("modular", ["--method.lam", "0.5", "--objective.reduction", "sum"], {"lam": 0.5, "reduction": "sum"}),
        ("modular", ["--method.lam", "0.5", "--objective.lam", "0.2"], {"lam": 0.2}),
        ("modular", ["--objective.lam", "0.2"], {"lam": 0.2}),
        ("other", ["--method.lam", "0.5"], {"type": "Joint"}),
        ("depth", ["--method.warm-start-epochs", "2"], {"warm_start_epochs": 2}),
        ("depth", ["--method.objective", "vi"], {"type": "DepthELBO"}),
    ],
)
def test_the_loss_follows_the_settings_of_its_method(
    motet: Motet, here: Path, recipe: str, arguments: list[str], objective: dict[str, object]
) -> None:
    (here / "my.py").write_text(MODULAR)
    code, _, err = motet("run", f"my.py:{recipe}", *arguments)
    assert code == 0, err
    assert settings(f"runs/my.py-{recipe}")["objective"].items() >= objective.items()
