"""A finished search as one HTML page that opens anywhere, without a network.

:func:`page.render` composes the page; :mod:`weightstring.report.draw.along` draws its figures and
is usable alone. Both read the records of a run directory and its beads, and touch nothing else.
"""

from weightstring.report.draw.along import loss_figure, metrics, string_figure
from weightstring.report.run.page import render
from weightstring.report.run.write import write_report

__all__ = ["loss_figure", "metrics", "render", "string_figure", "write_report"]
