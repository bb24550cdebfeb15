"""The command ``motet run RECIPE``."""

import contextlib
import dataclasses
import inspect
import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro

from motet.cli._arguments import OMITTABLE, option, parse
from motet.cli._evaluation_tables import exit_lines
from motet.cli._show import say, show, show_lines
from motet.errors import InputError

if TYPE_CHECKING:
    from motet.distributed import Communication


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Where and how to run; not part of the experiment.

    Attributes:
        out: folder for the run.
        data_dir: folder with the data's files.
        device: auto, cpu, cuda, cuda:1, ...
        json: print the settings and scores as JSON.
        member_ranks: with torchrun: the number of processes that the members are distributed over.
        data_ranks: with torchrun: the number of processes that the rows of a batch are distributed over.
    """

    out: Annotated[Path | None, OMITTABLE, option("DIR", "runs/RECIPE, or with a number if that is taken")] = None
    data_dir: Annotated[Path | None, OMITTABLE, option("DIR", "$MOTET_DATA")] = None
    device: Annotated[str, option("DEVICE", "auto: CUDA if available")] = "auto"
    json: bool = False
    member_ranks: Annotated[int | None, OMITTABLE, option("N", "all, divided by --data-ranks")] = None
    data_ranks: Annotated[int | None, OMITTABLE, option("N", "1")] = None


_USAGE = """usage: motet run RECIPE [--out DIR] [--data-dir DIR] [--device DEVICE] [--json] [--SETTING VALUE ...]

Run the experiment that the function RECIPE returns. RECIPE is a recipe of motet (see: motet recipes) or your own
function, module:function or file.py:function, which returns a motet.Experiment. Every field can be overridden:
--method.members 4 --training.epochs 10 --seed 1. motet run RECIPE --help lists them.
Run the same command again to continue after Ctrl-C.
Members over several processes: torchrun --nproc-per-node=N -m motet run RECIPE [--member-ranks N] [--data-ranks N]"""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name.

    Raises:
        InputError: for a bad recipe or setting, and errors of `motet.experiments.run_experiment`.
    """
    if len(argv) < 2 or argv[1] in ("-h", "--help"):
        (show if len(argv) > 1 else say)(_USAGE)
        return 0 if len(argv) > 1 else 2
    if argv[1].startswith("-"):
        raise InputError("the recipe must come first", got=repr(argv[1]), fix="Write motet run RECIPE --setting value")
    from motet._internal.files import to_json
    from motet._internal.typed_records import to_plain
    from motet.data import fingerprint
    from motet.distributed import start
    from motet.experiments import run_experiment
    from motet.experiments.folder import free_folder
    from motet.experiments.provenance import source_of
    from motet.recipes import load_recipe

    recipe = argv[1]
    with _quiet_unless_first():
        experiment, options = _parse(load_recipe(recipe), argv)
    grid = start(member_ranks=options.member_ranks, data_ranks=options.data_ranks)
    with grid:
        out = options.out
        if out is None:
            name = "".join(c if c.isalnum() or c in "-_." else "-" for c in recipe).strip("-.")
            settings, source = experiment.to_record(), source_of(experiment)
            grid.agree({"settings": settings, "source": {each.file: each.sha256 for each in source}})
            out = grid.first(
                lambda: free_folder(
                    Path("runs") / name,
                    settings,
                    source=source,
                    data=lambda: fingerprint(experiment.data, options.data_dir, options=experiment.data_options),
                )
            )
        run = run_experiment(experiment, out, data_dir=options.data_dir, device=options.device, say=say, grid=grid)
    if not grid.is_first:
        return 0
    if options.json:
        show(to_json({"folder": str(out), "settings": run.record.settings, **to_plain(run.scores)}).rstrip())
    else:
        show(str(experiment.method))
        numbers = {**run.scores.test, **to_plain(run.scores.cost)}
        show_lines((key, _number(value)) for key, value in numbers.items())
        for line in exit_lines({"": run.scores.test_exits}):
            show(line)
    if run.scores.communication is not None and grid.size > 1:
        say(_communication(run.scores.communication))
    say(f"run: {out}")
    return 0


def _communication(sent: "Communication") -> str:
    return (
        f"sent: {sent.bytes_per_step:,} bytes per step between {sent.member_ranks * sent.data_ranks} "
        f"processes; data-parallel training would send {sent.data_parallel_bytes_per_step:,}"
    )


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """Let only the first of the processes that torchrun started with one command print its help or an error."""
    with contextlib.ExitStack() as quiet:
        if os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0":
            quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
            quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


def _parse(experiment: Any, argv: Sequence[str]) -> tuple[Any, Options]:
    """Return the experiment with the fields that the command line overrides, and the options."""
    docs = (inspect.getdoc(kind) or "" for kind in (type(experiment), Options))
    doc = "Settings of the experiment, and where to run it.\n\nAttributes:" + "".join(
        text.partition("Attributes:")[2].rstrip() for text in docs
    )
    fields = _unchecked_fields(experiment) + _unchecked_fields(Options())
    both = dataclasses.make_dataclass("Settings", fields, frozen=True, kw_only=True, namespace={"__doc__": doc})
    parsed: Any = parse(both, [f"run {argv[1]}", *argv[2:]])
    asked = _with_own_objective(experiment, _filled(experiment, parsed))
    return _with_batch_size_for(experiment, asked, argv), _filled(Options(), parsed)


def _with_batch_size_for(recipe: Any, asked: Any, argv: Sequence[str]) -> Any:
    """Return the experiment with the recipe's batch size as the largest, if it is for other data than the recipe's and
    no batch size was passed: the data may be smaller.
    """
    given = any(item.replace("_", "-").startswith("--training.batch-size") for item in argv)
    size = recipe.training.batch_size
    if given or size is None or asked.data == recipe.data:
        return asked
    training = dataclasses.replace(asked.training, batch_size=None, largest_batch_size=size)
    return dataclasses.replace(asked, training=training)


def _with_own_objective(recipe: Any, asked: Any) -> Any:
    """Return the requested experiment with its method's own loss if the recipe has its method's, except for loss
    settings that were set.

    The recipe's loss was made from its method's settings, so ``--method.lam 0.5`` must change it.
    """
    own = recipe.with_method(asked.method).objective
    if own == recipe.objective:
        return asked
    given = {
        item.name: value
        for item in dataclasses.fields(asked.objective)
        if (value := getattr(asked.objective, item.name)) != getattr(recipe.objective, item.name)
    }
    if type(own) is not type(asked.objective):
        return asked if given else dataclasses.replace(asked, objective=own)
    return dataclasses.replace(asked, objective=dataclasses.replace(own, **given))


def _unchecked_fields(settings: Any) -> list[tuple[str, Any, Any]]:
    """Return the fields of a settings dataclass for the command line, with the values in `settings` as defaults.

    Types are those of these settings, so that a MIMO recipe has --method.members and --method.batch-repetition, and no
    options of other methods. Nested settings become classes without checks. An invalid value is then refused by the
    real settings, in one line, and not by the parser, in a page.
    """
    from motet.experiments import LikelihoodName
    from motet.likelihoods import Likelihood

    found = []
    hints = get_type_hints(type(settings), include_extras=True)
    for item in dataclasses.fields(settings):
        value, kind = _shown(item.name, getattr(settings, item.name)), hints[item.name]
        if dataclasses.is_dataclass(value):
            inner = _unchecked_fields(value)
            nested = dataclasses.make_dataclass(
                type(value).__name__, inner, frozen=True, kw_only=True, namespace={"__doc__": type(value).__doc__}
            )
            # A recipe's bool may be True or False, so its option takes a value.
            kind, value = Annotated[nested, tyro.conf.FlagConversionOff], nested()
        elif kind == LikelihoodName | Likelihood | None:
            kind = str | None  # one of motet's, or a class of the user's
        found.append((item.name, kind, dataclasses.field(default=value)))
    return found


def _shown(name: str, value: Any) -> Any:
    """Return a setting as the command line shows it: an augmentation that is left to the data as none at all."""
    from motet.data import Augmentation

    return Augmentation() if name == "augment" and value is None else value


def _filled(settings: Any, parsed: Any) -> Any:
    """Return `settings` with the values in `parsed`, made by `_unchecked_fields`."""
    from motet.experiments import likelihood_named

    values = {}
    for item in dataclasses.fields(settings):
        before, after = _shown(item.name, getattr(settings, item.name)), getattr(parsed, item.name)
        values[item.name] = _filled(before, after) if dataclasses.is_dataclass(before) else after
        if item.name == "likelihood" and isinstance(after, str):
            values[item.name] = likelihood_named(after)
        if getattr(settings, item.name) is None and values[item.name] == before:
            values[item.name] = None
    return dataclasses.replace(settings, **values)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
