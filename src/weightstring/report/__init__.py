"""The page of a run and that of a sweep: one HTML file each, which opens anywhere, without a network.

Both are made of sections (:mod:`weightstring.report.section`), to which anyone can add. They are read from the
directory alone, and touch nothing else; a figure is prepared once, by a file of ``draw/``.
"""

from weightstring.report.run.data import RunData
from weightstring.report.run.page import RUN_SECTIONS, render, write_report
from weightstring.report.section import Drawing, Section
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.page import SWEEP_SECTIONS

__all__ = ["RUN_SECTIONS", "SWEEP_SECTIONS", "Drawing", "RunData", "Section", "SweepData", "render", "write_report"]
