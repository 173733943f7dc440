"""What every result offers where it is looked at: HTML in a notebook, plots, a table.

Results lie below the report, which knows how to draw them. So each kind is known here by its name alone, and what shows
it is imported when a notebook asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Viewed(Protocol):
    """A result as it is looked at; see :class:`weightstring.report.notebook.view.View`."""

    def html(self) -> str:
        """Its heading, its numbers and a small figure."""

    def plot(self, name: str | None, axes: Axes | None) -> Axes:
        """One of its figures, on axes of matplotlib's."""

    def to_pandas(self) -> DataFrame:
        """Its rows."""


VIEWS: Registry[Callable[[Any], Viewed]] = Registry("kind of result that can be looked at", group="weightstring.views")
"""What makes the view of a result, by the name of its class."""
for _name, _place in {
    "Result": "run:result_view",
    "Minimax": "run:minimax_view",
    "WeightString": "string:string_view",
    "Certificate": "string:certificate_view",
    "Aligned": "models:aligned_view",
    "Merging": "models:merging_view",
    "Blame": "models:blame_view",
    "Matrix": "models:matrix_view",
    "Components": "models:components_view",
    "Atlas": "models:atlas_view",
    "Repaired": "models:repaired_view",
    "Mergeability": "models:mergeability_view",
    "Suggestion": "models:suggestion_view",
    "Sweep": "sweep:sweep_view",
}.items():
    VIEWS.add(_name, f"weightstring.report.notebook.{_place}")


class Viewable:
    """A result that a notebook shows by itself, that can be plotted, and that becomes a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Its kind, and the first line of what it prints: the whole would fill screens."""
        return f"<{type(self).__name__}: {str(self).splitlines()[0]}>"

    def _repr_html_(self) -> str:
        return view_of(self).html()

    def plot(self, name: str | None = None, *, axes: Axes | None = None) -> Axes:
        """Draw one of its figures by matplotlib.

        Args:
            name: which; the first unless given. An unknown name is answered by those there are.
            axes: to draw on; new ones unless given.

        Returns:
            The axes, for titles, scales and further lines of one's own.

        Raises:
            InvalidSetting: there is no such figure, or matplotlib is not installed.
        """
        return view_of(self).plot(name, axes)

    def to_pandas(self) -> DataFrame:
        """Its numbers as a table, a row for each sample, segment, pair or line.

        Raises:
            InvalidSetting: pandas is not installed.
        """
        return view_of(self).to_pandas()


def view_of(value: object) -> Viewed:
    """How a result is looked at: by the view of its class, or of the nearest one that it comes from.

    Raises:
        InvalidSetting: no view is registered.
    """
    for kind in type(value).__mro__:
        if kind.__name__ in VIEWS:
            return VIEWS[kind.__name__](value)
    raise InvalidSetting(f"a {type(value).__name__} has no view: register one in weightstring.notebook.VIEWS")
