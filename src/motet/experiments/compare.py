"""Train several methods side by side under one protocol, and put what came out in one record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

import motet
from motet.data import DATASETS, Dataset, load
from motet.data.batches import steps_per_epoch
from motet.ensemble import Ensemble
from motet.errors import InputError, nearest
from motet.experiments.defaults import defaults_for
from motet.experiments.experiment import Experiment
from motet.experiments.provenance import provenance, source_of
from motet.experiments.run import Run, abandon, build, claim_folder, describe, load_ensemble, run_experiment
from motet.experiments.summary import summarise
from motet.files import read_json, write_json
from motet.methods import METHODS, Method, Single
from motet.metrics import latency_ratios
from motet.models import ModelSettings, model_named
from motet.training import CHECKPOINT, Training, resolve_device, resolve_precision

LATENCY_BATCH = 32
RECORD = "compare.json"
"""A comparison's record in its folder."""


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared: every method with every seed, on the same data, model and training settings."""

    data: str
    model: ModelSettings
    methods: tuple[Method, ...]
    training: Training
    seeds: tuple[int, ...]
    first: tuple[str, ...] | None = None
    last: tuple[str, ...] | None = None

    def experiments(self) -> dict[str, Experiment]:
        """The experiments by the name of their run's folder, method by method."""
        return {
            f"{method.name}-seed{seed}": Experiment(
                data=self.data,
                model=self.model,
                method=method,
                training=self.training,
                seed=seed,
                first=self.first,
                last=self.last,
            )
            for method in self.methods
            for seed in self.seeds
        }


def make_plan(
    data: str,
    *,
    methods: Sequence[str] = ("all",),
    members: int | None = None,
    model: str | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    first: tuple[str, ...] | None = None,
    last: tuple[str, ...] | None = None,
) -> Plan:
    """The plan that `motet compare` follows: the data set's defaults, and what the user said instead.

    Args:
        data: name of a data set.
        methods: names of methods, or ``"all"``.
        members: M for every method that has members; the data set's default if None.
        model: see `motet.models.model_named`; the data set's default if None.
        epochs: the data set's default if None.
        seeds: how many seeds, counted from 0; the data set's default if None.
        first, last: the model's input and output layers, where they are ambiguous.

    Raises:
        InputError: for an unknown data set, method or model, or a number below 1.
    """
    if data not in DATASETS:
        load(data)  # raises, with the nearest name
    defaults = defaults_for(data)
    seeds = defaults.seeds if seeds is None else seeds
    for name, number in (("seeds", seeds), ("members", 1 if members is None else members)):
        if number < 1:
            raise InputError(f"{name} must be at least 1", got=f"{name}={number}", fix=f"Pass the number of {name}")
    training = defaults.training if epochs is None else replace(defaults.training, epochs=epochs)
    return Plan(
        data=data,
        model=defaults.model if model is None else model_named(model),
        methods=tuple(defaults.method(name, members) for name in _names(methods)),
        training=training,
        seeds=tuple(range(seeds)),
        first=first,
        last=last,
    )


def compare(
    plan: Plan,
    folder: str | Path,
    *,
    command: str,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run every experiment of the plan in its own folder below `folder`, and return the comparison's record.

    The record also stands in ``compare.json``. Called again, it goes on where it was stopped: finished runs are
    kept, and a finished comparison is read back.

    Raises:
        InputError: for bad settings, data, model or folder; found before anything is trained or written.
        TrainingDivergedError: if the loss of a method becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    folder = Path(folder)
    experiments = plan.experiments()
    settings = {name: experiment.to_record() for name, experiment in experiments.items()}
    source = source_of(plan.model)
    claim_folder(folder, settings, source=source, record_name=RECORD)
    record_path = folder / RECORD
    if record_path.exists() and (record := read_json(record_path)).get("rows"):
        say(f"{folder} is finished already; nothing to train")
        return dict(record)
    place = resolve_device(device)
    resolve_precision(plan.training, place)
    dataset = load(plan.data, data_dir)
    steps_per_epoch(dataset.train, plan.training.batch_size)
    for experiment in experiments.values():
        if experiment.seed == plan.seeds[0]:
            build(experiment, dataset)  # what cannot be built fails here, not after the first method has trained
    write_json(record_path, {"settings": settings, "source": source, "rows": None})
    runs: dict[str, Run] = {}
    for done, (name, experiment) in enumerate(experiments.items(), start=1):
        what = f"[{done}/{len(experiments)}] {experiment.method.label}, seed {experiment.seed}"
        finished = (folder / name / "scores.json").exists()
        if not finished and (folder / name / CHECKPOINT).exists():
            say(f"{what}: going on from its checkpoint")
        try:
            runs[name] = run_experiment(
                experiment,
                folder / name,
                data_dir=data_dir,
                device=device,
                progress=progress,
                label=what,
                dataset=dataset,
            )
        except Exception:
            if not any((folder / other / "run.json").exists() for other in experiments):
                abandon(folder, RECORD)
            raise
        seconds = runs[name].scores["cost"]["train_seconds"]
        took = f"{seconds:.1f} s" if seconds >= 0.1 else "less than 0.1 s"
        say(f"{what}: {'kept; it was trained' if finished else 'trained'} in {took}")
    by_method = {method.name: [runs[f"{method.name}-seed{seed}"] for seed in plan.seeds] for method in plan.methods}
    latencies = measure_latencies(plan, by_method, dataset, place)
    record = {
        "settings": settings,
        "source": source,
        "motet": motet.__version__,
        "command": command,
        **provenance(place),
        "data": describe(dataset),
        "model": str(plan.model),
        "training": dict(vars(plan.training)),
        "seeds": list(plan.seeds),
        "members": max(method.size for method in plan.methods),
        "latency_batch": LATENCY_BATCH,
        "rows": [summarise(method, by_method[method.name], latencies[method.name]) for method in plan.methods],
    }
    write_json(record_path, record)
    return dict(read_json(record_path))  # as a later reader sees it: lists for tuples, null for NaN


def measure_latencies(
    plan: Plan, runs: Mapping[str, Sequence[Run]], dataset: Dataset, device: torch.device
) -> dict[str, dict[str, float]]:
    """Forward time of every method's folded network over the single network's, measured in turn, batch 32."""
    baseline = Single().name
    folded: dict[str, Ensemble] = {
        name: load_ensemble(of_method[0], dataset).fold().to(device) for name, of_method in runs.items()
    }
    if baseline not in folded:
        alone = Experiment(data=plan.data, model=plan.model, method=Single(), first=plan.first, last=plan.last)
        folded[baseline] = build(alone, dataset).fold().to(device)
    inputs = dataset.test.inputs
    example = dataset.prepare(inputs[torch.arange(LATENCY_BATCH) % len(inputs)].to(device))
    measured = latency_ratios(folded, example, baseline=baseline, seconds=0.75 * len(folded))
    return {name: vars(latency) for name, latency in measured.items()}


def _names(methods: Sequence[str]) -> list[str]:
    wanted = [part for item in methods for part in item.split(",") if part]
    names: list[str] = []
    for name in wanted:
        folded = name.lower().replace("_", "-")
        if folded == "all":
            names += METHODS
        elif folded in METHODS:
            names.append(folded)
        else:
            raise InputError("the method must be one that motet has", got=repr(name), fix=nearest(name, METHODS))
    if not names:
        raise InputError("at least one method must be named", got="none", fix=f"Known: all, {', '.join(METHODS)}")
    return list(dict.fromkeys(names))
