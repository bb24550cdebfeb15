"""Score a finished run once more, also in ways that it was not scored when it was made."""

import json
from pathlib import Path
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

import motet
from motet._internal.files import read_json, write_json
from motet._internal.typed_records import to_plain
from motet.data import Dataset, load
from motet.ensemble import Ensemble
from motet.errors import InputError, nearest
from motet.evaluation import predict_split, predict_split_distinct
from motet.experiments.compare import RECORD
from motet.experiments.experiment import Experiment
from motet.experiments.provenance import changed_source, describe, source_of
from motet.experiments.run import Run, load_ensemble, load_run
from motet.experiments.threads import run_threads
from motet.metrics import COVERAGES, flops, risk_coverage_of, score
from motet.prediction import Prediction
from motet.training import resolve_device

EVALUATION = "evaluation.json"
"""An evaluation's record in the run's folder."""

_SCORES = (
    *("accuracy", "rmse", "nll", "deviance", "crps", "coverage_90", "coverage_error", "interval_width"),
    *("ece", "brier"),
)


def find_run(folder: Path) -> Run:
    """The finished run in `folder`.

    Raises:
        InputError: if there is no such folder, or it holds something else: no run, an unfinished one, a comparison.
    """
    if not folder.exists():
        beside = sorted(item.name for item in folder.parent.glob("*/"))
        raise InputError(
            "an evaluation needs the folder of a run",
            got=f"no folder {folder}",
            fix=f"{nearest(folder.name, beside)} (in {folder.parent})" if beside else "Pass a folder like runs/mimo",
        )
    if not folder.is_dir():
        above = next((place for place in folder.parents if (place / "run.json").exists()), None)
        raise InputError(
            "an evaluation needs the folder of a run",
            got=f"{folder}, a file",
            fix=f"Pass {above}" if above else "Pass a folder like runs/mimo",
        )
    if not (folder / "run.json").exists():
        inside = [place.parent for depth in ("*", "*/*") for place in folder.glob(f"{depth}/run.json")]
        runs = ", ".join(sorted(map(str, inside)))
        raise InputError(
            "an evaluation needs the folder of one run",
            got=f"{'the folder of a comparison' if (folder / RECORD).exists() else 'another folder'}, {folder}",
            fix=f"Pass one of the runs in it: {runs}" if runs else "Pass one that has a run.json",
        )
    run = load_run(folder)
    if run is None:
        raise InputError(
            "a run must be finished to be evaluated",
            got=f"{folder}, which has no scores.json",
            fix="Run its command again to finish it",
        )
    return run


def evaluate(
    run: Run, *, distinct: bool = False, data_dir: Path | None = None, device: str = "auto", seed: int = 0
) -> dict[str, Any]:
    """Score a run's test split again; the record also stands in the run's folder, in ``evaluation.json``.

    ``ensemble``: all members on the same input. ``distinct``, if asked for: throughput use, a different example for
    each member. Each has its scores, the floating-point operations that one example takes, and, where there are
    classes, the risk-coverage curve: error rates (``risk``) at 100 coverages (``coverage``), and the ``area``.
    Parts of an earlier evaluation that were not asked for this time are kept.

    Args:
        run: the run, see `find_run`.
        distinct: whether to evaluate throughput use as well.
        data_dir: where data files are looked for first.
        device: see `motet.training.fit`.
        seed: of which examples are laid side by side in throughput use.

    Raises:
        InputError: where members have no inputs of their own, and if data, model or checkpoint are not the run's.
    """
    experiment = experiment_of(run)
    if distinct and experiment.method.size == 1:
        raise InputError(
            "throughput use needs two members or more",
            got=f"{experiment.method}",
            fix="Evaluate it without --distinct",
        )
    place = resolve_device(device)
    dataset = load(experiment.data, data_dir, options=experiment.data_options)
    check_data(run, experiment, dataset)
    with run_threads(experiment, dataset, place):
        ensemble = load_ensemble(run, dataset)
        if distinct and not ensemble.has_distinct_inputs:
            raise InputError(
                "throughput use needs members with inputs of their own",
                got=f"{experiment.method}, whose members share one input",
                fix="Evaluate it without --distinct, or train a method with an input for each member: mimo, mixmo, "
                "datamux",
            )
        ensemble, dataset = ensemble.to(place), dataset.to(place)
        example = dataset.prepare(dataset.test.inputs[:1])
        record: dict[str, Any] = earlier(run.folder) | {
            **heading(experiment, ensemble, dataset),
            "ensemble": {
                **_scored(predict_split(ensemble, dataset, dataset.test), dataset),
                "flops": flops(ensemble.fold(), example),
            },
        }
        if distinct:
            record["distinct"] = {
                **_scored(predict_split_distinct(ensemble, dataset, dataset.test, seed=seed), dataset),
                "flops": distinct_flops(ensemble, example),
                "seed": seed,
            }
    write_json(run.folder / EVALUATION, record)
    return dict(read_json(run.folder / EVALUATION))  # as a later reader sees it


def throughput_in_words(record: dict[str, Any]) -> str:
    """What throughput use saves and what it costs, in one sentence."""
    before, after = record["ensemble"], record["distinct"]
    saved = (
        f"{record['members']} examples a pass, each by one member, take {after['flops'] / before['flops']:.2f} times"
    )
    name = "accuracy" if "accuracy" in before["scores"] else "rmse"
    old, new = before["scores"][name], after["scores"][name]
    if name == "accuracy":
        points = 100 * (new - old)
        what = f"accuracy is {100 * new:.2f} % instead of {100 * old:.2f} %"
        change = f"{abs(points):.2f} points {'lower' if points < 0 else 'higher'}" if points else "no lower"
    else:
        what = f"the RMSE is {new:.4g} instead of {old:.4g}"
        change = f"{abs(new / old - 1):.1%} {'higher' if new > old else 'lower'}" if new != old else "no higher"
    return f"Throughput use: {saved} the operations of ensemble use per example; {what}, {change}."


class _SideBySide(nn.Module):
    """An ensemble as a module of M different examples, for `flops`."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x_BM: Shaped[Tensor, "batch member ..."]) -> Float[Tensor, "batch member out"]:
        return self.ensemble.forward_distinct(x_BM)


def distinct_flops(ensemble: Ensemble, example: Shaped[Tensor, "batch ..."]) -> int:
    """Floating-point operations for one example where each member predicts another, as `motet.metrics.flops`."""
    x_BM = example[:1].unsqueeze(1).repeat_interleave(ensemble.members, dim=1)
    return -(-flops(_SideBySide(ensemble), x_BM) // ensemble.members)


def _scored(prediction: Prediction, dataset: Dataset) -> dict[str, Any]:
    scores = dataset.spec.in_own_units(score(prediction))
    found: dict[str, Any] = {"scores": {name: value for name, value in scores.items() if name in _SCORES}}
    if (curve := risk_coverage_of(prediction)) is not None:
        found["risk_coverage"] = {"coverage": list(COVERAGES), "risk": curve.at().tolist(), "area": curve.area}
    return found


def earlier(folder: Path) -> dict[str, Any]:
    """What earlier evaluations of the run in `folder` found; nothing if there is none that can be read."""
    try:
        content = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def heading(experiment: Experiment, ensemble: Ensemble, dataset: Dataset) -> dict[str, Any]:
    """What an evaluation's record says of what was evaluated."""
    return {
        "method": str(experiment.method),
        "members": ensemble.members,
        "data": to_plain(describe(dataset)),
        "motet": motet.__version__,
    }


def experiment_of(run: Run) -> Experiment:
    """The run's experiment. Raises `InputError` if it cannot be read, or its model's file was changed since."""
    experiment = run.experiment
    _check_source(run, experiment)
    return experiment


def check_data(run: Run, experiment: Experiment, dataset: Dataset) -> None:
    """Raise `InputError` unless this is the data that the run was made with, as far as the record tells."""
    described = to_plain(describe(dataset))
    held = {} if run.record.data is None else to_plain(run.record.data)
    if any(described[key] != value for key, value in held.items() if value is not None):  # what it recorded
        raise InputError(
            "a run must be evaluated on its own data",
            got=f"other data called {experiment.data}: {described['test']} test rows of {described['input_shape']}",
            fix="Pass the --data-dir that it was made with",
        )


def _check_source(run: Run, experiment: Experiment) -> None:
    """The file of the user's own model must be what it was when the run was made."""
    if changed := changed_source(run.record.source, source_of(experiment.model)):
        raise InputError(
            "a run must be evaluated with its own model",
            got=f"{changed.file}, which was changed since",
            fix=f"Bring it back to what stands under source in {run.folder / 'run.json'}",
        )
