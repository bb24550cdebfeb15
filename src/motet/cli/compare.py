"""The command ``motet compare DATA``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from motet.cli._arguments import OMITTABLE, option, parse, parse_augmentation
from motet.cli._show import say, show, show_comparison


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train several methods on the same data, print a table, and write report.html.

    Run the same command again to continue after Ctrl-C; finished runs are kept.
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """Data set by name (see: motet data), a folder with a folder of images for each class, or a CSV or Parquet file."""
    methods: Annotated[tuple[str, ...], option("METHOD ...", "all")] = ("all",)
    """Methods to compare, or all that fit the model (see: motet methods); your own as module:Class or file.py:Class.
    METHOD@0.5 uses a model half as wide.
    """
    members: Annotated[int | None, OMITTABLE, option("M", "3")] = None
    """Number of members of every ensemble."""
    model: Annotated[str | None, OMITTABLE, option("MODEL", "chosen for the data set")] = None
    """mlp, small_cnn, vgg_cnn, wrn-DEPTH-WIDTH, densenet-bc-DEPTH-GROWTH; resnet50 and timm:NAME (need timm); or your
    own: module:function or file.py:function.
    """
    epochs: Annotated[int | None, OMITTABLE, option("N", "chosen for the data set")] = None
    """Passes over the training data."""
    batch_size: Annotated[int | None, OMITTABLE, option("N", "chosen for the data set")] = None
    """Unique examples per training step."""
    learning_rate: Annotated[float | None, OMITTABLE, option("RATE", "chosen for the data set")] = None
    """Peak learning rate."""
    seeds: Annotated[int | None, OMITTABLE, option("N", "3 for digits, else 1")] = None
    """Number of seeds; with more than one, means and standard errors are shown."""
    first: Annotated[tuple[str, ...] | None, OMITTABLE, option("LAYER ...")] = None
    """The model's input layer (or layers), if it cannot be found."""
    last: Annotated[tuple[str, ...] | None, OMITTABLE, option("LAYER ...")] = None
    """The model's output layer (or layers), if it cannot be found."""
    target: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], option("COLUMN", "none")]] = ()
    """The column of a table to predict, or several of one kind: A,B,C."""
    task: Annotated[
        Literal["classification", "multilabel", "regression", "counts"] | None,
        OMITTABLE,
        option("TASK", "inferred from it; never counts"),
    ] = None
    """classification, multilabel (0 and 1 in several columns), regression, or counts (integers from 0)."""
    likelihood: Annotated[str | None, OMITTABLE, option("NAME", "the task's")] = None
    """What the network predicts: categorical; bernoulli (two classes, labels); heteroscedastic (mean and variance; for
    tables); gaussian (unit variance); poisson (counts); or your own: module:Class or file.py:Class.
    """
    drop: Annotated[tuple[str, ...], option("COLUMN ...", "none")] = ()
    """Columns of a table to leave out."""
    keep: Annotated[tuple[str, ...], option("COLUMN ...", "none")] = ()
    """Columns to use although they count the rows, are constant, or contain words that are nearly all different."""
    category: Annotated[tuple[str, ...], option("COLUMN ...", "none")] = ()
    """Columns that contain codes: each different text is a category, also numbers."""
    missing: Annotated[tuple[str, ...], option("WORD ...", "none")] = ()
    """Words that mark missing values in a table, besides NA, ?, null and the like."""
    dates: Annotated[Literal["dayfirst", "monthfirst"] | None, OMITTABLE, option("ORDER", "inferred")] = None
    """dayfirst or monthfirst: the order in dates such as 01/02/2012, where it cannot be inferred."""
    image_size: Annotated[int | None, OMITTABLE, option("PIXELS", "the images' size")] = None
    """Height and width to which the images of a folder are resized."""
    skip_bad: bool = False
    """Leave out images that cannot be read."""
    augment: Annotated[tuple[str, ...] | None, OMITTABLE, option("SETTING ...", "chosen for the data")] = None
    """Augmentation of training images: none, or settings such as flip crop=4 cutout=16 mixup=0.2."""
    data_dir: Annotated[Path | None, OMITTABLE, option("DIR", "$MOTET_DATA")] = None
    """Folder with the data's files."""
    device: Annotated[str, option("DEVICE", "auto: CUDA if available")] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    out: Annotated[Path | None, OMITTABLE, option("DIR", "runs/compare-DATA, or with a number if that is taken")] = None
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
            target=",".join(arguments.target) or None,
            task=arguments.task,
            drop=arguments.drop,
            keep=arguments.keep,
            category=arguments.category,
            missing=arguments.missing,
            dates=arguments.dates,
            image_size=arguments.image_size,
            skip_bad=arguments.skip_bad,
        ),
        likelihood=arguments.likelihood,
        augment=None if arguments.augment is None else parse_augmentation(arguments.augment),
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
