"""The record of a run, ``run.json``, and what it scored, ``scores.json``."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import BeforeValidator, Field

from motet._internal.own_code import Source
from motet._internal.typed_records import Amount, Count, Number, absent, read_record, record, to_plain
from motet.data import DataDescription
from motet.distributed import Communication
from motet.evaluation.shift_records import Scores as ScoresByName
from motet.experiments.records.older import upgrade_run, upgrade_scores

FOLDER_FIX = "Bring back the file as motet wrote it, or move its folder away and run again"
"""What to do about a damaged file that says whose a folder is."""

Settings = dict[str, object]
"""An experiment's settings, or a part of them, as a JSON object: what `Experiment.to_record` makes."""


def _listed(value: object) -> object:
    """Sources as a list: JSON has null for none, an object for one, and a list for more."""
    if value is None:
        return ()
    if isinstance(value, Mapping | Source):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _unlisted(sources: tuple[Source, ...]) -> object:
    plain = [to_plain(source) for source in sources]
    return plain if len(plain) > 1 else next(iter(plain), None)


Sources = Annotated[tuple[Source, ...], BeforeValidator(_listed)]
"""No file, one, or several."""


def sources() -> Any:
    """A field of `Sources`."""
    return field(metadata={"plain": _unlisted})


@final
@record
class Hardware:
    """What a run was made on. Texts are empty and numbers None where that is not known.

    Attributes:
        device: ``cpu``, ``cuda``, ...
        processor: its name, of the GPU where there is one.
        cores: of the CPU.
        threads: of the CPU, those that torch uses.
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
    """Where and with what something was made. Attributes: see `RunRecord`."""

    created: str
    commit: str | None
    versions: dict[str, str]
    hardware: Hardware


@final
@record
class Ranks:
    """Over how many processes a run's members, and the rows of a batch, were shared out."""

    members: Annotated[Count, Field(ge=1)]
    data: Annotated[Count, Field(ge=1)]


@final
@record
class RunRecord:
    """How a run was made: the content of ``run.json``.

    Attributes:
        settings: the experiment's.
        created: date and time in ISO 8601.
        commit: of motet's checkout; None for an installed package.
        versions: of Python and of packages, by name.
        hardware: what it ran on.
        precision: as Lightning Fabric calls it; None where an older version of motet did not record it.
        ranks: processes, where there were several.
        data: the data; None where an older version of motet did not record it.
        likelihood: what the outputs mean; None where an older version of motet did not record it.
        source: the user's files that it depends on.
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


@final
@record
class Cost:
    """What a run costs.

    Attributes:
        parameters: numbers that the network has learned.
        flops: floating-point operations for one example, all members.
        train_seconds: time spent in training steps.
    """

    parameters: Count
    flops: Count
    train_seconds: Amount


@final
@record
class Scores:
    """What a run scored: the content of ``scores.json``. Scores are in the targets' own unit, NaN where undefined.

    Attributes:
        test, validation: scores of the ensemble on a split, by name; see `motet.metrics.score`.
        test_members: scores of each member alone on the test split, by name; see `motet.metrics.member_scores`.
        cost: what it costs.
        epochs: how many were trained.
        communication: what was sent, where there were several processes.
    """

    test: ScoresByName
    test_members: dict[str, tuple[Number, ...]]
    validation: ScoresByName
    cost: Cost
    epochs: Count
    communication: Communication | None = absent()

    def __post_init__(self) -> None:
        if self.test.keys() != self.validation.keys():
            odd = sorted(self.test.keys() ^ self.validation.keys())
            raise ValueError(f"scores of both splits, test and validation: {', '.join(odd)} is of one of them")


def read_run_record(path: Path) -> RunRecord:
    """The record in a run's ``run.json``, of this version of motet or an older one. Errors: see `read_record`."""
    return read_record(path, RunRecord, upgrade=upgrade_run, fix=FOLDER_FIX)


def read_scores(path: Path) -> Scores:
    """The scores in a run's ``scores.json``. Errors: see `read_record`."""
    fix = "Bring back the file as motet wrote it, or remove it and run again: nothing is trained anew"
    return read_record(path, Scores, upgrade=upgrade_scores, fix=fix)
