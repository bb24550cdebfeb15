"""The record of all evaluations of a run: the content of its ``evaluation.json``."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import Field

from motet._internal.typed_records import Count, Number, Share, absent, from_plain, read_plain, record, write_record
from motet.data import DataDescription
from motet.errors import InputError
from motet.evaluation.exits import ExitScores
from motet.evaluation.shift_records import Coverages, Risks, Scores, ShiftSection, Size


@final
@record
class RiskCurve:
    """Error rates among the most confident predictions, see `motet.metrics.RiskCoverage`; `area` is the AURC."""

    coverage: Coverages
    risk: Risks
    area: Share


@final
@record
class CleanScores:
    """Scores on the unshifted test split, and the floating-point operations for one example.

    `seed` decides which examples are predicted together in throughput use; it is absent in ensemble use. `targets` are
    the scores of each target by the name of the metric, if there are several targets. `exits` are the scores of each
    exit by itself, in ensemble use of a method with exits.
    """

    scores: Scores
    risk_coverage: RiskCurve | None = absent()
    flops: Count
    seed: int | None = absent()
    targets: dict[str, tuple[Number, ...]] | None = absent()
    exits: tuple[ExitScores, ...] | None = absent()


@final
@record
class PartScores:
    """`CleanScores` of the members with these indices."""

    members: Annotated[tuple[Count, ...], Field(min_length=1)]
    scores: Scores
    flops: Count


@final
@record
class OODScores:
    """How well one uncertainty score distinguishes in-distribution rows from others."""

    auroc: Share
    fpr95: Share


@final
@record
class OODResult:
    """`OODScores` by the name of the uncertainty score."""

    scores: dict[str, OODScores]


@final
@record
class OODSection:
    """A run against another data set: the number of rows, of rows removed as overlapping, and the scores."""

    rows: Size
    dropped: Count
    scores: dict[str, OODScores]


@final
@record
class Evaluation:
    """The results of all evaluations of a run: ``evaluation.json``. What was not evaluated is absent.

    Attributes:
        method: the method with its settings.
        members: the number of members.
        data: the run's data.
        motet: the version of motet that made the last evaluation.
        ensemble: the test split in ensemble use, all members on each example.
        distinct: the test split in throughput use, each member on another example.
        part: the test split, predicted by some members.
        shifts: results by the name of the shift.
        ood: results by the name of the other data set.
        older: the version of motet that made a result, by its name ("ensemble", "shifts.fog"), if it is another one.
    """

    method: str
    members: Size
    data: DataDescription
    motet: str
    ensemble: CleanScores | None = absent()
    distinct: CleanScores | None = absent()
    part: PartScores | None = absent()
    shifts: dict[str, ShiftSection] | None = absent()
    ood: dict[str, OODSection] | None = absent()
    older: dict[str, str] | None = absent()


def read_evaluation(path: Path) -> Evaluation | None:
    """Read the record at `path`; None if there is no file, or a damaged one that the next evaluation replaces.

    Raises:
        InputError: for a JSON file with other content, naming the file and the field.
    """
    try:
        content = read_plain(path)
    except (OSError, InputError):
        return None
    return from_plain(content, Evaluation, where=str(path), upgrade=_upgrade)


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write the record; the file is whole or absent."""
    write_record(path, evaluation)


def _upgrade(old: dict[str, Any]) -> dict[str, Any]:
    """Convert records without a schema version: the first ones say less about the data, the rest is unchanged."""
    known = dict.fromkeys(item.name for item in fields(DataDescription)) | {"class_names": []}
    return old | {"data": known | dict(old["data"])}
