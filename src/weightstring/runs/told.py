"""What is told of one search to those who follow it: how it begins, round by round, and what it has come to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from pkgutil import resolve_name
from typing import Any

import msgspec

from weightstring.path import Connected, Disconnected, Unresolved
from weightstring.runs.listening import Begun, Ended, Listeners
from weightstring.runs.manifest import manifest_of
from weightstring.runs.recording import record_of
from weightstring.runs.result import Result
from weightstring.runs.run import Run, interrupted
from weightstring.store import Manifest, ObjectStore, RoundRecord, RunDirectory, Store
from weightstring.trackers import Setting

PAGE = "weightstring.report.run.page:page_bytes"
"""What makes a run's page: it lies above, and is imported when it is asked for."""
LEFT_OUT = ("parameters", "measured")
"""Of a manifest: names and places of every parameter, and what came after the search."""


def begun_here(run: Run) -> Begun:
    """How a run begins, or goes on."""
    return begun_in(manifest_of(run) if run.directory is None else run.directory.manifest(), run.directory)


def begun_in(manifest: Manifest, store: Store | None) -> Begun:
    """How the run of a manifest begins."""
    plain = {name: value for name, value in msgspec.to_builtins(manifest).items() if name not in LEFT_OUT}
    if not isinstance(store, RunDirectory | ObjectStore):
        short = hashlib.sha256(msgspec.json.encode(manifest.ends)).hexdigest()[:8]
        return Begun(f"{manifest.command}-{short}", flat(plain), store)
    return Begun(PurePosixPath(str(store)).name or manifest.command, flat(plain), store)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Setting]:
    """Nested values by dotted names, lists as JSON.

    >>> flat({"a": {"b": 1, "c": [1, 2]}, "d": None})
    {'a.b': 1, 'a.c': '[1,2]', 'd': None}
    """
    found: dict[str, Setting] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str | bool | int | float):
            found[prefix + name] = value
        else:
            found[prefix + name] = msgspec.json.encode(value).decode()
    return found


def in_numbers(
    rounds: Sequence[RoundRecord], cpu_seconds: float | None = None
) -> Iterator[tuple[int, dict[str, float]]]:
    """The rounds of a search, from 1, each with the string after it, and with what all rounds up to it took.

    Args:
        rounds: those that are over, of all sessions.
        cpu_seconds: what the process has computed in this session, told with the last of them.
    """
    columns: dict[str, list[float]] = {
        "gradients": [*accumulate(one.steps for one in rounds)],
        "evaluations": [*accumulate(one.evaluations for one in rounds)],
        "seconds": [*accumulate(one.seconds for one in rounds)],
    }
    for number, one in enumerate(rounds, 1):
        numbers = {"beads": float(one.beads), "open_links": float(one.open)}
        numbers |= {name: float(column[number - 1]) for name, column in columns.items()}
        if one.highest is not None:
            numbers["largest"] = one.highest
        if one.level is not None:
            numbers["level"] = one.level
        if cpu_seconds is not None and number == len(rounds):
            numbers["cpu_seconds"] = cpu_seconds
        yield number, numbers


def ended_with(result: Result, store: Store | None) -> Ended:
    """What a search has come to."""
    outcome, string = result.outcome, result.string
    fields: dict[str, str | float | bool | None] = {
        "outcome": outcome.kind,
        "reason": outcome.reason if isinstance(outcome, Unresolved) else None,
        "threshold": result.threshold,
        "level": result.largest,
        "beads": len(string),
        "length": string.normalized_length,
        "barrier": string.barrier("over_linear"),
        "line_barrier": None if result.line is None else result.line.barrier("over_linear"),
        "rounds": len(result.history),
        "steps": result.steps,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "certified": result.certificate is not None and result.certificate.holds,
    }
    files: dict[str, Callable[[], bytes]] = {"result.json": lambda: msgspec.json.encode(record_of(result))}
    if store is not None and store.finished:
        files = {"result.json": lambda: store.read("result.json") or b"", "report.html": lambda: _page(store)}
    return Ended(in_words(result), fields, result, figures=("loss",), files=files)


def tell_end(told: Listeners, result: Result, store: Store | None) -> None:
    """Tell all rounds and the verdict, unless Ctrl-C came first: nothing is measured then."""
    if not interrupted(result):
        told.reached(lambda: in_numbers(result.history))
        told.ended(lambda: ended_with(result, store))


def in_words(result: Result) -> str:
    """A result in one line.

    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.runs.connect import connect
    >>> ring = Ring()
    >>> in_words(connect(ring, *ring.ends, threshold=0.1)).partition(":")[0]
    'connected'
    """
    outcome = result.outcome
    verdict = {Connected: "connected", Disconnected: "disconnected"}.get(type(outcome), "unresolved")
    why = f" ({outcome.reason})" if isinstance(outcome, Unresolved) else ""
    return (
        f"{verdict}{why}: largest sample {result.largest:.6g}, threshold {result.threshold:.6g}; "
        f"{len(result.string)} beads, {len(result.history)} rounds, {result.steps} gradient steps"
    )


def _page(store: Store) -> bytes:
    content: bytes = resolve_name(PAGE)(store)
    return content
