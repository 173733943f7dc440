"""Text and tables on the terminal, printed as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weightstring.text import ending_of, shown


class _Text(Console):
    """A console whose closed pipe is told to whoever prints, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Raise on."""
        raise

    def render_str(self, text: str, **options: Any) -> Text:
        """The text, with the control characters spelled out that would steer a terminal."""
        return super().render_str("\n".join(map(shown, text.split("\n"))), **options)


def console_for_text(*, soft_wrap: bool = True) -> Console:
    """A console that takes no text for markup: a path may hold brackets, and a message colons.

    >>> console_for_text().print("runs/a[1]:smile:")
    runs/a[1]:smile:
    """
    return _Text(highlight=False, soft_wrap=soft_wrap, markup=False, emoji=False)


NAME = 56
"""Characters of a model's name that are printed."""


def shortened(name: str) -> str:
    """A model's name, the beginning of a long one left out.

    >>> len(shortened("checkpoints/" * 9)) == NAME
    True
    """
    return ending_of(name, NAME)


def table(
    *headings: str, left: Collection[str] = ("",), title: str | None = None, gap: int = 2, no_wrap: bool = False
) -> Table:
    """An empty table without lines, its columns of numbers aligned to the right.

    Args:
        headings: of the columns.
        left: headings of the columns of words, aligned to the left.
        title: above it.
        gap: spaces between columns.
        no_wrap: whether cells are cut rather than wrapped.
    """
    columns = Table(title=title, title_justify="left", box=None, padding=(0, gap, 0, 0))
    for heading in headings:
        columns.add_column(heading, justify="left" if heading in left else "right", no_wrap=no_wrap)
    return columns
