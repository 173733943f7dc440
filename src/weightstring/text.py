"""Text that comes from elsewhere, such as a file that somebody sent, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, marks that reorder or hide text, halves of pairs, and ends of lines."""
FORMULA = "=+-@\t\r\n＝＋－＠"
"""What makes a spreadsheet compute the text that follows; in some languages the wide signs do too."""


def shown(text: str) -> str:
    r"""Text in one line, in which nothing moves a terminal's cursor, changes its colours or hides behind the rest.

    >>> shown("a\x1b[2Jb\nc\u202ed"), shown("Γ ≤ 0.1")
    ('a\\x1b[2Jb\\nc\\u202ed', 'Γ ≤ 0.1')
    """
    return "".join(_escaped(letter) if unicodedata.category(letter) in UNSEEN else letter for letter in text)


def ending_of(name: str, letters: int) -> str:
    """A name of at most so many letters: of a longer one its end, which tells files and layers apart.

    >>> ending_of("runs/first/a.pt", 8), ending_of("a.pt", 8)
    ('…st/a.pt', 'a.pt')
    """
    return name if len(name) <= letters else f"…{name[1 - letters :]}"


def seconds_in_words(seconds: float) -> str:
    """A time as a person says it.

    >>> [seconds_in_words(each) for each in (0.02, 4.2, 36, 250, 9000, 400000)]
    ['0.02 s', '4.2 s', '36 s', '4.2 min', '2.5 h', '4.6 days']
    """
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.2g} days"


def as_cell(text: str) -> str:
    """Text as a field of a table that no spreadsheet takes for a formula; :func:`from_cell` brings it back.

    >>> as_cell("=1+1"), as_cell("width=4"), from_cell(as_cell("'=1")) == "'=1"
    ("'=1+1", 'width=4', True)
    """
    return f"'{text}" if text[:1] and text[0] in f"'{FORMULA}" else text


def from_cell(text: str) -> str:
    """The text that :func:`as_cell` made a field of.

    >>> from_cell("'=1+1"), from_cell("=1+1"), from_cell("'tis")
    ('=1+1', '=1+1', "'tis")
    """
    return text[1:] if text[:1] == "'" and text[1:2] and text[1] in f"'{FORMULA}" else text


def first_line(error: BaseException) -> str:
    r"""What an exception says, in one line.

    >>> first_line(ValueError("\n mat1 and mat2 \n shapes")), first_line(KeyError())
    ('mat1 and mat2', 'KeyError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def meant(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, as what follows the one that is not known; empty where none is near.

    >>> meant("conect", ("connect", "compare")), meant("x", ("connect",))
    (' (did you mean connect?)', '')
    """
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {near[0]}?)" if near else ""


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
