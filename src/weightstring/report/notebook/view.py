"""What a notebook shows of any result: a heading, numbers, figures, and a table."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

from weightstring.errors import InvalidSetting
from weightstring.report.draw.files import SETTINGS
from weightstring.report.draw.static import draw_on, drawn, in_space
from weightstring.report.html import template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

NO_MATPLOTLIB = 'plots need matplotlib, which is not installed: pip install "weightstring[figures]"'
INLINE = (5.2, 2.9)
"""Inches of the figure beside the numbers."""


@dataclass(frozen=True)
class View:
    """A result as it is looked at.

    Args:
        heading: the verdict, or what it is, in a line.
        tone: ``"good"``, ``"open"`` or ``"bad"`` where it is a verdict.
        facts: numbers in words, each with its label.
        figures: what makes them, by name; a notebook shows the first.
        rows: of its table.
    """

    heading: str
    facts: Sequence[tuple[str, str]]
    figures: Mapping[str, Callable[[], go.Figure]]
    rows: Callable[[], Sequence[Mapping[str, Any]]]
    tone: str = ""

    def html(self) -> str:
        """Heading, numbers and the first figure; without matplotlib the numbers alone. Needs no network."""
        return template("notebook/view.html", view=self, figure=self._inline())

    def plot(self, name: str | None = None, axes: Axes | None = None) -> Axes:
        """One of its figures, on axes given or new; see :meth:`weightstring.notebook.Viewable.plot`."""
        names = list(self.figures)
        chosen = next(iter(names), "") if name is None else name
        if chosen not in self.figures:
            raise InvalidSetting(f"no figure {name!r:.80} here: choose one of {', '.join(names) or 'none'}")
        figure = self.figures[chosen]()
        try:
            from matplotlib import pyplot
        except ImportError:
            raise InvalidSetting(NO_MATPLOTLIB) from None
        if axes is None:
            axes = pyplot.figure(layout="constrained").add_subplot(projection="3d" if in_space(figure) else None)
        draw_on(axes, figure)
        return axes

    def to_pandas(self) -> DataFrame:
        """Its rows."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise InvalidSetting("to_pandas() needs pandas, which is not installed: pip install pandas") from None
        return DataFrame(list(self.rows()))

    def _inline(self) -> Markup | None:
        """The first figure as SVG; None without a figure, or without matplotlib."""
        try:
            import matplotlib as mpl
        except ImportError:
            return None
        if not self.figures:
            return None
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(SETTINGS | {"font.size": 8.0})
            file = io.StringIO()
            drawn(next(iter(self.figures.values()))(), INLINE).savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()
        # No wider than the column, be it a phone's.
        return Markup(text[text.index("<svg") :].replace("<svg", '<svg style="max-width: 100%; height: auto"', 1))
