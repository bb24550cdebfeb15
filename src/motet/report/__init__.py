"""The report: the results of a comparison as one self-contained HTML page."""

from motet.report.page import render, write_report

__all__ = ["render", "write_report"]
