"""A finished search as one HTML page that opens anywhere, without a network.

:func:`page.render` composes the page; :mod:`weightstring.report.figures` draws its figures and
is usable alone. Both read the records of a run directory and its beads, and touch nothing else.
"""

from weightstring.report.figures import loss_figure, metrics, string_figure
from weightstring.report.page import render
from weightstring.report.write import write_report

__all__ = ["loss_figure", "metrics", "render", "string_figure", "write_report"]
