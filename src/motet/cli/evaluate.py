"""motet evaluate RUN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from motet.cli._arguments import OMITTABLE, parse, shown
from motet.cli._part import in_words, lost_of, members_of
from motet.cli._robustness import HEADS, aligned, risk_lines, robustness_lines
from motet.cli._show import say, show

_ALSO = {
    "flops": "FLOPs",
    "deviance": "deviance",
    "coverage_90": "90 % coverage",
    "coverage_error": "coverage error",
    "interval_width": "90 % width",
}
_USES = {"ensemble": "ensemble", "distinct": "throughput"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Score a finished run's test split again, also under shift and against other data; keep it in evaluation.json.

    With --shift or --ood, RUN may be a comparison's folder: all its runs are evaluated, methods side by side.
    """

    run: Annotated[Path, tyro.conf.Positional, shown("RUN")]
    """A run's folder: what motet run wrote, or one in a comparison's folder (runs/compare-digits/mimo-seed0)."""
    distinct: bool = False
    """Also predict a different example with each member, M in one pass (throughput use)."""
    members: Annotated[str | None, OMITTABLE, shown("K | I,J,...", "all")] = None
    """Score the first K members alone, or those with these indices (0,3,5), at their cost."""
    lost: Annotated[str | None, OMITTABLE, shown("P | I,J,...", "none")] = None
    """Score what is left when these members are lost (1,4), or each with a probability (0.3; drawn with seed 0)."""
    shift: Annotated[str | None, OMITTABLE, shown("SHIFT")] = None
    """cifar-c, cifar-c-19, mimmo, or one corruption, such as fog; for tables: tables, or one shift of them; or a folder
    with the official files of CIFAR-C or ImageNet-C."""
    severities: Annotated[tuple[str, ...], shown("N ...", "1 2 3 4 5")] = ("1", "2", "3", "4", "5")
    """Severities of the shift, from 1 to 5."""
    ood: Annotated[tuple[str, ...], shown("DATA ...", "none")] = ()
    """Other data sets of images, by name or folder, that the ensemble's doubt should tell from its own."""
    reference: Annotated[Path | None, OMITTABLE, shown("RUN")] = None
    """A run on the same data whose errors under the shift count as 100 (mean corruption error)."""
    data_dir: Annotated[Path | None, OMITTABLE, shown("DIR", "$MOTET_DATA")] = None
    """Where the data's files lie."""
    device: Annotated[str, shown("DEVICE", "auto: CUDA where there is one")] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the record as JSON instead of the table."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    if arguments.members is not None or arguments.lost is not None:
        return _part(arguments)
    if arguments.shift is not None or arguments.ood:
        return _robustness(arguments)
    from motet.errors import InputError

    if "--ood" in argv:
        raise InputError(
            "--ood needs the names or folders of data sets", got="none", fix="Pass --ood cifar100, for example"
        )
    from motet._internal.files import to_json
    from motet.experiments import evaluate, find_run, risks_at_shown, throughput_in_words

    if arguments.reference is not None or arguments.severities != Arguments.severities:
        raise InputError(
            "--reference and --severities belong to a shift", got="no --shift", fix="Pass --shift cifar-c, for example"
        )
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
        risks = [
            (_USES[use], risks_at_shown([record[use]["risk_coverage"]["risk"]]))
            for use in uses
            if "risk_coverage" in record[use]
        ]
        for line in ["", *risk_lines(risks)] if risks else []:
            show(line)
    say(f"evaluation: {run.folder / 'evaluation.json'}")
    return 0


def _part(arguments: Arguments) -> int:
    """Evaluate some of a run's members."""
    from motet._internal.files import to_json
    from motet.errors import InputError
    from motet.experiments import evaluate_part, find_run

    if arguments.distinct or arguments.shift is not None or arguments.ood:
        raise InputError(
            "some members are evaluated on the test data as they are",
            got="--members or --lost with --distinct, --shift or --ood",
            fix="Evaluate them one after the other",
        )
    run = find_run(arguments.run)
    record = evaluate_part(
        run,
        members=None if arguments.members is None else members_of(arguments.members),
        lost=None if arguments.lost is None else lost_of(arguments.lost),
        data_dir=arguments.data_dir,
        device=arguments.device,
    )
    if arguments.json:
        show(to_json(record).rstrip())
    else:
        show(record["method"])
        show(in_words(record["part"]["members"], record["members"]))
        for line in _table({"these": record["part"]}):
            show(line)
    say(f"evaluation: {run.folder / 'evaluation.json'}")
    return 0


def _robustness(arguments: Arguments) -> int:
    """Evaluate a run, or all of a comparison, under shift and against other data."""
    from motet._internal.files import to_json
    from motet.errors import InputError
    from motet.experiments import evaluate_robustness, find_run, find_runs, find_shift, gather, side_by_side
    from motet.experiments.records import as_comparison

    if arguments.distinct:
        raise InputError(
            "throughput use is evaluated on the test data as they are",
            got="--distinct with --shift or --ood",
            fix="Evaluate them one after the other",
        )
    runs = find_runs(arguments.run)
    records = evaluate_robustness(
        runs,
        shift=arguments.shift,
        severities=_severities(arguments.severities),
        ood=arguments.ood,
        reference=find_run(arguments.reference) if arguments.reference is not None else None,
        data_dir=arguments.data_dir,
        device=arguments.device,
        say=say,
    )
    name = None if arguments.shift is None else find_shift(arguments.shift).name
    comparison = arguments.run / "compare.json"
    compared = comparison.is_file()
    if compared:
        gathered = gather(arguments.run, as_comparison(comparison))
    else:
        gathered = side_by_side([("run", records[0]["method"], records)])
    if arguments.json:
        show(to_json(gathered if compared else records[0]).rstrip())
    else:
        if not compared:
            show(records[0]["method"])
        for line in robustness_lines(gathered, shift=name, ood=arguments.ood):
            show(line)
    if compared:
        say(f"evaluation: evaluation.json of each run in {arguments.run}; motet report {arguments.run} draws it")
    else:
        say(f"evaluation: {runs[0].folder / 'evaluation.json'}")
    return 0


def _severities(words: Sequence[str]) -> list[int]:
    """Whole numbers, with blanks or commas between them."""
    from motet.errors import InputError

    parts = [part for word in words for part in word.split(",") if part]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise InputError(
            "severities must be whole numbers from 1 to 5",
            got=", ".join(map(repr, wrong)),
            fix="Pass --severities 1 3 5, or leave it out for all five",
        )
    return [int(part) for part in parts]


def _table(uses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each use, a column for each score."""
    rows = [["", *((HEADS | _ALSO)[name] for name in [*next(iter(uses.values()))["scores"], "flops"])]]
    for use, result in uses.items():
        rows.append([use, *(_number(value) for value in result["scores"].values()), f"{result['flops']:,}"])
    return aligned(rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
