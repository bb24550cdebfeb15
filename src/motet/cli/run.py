"""motet run RECIPE."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motet.cli._arguments import parse
from motet.cli._show import say, show, show_lines
from motet.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Where and how to run; not part of the experiment."""

    out: Path | None = None
    """Folder for the run; by default runs/RECIPE."""
    data_dir: Path | None = None
    """Where the data's files lie; by default $MOTET_DATA."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the scores as JSON."""


_USAGE = """usage: motet run RECIPE [--out DIR] [--data-dir DIR] [--device DEVICE] [--SETTING VALUE ...]

Run one experiment: what the function RECIPE returns. RECIPE is one of motet's (see: motet recipes) or your own,
module:function or file.py:function, returning a motet.Experiment. Every field can be overridden:
--method.members 4 --training.epochs 10 --seed 1. motet run RECIPE --help lists them.
Run the same command again to go on after Ctrl-C."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    if len(argv) < 2 or argv[1] in ("-h", "--help"):
        show(_USAGE)
        return 0 if len(argv) > 1 else 2
    if argv[1].startswith("-"):
        raise InputError("the recipe comes first", got=repr(argv[1]), fix="Write motet run RECIPE --setting value")
    from motet.experiments import Experiment, run_experiment
    from motet.files import to_json
    from motet.recipes import load_recipe

    recipe = argv[1]
    experiment = load_recipe(recipe)
    experiment, options = _parse(experiment, argv)
    assert isinstance(experiment, Experiment)
    out = options.out or Path("runs") / "".join(c if c.isalnum() or c in "-_." else "-" for c in recipe)
    run = run_experiment(experiment, out, data_dir=options.data_dir, device=options.device, say=say)
    if options.json:
        show(to_json({"folder": str(out), "settings": run.record["settings"], **run.scores}).rstrip())
    else:
        show(str(experiment.method))
        show_lines((key, _number(value)) for key, value in run.scores["test"].items())
        cost = run.scores["cost"]
        show_lines([(key, _number(value)) for key, value in cost.items()])
    say(f"run: {out}")
    return 0


def _parse(experiment: Any, argv: Sequence[str]) -> tuple[Any, Options]:
    """The experiment with the fields that the command line overrides, and the options."""
    # The fields' types are those of this experiment's own settings, so that a MIMO recipe has --method.members and
    # --method.batch-repetition, and nothing that MIMO does not have.
    fields = [
        (item.name, _type_of(getattr(experiment, item.name), item.type), dataclasses.field(default=value))
        for item in dataclasses.fields(experiment)
        for value in [getattr(experiment, item.name)]
    ]
    options = [(item.name, item.type, dataclasses.field(default=item.default)) for item in dataclasses.fields(Options)]
    both = dataclasses.make_dataclass("Settings", fields + options, frozen=True, kw_only=True)
    parsed: Any = parse(
        both, ["run " + argv[1], *argv[2:]], description="Settings of the experiment, and where to run it."
    )
    values = {item.name: getattr(parsed, item.name) for item in dataclasses.fields(both)}
    chosen = {item.name: values.pop(item.name) for item in dataclasses.fields(Options)}
    return dataclasses.replace(experiment, **values), Options(**chosen)


def _type_of(value: Any, declared: Any) -> Any:
    return type(value) if dataclasses.is_dataclass(value) else declared


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
