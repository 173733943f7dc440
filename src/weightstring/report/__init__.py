"""The page of a run and that of a sweep: one HTML file each, which opens anywhere, without a network.

Both are made of sections (:mod:`weightstring.report.section`), to which anyone can add. They are read from the
directory alone, and touch nothing else; a figure is prepared once, by a file of ``draw/``.
"""

from weightstring.report.run.page import RUN_SECTIONS, render, write_report

__all__ = ["RUN_SECTIONS", "render", "write_report"]
