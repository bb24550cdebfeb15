"""The command ``motet evaluate RUN``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from motet.cli._arguments import OMITTABLE, option, parse, parse_lost, parse_members, parse_severities
from motet.cli._evaluation_tables import exit_lines, risk_lines, robustness_lines, score_lines, target_lines, unit_lines
from motet.cli._show import say, show


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Evaluate a finished run on its test split, also under shift and against other data sets; write evaluation.json.

    RUN may also be the folder of a comparison: all its runs are then evaluated.
    """

    run: Annotated[Path, tyro.conf.Positional, option("RUN")]
    """The folder of a run: written by motet run, or a folder inside a comparison (runs/compare-digits/mimo-seed0)."""
    distinct: bool = False
    """Also predict a different example with each member, M in one pass (throughput use)."""
    members: Annotated[str | None, OMITTABLE, option("K | I,J,...", "all")] = None
    """Score only the first K members, or the members with these indices (0,3,5), at their cost."""
    lost: Annotated[str | None, OMITTABLE, option("P | I,J,...", "none")] = None
    """Score the remaining members if these members are lost (1,4), or each with a probability (0.3; drawn with
    seed 0).
    """
    shift: Annotated[str | None, OMITTABLE, option("SHIFT")] = None
    """cifar-c, cifar-c-19, mimmo, or one corruption, such as fog; for tables: tables, or one shift of them; or a folder
    with the official files of CIFAR-C or ImageNet-C.
    """
    severities: Annotated[tuple[str, ...], option("N ...", "1 2 3 4 5")] = ("1", "2", "3", "4", "5")
    """Severities of the shift, from 1 to 5."""
    ood: Annotated[tuple[str, ...], option("DATA ...", "none")] = ()
    """Other data sets of images, by name or folder, to be detected as out of distribution."""
    reference: Annotated[Path | None, OMITTABLE, option("RUN")] = None
    """A run on the same data whose errors under the shift count as 100 (mean corruption error)."""
    data_dir: Annotated[Path | None, OMITTABLE, option("DIR", "$MOTET_DATA")] = None
    """Folder with the data's files."""
    device: Annotated[str, option("DEVICE", "auto: CUDA if available")] = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the record as JSON instead of the table."""
    trust_code: bool = False
    """Execute your own code that the run was made with (the function of its model, files of its classes); required to
    read such a run.
    """


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    if arguments.members is not None or arguments.lost is not None:
        return _part(arguments)
    if arguments.shift is not None or arguments.ood:
        return _robustness(arguments)
    _check_no_options_of_shifts(arguments, argv)
    return _clean(arguments)


def _clean(arguments: Arguments) -> int:
    """Evaluate a run on unshifted test data."""
    from motet._internal.typed_records import record_json
    from motet.evaluation import risks_at_shown, throughput_in_words
    from motet.experiments import evaluate, find_run

    if (arguments.run / "compare.json").is_file():
        return _comparison(arguments)
    run = find_run(arguments.run, trust_code=arguments.trust_code)
    found = evaluate(run, distinct=arguments.distinct, data_dir=arguments.data_dir, device=arguments.device)
    if arguments.json:
        show(record_json(found).rstrip())
    else:
        uses = {"ensemble": found.ensemble, "throughput": found.distinct if arguments.distinct else None}
        scored = {use: scores for use, scores in uses.items() if scores is not None}
        curves = {use: scores.risk_coverage for use, scores in scored.items()}
        risks = [(use, risks_at_shown([curve.risk])) for use, curve in curves.items() if curve is not None]
        _show_lines([found.method, *score_lines(scored), *unit_lines(found.data), *target_lines(scored, found.data)])
        _show_lines(exit_lines({use: each.exits for use, each in scored.items()}))
        _show_lines([throughput_in_words(found)] if arguments.distinct else [])
        _show_lines(["", *risk_lines(risks)] if risks else [])
    say(f"evaluation: {run.folder / 'evaluation.json'}")
    return 0


def _comparison(arguments: Arguments) -> int:
    """Evaluate all runs of a comparison on unshifted test data."""
    from motet._internal.files import to_json
    from motet._internal.typed_records import record_content
    from motet.experiments import evaluate, find_runs

    found = {
        run.folder.name: evaluate(
            run, distinct=arguments.distinct, data_dir=arguments.data_dir, device=arguments.device
        )
        for run in find_runs(arguments.run, trust_code=arguments.trust_code)
    }
    if arguments.json:
        show(to_json({name: record_content(each) for name, each in found.items()}).rstrip())
    else:
        uses = {name: each.ensemble for name, each in found.items()}
        if arguments.distinct:
            uses |= {f"{name}, throughput": each.distinct for name, each in found.items()}
        scored = {use: scores for use, scores in uses.items() if scores is not None}
        data = next(iter(found.values())).data
        _show_lines([*score_lines(scored), *unit_lines(data), *target_lines(scored, data)])
        _show_lines(exit_lines({use: each.exits for use, each in scored.items()}))
    say(f"evaluation: evaluation.json of each run in {arguments.run}")
    return 0


def _part(arguments: Arguments) -> int:
    """Evaluate some of a run's members."""
    from motet._internal.typed_records import record_json
    from motet.errors import InputError
    from motet.experiments import evaluate_part, find_run

    if arguments.distinct or arguments.shift is not None or arguments.ood:
        raise InputError(
            "--members and --lost cannot be combined with --distinct, --shift or --ood",
            got="both",
            fix="Run motet evaluate once for each",
        )
    run = find_run(arguments.run, trust_code=arguments.trust_code)
    found = evaluate_part(
        run,
        members=None if arguments.members is None else parse_members(arguments.members),
        lost=None if arguments.lost is None else parse_lost(arguments.lost),
        data_dir=arguments.data_dir,
        device=arguments.device,
    )
    if arguments.json:
        show(record_json(found).rstrip())
    elif found.part is not None:
        chosen = found.part.members
        in_words = f"{len(chosen)} of {found.members} members: {', '.join(map(str, chosen))}"
        _show_lines([found.method, in_words, *score_lines({"these": found.part}), *unit_lines(found.data)])
    say(f"evaluation: {run.folder / 'evaluation.json'}")
    return 0


def _robustness(arguments: Arguments) -> int:
    """Evaluate a run, or all runs of a comparison, under shift and against other data."""
    from motet._internal.files import to_json
    from motet._internal.typed_records import record_json, to_plain
    from motet.errors import InputError
    from motet.evaluation import find_shift, side_by_side
    from motet.experiments import evaluate_robustness, find_run, find_runs, gather
    from motet.experiments.records import as_comparison

    if arguments.distinct:
        raise InputError(
            "--distinct cannot be combined with --shift or --ood",
            got="both",
            fix="Run motet evaluate once for each",
        )
    runs = find_runs(arguments.run, trust_code=arguments.trust_code)
    found = evaluate_robustness(
        runs,
        shift=arguments.shift,
        severities=parse_severities(arguments.severities),
        ood=arguments.ood,
        reference=None
        if arguments.reference is None
        else find_run(arguments.reference, trust_code=arguments.trust_code),
        data_dir=arguments.data_dir,
        device=arguments.device,
        say=say,
    )
    name = None if arguments.shift is None else find_shift(arguments.shift).name
    comparison = arguments.run / "compare.json"
    if comparison.is_file():
        methods = gather(arguments.run, as_comparison(comparison))
        text = to_json(to_plain(methods))
        where = f"evaluation.json of each run in {arguments.run}; motet report {arguments.run} shows it"
    else:
        methods = side_by_side([("run", found[0].method, found)])
        text = record_json(found[0])
        where = f"{runs[0].folder / 'evaluation.json'}"
    if arguments.json:
        show(text.rstrip())
    else:
        title = [] if comparison.is_file() else [found[0].method]
        _show_lines([*title, *robustness_lines(methods, shift=name, ood=arguments.ood), *unit_lines(found[0].data)])
    say(f"evaluation: {where}")
    return 0


def _check_no_options_of_shifts(arguments: Arguments, argv: Sequence[str]) -> None:
    from motet.errors import InputError

    if "--ood" in argv:
        raise InputError(
            "--ood needs the names or folders of data sets", got="none", fix="Pass --ood cifar100, for example"
        )
    if arguments.reference is not None or arguments.severities != Arguments.severities:
        raise InputError(
            "--reference and --severities need a shift", got="no --shift", fix="Pass --shift cifar-c, for example"
        )


def _show_lines(lines: Sequence[str]) -> None:
    for line in lines:
        show(line)
