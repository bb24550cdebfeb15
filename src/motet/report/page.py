"""The page of the report: one self-contained HTML file that makes no network requests."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from motet._internal.files import write_text
from motet.evaluation import SideBySide
from motet.experiments import records
from motet.plots.figure import xml_text
from motet.plots.style import DARK, LIGHT, series_name
from motet.report import figures, shift
from motet.report.columns import COMPARED, MEMBERS
from motet.report.exits import exit_table
from motet.report.facts import facts, training_facts
from motet.report.finding import main_finding
from motet.report.gains import gains
from motet.report.record import read_comparison
from motet.report.selective import selective
from motet.report.table import build_table
from motet.report.targets import target_table

Source = records.Comparison | Mapping[str, object] | str | Path
"""The types from which `render` can read a comparison."""


def render(comparison: Source, robustness: SideBySide | None = None) -> str:
    """Return the page as HTML.

    Args:
        comparison: the record of `motet compare`, the path of its ``compare.json``, or the plain data in that file.
            Records of older versions, without a ``schema_version``, need only ``rows`` with ``method`` and ``label``.
            The page leaves out missing parts.
        robustness: the result of `motet.experiments.gather`, if the runs were evaluated under shift.

    Raises:
        InputError: if there are no rows, or if a field is missing, unknown, of another type or out of range. The
            message names the field.
        OSError: if the file cannot be read.
    """
    read = read_comparison(comparison)
    several = [row for row in read.rows if row.members > 1]
    finding = main_finding(read)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            comparison=read,
            record=read.record,
            finding=finding,
            gains=[
                (row, gains(row, read.single, read.ranking.key)) for row in finding.chosen if read.single is not None
            ],
            table=build_table(read, COMPARED),
            targets=target_table(read),
            exits=exit_table(read),
            members=build_table(read, MEMBERS, several),
            several=several,
            scaled=any(row.width != 1 for row in read.rows),
            quality_cost=[Markup(text) for text in figures.quality_cost(read)],
            curves=[Markup(text) for text in figures.curves(read)],
            reliability=figures.reliability(read),
            selective=selective(read, None if robustness is None else robustness.selective, sizes=figures.SIZES),
            coverage=figures.coverage(read),
            disagreement=figures.disagreement(read),
            shifts=shift.shifts(read, robustness),
            others=shift.other_data(read, robustness),
            facts=facts(read),
            training=training_facts(read),
            light=LIGHT,
            dark=DARK,
            css=_part("page.css"),
            js=_part("page.js"),
        )
    )


def write_report(comparison: Source, path: str | Path, robustness: SideBySide | None = None) -> None:
    """Render the page and write it to `path` atomically.

    Args:
        comparison: see `render`.
        path: the path of the HTML file.
        robustness: see `render`.

    Raises:
        InputError: see `render`.
        OSError: if a file cannot be read or written.
    """
    write_text(Path(path), render(comparison, robustness))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("motet", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["series"] = series_name
    environment.filters["plain"] = xml_text
    environment.filters["svg"] = Markup
    return environment


def _part(name: str) -> Markup:
    return Markup(files("motet.report").joinpath(name).read_text(encoding="utf-8").strip())
