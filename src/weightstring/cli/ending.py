"""How a command ends: its exit code and one line, whatever was raised. Nothing here imports PyTorch."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weightstring.errors import LevelNotReached, WeightstringError
from weightstring.text import shown

DONE, FAULT, MISUSE, UNRESOLVED, NOT_CERTIFIED, DISCONNECTED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit codes."""

DEBUG = "WEIGHTSTRING_DEBUG"
"""Set in the environment, it shows tracebacks on standard error too."""


def code_of(command: Callable[[Namespace], int], options: Namespace) -> int:
    """Run a command; its exit code, with one line on standard error where it failed."""
    try:
        code = command(options)
        sys.stdout.flush()  # Here, where it can still be told that there is no room for it.
    except LevelNotReached as error:
        return _complain(error, UNRESOLVED)
    except WeightstringError as error:
        return _complain(error, MISUSE)
    except KeyboardInterrupt:
        _say("interrupted; run the same command to start over")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _drop_output()
        return DONE
    except MemoryError:
        _say("out of memory: give it more (see `ulimit -v`), or pass a smaller chunk= or batch_size= to the problem")
        return MISUSE
    except OSError as error:
        if error.filename is None:  # nobody but standard output has no name
            _drop_output()
            _say(f"standard output cannot be written: {error.strerror or error}")
            return MISUSE
        return _fault(error, options)
    except Exception as error:
        return _fault(error, options)
    return code


@contextmanager
def going_on(kept: bool = True) -> Iterator[None]:
    """After Ctrl-C in a command of several searches that are kept, say how to go on, and leave."""
    try:
        yield
    except KeyboardInterrupt:
        if not kept:
            raise
        _say("interrupted; what is finished is kept. Run the same command to resume")
        sys.exit(INTERRUPTED)


def plain_output() -> None:
    """Escape what the encoding of a terminal or pipe lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # closed, or another program's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _complain(error: Exception, code: int) -> int:
    # One line, even where a message quotes text of several, such as an exception of the user's own or a damaged file.
    _say(shown(" ".join(str(error).splitlines())))
    _debug(error)
    return code


def _fault(error: Exception, options: Namespace) -> int:
    """An unforeseen exception: one line, and where its traceback is."""
    words = shown(" ".join(str(error).split()))[:200]
    where = _kept(error, options)
    told = f"the traceback is in {where}" if where else f"set {DEBUG}=1 to see the traceback"
    _say(f"a bug in weightstring, {type(error).__name__}: {words}; {told}: please report it")
    _debug(error)
    return FAULT


def _kept(error: Exception, options: Namespace) -> Path | None:
    """Where the traceback is written: in the run's directory, else in that for temporary files."""
    from importlib.metadata import version  # a fifth of the time that --help takes

    content = f"weightstring {version('weightstring')}, {sys.version}\n{vars(options)}\n\n" + "".join(
        traceback.format_exception(error)
    )
    folders = [Path(str(folder)) for folder in (vars(options).get("run"), vars(options).get("out")) if folder]
    for folder in [*folders, Path(tempfile.gettempdir())]:
        with suppress(OSError, ValueError):
            if folder.is_dir():
                path = folder / f".weightstring-fault-{os.getpid()}.txt"
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:  # through no link
                    file.write(content)
                return path
    return None


def _debug(error: Exception) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it
        print(f"weightstring: {line}", file=sys.stderr)


def _drop_output() -> None:
    """Keep Python from failing again when it flushes standard output at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
