"""Collect what tools/study_joint_training.py trained into results/joint-training/study.json.

    python tools/collect_joint_training.py runs/joint-training [MORE FOLDERS] [--out FILE]

Runs that are not finished are left out, and named on standard error and in the record's field "missing", which is empty
for a complete study. The figures about losing modules and specialists take the runs of the fewest epochs, which there
are of every lambda.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tests, which import this file from another folder

from joint_training_runs import epochs, fewest_epochs, find_runs, lam, modules, seed

from motet._internal.files import write_json
from motet._internal.typed_records import to_plain
from motet.analyses import best_of_random, drop_numbers, evaluate
from motet.experiments.run import Run
from motet.models import MLP
from motet.prediction import Prediction

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "results" / "joint-training" / "study.json"
DROPPED = (0.0, 0.95, 0.99, 1.0)
SIZES = (1, 20)


def main() -> int:
    parser = argparse.ArgumentParser(description="Collect the runs of the modular loss")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments = parser.parse_args()
    runs, missing = find_runs(arguments.folders)
    lacking = f"missing: {'; '.join(missing)}"
    if not runs:
        where = ", ".join(map(str, arguments.folders))
        print(f"no finished run in {where}; nothing was written{'; ' + lacking if missing else ''}", file=sys.stderr)
        return 1
    about = {key: to_plain(getattr(runs[0].record, key)) for key in ("versions", "hardware", "data", "settings")}
    about["commits"] = sorted({run.record.commit or "" for run in runs})
    about["created"] = max(run.record.created for run in runs)
    about["settings"] = {key: about["settings"][key] for key in ("data", "training")}
    many = fewest_epochs(runs)
    record = {
        "study": "joint-training",
        "missing": missing,
        **about,
        "rows": [row(run) for run in runs],
        "dropped": [
            dropped(of_lambda) for value in DROPPED if (of_lambda := [run for run in many if lam(run) == value])
        ],
        "specialists": [specialists(run, size) for run in many for size in SIZES],
    }
    write_json(arguments.out, record)
    print(f"{len(runs)} runs in {arguments.out}")
    if missing:
        print(f"the study is not complete; {lacking}", file=sys.stderr)
    return 0


def row(run: Run) -> dict[str, Any]:
    """A run's scores: rates from 0 to 1, losses in nats."""
    test, model, cost = run.scores.test, run.experiment.model, run.scores.cost
    assert isinstance(model, MLP)
    errors = [1 - (point.validation_accuracy or 0.0) for point in run.history]
    return {
        "members": modules(run),
        "hidden": model.hidden[0],
        "lam": lam(run),
        "seed": seed(run),
        "learning_rate": run.experiment.training.learning_rate,
        "parameters": cost.parameters,
        "epochs": len(errors),
        "best_epoch": errors.index(min(errors)) + 1,
        "validation_error": min(errors),
        "error": 1 - test["accuracy"],
        "nll": test["nll"],
        "member_error": 1 - test["member_accuracy"],
        "member_nll": test["member_nll"],
        "train_seconds": cost.train_seconds,
    }


def dropped(runs: list[Run]) -> dict[str, Any]:
    """The test error when modules are lost, mean over 20 draws for each number and over seeds."""
    curve = drop_numbers(
        [run.prediction for run in runs], target="error", draws=20, generator=torch.Generator().manual_seed(0)
    )
    return {
        "lam": lam(runs[0]),
        "epochs": epochs(runs[0]),
        "seeds": len(runs),
        "dropped": list(curve.lost),
        "error": curve.mean.tolist(),
        "standard_error": curve.standard_error.tolist(),
    }


def specialists(run: Run, size: int) -> dict[str, Any]:
    """F1 over the classes, mean: the best of 200 random sub-ensembles on half the test images, on the other half."""
    prediction = run.prediction
    assert prediction.targets is not None
    # The order of the test images means nothing; the paper splits what was not trained on in half, too.
    half = len(prediction.targets) // 2
    chosen_by, measured_on = part(prediction, slice(0, half)), part(prediction, slice(half, None))
    generator = torch.Generator().manual_seed(seed(run))
    chosen, anyone = [], []
    for label in range(prediction.outputs_BMC.shape[2]):
        best = best_of_random(chosen_by, size, label, candidates=200, generator=generator)
        chosen.append(evaluate(best, measured_on))
        anyone.append(float(drop_numbers(measured_on, [size], target=label, draws=20, generator=generator).mean))
    return {
        "lam": lam(run),
        "epochs": epochs(run),
        "seed": seed(run),
        "size": size,
        "chosen_f1": sum(chosen) / len(chosen),
        "random_f1": sum(anyone) / len(anyone),
    }


def part(prediction: Prediction, rows: slice) -> Prediction:
    assert prediction.targets is not None
    return replace(prediction, outputs_BMC=prediction.outputs_BMC[rows], targets=prediction.targets[rows])


if __name__ == "__main__":
    sys.exit(main())
