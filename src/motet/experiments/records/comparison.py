"""The record of a comparison, ``compare.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, final

from pydantic import Field

from motet._internal.typed_records import Amount, Count, Share, absent, from_plain, read_plain, record
from motet.data import DataDescription
from motet.errors import InputError
from motet.evaluation.comparison_records import Measure
from motet.evaluation.shift_records import Risks
from motet.experiments.records.older import upgrade_comparison
from motet.experiments.records.run import FOLDER_FIX, Hardware, Settings, Sources, sources
from motet.training import HistoryRow


@final
@record
class ComparisonCost:
    """The cost of a method. None or NaN if an older version of motet did not measure it.

    Attributes:
        parameters, flops: see `Cost`.
        latency_ratio: time of a forward pass relative to the single network's.
        latency_ratio_low, latency_ratio_high: quartiles of that ratio.
        latency_seconds: time of a forward pass of `Comparison.latency_batch` examples.
        train_seconds: time of training one seed.
        latency_rounds: the number of rounds of which that ratio is the median.
    """

    parameters: Count | None
    flops: Count | None
    latency_ratio: Amount
    latency_ratio_low: Amount
    latency_ratio_high: Amount
    latency_seconds: Amount
    train_seconds: Measure
    latency_rounds: Count | None = absent()


@final
@record
class ReliabilityBin:
    """Predictions with a confidence between `low` and `high`: their number, mean confidence and accuracy."""

    low: Share
    high: Share
    count: Count
    confidence: Share
    accuracy: Share


@final
@record
class CoverageLevel:
    """The fraction of targets (`coverage`) inside central intervals of a level."""

    level: Share
    coverage: Share


@final
@record
class ComparisonExit:
    """An exit of a method with exits, see `motet.evaluation.ExitScores`; weight and scores are means over seeds."""

    place: str
    depth: Share
    weight: Measure
    scores: dict[str, Measure]


@final
@record
class ComparisonRow:
    """A method in a comparison.

    Attributes:
        method: the method's name.
        key: the row's unique name: the method's name and the width.
        label: the method's name in tables and figures.
        width: how much wider its model is than the comparison's model.
        model: its model, in words.
        members: M.
        summary: the method in a sentence.
        settings: the method's settings, in words.
        scores: means over seeds, by name; see `motet.metrics.score`.
        cost: its cost.
        reliability: the bins of its reliability diagram; None unless there are classes.
        risk_coverage: for each seed the error rate at each of `motet.metrics.COVERAGES`; None unless there are classes.
        coverage: the coverage of its predictive intervals; None unless targets have an order.
        targets: for several targets, scores of each, means over seeds; see `motet.metrics.target_scores`.
        exits: scores of each exit by itself, for methods with exits.
        disagreement_matrix: for each pair of members the fraction of test rows on which they predict different classes,
            mean over seeds; None unless there are classes.
        histories: for each seed one row per epoch.
        runs: for each seed the name of the run's folder.
    """

    method: Annotated[str, Field(min_length=1)]
    key: str
    label: Annotated[str, Field(min_length=1)]
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    model: str
    members: Annotated[Count, Field(ge=1)]
    summary: str
    settings: str
    scores: dict[str, Measure]
    cost: ComparisonCost
    reliability: tuple[ReliabilityBin, ...] | None
    risk_coverage: tuple[Risks, ...] | None
    coverage: tuple[CoverageLevel, ...] | None
    disagreement_matrix: tuple[tuple[Share, ...], ...] | None
    histories: tuple[tuple[HistoryRow, ...], ...]
    runs: tuple[str, ...]

    def __post_init__(self) -> None:
        matrix = self.disagreement_matrix or ()
        if any(len(line) != len(matrix) for line in matrix):
            raise ValueError("a row whose disagreement_matrix has as many columns as lines")
        for history in self.histories:
            if any(row.keys() != history[0].keys() for row in history):
                raise ValueError("a row whose histories have the same columns in each epoch")

    targets: dict[str, tuple[Measure, ...]] | None = absent()
    exits: tuple[ComparisonExit, ...] | None = absent()


@final
@record
class LeftOut:
    """A method that does not support the model or the data.

    Attributes:
        method: the key of its row.
        label: its name in tables and figures.
        reason: its error message.
    """

    method: str
    label: str
    reason: str


@final
@record
class Comparison:
    """The content of a finished comparison's ``compare.json``.

    Texts, lists and objects are empty if an older version of motet did not record them.

    Attributes:
        settings: the settings of each experiment, by the name of its run's folder.
        source: the user's files with the model and the methods.
        motet: the version of motet.
        command: the command line.
        created: date and time in ISO 8601.
        commit: the commit of motet's checkout; None for an installed package.
        versions: versions of Python and of packages, by name.
        hardware: the machine.
        data: the data; None if an older version of motet did not record it.
        model: the model, in words.
        likelihood: the likelihood; None if an older version of motet did not record it.
        training: the training settings.
        seeds: the seeds of every method.
        members: M, the largest of the methods'.
        latency_batch: the number of examples in the measurement of latency.
        rows: one per method.
        left_out: methods that do not support the model.
        other_versions: in words, the runs that were trained with other versions or on another machine than those above.
    """

    settings: dict[str, Settings]
    source: Sources = sources()
    motet: str
    command: str
    created: str
    commit: str | None
    versions: dict[str, str]
    hardware: Hardware
    data: DataDescription | None
    model: str
    likelihood: str | None
    training: Settings
    seeds: tuple[Count, ...]
    members: Count | None
    latency_batch: Count | None
    rows: Annotated[tuple[ComparisonRow, ...], Field(min_length=1)]
    left_out: tuple[LeftOut, ...]
    other_versions: tuple[str, ...] | None = absent()

    def __post_init__(self) -> None:
        names = self.rows[0].scores.keys()
        for row in self.rows:
            if odd := sorted(names ^ row.scores.keys()):
                raise ValueError(f"a comparison whose rows have the same scores: {row.label} differs in {odd[0]}")


@final
@record
class StartedComparison:
    """An unfinished comparison: the record with which its folder was claimed. Attributes: see `Comparison`."""

    settings: dict[str, Settings]
    source: Sources = sources()
    data: DataDescription | None
    rows: None = None


def read_comparison(path: Path) -> Comparison | StartedComparison:
    """Read ``compare.json``, of this version of motet or an older one. Errors: see `read_record`."""
    return _from_plain(read_plain(path, fix=FOLDER_FIX), where=str(path), fix=FOLDER_FIX)


def as_comparison(comparison: Comparison | Mapping[str, object] | str | Path) -> Comparison:
    """Return a finished comparison, from itself, the plain data of its ``compare.json``, or the path of that file.

    Raises:
        InputError: naming the field that is missing, unknown, of another type or out of range; or if there are no rows.
        OSError: if the file cannot be read.
    """
    if isinstance(comparison, Comparison):
        return comparison
    if isinstance(comparison, str | Path):
        content, where, fix = read_plain(Path(comparison), fix=FOLDER_FIX), str(comparison), FOLDER_FIX
    else:
        content, where, fix = comparison, "the comparison", "Pass the content of the compare.json that motet wrote"
    if isinstance(content, Mapping) and not content.get("rows"):
        raise InputError(
            "a comparison must have at least one row",
            got=f"none in {where}",
            fix="Run `motet compare` with at least one method, and pass the record that it wrote",
        )
    found = _from_plain(content, where=where, fix=fix)
    assert isinstance(found, Comparison)
    return found


def _from_plain(content: object, *, where: str, fix: str) -> Comparison | StartedComparison:
    if isinstance(content, Mapping) and content.get("rows", 0 if "schema_version" in content else None) is None:
        names = ("schema_version", "settings", "source", "data", "rows")
        started = {name: content[name] for name in names if name in content}
        return from_plain(started, StartedComparison, where=where, upgrade=upgrade_comparison, fix=fix)
    return from_plain(content, Comparison, where=where, upgrade=upgrade_comparison, fix=fix)
