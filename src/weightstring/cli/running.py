"""What every command that runs a search has in common: where it is kept, how it goes on, and how it concludes."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from weightstring.cli.ending import DISCONNECTED, DONE, INTERRUPTED, NOT_CERTIFIED, UNRESOLVED
from weightstring.cli.measured import as_json as measured_as_json
from weightstring.cli.measured import print_measured
from weightstring.cli.opening import pointing
from weightstring.cli.output import print_result
from weightstring.cli.quiet import is_quiet
from weightstring.cli.ranks import launcher
from weightstring.path import Disconnected, Unresolved
from weightstring.report.run.page import keep_page
from weightstring.runs.listening import Follower, Listeners, listening
from weightstring.runs.log import Log, Logged
from weightstring.runs.next_steps import next_steps
from weightstring.runs.result import Result
from weightstring.runs.tracking import trackers
from weightstring.store import Store, opened
from weightstring.store.records import TaskRef
from weightstring.text import shown


def run_directory(out: str | None, task: TaskRef, settings: Sequence[object]) -> str:
    """Where a run is kept: as the command line says, else by the task and a digest of the settings."""
    digest = hashlib.sha256(msgspec.json.encode([task, *settings])).hexdigest()[:10]
    return out or f"runs/{task.name.rpartition(':')[2]}-{digest}"


@contextmanager
def resumable(run: str, options: Namespace) -> Iterator[None]:
    """After Ctrl-C, wherever it struck, say how to go on with a run that has begun."""
    try:
        yield
    except KeyboardInterrupt:
        if not opened(run).exists:
            raise
        given = {name: vars(options).get(name) for name in ("max_beads", "max_steps", "seconds", "log", "track")}
        told = {name: shlex.quote(shown(str(value))) for name, value in given.items() if value is not None}
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in told.items()]
        resume = [f"{launcher()}weightstring resume", shlex.quote(shown(str(opened(run))))]
        go_on = " ".join([*resume, *pointing(run, options), *flags])
        print(f"weightstring: interrupted; nothing is lost. Resume with: {go_on}", file=sys.stderr)
        sys.exit(INTERRUPTED)


@contextmanager
def listened(options: Namespace, run: str) -> Iterator[Listeners]:
    """Within the context all who were asked for hear how it gets on: a display, ``--log`` and ``--track``.

    Raises:
        InvalidSetting: there is no such tracker.
        StoreFailed: the log cannot be written.
    """
    followers: list[Follower] = [*trackers(options.track)]
    if options.log is not None:
        followers.append(Logged(Log(options.log, run), options.words))
    with listening(False if is_quiet() else None, *followers) as told:
        yield told


def require_uninterrupted(result: Result) -> None:
    """Let an interruption that the search turned into an outcome end the command, too."""
    if isinstance(result.outcome, Unresolved) and result.outcome.reason == "interrupted":
        raise KeyboardInterrupt


def conclude(
    result: Result, out: str, as_json: bool, certified: bool = False, more: Mapping[str, object] | None = None
) -> int:
    """Write the page and print the result; where it was to be certified, say by the exit code whether it is."""
    require_uninterrupted(result)
    store = opened(out)
    keep_page(store)
    code = tell(result, store, as_json, more)
    proved = result.certificate is not None and result.certificate.holds
    return NOT_CERTIFIED if certified and result.connected and not proved else code


def tell(
    result: Result,
    directory: Store,
    as_json: bool,
    more: Mapping[str, object] | None = None,
    *,
    whole: bool = False,
) -> int:
    """Print a result, as JSON or in words, of the ``whole`` where it comes from; the exit code of its outcome."""
    if as_json:
        fields = {"run": str(directory), **msgspec.to_builtins(directory.result()), **(more or {})}
        if any(loss is not None for loss in result.as_saved):
            fields["as_saved"] = result.as_saved
        if result.alignment is not None:
            fields["alignment"] = msgspec.to_builtins(result.alignment)
        if result.plain is not None:
            fields["plain"] = msgspec.to_builtins(directory.plain.result())
        if result.certificate is not None:
            fields["certificate"] = msgspec.to_builtins(result.certificate)
        manifest = directory.manifest()
        fields["provenance"] = msgspec.to_builtins(manifest.provenance)
        fields["next"] = [step._asdict() for step in next_steps(result, manifest, str(directory))]
        if result.measured:
            fields["measured"] = measured_as_json(directory.measured())
        print(json.dumps(fields))
    else:
        print_result(result, directory, whole=whole)
        if not is_quiet():
            print_measured(directory)
    if isinstance(result.outcome, Disconnected):
        return DISCONNECTED
    return DONE if result.connected else UNRESOLVED
