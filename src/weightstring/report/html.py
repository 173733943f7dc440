"""What every page has in common: templates, numbers and figures in them, and the file that is written."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weightstring.errors import InvalidRun
from weightstring.store import replace_file


def number(value: float | None, digits: int = 6) -> Markup:
    """Show a number to some significant digits, with all of them in the markup and under the pointer.

    >>> str(number(0.1 + 0.2)), str(number(None))
    ('<data value="0.30000000000000004" title="0.30000000000000004">0.3</data>', 'not finite')
    """
    if value is None:
        return Markup("not finite")
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"
    return Markup('<data value="{0!r}" title="{0!r}">{1}</data>').format(value, shown)


def plain(value: object) -> str:
    """Show a setting: words as they are, everything else as JSON with sorted keys.

    >>> plain("greedy"), plain({"b": None, "a": 1})
    ('greedy', '{"a": 1, "b": null}')
    """
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def figure_data(figure: go.Figure) -> dict[str, object]:
    """A figure as JSON's own types, without its template: the page holds both templates once."""
    figure.update_layout(template=None)
    data: dict[str, object] = json.loads(figure.to_json())
    return data


def templates() -> Environment:
    """The templates of pages, with the filters that all have."""
    found = Environment(
        loader=PackageLoader("weightstring.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "plain": plain}
    return found


def write_page(path: Path, page: str) -> Path:
    """Write a page, whole or not at all, and return its path.

    Raises:
        InvalidRun: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be written: {problem.strerror}") from None
    return path
