"""The page of a run, a sweep, any string, a matrix, an atlas, a verdict: one HTML file, which needs no network.

All are made of sections (:mod:`weightstring.report.section`), to which anyone can add. Those of a run and of a sweep
are read from the directory alone, and touch nothing else; a figure is prepared once, by a file of ``draw/``.
"""

from weightstring.report.atlas.page import ATLAS_SECTIONS
from weightstring.report.matrix.page import MATRIX_SECTIONS
from weightstring.report.merging.page import MERGING_SECTIONS
from weightstring.report.run.data import RunData
from weightstring.report.run.page import RUN_SECTIONS, render
from weightstring.report.section import Drawing, Section
from weightstring.report.string.page import STRING_SECTIONS
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.page import SWEEP_SECTIONS
from weightstring.report.writing import write_report

__all__ = [
    "ATLAS_SECTIONS",
    "MATRIX_SECTIONS",
    "MERGING_SECTIONS",
    "RUN_SECTIONS",
    "STRING_SECTIONS",
    "SWEEP_SECTIONS",
    "Drawing",
    "RunData",
    "Section",
    "SweepData",
    "render",
    "write_report",
]
