"""`Experiment`: the settings of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from os import PathLike, fspath
from typing import final

from motet import grouping, likelihoods, methods, models, objectives
from motet._internal.field_types import check_field_types
from motet._internal.own_code import RecordedCode, Source, name_in_record
from motet._internal.plain_records import from_record, to_record
from motet._internal.wording import with_article
from motet.data import Augmentation, DataOptions
from motet.errors import InputError
from motet.experiments.likelihood import LikelihoodName, known_by_name
from motet.likelihoods import Likelihood
from motet.method import Method, check_class
from motet.models import ModelSettings
from motet.objectives import ExitObjective, Objective
from motet.training import Training


def _own_types() -> tuple[type, ...]:
    """Return every settings class of motet, as listed by its packages."""
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
    """One training run: all settings that are needed to repeat it, except the data files and the machine.

    An objective of None is replaced by the method's own when the experiment is made. ``dataclasses.replace(experiment,
    method=...)`` therefore keeps the previous method's objective; `with_method` does not.

    Attributes:
        data: name of a dataset, see ``motet data``; or a folder of class folders, or a table.
        model: the model that the method wraps.
        method: the method and its settings, one of motet's or of a class outside motet.
        objective: the training loss; the method's own if None is passed.
        training: optimiser, schedule, epochs.
        seed: the seed of initial weights, groupings and the order of the batches.
        first: name or names of the model's input layers, if they cannot be found.
        last: name or names of the model's output layers, if they cannot be found.
        data_options: how the user's own data is read.
        likelihood: the distribution whose parameters the outputs are: categorical, bernoulli, gaussian, heteroscedastic
            or poisson, or a `Likelihood` of a class outside motet; if None is passed, the data's default that the
            objective accepts, see `motet.experiments.likelihood_for`.

    Raises:
        InputError: on construction, for a value of another type, or out of range.
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
                    f"{name} must be {with_article(kind.__name__)}",
                    got=with_article(type(getattr(self, name)).__name__),
                    fix=f"Pass settings, such as {example}",
                )
        for name in ("first", "last"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        if isinstance(self.data, PathLike):
            object.__setattr__(self, "data", fspath(self.data))
        check_field_types(self)
        for part in (self.model, self.method, self.objective):
            if is_dataclass(part):
                check_field_types(part, convert=False)
        if not 0 <= self.seed < 2**64:
            raise InputError("seed must lie in 0..2^64 - 1", got=f"seed={self.seed}", fix="Pass 0, 1, 2, ...")
        check_class(type(self.method))
        if self.likelihood is not None:
            object.__setattr__(self, "likelihood", known_by_name(self.likelihood))
        if self.objective is None:
            # Resolved here, so that the record and the command line show the objective that is used.
            object.__setattr__(self, "objective", self.method.default_objective)

    def with_method(self, method: Method) -> "Experiment":
        """Return the experiment with another method, and with that method's objective if this one has its method's."""
        own = self.objective == self.method.default_objective
        return replace(self, method=method, objective=None if own else self.objective)

    def accepts(self, likelihood: Likelihood) -> bool:
        """Whether the objective is defined for this likelihood, and the method needs no other one for such targets."""
        assert self.objective is not None
        own = self.method.default_likelihood
        if own.target_kind == likelihood.target_kind and own != likelihood:
            return False
        try:
            if isinstance(self.objective, ExitObjective):
                self.objective.check(likelihood)
            else:
                self.objective.check(likelihood, self.method.grouping)
        except InputError:
            return False
        return True

    def to_record(self) -> dict[str, object]:
        """Return the experiment as plain data for JSON. It contains the likelihood only if it is not the default.

        Classes of motet are recorded by name, other classes as ``module:Class`` or ``file.py:Class``.

        Raises:
            InputError: for a class that another process could not import: one inside a function, or not in a file.
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
        """Return the experiment from a record made by `to_record`.

        Args:
            record: plain data.
            trust_code: whether files that the record names may be executed, to import their classes. Classes that are
                already imported need no trust. The function of a `CustomModel` is not called here.
            source: the run's files as they were, from ``source`` in ``run.json``.
            where: the name of the record in errors.

        Raises:
            InputError: if the record is not that of an experiment, naming the field; if it names a class that no longer
                exists, has changed, or would have to be executed without trust.
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
                got=with_article(type(experiment).__name__),
                fix="Pass the settings in run.json",
            )
        return experiment
