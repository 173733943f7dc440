"""What every page has in common: templates, numbers in them, and the file that is written."""

from __future__ import annotations

import base64
import json
import math
import shlex
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weightstring.codec import finite_or_none
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


def setting(value: object) -> str:
    """Show a setting: words as they are, everything else as JSON with sorted keys.

    >>> setting("greedy"), setting({"b": None, "a": 1})
    ('greedy', '{"a": 1, "b": null}')
    """
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def template(name: str, **context: object) -> Markup:
    """A template of this folder or below, filled in."""
    return Markup(_TEMPLATES.get_template(name).render(**context))


def source(name: str) -> str:
    """The text of a file of this folder or below."""
    return (Path(__file__).parent / name).read_text("utf-8")


def is_over(value: float | None, threshold: float) -> bool:
    """Whether a value breaks the threshold; one that is not finite (None) does.

    >>> is_over(0.5, 0.5), is_over(0.6, 0.5), is_over(None, 0.5)
    (False, True, True)
    """
    return value is None or value > threshold


def finite(value: float, digits: int = 4) -> Markup:
    """A number of a table, in which NaN stands for one that is not finite."""
    return number(finite_or_none(value), digits)


def data_uri(text: str) -> str:
    """A CSV file inside a link."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


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


_TEMPLATES = Environment(
    loader=PackageLoader("weightstring.report", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"number": number, "setting": setting, "finite": finite, "shell": shlex.join}
_TEMPLATES.tests |= {"over": is_over, "known": lambda value: not math.isnan(value)}
