"""What is compared with what."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from motet.data import DataOptions, kind_of
from motet.errors import InputError, nearest
from motet.experiments.defaults import defaults_for
from motet.experiments.experiment import Experiment
from motet.methods import METHODS, Method
from motet.models import ModelSettings, model_named
from motet.training import Training


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
    data_options: DataOptions = field(default_factory=DataOptions)

    def settings(self) -> dict[str, Any]:
        """Every experiment's settings as plain data, by the name of its run's folder."""
        return {name: experiment.to_record() for name, experiment in self.experiments().items()}

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
                data_options=self.data_options,
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
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seeds: int | None = None,
    first: tuple[str, ...] | None = None,
    last: tuple[str, ...] | None = None,
    data_options: DataOptions | None = None,
) -> Plan:
    """The plan that `motet compare` follows: the data set's defaults, and what the user said instead.

    Args:
        data: name of a data set, a folder of class folders, or a table.
        methods: names of methods, or ``"all"``.
        members: M for every method that has members; the data set's default if None.
        model: see `motet.models.model_named`; the data set's default if None.
        epochs, batch_size, learning_rate: as in `Training`; the data set's defaults if None.
        seeds: how many seeds, counted from 0; the data set's default if None.
        first, last: the model's input and output layers, where they are ambiguous.
        data_options: how data of the user's own is read.

    Raises:
        InputError: for an unknown data set, method or model, or a number below 1.
    """
    defaults = defaults_for(data, kind_of(data))
    seeds = defaults.seeds if seeds is None else seeds
    for name, number in (("seeds", seeds), ("members", 1 if members is None else members)):
        if number < 1:
            raise InputError(f"{name} must be at least 1", got=f"{name}={number}", fix=f"Pass the number of {name}")
    said: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    training = replace(defaults.training, **{name: value for name, value in said.items() if value is not None})
    return Plan(
        data=data,
        model=defaults.model if model is None else model_named(model),
        methods=tuple(defaults.method(name, members) for name in _names(methods)),
        training=training,
        seeds=tuple(range(seeds)),
        first=first,
        last=last,
        data_options=data_options or DataOptions(),
    )


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
