"""What text is printed by: as it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from weightstring.text import shown


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
