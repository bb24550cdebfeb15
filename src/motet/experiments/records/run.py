"""The record of a run, ``run.json``, and of its scores, ``scores.json``."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import BeforeValidator, Field

from motet._internal.own_code import Source
from motet._internal.renamed_settings import with_new_names
from motet._internal.typed_records import Amount, Count, Number, absent, read_record, record, to_plain
from motet.data import DataDescription
from motet.distributed import Communication
from motet.evaluation.exits import ExitScores
from motet.evaluation.shift_records import Scores as ScoresByName
from motet.experiments.records.older import upgrade_run, upgrade_scores

FOLDER_FIX = "Restore the file as motet wrote it, or move its folder away and run again"
"""The advice for a damaged file that claims a folder."""

Settings = Annotated[dict[str, object], BeforeValidator(with_new_names)]
"""An experiment's settings, or a part of them, as a JSON object: the result of `Experiment.to_record`."""


def _listed(value: object) -> object:
    """Return sources as a list: JSON has null for none, an object for one, and a list for more."""
    if value is None:
        return ()
    if isinstance(value, Mapping | Source):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _unlisted(sources: tuple[Source, ...]) -> object:
    plain = [to_plain(source) for source in sources]
    return plain if len(plain) > 1 else next(iter(plain), None)


Sources = Annotated[tuple[Source, ...], BeforeValidator(_listed)]
"""Source files: none, one, or several."""


def sources() -> Any:
    """Return a dataclass field for `Sources`."""
    return field(metadata={"plain": _unlisted})


@final
@record
class Hardware:
    """The machine of a run. Texts are empty and numbers None if unknown.

    Attributes:
        device: ``cpu``, ``cuda``, ...
        processor: the name of the GPU if there is one, otherwise of the CPU.
        cores: the number of CPU cores.
        threads: the number of CPU threads that torch uses.
        system: operating system and machine.
        torch: torch's version.
    """

    device: str
    processor: str
    cores: Count | None
    threads: Count | None
    system: str
    torch: str


@final
@record
class Provenance:
    """The machine and versions with which something was made. Attributes: see `RunRecord`."""

    created: str
    commit: str | None
    versions: dict[str, str]
    hardware: Hardware


@final
@record
class Ranks:
    """The number of processes that a run's members, and the rows of a batch, were distributed over."""

    members: Annotated[Count, Field(ge=1)]
    data: Annotated[Count, Field(ge=1)]


@final
@record
class Continuation:
    """A part of a run that another process trained, after an interruption.

    Attributes:
        after_epoch: the number of epochs that were finished before.
        created: date and time in ISO 8601.
        commit, versions, hardware: see `RunRecord`.
    """

    after_epoch: Count
    created: str
    commit: str | None
    versions: dict[str, str]
    hardware: Hardware


@final
@record
class RunRecord:
    """How a run was made: the content of ``run.json``.

    Attributes:
        settings: the experiment's settings.
        created: date and time in ISO 8601.
        commit: the commit of motet's checkout; None for an installed package.
        versions: versions of Python and of packages, by name.
        hardware: the machine.
        precision: Lightning Fabric's name of the precision; None if an older version of motet did not record it.
        ranks: the processes, if there were several.
        data: the data; None if an older version of motet did not record it.
        likelihood: the likelihood; None if an older version of motet did not record it.
        source: the user's files that it depends on.
        training: the training settings as they were used, if the settings left some of them to the data.
        continued: the parts that were trained later, after an interruption, in order.
    """

    settings: Settings
    created: str
    commit: str | None
    versions: dict[str, str]
    hardware: Hardware
    precision: str | None
    ranks: Ranks | None = absent()
    data: DataDescription | None
    likelihood: str | None
    source: Sources = sources()
    training: Settings | None = absent()
    continued: tuple[Continuation, ...] | None = absent()


@final
@record
class Cost:
    """The cost of a run.

    Attributes:
        parameters: the number of learned parameters.
        flops: floating-point operations for one example, all members.
        train_seconds: time of the training steps.
    """

    parameters: Count
    flops: Count
    train_seconds: Amount


@final
@record
class Scores:
    """The scores of a run: the content of ``scores.json``. Scores are in the original unit of the targets, NaN if
    undefined.

    Attributes:
        test, validation: scores of the ensemble on a split, by name; see `motet.metrics.score`.
        test_members: scores of each single member on the test split, by name; see `motet.metrics.member_scores`.
        test_targets: for several targets, scores of each on the test split, by name; see
            `motet.metrics.target_scores`.
        test_exits: scores of each exit by itself on the test split, for methods with exits.
        cost: the cost.
        epochs: the number of epochs trained.
        communication: the traffic, if there were several processes.
    """

    test: ScoresByName
    test_members: dict[str, tuple[Number, ...]]
    validation: ScoresByName
    cost: Cost
    epochs: Count
    communication: Communication | None = absent()
    test_targets: dict[str, tuple[Number, ...]] | None = absent()
    test_exits: tuple[ExitScores, ...] | None = absent()

    def __post_init__(self) -> None:
        if self.test.keys() != self.validation.keys():
            odd = sorted(self.test.keys() ^ self.validation.keys())
            raise ValueError(f"scores of both splits, test and validation: {', '.join(odd)} is of one of them")


def read_run_record(path: Path) -> RunRecord:
    """Read a run's ``run.json``, of this version of motet or an older one. Errors: see `read_record`."""
    return read_record(path, RunRecord, upgrade=upgrade_run, fix=FOLDER_FIX)


def read_scores(path: Path) -> Scores:
    """Read a run's ``scores.json``. Errors: see `read_record`."""
    fix = "Restore the file as motet wrote it, or remove it and run again, which trains nothing"
    return read_record(path, Scores, upgrade=upgrade_scores, fix=fix)
