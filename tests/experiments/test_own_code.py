"""Methods, objectives, groupings and likelihoods defined outside motet: trained, recorded, read back, reported."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet import InputError
from motet._internal.own_code import UntrustedCodeError
from motet.cli.main import main
from motet.experiments import Experiment, load_run, make_plan
from motet.models import MLP
from motet.prediction import Prediction
from motet.training import Training

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("own_code.py")
TRAIN = """
import sys
{imports}
from motet.models import MLP
from motet.training import Training

experiment = Experiment(
    data="table.csv",
    model=MLP(hidden=(8,)),
    method=own.RolledMIMO(members=2, grouping=own.Rolled(step=2)),
    objective=own.Scaled(factor=1.5),
    training=Training(epochs=2, batch_size=16),
    data_options=motet.data.DataOptions(target="y"),
    likelihood=own.Laplace(scale=2.0),
)
assert Experiment.from_record(experiment.to_record()) == experiment
run = motet.experiments.run_experiment(experiment, "run", progress=False)
assert run.experiment == experiment
assert run.prediction.likelihood == own.Laplace(scale=2.0)
assert motet.experiments.evaluate(run).ensemble.scores["crps"] > 0

plan = motet.experiments.Plan(
    data="table.csv",
    model=experiment.model,
    methods=(experiment.method,),
    training=experiment.training,
    seeds=(0,),
    data_options=experiment.data_options,
    likelihood=experiment.likelihood,
)
record = motet.experiments.compare(plan, "compared", command="as a test", progress=False)
assert record.rows[0].key == "rolled-mimo"
motet.report.write_report(record, "compared/report.html", None)
"""
ORDERS = {
    "before": "import own\nimport motet\nfrom motet.experiments import Experiment",
    "after": "import motet\nfrom motet.experiments import Experiment\nimport motet.methods, motet.data\nimport own",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None) -> Iterator[Path]:
    """A folder with a table and the user's file; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    shutil.copy(SOURCE, tmp_path / "own.py")
    rows = (f"{i % 7},{i % 5},{3 * (i % 7) - 2 * (i % 5) + 0.1 * (i % 3)}" for i in range(120))
    (tmp_path / "table.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    yield tmp_path
    forget()


def forget() -> None:
    """Nothing of the user's is imported any more."""
    for name in [name for name in sys.modules if name == "own" or name.startswith("_motet_file_")]:
        del sys.modules[name]


Said = tuple[int, str, str]


@pytest.fixture
def motet(here: Path, capsys: pytest.CaptureFixture[str], quick_latency: None) -> Callable[..., Said]:
    def run(*arguments: object) -> Said:
        """A command as in a process of its own, which has imported nothing of the user's."""
        forget()
        capsys.readouterr()
        try:
            code: Any = main([str(argument) for argument in arguments])
        except SystemExit as leave:
            code = leave.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def compared(motet: Callable[..., Said]) -> Path:
    """A comparison with a method and a likelihood of the user's own."""
    command = ("compare", "table.csv", "--target", "y", "--model", "mlp", "--epochs", 2, "--seeds", 1, "--members", 2)
    command += ("--methods", "single", "own.py:RolledMIMO", "own.py:RolledMIMO@0.5", "deep-ensemble")
    command += ("--likelihood", "own.py:Laplace", "--out", "out")
    code, _, said = motet(*command)
    assert code == 0, said
    code, _, said = motet(*command)  # named again: that is trust
    assert (code, "already finished" in said) == (0, True)
    return Path("out")


@pytest.mark.parametrize("order", ORDERS)
def test_train_record_read_back_and_evaluate_in_both_import_orders(
    here: Path, order: str, motet: Callable[..., Said]
) -> None:
    code = TRAIN.format(imports=ORDERS[order])
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Rolled MIMO" in (here / "compared" / "report.html").read_text()
    assert motet("report", "compared")[0] == 0
    record = json.loads((here / "run" / "run.json").read_text())
    settings = record["settings"]
    assert settings["method"] == {
        "type": "own:RolledMIMO",
        "members": 2,
        "grouping": {"type": "own:Rolled", "step": 2},
        "factor": 1.0,
    }
    assert settings["objective"] == {"type": "own:Scaled", "factor": 1.5}
    assert settings["likelihood"] == {"type": "own:Laplace", "scale": 2.0}
    assert record["likelihood"] == "own:Laplace"
    assert record["source"]["file"] == "own.py"
    assert record["source"]["text"] == SOURCE.read_text()
    status, _, said = motet("evaluate", "run")
    assert status == 2
    assert said.count("\n") == 1
    assert "reading this run would execute the module own. Pass --trust-code" in said
    assert motet("evaluate", "run", "--trust-code")[0] == 0


def test_a_comparison_from_the_command_line_to_the_report(compared: Path, motet: Callable[..., Said]) -> None:
    record = json.loads((compared / "compare.json").read_text())
    assert [row["key"] for row in record["rows"]] == ["single", "rolled-mimo", "rolled-mimo@0.5", "deep-ensemble"]
    assert record["likelihood"] == "own.py:Laplace"
    assert record["settings"]["rolled-mimo-seed0"]["method"]["type"] == "own.py:RolledMIMO"
    assert record["settings"]["single-seed0"]["method"] == {"type": "Single"}
    assert record["source"]["file"] == "own.py"
    for row in record["rows"]:
        assert {"rmse", "nll", "crps", "coverage_90", "interval_width"} <= row["scores"].keys()
        assert all(math.isfinite(score["mean"]) for score in row["scores"].values())
    for folder in (compared, compared / "single-seed0", compared / "rolled-mimo-seed0"):
        code, _, said = motet("evaluate", folder)
        assert code == 2
        assert said.count("\n") == 1
        assert f"would execute {Path('own.py').resolve()}" in said
        assert motet("evaluate", folder, "--trust-code")[0] == 0
    Path("own.py").unlink()  # a report needs no code
    (compared / "report.html").unlink()
    assert motet("report", compared)[0] == 0
    assert "Rolled MIMO" in (compared / "report.html").read_text()


def test_a_file_that_was_changed_or_lost(compared: Path, motet: Callable[..., Said]) -> None:
    run = compared / "rolled-mimo-seed0"
    text = Path("own.py").read_text()
    Path("own.py").write_text("raise SystemExit('executed')\n" + text)
    code, _, said = motet("evaluate", run, "--trust-code")
    assert code == 2
    assert "the code that it was made with, but got own.py, which was changed after the run. Restore the file" in said
    code, _, said = motet(
        *("compare", "table.csv", "--target", "y", "--methods", "own.py:RolledMIMO", "--out", compared)
    )
    assert "executed" in said
    Path("own.py").write_text(text + "# more\n")
    code, _, said = motet("evaluate", run, "--trust-code")
    assert (code, "own.py, which was changed after the run" in said) == (2, True)
    Path("own.py").unlink()
    code, _, said = motet("evaluate", run, "--trust-code")
    assert code == 2
    assert f"the class that {run}/run.json names must still exist, but got own.py:" in said
    Path("own.py").write_text("x = 1\n")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"source": None}))
    code, _, said = motet("evaluate", run, "--trust-code")
    assert (code, "must define the class" in said, said.count("\n")) == (2, True, 1)


def test_going_on_under_changed_code_is_refused(compared: Path, motet: Callable[..., Said]) -> None:
    command = ["compare", "table.csv", "--target", "y", "--model", "mlp", "--epochs", "2", "--seeds", "1"]
    command += ["--members", "2", "--methods", "single", "own.py:RolledMIMO", "own.py:RolledMIMO@0.5", "deep-ensemble"]
    command += ["--likelihood", "own.py:Laplace", "--out", "out"]
    Path("own.py").write_text(Path("own.py").read_text() + "# more\n")
    code, _, said = motet(*command)
    assert (code, "a run with an earlier version of own.py" in said) == (2, True)


def test_a_run_of_a_recipe(here: Path, motet: Callable[..., Said]) -> None:
    (here / "sub").mkdir()
    shutil.move("own.py", "sub/own.py")
    (here / "sub" / "recipe.py").write_text(
        "import motet, own\nfrom motet.models import MLP\n"
        "def small():\n"
        "    return motet.Experiment(data='table.csv', model=MLP(hidden=(8, 8)), method=own.RolledMIMO(),\n"
        "        training=motet.Training(epochs=1, batch_size=16),\n"
        "        data_options=motet.data.DataOptions(target='y'))\n"
        "def exits():\n"
        "    return motet.Experiment(data='table.csv', model=MLP(hidden=(8, 8)), method=motet.DUN(exits=('2',)),\n"
        "        objective=own.LastExit(), training=motet.Training(epochs=1, batch_size=16),\n"
        "        data_options=motet.data.DataOptions(target='y'))\n"
    )
    changes = ("--method.members", 3, "--method.grouping.step", 2, "--method.factor", 2.5)
    command = ("run", "sub/recipe.py:small", *changes, "--likelihood", "sub/own.py:Laplace", "--out", "run")
    code, out, said = motet(*command)
    assert code == 0, said
    assert "RolledMIMO(members=3, grouping=Rolled(step=2), factor=2.5)" in out
    record = json.loads(Path("run/run.json").read_text())
    assert record["settings"]["method"]["type"] == "sub/own.py:RolledMIMO"
    assert record["settings"]["objective"] == {"type": "sub/own.py:Scaled", "factor": 2.5}
    assert record["settings"]["likelihood"] == {"type": "sub/own.py:Laplace", "scale": 1.0}
    assert motet(*command)[0] == 0, "finished already"
    assert motet("evaluate", "run")[0] == 2
    assert motet("evaluate", "run", "--trust-code", "--distinct")[0] == 0
    assert motet("run", "sub/recipe.py:exits", "--out", "exits")[0] == 0
    assert motet("evaluate", "exits")[0] == 2
    code, _, said = motet("evaluate", "exits", "--trust-code", "--members", "1")
    assert code == 0, said


def test_trust_in_the_library(compared: Path, motet: Callable[..., Said]) -> None:
    motet("methods")  # forgets the user's file
    run = load_run(compared / "rolled-mimo-seed0")
    assert run is not None
    with pytest.raises(UntrustedCodeError, match="trust_code=True"):
        run.experiment  # noqa: B018
    with pytest.raises(UntrustedCodeError, match=r"own\.py:Laplace"):
        run.prediction  # noqa: B018
    with pytest.raises(UntrustedCodeError):
        Prediction.load(compared / "rolled-mimo-seed0" / "predictions.safetensors")
    assert not any(name.startswith("_motet_file_own") for name in sys.modules)
    trusted = load_run(compared / "rolled-mimo-seed0", trust_code=True)
    assert trusted is not None
    assert type(trusted.experiment.method).__name__ == "RolledMIMO"
    assert type(trusted.prediction.likelihood).__name__ == "Laplace"
    assert run.experiment == trusted.experiment, "what has been imported needs no trust"


def test_a_record_may_name_settings_only(here: Path) -> None:
    experiment = Experiment(data="digits", model=MLP(), method=make_plan("digits").entries[0].method)
    for name in ("subprocess:Popen", "pathlib:Path", "builtins:object"):
        record = json.loads(json.dumps(experiment.to_record())) | {"method": {"type": name, "args": "ls"}}
        with pytest.raises(InputError, match=r"must be a dataclass of settings, but got|must still be there"):
            Experiment.from_record(record, trust_code=True)
    record = json.loads(json.dumps(experiment.to_record()))
    record["training"]["augment"] = {"type": "own:Rolled"}
    with pytest.raises(
        InputError, match="augment of Training must be a record of Augmentation, but got a record of own:Rolled"
    ):
        Experiment.from_record(record, trust_code=True)


BROKEN = """
import dataclasses
import motet

@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(motet.Method):
    name = "mine"
    label = "Mine"
    summary = "A deep ensemble under another name."
    members: int = 2
    def convert(self, model, given):
        return motet.DeepEnsemble(members=self.members).convert(model, given)

@dataclasses.dataclass(frozen=True, kw_only=True)
class Abstract(motet.Method):
    name, label, summary = "abstract", "Abstract", "Has no convert."
    @property
    def members(self):
        return 1

class Same(Mine):
    pass

class Raises(Mine):
    name = "raises"
    def convert(self, model, given):
        return {}["layer"]

class Taken(Mine):
    name = "mimo"

class Folder(Mine):
    name = "a/b"

class NoSummary(Mine):
    summary = ""

@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs(Mine):
    name = "needs"
    rate: float

@dataclasses.dataclass(frozen=True, kw_only=True)
class Picky(Mine):
    name = "picky"
    def __post_init__(self):
        1 / 0

class NoFields(Mine):
    name = "no-fields"
    rate: float = 0.5

class Other:
    pass

def outer():
    class Inner(Mine):
        name = "inner"
    return motet.Experiment(data="digits", model=motet.models.MLP(), method=Inner())
"""


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["mine.py:Nothing"], "mine.py must define the class Nothing, but got no such class. "),
        (["mine.py:Mien"], "Did you mean 'Mine'"),
        (
            ["absent.py:Mine"],
            "the file of a class must exist, but got absent.py. Check the path: it was looked for at ",
        ),
        (["absent_module:Mine"], "absent_module must be importable, but got ModuleNotFoundError"),
        (["mine.py:Other"], "mine.py:Other must be a method, but got a class that does not derive from motet.method"),
        (["mine.py:motet"], "mine.py must define the class motet"),
        (["mine.py:Abstract"], "must be a complete method, but got a class without convert. Define convert in it"),
        (
            ["mine.py:Raises"],
            "mine.py:Raises must work with the model and the data, but got KeyError: 'layer' (mine.py, ",
        ),
        (["all", "mine.py:Raises"], "mine.py:Raises must work with the model and the data, but got KeyError"),
        (["mine.py:Needs"], "needs defaults for all its settings, but got mine.py:Needs without one for rate"),
        (["mine.py:Picky"], "without arguments, but got mine.py:Picky: ZeroDivisionError: division by zero (mine.py, "),
        (["mine.py:Taken"], "must differ from the names of motet's methods, but got mine.py:Taken with name = 'mimo'"),
        (
            ["mine.py:Folder"],
            "can name a folder: letters, digits, hyphens, underscores, points, but got mine.py:Folder",
        ),
        (["mine.py:NoSummary"], "must have a summary, one line of text, but got mine.py:NoSummary with summary = ''"),
        (["mine.py:NoFields"], "fields of a dataclass, but got mine.py:NoFields with rate, which is not a field"),
        (
            ["mine.py:Mine", "mine.py:Same"],
            "must have different names, but got mine.py:Same and another class with name",
        ),
        (["mine.py:Mine@0.3"], "times 0.3"),
        (["mine.py:Mine@x"], "a width factor must be a number above 0, but got 'mine.py:Mine@x'"),
        (["mine"], "the method must be one that motet has, but got 'mine'"),
        (["mine.py"], "the method must be one that motet has, but got 'mine.py'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(motet: Callable[..., Said], methods: list[str], message: str) -> None:
    Path("mine.py").write_text(BROKEN)
    command = ["compare", "digits", "--model", "mlp", "--epochs", "1", "--seeds", "1", "--out", "out"]
    code, out, said = motet(*command, "--methods", *methods)
    assert (code, out) == (2, "")
    assert said.startswith("motet: ")
    assert said.count("\n") == 1, said
    assert message in said
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ("own.py:Nothing", "own.py must define the class Nothing"),
        ("own.py:RolledMIMO", "own.py:RolledMIMO must be a likelihood, but got"),
        ("laplace", "the likelihood must be one of motet's, but got 'laplace'"),
        ("poisson", "(regression) must be heteroscedastic or gaussian, but got 'poisson'. Pass --task counts"),
        ("silent.py:Silent", "must have a target_kind of 'class' or 'binary' or 'real' or 'count', but got Silent"),
    ],
)
def test_likelihoods_that_are_none(motet: Callable[..., Said], likelihood: str, message: str) -> None:
    Path("silent.py").write_text("import own\nclass Silent(own.Laplace):\n    target_kind = None\n")
    code, _, said = motet(
        *("compare", "table.csv", "--target", "y", "--methods", "single", "--epochs", 1, "--out", "out"),
        *("--likelihood", likelihood),
    )
    assert code == 2
    assert message in said
    assert len([line for line in said.splitlines() if not line.startswith("note: ")]) == 1
    assert not Path("out").exists()


def test_a_class_that_no_other_process_finds(motet: Callable[..., Said]) -> None:
    Path("mine.py").write_text(BROKEN)
    code, _, said = motet("run", "mine.py:outer", "--out", "run")
    assert (code, said.count("\n")) == (2, 1)
    assert "must be defined at the top level of a file, but got outer.Inner inside a function or class. Move it" in said


def test_a_script_that_runs_itself(here: Path) -> None:
    (here / "script.py").write_text(
        BROKEN
        + "\nif __name__ == '__main__':\n"
        + "    experiment = motet.Experiment(data='digits', model=motet.models.MLP(), method=Mine())\n"
        + "    assert experiment.to_record()['method']['type'] == 'script.py:Mine'\n"
        + "    assert motet.Experiment.from_record(experiment.to_record()) == experiment\n"
    )
    subprocess.run([sys.executable, "script.py"], check=True)
    code = BROKEN + "\nmotet.Experiment(data='digits', model=motet.models.MLP(), method=Mine()).to_record()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "must be defined in a file, where another process finds it, but got Mine, defined in an interactive"
        in done.stderr
    )


def test_several_files_behind_a_run(here: Path, motet: Callable[..., Said]) -> None:
    (here / "net.py").write_text(
        "import torch\ndef net(num_classes, input_shape):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(input_shape[0], 8), torch.nn.Linear(8, num_classes))\n"
    )
    command = ("compare", "table.csv", "--target", "y", "--methods", "own.py:RolledMIMO", "--epochs", 1, "--seeds", 1)
    command += ("--model", "net.py:net", "--out", "out")
    assert motet(*command)[0] == 0
    record = json.loads(Path("out/compare.json").read_text())
    assert [each["file"] for each in record["source"]] == ["net.py", "own.py"]
    run = json.loads(Path("out/rolled-mimo-seed0/run.json").read_text())
    assert run["source"] == record["source"]
    assert motet("evaluate", "out/rolled-mimo-seed0", "--trust-code")[0] == 0
    net = (here / "net.py").read_text()
    (here / "net.py").write_text(net + "# more\n")
    said = motet("evaluate", "out/rolled-mimo-seed0", "--trust-code")[2]
    assert "the model that it was made with, but got net.py, which was changed after the run" in said
    assert "a run with an earlier version of net.py" in motet(*command)[2]
    (here / "net.py").write_text(net)
    Path("own.py").write_text(Path("own.py").read_text() + "# more\n")
    said = motet("evaluate", "out/rolled-mimo-seed0", "--trust-code")[2]
    assert "the code that it was made with, but got own.py, which was changed after the run" in said


def test_instances_in_a_plan_and_motets_own_by_name(here: Path) -> None:
    from motet.likelihoods import Gaussian, Likelihood

    plan = make_plan("table.csv", methods=["own.py:RolledMIMO"], likelihood="own.py:Laplace")
    assert isinstance(plan.likelihood, Likelihood)
    same = make_plan("table.csv", methods=["own.py:RolledMIMO"], likelihood=plan.likelihood)
    assert same == plan
    assert make_plan("table.csv", methods=["mimo"], likelihood=Gaussian()).experiments()["mimo-seed0"].likelihood == (
        "gaussian"
    )
    assert Training() == Training()
