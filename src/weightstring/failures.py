"""Exceptions raised by the user's code, reported in one line with file and line number.

A module, loss, metric, training step, stop rule or display may raise anything, perhaps only for some θ after hours.
The error then names the file, the line and what was being computed; the user's exception is its cause.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from weightstring.errors import UserCodeFailed, WeightstringError

PACKAGE = Path(__file__).parent
NOT_THE_USERS = tuple(
    str(path)
    for path in (
        PACKAGE,
        Path(torch.__file__).parent,
        *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    )
)
"""Folders whose code the user has not written."""
LONGEST = 300
"""Characters of an exception's own message that are told."""
KEPT = "the rounds before are kept where the run has a directory: mend it, and the same call goes on"


@contextmanager
def user_code(what: Callable[[], str]) -> Iterator[None]:
    """Report where an exception in the block was raised and what was being computed.

    Args:
        what: in words, such as ``the descent of bead 0.5``; asked only then.

    Raises:
        UserCodeFailed: the block raised an exception that is none of weightstring's own, or ran out of memory.

    >>> with user_code(lambda: "a loss"):
    ...     1 / 0
    Traceback (most recent call last):
    weightstring.errors.UserCodeFailed: <doctest weightstring.failures.user_code[0]>:2: ZeroDivisionError: division by zero, while computing a loss
    """  # noqa: E501
    try:
        yield
    except WeightstringError:
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeFailed(f"{told(error)}, while computing {what()}") from error


@contextmanager
def users_part(where: Callable[[], str]) -> Iterator[None]:
    """Report where in a search the user's code raised, and that finished rounds are kept.

    Exceptions from elsewhere pass unchanged.

    Args:
        where: in words, such as ``the strategy before round 3``; asked only then.

    Raises:
        UserCodeFailed: code of the user's raised, or was said to have raised inside.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        known = isinstance(error, UserCodeFailed)
        if KEPT in str(error) or (not known and (isinstance(error, WeightstringError) or not raised_by_user(error))):
            raise
        said = str(error) if known else told(error)
        cause = error.__cause__ if known and error.__cause__ is not None else error
        raise UserCodeFailed(f"{said}, in {where()}; {KEPT}") from cause


def raised_by_user(error: BaseException) -> bool:
    """Whether an exception was raised in or below the user's code."""
    return bool(_own(traceback.extract_tb(error.__traceback__)))


def told(error: BaseException) -> str:
    """An exception in one line, preceded by the innermost ``file:line`` of the user's code, or else of any."""
    frames, said = traceback.extract_tb(error.__traceback__), one_line(error)
    last = (_own(frames) or list(frames))[-1:]
    return f"{last[0].filename}:{last[0].lineno}: {said}" if last else said


def one_line(error: BaseException) -> str:
    """An exception in one line, with its kind where it is none of weightstring's own.

    >>> one_line(MemoryError()), one_line(ValueError("two  lines"))
    ('MemoryError', 'ValueError: two lines')
    """
    words = " ".join(str(error).split())
    kind = type(error).__name__
    if isinstance(error, WeightstringError):
        return words or kind
    return f"{kind}: {words[:LONGEST]}" if words else kind


def _own(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [frame for frame in frames if not frame.filename.startswith((*NOT_THE_USERS, "<frozen"))]
