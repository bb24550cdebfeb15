"""motet compare DATA."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from motet.cli._arguments import OMITTABLE, parse, shown
from motet.cli._show import say, show, show_comparison


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train methods side by side under one protocol, print one table, write report.html.

    Run the same command again to go on after Ctrl-C; finished runs are kept.
    """

    data: Annotated[str, tyro.conf.Positional, shown("DATA")]
    """Data set by name (see: motet data), a folder with a folder of images for each class, or a CSV or Parquet file."""
    methods: Annotated[tuple[str, ...], shown("METHOD ...", "all")] = ("all",)
    """Methods to compare, or all that fit the model (see: motet methods); your own as module:Class or file.py:Class.
    METHOD@0.5 takes a model half as wide."""
    members: Annotated[int | None, OMITTABLE, shown("M", "3")] = None
    """Members of every ensemble."""
    model: Annotated[str | None, OMITTABLE, shown("MODEL", "chosen for the data set")] = None
    """mlp, small_cnn, vgg_cnn, wrn-DEPTH-WIDTH, densenet-bc-DEPTH-GROWTH; resnet50 and timm:NAME (need timm); or your
    own: module:function or file.py:function."""
    epochs: Annotated[int | None, OMITTABLE, shown("N", "chosen for the data set")] = None
    """Passes over the training data."""
    batch_size: Annotated[int | None, OMITTABLE, shown("N", "chosen for the data set")] = None
    """Unique examples a step."""
    learning_rate: Annotated[float | None, OMITTABLE, shown("RATE", "chosen for the data set")] = None
    """Peak learning rate."""
    seeds: Annotated[int | None, OMITTABLE, shown("N", "3 for digits, else 1")] = None
    """How many seeds; with more than one, means and standard errors are shown."""
    first: Annotated[tuple[str, ...] | None, OMITTABLE, shown("LAYER ...")] = None
    """The model's input layer (or layers), where it is ambiguous."""
    last: Annotated[tuple[str, ...] | None, OMITTABLE, shown("LAYER ...")] = None
    """The model's output layer (or layers), where it is ambiguous."""
    target: Annotated[str | None, OMITTABLE, shown("COLUMN")] = None
    """The column of a table to predict."""
    task: Annotated[
        Literal["classification", "regression", "counts"] | None, OMITTABLE, shown("TASK", "told from it; never counts")
    ] = None
    """classification, regression or counts (whole numbers from 0)."""
    likelihood: Annotated[str | None, OMITTABLE, shown("NAME", "the task's")] = None
    """What the network predicts: categorical; bernoulli (two classes); heteroscedastic (mean and variance; for tables);
    gaussian (unit variance); poisson (counts); or your own: module:Class or file.py:Class."""
    drop: Annotated[tuple[str, ...], shown("COLUMN ...", "none")] = ()
    """Columns of a table to leave out."""
    image_size: Annotated[int | None, OMITTABLE, shown("PIXELS", "the images' own")] = None
    """Height and width that the images of a folder are brought to."""
    skip_bad: bool = False
    """Leave out images that cannot be read."""
    data_dir: Annotated[Path | None, OMITTABLE, shown("DIR", "$MOTET_DATA")] = None
    """Where the data's files lie."""
    device: Annotated[str, shown("DEVICE", "auto: CUDA where there is one")] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    out: Annotated[Path | None, OMITTABLE, shown("DIR", "runs/compare-DATA, with a number where that is taken")] = None
    """Folder for the runs and the report."""
    json: bool = False
    """Print the record as JSON instead of the table."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    from motet._internal.typed_records import record_json
    from motet.data import DataOptions
    from motet.experiments import compare, default_folder, gather, make_plan
    from motet.report import write_report

    plan = make_plan(
        arguments.data,
        methods=arguments.methods,
        members=arguments.members,
        model=arguments.model,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seeds=arguments.seeds,
        first=arguments.first,
        last=arguments.last,
        data_options=DataOptions(
            target=arguments.target,
            task=arguments.task,
            drop=arguments.drop,
            image_size=arguments.image_size,
            skip_bad=arguments.skip_bad,
        ),
        likelihood=arguments.likelihood,
    )
    out = arguments.out or default_folder(plan, arguments.data_dir)
    record = compare(
        plan,
        out,
        command=shlex.join(["motet", *argv]),
        data_dir=arguments.data_dir,
        device=arguments.device,
        say=say,
    )
    write_report(record, out / "report.html", gather(out, record))
    if arguments.json:
        show(record_json(record).rstrip())
    else:
        show_comparison(record)
    say(f"report: {out / 'report.html'}")
    return 0
