"""motet run RECIPE."""

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

from motet.cli._arguments import OMITTABLE, parse, shown
from motet.cli._show import say, show, show_lines
from motet.errors import InputError

if TYPE_CHECKING:
    from motet.distributed import Communication


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Where and how to run; not part of the experiment.

    Attributes:
        out: folder for the run.
        data_dir: where the data's files lie.
        device: auto, cpu, cuda, cuda:1, ...
        json: print the settings and scores as JSON.
        member_ranks: started by torchrun: over how many processes the members are shared out.
        data_ranks: started by torchrun: over how many processes the rows of a batch are shared out.
    """

    out: Annotated[Path | None, OMITTABLE, shown("DIR", "runs/RECIPE, with a number where that is taken")] = None
    data_dir: Annotated[Path | None, OMITTABLE, shown("DIR", "$MOTET_DATA")] = None
    device: Annotated[str, shown("DEVICE", "auto: CUDA where there is one")] = "auto"
    json: bool = False
    member_ranks: Annotated[int | None, OMITTABLE, shown("N", "all, divided by --data-ranks")] = None
    data_ranks: Annotated[int | None, OMITTABLE, shown("N", "1")] = None


_USAGE = """usage: motet run RECIPE [--out DIR] [--data-dir DIR] [--device DEVICE] [--json] [--SETTING VALUE ...]

Run one experiment: what the function RECIPE returns. RECIPE is one of motet's (see: motet recipes) or your own,
module:function or file.py:function, returning a motet.Experiment. Every field can be overridden:
--method.members 4 --training.epochs 10 --seed 1. motet run RECIPE --help lists them.
Run the same command again to go on after Ctrl-C.
Members over several processes: torchrun --nproc-per-node=N -m motet run RECIPE [--member-ranks N] [--data-ranks N]"""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    if len(argv) < 2 or argv[1] in ("-h", "--help"):
        (show if len(argv) > 1 else say)(_USAGE)
        return 0 if len(argv) > 1 else 2
    if argv[1].startswith("-"):
        raise InputError("the recipe comes first", got=repr(argv[1]), fix="Write motet run RECIPE --setting value")
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
    if run.scores.communication is not None and grid.size > 1:
        say(_communication(run.scores.communication))
    say(f"run: {out}")
    return 0


def _communication(sent: "Communication") -> str:
    return (
        f"sent: {sent.bytes_per_step:,} bytes a step between {sent.member_ranks * sent.data_ranks} processes; "
        f"data-parallel training would send {sent.data_parallel_bytes_per_step:,}"
    )


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """Of processes that torchrun started with one command, the first alone prints its help, or what is wrong."""
    with contextlib.ExitStack() as quiet:
        if os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0":
            quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
            quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


def _parse(experiment: Any, argv: Sequence[str]) -> tuple[Any, Options]:
    """The experiment with the fields that the command line overrides, and the options."""
    docs = (inspect.getdoc(kind) or "" for kind in (type(experiment), Options))
    doc = "Settings of the experiment, and where to run it.\n\nAttributes:" + "".join(
        text.partition("Attributes:")[2].rstrip() for text in docs
    )
    fields = _unchecked_fields(experiment) + _unchecked_fields(Options())
    both = dataclasses.make_dataclass("Settings", fields, frozen=True, kw_only=True, namespace={"__doc__": doc})
    parsed: Any = parse(both, [f"run {argv[1]}", *argv[2:]])
    return _with_own_objective(experiment, _filled(experiment, parsed)), _filled(Options(), parsed)


def _with_own_objective(recipe: Any, asked: Any) -> Any:
    """What is asked for, its loss that of its method where the recipe's is, but for what is asked of the loss itself.

    The recipe's loss has been made of its method's settings: ``--method.lam 0.5`` must not be trained with another.
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
    """The fields of a settings dataclass for the command line, with what `settings` holds as their defaults.

    Types are those of these very settings, so that a MIMO recipe has --method.members and --method.batch-repetition,
    and nothing that MIMO does not have. Nested settings become classes without checks of their own: what fails is
    then the real settings, with one line, and not the parser, with a page.
    """
    from motet.experiments import LikelihoodName
    from motet.likelihoods import Likelihood

    found = []
    hints = get_type_hints(type(settings), include_extras=True)
    for item in dataclasses.fields(settings):
        value, kind = getattr(settings, item.name), hints[item.name]
        if dataclasses.is_dataclass(value):
            inner = _unchecked_fields(value)
            nested = dataclasses.make_dataclass(
                type(value).__name__, inner, frozen=True, kw_only=True, namespace={"__doc__": type(value).__doc__}
            )
            # A recipe's bool may be True or False: its setting takes the word.
            kind, value = Annotated[nested, tyro.conf.FlagConversionOff], nested()
        elif kind == LikelihoodName | Likelihood | None:
            kind = str | None  # one of motet's, or a class of the user's own
        found.append((item.name, kind, dataclasses.field(default=value)))
    return found


def _filled(settings: Any, parsed: Any) -> Any:
    """`settings` with what `parsed`, made by `_unchecked_fields`, holds in their place."""
    from motet.experiments import likelihood_named

    values = {}
    for item in dataclasses.fields(settings):
        before, after = getattr(settings, item.name), getattr(parsed, item.name)
        values[item.name] = _filled(before, after) if dataclasses.is_dataclass(before) else after
        if item.name == "likelihood" and isinstance(after, str):
            values[item.name] = likelihood_named(after)
    return dataclasses.replace(settings, **values)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
