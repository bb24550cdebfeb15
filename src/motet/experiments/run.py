"""Run one experiment: data, model, training, predictions, scores, all kept in one folder.

``run.json`` (settings, seed, versions, hardware, commit), ``history.csv``, ``checkpoint/last.safetensors``,
``predictions.safetensors`` (test outputs and targets) and ``scores.json``; each is whole or absent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from motet.data import Dataset, load
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.experiments.experiment import Experiment
from motet.experiments.provenance import provenance, source_of
from motet.files import read_json, write_json
from motet.metrics import flops, member_scores, parameters, score
from motet.models import CustomModel
from motet.prediction import Prediction
from motet.training import fit, load_weights, predict_split, read_history, resolve_device


@final
@dataclass(frozen=True)
class Run:
    """A finished run's folder, read.

    Attributes:
        folder: where it lies.
        record: the content of ``run.json``.
        scores: the content of ``scores.json``.
    """

    folder: Path
    record: dict[str, Any]
    scores: dict[str, Any]

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch."""
        return read_history(self.folder / "history.csv")

    @property
    def prediction(self) -> Prediction:
        """Test outputs and targets."""
        return Prediction.load(self.folder / "predictions.safetensors")


def build(experiment: Experiment, dataset: Dataset) -> Ensemble:
    """The experiment's ensemble with its initial weights; sets torch's seed."""
    spec = dataset.spec
    torch.manual_seed(experiment.seed)
    ensemble = experiment.method.wrap(
        lambda: experiment.model.build(input_shape=spec.input_shape, outputs=spec.outputs),
        example=dataset.prepare(dataset.train.inputs[:2]),
        likelihood=spec.likelihood,
        objective=experiment.objective,
        first=experiment.first,
        last=experiment.last,
    )
    with torch.no_grad():
        outputs = ensemble.predict(dataset.prepare(dataset.train.inputs[:1])).outputs_BMC.shape[-1]
    if outputs != spec.outputs:
        raise InputError(
            f"the model must have {spec.outputs} outputs for {spec.name}",
            got=f"a model with {outputs}",
            fix="Give its last layer one output per class or target",
        )
    return ensemble


def load_run(folder: Path) -> Run | None:
    """The finished run in `folder`; None if it is not finished."""
    if not (folder / "scores.json").exists():
        return None
    return Run(folder, read_json(folder / "run.json"), read_json(folder / "scores.json"))


def claim_folder(folder: Path, settings: dict[str, Any], *, record_name: str = "run.json") -> None:
    """Check that `folder` is new, empty, or holds this very run.

    Raises:
        InputError: if it holds another run or other files, or is no folder; nothing in it is touched.
    """
    way_out = "Choose another folder with --out, or move this one away"
    if folder.exists() and not folder.is_dir():
        raise InputError("the output must be a folder", got=f"{folder}, a file", fix=way_out)
    record = folder / record_name
    if record.exists():
        try:
            held = read_json(record)["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("a run's record must be readable", got=f"{record} ({error})", fix=way_out) from error
        if held != settings:
            raise InputError(
                f"{folder} must be free, or hold the same run",
                got=f"another run there, with {_difference(held, settings)}",
                fix=way_out,
            )
    elif folder.exists() and any(not item.name.startswith(".") for item in folder.iterdir()):
        raise InputError("an output folder must be empty or hold a run", got=f"other files in {folder}", fix=way_out)


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    dataset: Dataset | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Run `experiment` in `folder`, go on where it was stopped, or return it if it is finished.

    Args:
        experiment: what to run.
        folder: where to keep it; made if it does not exist.
        data_dir: where data files are looked for first.
        device: see `motet.training.fit`.
        progress: show a progress bar where standard error is a terminal.
        dataset: the experiment's data, where the caller has loaded it already.
        say: told what happens, a line at a time.

    Raises:
        InputError: for bad settings or data, or a folder that holds another run.
        RunInterrupted: after Ctrl-C or SIGTERM; the same call goes on from there.
    """
    folder = Path(folder)
    settings = experiment.to_record()
    claim_folder(folder, settings)
    if done := load_run(folder):
        say(f"{folder} is finished already; nothing to train")
        return done
    place = resolve_device(device)
    dataset = (dataset or load(experiment.data, data_dir)).to(place)
    ensemble = build(experiment, dataset).to(place)
    if not (folder / "run.json").exists():
        record: dict[str, Any] = {"settings": settings, **provenance(place), "data": describe(dataset)}
        if isinstance(experiment.model, CustomModel):
            record["source"] = source_of(experiment.model.function)
        write_json(folder / "run.json", record)
    elif (folder / "checkpoint" / "last.safetensors").exists():
        say(f"going on from the checkpoint in {folder}")
    history = fit(
        ensemble,
        dataset,
        experiment.training,
        seed=experiment.seed,
        folder=folder,
        device=device,
        progress=progress,
        label=experiment.method.label,
    )
    write_json(folder / "scores.json", _finish(ensemble, dataset, folder, history))
    done = load_run(folder)
    assert done is not None
    return done


def load_ensemble(run: Run, dataset: Dataset) -> Ensemble:
    """A finished run's ensemble, with its trained weights, on the CPU."""
    ensemble = build(Experiment.from_record(run.record["settings"]), dataset.to("cpu"))
    load_weights(run.folder / "checkpoint" / "last.safetensors", ensemble)
    return ensemble.eval()


def describe(dataset: Dataset) -> dict[str, Any]:
    """A dataset's name, task, classes and sizes, for records and reports."""
    spec = dataset.spec
    return {
        "name": spec.name,
        "task": spec.task,
        "classes": spec.outputs,
        "class_names": list(spec.class_names),
        "input_shape": list(spec.input_shape),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }


def _finish(ensemble: Ensemble, dataset: Dataset, folder: Path, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict, keep the test predictions, and score both held-out splits."""
    validation = predict_split(ensemble, dataset, dataset.validation)
    test = predict_split(ensemble, dataset, dataset.test)
    test.save(folder / "predictions.safetensors")
    example = dataset.prepare(dataset.test.inputs[:1])
    return {
        "test": score(test),
        "test_members": member_scores(test),
        "validation": score(validation),
        "cost": {
            "parameters": parameters(ensemble),
            "flops": flops(ensemble.fold(), example),
            "train_seconds": sum(row["seconds"] for row in history),
        },
        "epochs": len(history),
    }


def _difference(held: Any, wanted: Any, path: str = "") -> str:
    """Name the first setting in which two records differ."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(held.keys() - wanted.keys())]:
            if held.get(key) != wanted.get(key):
                return _difference(held.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    return f"{path}={held!r} where this one has {wanted!r}"
