"""motet compare DATA."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from motet.cli._arguments import parse
from motet.cli._show import say, show, show_comparison


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train methods side by side under one protocol, print one table, write report.html.

    Run the same command again to go on after Ctrl-C; finished runs are kept.
    """

    data: Annotated[str, tyro.conf.Positional]
    """Data set: digits, fashion-mnist, mnist (see: motet data)."""
    methods: tuple[str, ...] = ("all",)
    """Methods to compare, or all (see: motet methods)."""
    members: int | None = None
    """Members of every ensemble; by default 3."""
    model: str | None = None
    """mlp, small_cnn, wrn-DEPTH-WIDTH, or your own: module:function or file.py:function."""
    epochs: int | None = None
    """Passes over the training data; by default as tuned for the data set."""
    seeds: int | None = None
    """How many seeds (digits: 3, else 1); with more than one, means and standard errors are shown."""
    first: tuple[str, ...] | None = None
    """The model's input layer (or layers), where it is ambiguous."""
    last: tuple[str, ...] | None = None
    """The model's output layer (or layers), where it is ambiguous."""
    data_dir: Path | None = None
    """Where the data's files lie; by default $MOTET_DATA."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    out: Path | None = None
    """Folder for the runs and the report; by default runs/compare-DATA."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the record as JSON instead of the table."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    from motet.experiments import compare, make_plan
    from motet.files import to_json
    from motet.report import write_report

    plan = make_plan(
        arguments.data,
        methods=arguments.methods,
        members=arguments.members,
        model=arguments.model,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        first=arguments.first,
        last=arguments.last,
    )
    out = arguments.out or Path("runs") / f"compare-{arguments.data}"
    record = compare(
        plan,
        out,
        command=shlex.join(["motet", *argv]),
        data_dir=arguments.data_dir,
        device=arguments.device,
        say=say,
    )
    write_report(record, out / "report.html")
    if arguments.json:
        show(to_json(record).rstrip())
    else:
        show_comparison(record)
    say(f"report: {out / 'report.html'}")
    return 0
