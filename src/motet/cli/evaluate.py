"""motet evaluate RUN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from motet.cli._arguments import OMITTABLE, parse, shown
from motet.cli._show import say, show

_HEADS = {"accuracy": "accuracy", "rmse": "RMSE", "nll": "NLL", "ece": "ECE", "brier": "Brier", "flops": "FLOPs"}
_USES = {"ensemble": "ensemble", "distinct": "throughput"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Score a finished run's test split again, print the scores, and keep them in the run's evaluation.json."""

    run: Annotated[Path, tyro.conf.Positional, shown("RUN")]
    """A run's folder: what motet run wrote, or one in a comparison's folder (runs/compare-digits/mimo-seed0)."""
    distinct: bool = False
    """Also predict a different example with each member, M in one pass (throughput use)."""
    data_dir: Annotated[Path | None, OMITTABLE, shown("DIR", "$MOTET_DATA")] = None
    """Where the data's files lie."""
    device: Annotated[str, shown("DEVICE", "auto: CUDA where there is one")] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the record as JSON instead of the table."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    from motet.experiments import evaluate, find_run, throughput_in_words
    from motet.files import to_json

    run = find_run(arguments.run)
    record = evaluate(run, distinct=arguments.distinct, data_dir=arguments.data_dir, device=arguments.device)
    if arguments.json:
        show(to_json(record).rstrip())
    else:
        uses = [use for use in _USES if use == "ensemble" or arguments.distinct]
        show(record["method"])
        for line in _table({_USES[use]: record[use] for use in uses}):
            show(line)
        if arguments.distinct:
            show(throughput_in_words(record))
    say(f"evaluation: {run.folder / 'evaluation.json'}")
    return 0


def _table(uses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each use, a column for each score."""
    rows = [["", *(_HEADS[name] for name in [*next(iter(uses.values()))["scores"], "flops"])]]
    for use, result in uses.items():
        rows.append([use, *(_number(value) for value in result["scores"].values()), f"{result['flops']:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
