"""``weightstring status``: how far a sweep or a run is, while processes are at it or after they were stopped."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json
from weightstring.errors import InvalidRun

if TYPE_CHECKING:
    from weightstring.study.sweep.status import Status

HELP = "show how far a sweep or a run is"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP", help="its directory")
    add_json(parser, "the state")


def run(options: Namespace) -> int:
    """Print how far it is; whatever that is, the exit code is 0."""
    from weightstring.store.objects import is_url
    from weightstring.study.sweep.directory import SweepDirectory
    from weightstring.study.sweep.status import status

    if not is_url(options.run) and SweepDirectory(Path(options.run)).exists:
        found = status(options.run)
        if options.json:
            print(json.dumps(_plain(options.run, found)))
        else:
            _print(found)
    else:
        state = _of_run(options.run)
        print(json.dumps(state) if options.json else _in_words(state))
    return DONE


def _print(found: Status) -> None:
    from weightstring.cli.console import console_for_text, table
    from weightstring.text import seconds_in_words

    columns = table("variant", "L0", "networks", "failed", "pairs", "connected", left=["variant"])
    for (variant, level), each in found.at.items():
        networks, pairs = f"{each.networks}/{each.networks_needed}", f"{each.pairs}/{each.pairs_wanted}"
        columns.add_row(variant, f"{level:g}", networks, str(each.failed), pairs, str(each.connected))
    console = console_for_text()
    console.print(columns)
    console.print(
        f"blocks under way: {found.training} of networks, {found.connecting} of pairs; "
        f"{found.finished} searches ended in the last {seconds_in_words(found.window)}"
    )
    share = f"{found.pairs} of {found.wanted} pairs"
    if found.left:
        console.print(f"{share}; at this rate the rest takes {seconds_in_words(found.left)}")
    elif found.pairs >= found.wanted:
        console.print(f"{share}: done; `weightstring collect` makes the table")
    else:
        console.print(f"{share}" + ("" if found.training or found.connecting else "; nobody is at it"))


def _plain(sweep: str, found: Status) -> dict[str, object]:
    at = [{"variant": variant, "threshold": level, **vars(each)} for (variant, level), each in found.at.items()]
    told = {name: getattr(found, name) for name in ("training", "connecting", "finished", "window", "pairs", "wanted")}
    return {"sweep": sweep, **told, "seconds_left": found.left, "at": at}


def _of_run(name: str) -> dict[str, object]:
    """A run: its state, rounds and seconds so far."""
    from weightstring.store import opened
    from weightstring.store.directory import RunDirectory
    from weightstring.store.locks import is_held

    store = opened(name)
    if not store.exists:
        raise InvalidRun(f"{store}: neither a sweep nor a run has begun here; give the directory that --out named")
    manifest, rounds = store.manifest(), store.replay()
    held = isinstance(store, RunDirectory) and is_held(store.path / "lock")
    state = store.result().outcome.kind if store.finished else "running" if held else "stopped"
    seconds = sum(each.seconds for each in rounds)
    return {"run": name, "state": state, "rounds": len(rounds), "seconds": seconds, "threshold": manifest.threshold}


def _in_words(state: dict[str, object]) -> str:
    from weightstring.text import seconds_in_words, shown

    resume = f"; resume with: weightstring resume {state['run']}" if state["state"] == "stopped" else ""
    took = seconds_in_words(float(str(state["seconds"])))
    return shown(f"{state['run']}: {state['state']}; {state['rounds']} rounds in {took}{resume}")
