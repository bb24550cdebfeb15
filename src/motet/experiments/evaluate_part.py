"""Score some members of a finished run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from motet._internal.files import read_json, write_json
from motet.data import load
from motet.evaluation import predict_split
from motet.experiments.evaluate import EVALUATION, check_data, earlier, experiment_of, heading
from motet.experiments.run import Run, load_ensemble
from motet.experiments.threads import run_threads
from motet.inference.subset import chosen_members, surviving_members
from motet.metrics import flops, score
from motet.training import resolve_device

# Those of a whole evaluation.
_SCORES = ("accuracy", "rmse", "nll", "ece", "brier")


def evaluate_part(
    run: Run,
    *,
    members: int | Sequence[int] | None = None,
    lost: float | Sequence[int] | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Score the members that run and are not lost, on the test split; as ``part`` in the run's ``evaluation.json``.

    Args:
        run: the run, see `motet.experiments.find_run`.
        members, lost: see `motet.Ensemble.predict`; who is lost at random is drawn once, for all examples.
        data_dir, device: see `motet.experiments.evaluate`.
        seed: of who is lost.

    Returns:
        The record; its ``part`` has the members' indices, their scores, and the operations that one example takes.

    Raises:
        InputError: for members that are none, repeated or not there; if data, model or checkpoint are not the run's.
    """
    experiment = experiment_of(run)
    place = resolve_device(device)
    dataset = load(experiment.data, data_dir, options=experiment.data_options)
    check_data(run, experiment, dataset)
    with run_threads(experiment, dataset, place):
        ensemble = load_ensemble(run, dataset)
        chosen = tuple(range(ensemble.members)) if members is None else chosen_members(members, ensemble.members)
        if lost is not None:
            chosen = surviving_members(lost, chosen, ensemble.members, generator=torch.Generator().manual_seed(seed))
        part, dataset = ensemble.subset(chosen).to(place), dataset.to(place)
        scores = dataset.spec.in_own_units(score(predict_split(part, dataset, dataset.test)))
        record: dict[str, Any] = earlier(run.folder) | {
            **heading(experiment, ensemble, dataset),
            "part": {
                "members": list(chosen),
                "scores": {name: value for name, value in scores.items() if name in _SCORES},
                "flops": flops(part.fold(), dataset.prepare(dataset.test.inputs[:1])),
            },
        }
    write_json(run.folder / EVALUATION, record)
    return dict(read_json(run.folder / EVALUATION))  # as a later reader sees it
