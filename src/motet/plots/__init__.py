"""Functions that draw tables of results on matplotlib Axes, without pyplot and without changing global settings."""

from motet.plots.coverage import plot_coverage
from motet.plots.curves import plot_curves
from motet.plots.disagreement import plot_disagreement
from motet.plots.figure import new_figure, svg
from motet.plots.quality_cost import plot_quality_cost
from motet.plots.reliability import plot_reliability
from motet.plots.style import style

__all__ = [
    "new_figure",
    "plot_coverage",
    "plot_curves",
    "plot_disagreement",
    "plot_quality_cost",
    "plot_reliability",
    "style",
    "svg",
]
