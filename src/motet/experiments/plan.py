"""`Plan`: what a comparison compares."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from motet.data import Augmentation, DataOptions, kind_of
from motet.errors import InputError
from motet.experiments.defaults import Defaults, defaults_for
from motet.experiments.entry import Entry
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import LikelihoodName, likelihood_named
from motet.experiments.records import Settings
from motet.likelihoods import Likelihood
from motet.methods import METHODS, Method
from motet.models import ModelSettings, model_named
from motet.training import Training

MOST_SEEDS = 1000
"""The largest number of seeds: each is a run of its own for every method."""


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every method with every seed, on the same data, model and training settings.

    A method may occur several times in `methods`, with models of different widths.
    """

    data: str
    model: ModelSettings
    methods: tuple[Method | Entry, ...]
    training: Training
    seeds: tuple[int, ...]
    first: tuple[str, ...] | None = None
    last: tuple[str, ...] | None = None
    data_options: DataOptions = field(default_factory=DataOptions)
    likelihood: LikelihoodName | Likelihood | None = None

    def __post_init__(self) -> None:
        keys = [entry.key for entry in self.entries]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise InputError(
                "the rows of a comparison must differ in method or width", got=f"{twice} twice", fix="List each once"
            )

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The comparison's rows."""
        return tuple(item if isinstance(item, Entry) else Entry(method=item) for item in self.methods)

    def settings(self) -> dict[str, Settings]:
        """Return every experiment's settings as plain data, by the name of its run's folder."""
        return {name: experiment.to_record() for name, experiment in self.experiments().items()}

    def experiments(self) -> dict[str, Experiment]:
        """Return the experiments by the name of their run's folder, method by method."""
        return {entry.folder(seed): self.experiment(entry, seed=seed) for entry in self.entries for seed in self.seeds}

    def experiment(self, entry: Entry, *, seed: int) -> Experiment:
        """Return one run of one row."""
        return Experiment(
            data=self.data,
            model=entry.model(self.model),
            method=entry.method,
            training=self.training,
            seed=seed,
            first=self.first,
            last=self.last,
            data_options=self.data_options,
            likelihood=self.likelihood,
        )


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
    likelihood: str | Likelihood | None = None,
    augment: Augmentation | None = None,
) -> Plan:
    """Return the plan of `motet compare`: the data set's defaults with the user's changes.

    Args:
        data: name of a data set, a folder of class folders, or a table.
        methods: names of methods, or ``"all"``, which leaves out methods that do not support the model;
            ``"module:Class"`` and ``"file.py:Class"`` for methods outside motet; each optionally with a factor for the
            model's width, ``"deep-ensemble@0.5"``.
        members: M for every method that has members; the data set's default if None.
        model: see `motet.models.model_named`; the data set's default if None.
        epochs, batch_size, learning_rate: as in `Training`; the data set's defaults if None.
        seeds: the number of seeds, counted from 0; the data set's default if None.
        first, last: the model's input and output layers, if they cannot be found.
        data_options: how the user's own data is read.
        likelihood: a name, ``"module:Class"`` or ``"file.py:Class"``, or a `Likelihood`; the data's default if None.
        augment: the augmentation of training images; the data set's default if None.

    Raises:
        InputError: for an unknown data set, method, model or likelihood, a number below 1, or a width that the model
            cannot have.
    """
    defaults = defaults_for(data, kind_of(data))
    seeds = defaults.seeds if seeds is None else seeds
    for name, number in (("seeds", seeds), ("members", 1 if members is None else members)):
        if number < 1:
            raise InputError(f"{name} must be at least 1", got=f"{name}={number}", fix=f"Pass the number of {name}")
    if seeds > MOST_SEEDS:
        raise InputError(
            f"seeds must be at most {MOST_SEEDS:,}", got=f"seeds={seeds}", fix="Pass the number of seeds, such as 3"
        )
    said: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    said["augment"] = augment
    training = replace(defaults.training, **{name: value for name, value in said.items() if value is not None})
    plan = Plan(
        data=data,
        model=defaults.model if model is None else model_named(model),
        methods=_entries(methods, defaults, members),
        training=training,
        seeds=tuple(range(seeds)),
        first=first,
        last=last,
        data_options=data_options or DataOptions(),
        likelihood=likelihood_named(likelihood) if isinstance(likelihood, str) else likelihood,
    )
    plan.experiments()  # raises if the model cannot have a width
    return plan


def _entries(methods: Sequence[str], defaults: Defaults, members: int | None) -> tuple[Entry, ...]:
    wanted = [part for item in methods for part in item.split(",") if part]
    entries: dict[str, Entry] = {}
    for item in wanted:
        place, colon, last = item.rpartition(":")
        name, at, factor = last.partition("@")
        width = _factor(factor, item) if at else 1.0
        is_all = not colon and name.lower() == "all"
        for each in METHODS if is_all else [place + colon + name]:
            entry = Entry(method=defaults.method(each, members), width=width, required=not is_all)
            before = entries.get(entry.key)
            if before is not None and type(before.method) is not type(entry.method):
                raise InputError(
                    "methods that are compared must have different names",
                    got=f"{each} and another class with name = {entry.method.name!r}",
                    fix="Change the name in one of the classes",
                )
            entries[entry.key] = before if before is not None and before.required else entry
    if not entries:
        raise InputError("at least one method must be named", got="none", fix=f"Methods: all, {', '.join(METHODS)}")
    return tuple(entries.values())


def _factor(text: str, item: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            "a width factor must be a number above 0",
            got=repr(item),
            fix="Write deep-ensemble@0.5 for half the width",
        ) from None
