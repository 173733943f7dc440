"""Figures as files for a paper: SVG, PDF and PNG, drawn by matplotlib in no window and by no style but ours."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.errors import InvalidSetting, StoreFailed
from weightstring.store.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("svg", "pdf", "png")
SIZE = (6.0, 3.9)
"""Inches: the width of a text column."""
DPI = 200
DASHES = {"solid": "-", "dash": "--", "dashdot": "-.", "dot": ":"}
SYMBOLS = {
    "circle": "o", "circle-open": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v",
    "star": "*", "pentagon": "p", "hexagon": "h", "x": "x", "x-thin": "x", "line-ns": "|", "diamond-open": "D",
}  # fmt: skip
"""Plotly's names of what both draw, and matplotlib's."""
# Neither the time nor a random name: the same figure gives the same bytes. A dollar in a name is a dollar.
SETTINGS: Any = {
    "svg.hashsalt": "weightstring",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9.0,
}
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def write_figures(folder: str | os.PathLike[str], draw: Callable[[], Iterable[tuple[str, Figure]]]) -> list[Path]:
    """Draw figures, and write each as SVG, PDF and PNG.

    Args:
        folder: where to; made if it is not there.
        draw: gives them with the names of their files; called when matplotlib is there.

    Returns:
        The files, three a figure.

    Raises:
        InvalidSetting: matplotlib is not installed.
        StoreFailed: the disk refuses.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise InvalidSetting(
            'figures as files need matplotlib, which is not installed: pip install "weightstring[figures]"'
        ) from None
    target, written = Path(folder), []
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's own style file says
        mpl.rcParams.update(SETTINGS)
        for name, figure in draw():
            try:
                target.mkdir(parents=True, exist_ok=True)
                for kind in KINDS:
                    written.append(target / f"{name}.{kind}")
                    with replacing(written[-1]) as file:  # a link there is replaced, not followed
                        figure.savefig(file, format=kind, dpi=DPI, metadata=UNDATED[kind])
            except OSError as problem:
                raise StoreFailed(
                    f"{target}: cannot be written: {problem.strerror}; give --figures another folder"
                ) from None
    return written


def plain_words(text: str | None) -> str:
    """Words without Plotly's tags, and with the signs that those would take for one."""
    return html.unescape(re.sub(r"<[^>]*>", "", (text or "").replace("<br>", "\n")))
