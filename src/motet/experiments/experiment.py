"""The record that a run is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import final

from motet import grouping, likelihoods, methods, models, objectives
from motet._internal.own_code import RecordedCode, Source, name_in_record
from motet._internal.plain_records import from_record, to_record
from motet.data import Augmentation, DataOptions
from motet.errors import InputError
from motet.experiments.likelihood import LikelihoodName, known_by_name
from motet.likelihoods import Likelihood
from motet.method import Method, check_class
from motet.models import CustomModel, ModelSettings
from motet.objectives import ExitObjective, Objective
from motet.training import Training


def _own_types() -> tuple[type, ...]:
    """Every class of settings that motet has, as its packages list them."""
    packages = (methods, models, objectives, likelihoods, grouping)
    listed = (getattr(package, name) for package in packages for name in package.__all__)
    return (
        Experiment,
        Training,
        Augmentation,
        DataOptions,
        *(kind for kind in listed if isinstance(kind, type) and is_dataclass(kind)),
    )


@final
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run: everything that must be known to repeat it, but for the data files and the machine.

    An objective of None is resolved at once. So ``dataclasses.replace(experiment, method=...)`` keeps the objective of
    the method before; `with_method` does not.

    Attributes:
        data: name of a dataset, see ``motet data``; or a folder of class folders, or a table.
        model: the model that the method wraps.
        method: the method and its settings, one of motet's or of a class outside motet.
        objective: the training loss; given None, the method's own takes its place.
        training: optimiser, schedule, epochs.
        seed: of the initial weights, the groupings and the order of the batches.
        first: name or names of the model's input layers, where that is ambiguous.
        last: name or names of the model's output layers, where that is ambiguous.
        data_options: how data of the user's own is read.
        likelihood: what the network's outputs mean: categorical, bernoulli, gaussian, heteroscedastic or poisson, or a
            `Likelihood` of a class outside motet; given None, the data's default, see
            `motet.experiments.likelihood_name`.
    """

    data: str
    model: ModelSettings
    method: Method
    objective: Objective | ExitObjective | None = None
    training: Training = field(default_factory=Training)
    seed: int = 0
    first: tuple[str, ...] | None = None
    last: tuple[str, ...] | None = None
    data_options: DataOptions = field(default_factory=DataOptions)
    likelihood: LikelihoodName | Likelihood | None = None

    def __post_init__(self) -> None:
        for name, kind, example in (
            ("model", ModelSettings, "motet.models.CustomModel(function='file.py:function') for a model of your own"),
            ("method", Method, "motet.MIMO(members=3)"),
            ("training", Training, "motet.Training(epochs=20)"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise InputError(
                    f"{name} must be a {kind.__name__}",
                    got=f"a {type(getattr(self, name)).__name__}",
                    fix=f"Pass settings, such as {example}",
                )
        if not 0 <= self.seed < 2**64:
            raise InputError("seed must lie in 0..2^64 - 1", got=f"seed={self.seed}", fix="Pass 0, 1, 2, ...")
        check_class(type(self.method))
        if self.likelihood is not None:
            object.__setattr__(self, "likelihood", known_by_name(self.likelihood))
        if self.objective is None:
            # Resolved here, so that the record and the command line show the objective that is really used.
            object.__setattr__(self, "objective", self.method.default_objective)

    def with_method(self, method: Method) -> "Experiment":
        """The experiment with another method, and with that method's own objective where this one has its method's."""
        own = self.objective == self.method.default_objective
        return replace(self, method=method, objective=None if own else self.objective)

    def to_record(self) -> dict[str, object]:
        """The experiment as plain data for JSON. The likelihood stands in it only where it was asked for.

        Classes of motet's own stand in it by name, others as ``module:Class`` or ``file.py:Class``.

        Raises:
            InputError: for a class that another process could not find: one inside a function, or not in a file.
        """
        record = to_record(self, name=name_in_record)
        return record if self.likelihood is not None else {k: v for k, v in record.items() if k != "likelihood"}

    @staticmethod
    def from_record(
        record: dict[str, object],
        *,
        trust_code: bool = False,
        source: Sequence[Source] = (),
        where: str = "this record",
    ) -> "Experiment":
        """The experiment that `to_record` made the record from.

        Args:
            record: plain data.
            trust_code: whether files that the record names may be executed, to have the classes in them. What has been
                imported already needs no trust.
            source: the run's files as they were, as ``run.json`` holds them under ``source``.
            where: the record's place, for errors.

        Raises:
            InputError: if the record is not that of an experiment, naming the field; if it names a class that is no
                longer there, that was changed, or that would have to be executed and is not trusted.
        """
        code = RecordedCode(trusted=trust_code, source=source, where=where)
        try:
            experiment = from_record(record, _own_types(), load=code.load)
        except InputError as error:
            if where == "this record" or where in str(error):
                raise
            raise InputError(error.requirement, got=f"{error.got} in {where}", fix=error.fix) from error
        if not isinstance(experiment, Experiment):
            raise InputError(
                "a run's settings must be an Experiment",
                got=f"a {type(experiment).__name__}",
                fix="Pass what stands under settings in run.json",
            )
        if isinstance(experiment.model, CustomModel):
            # The function is called when the model is built, as it always was: without asking.
            code.allow(experiment.model.function, ask=False)
        return experiment
