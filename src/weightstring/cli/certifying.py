"""Proofs on the command line: certify a finished run's string."""

from __future__ import annotations

import json
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import msgspec

from weightstring.cli.ending import DONE, NOT_CERTIFIED
from weightstring.cli.opening import learn, opened
from weightstring.errors import InvalidRun
from weightstring.path import Disconnected, Objective, Proof
from weightstring.proof.certificate import Certificate
from weightstring.proof.verify import verify as check
from weightstring.protocol import LossProblem
from weightstring.runs.certify_step import bounded
from weightstring.runs.result import Result, answers
from weightstring.store import RunDirectory
from weightstring.text import shown
from weightstring.theory.disconnection import prove


def certify(options: Namespace) -> int:
    """Prove how high the loss is at most on the whole string, and keep the certificate in the run's directory."""
    directory = RunDirectory(options.run)
    problem, before, _ = opened(options)
    manifest = directory.manifest()
    objective = Objective(problem, manifest.bind)
    quantity = options.quantity or objective.quantity()
    threshold = options.threshold
    if threshold is None and quantity in objective.names and manifest.command == "connect":
        threshold = manifest.threshold
    # What answers another question than the run's own does not take the place of its certificate.
    own = quantity in objective.names and threshold in (None, manifest.threshold)
    out = Path(options.out) if options.out else directory.certificate_of("" if own else quantity)
    with _telling() as tell:
        after = bounded(
            problem,
            before,
            threshold,
            options.tol,
            quantity,
            seconds=math.inf if options.seconds is None else options.seconds,
            max_bytes=options.max_bytes,
            on_round=tell,
        )
    certificate = after.certificate
    assert certificate is not None
    certificate.save(out)
    learn(directory, before, after, keep=own)
    if options.json:
        print(json.dumps({"run": str(directory.path), **msgspec.to_builtins(certificate)}))
    else:
        print(shown(str(certificate)))
        if certificate.holds is False:
            segment, low, high, top = certificate.loosest
            print(f"loosest: {top:.6g} between beads {segment} and {segment + 1}, t from {low:.6g} to {high:.6g}")
        print(f"kept in {shown(str(out))}, {certificate.seconds:.1f} s")
    return NOT_CERTIFIED if certificate.holds is False else DONE


def verify(options: Namespace) -> int:
    """Check a run's certificate again, by other arithmetic; prove again that it is disconnected, where it is."""
    directory = RunDirectory(options.run)
    problem, result, _ = opened(options)
    if isinstance(result.outcome, Disconnected) and options.certificate is None:
        return _prove_again(problem, result, result.outcome.proof, directory, options.json)
    certificate, manifest = Certificate.load(options.certificate or directory.certificate), directory.manifest()
    string = result.string
    if options.certificate is None and (differs := answers(certificate, manifest, result.names, string.beads)):
        raise InvalidRun(
            f"{directory.certificate}: {differs}: the file was changed, or is another run's; "
            f"weightstring certify {options.run} makes a new one"
        )
    own = certificate.threshold in (None, manifest.threshold)
    if not own and certificate.quantity in Objective(problem, manifest.bind).names:
        print(
            f"note: {shown(str(options.certificate))}: its threshold is {certificate.threshold!r}, not the run's "
            f"{manifest.threshold!r}; what is checked is the certificate's",
            file=sys.stderr,
        )
    seconds = math.inf if options.seconds is None else options.seconds
    with _telling() as tell:
        verification = check(
            problem, string, certificate, seconds=seconds, on_interval=lambda done, n: tell(done, n - done, math.nan)
        )
    if options.json:
        print(json.dumps({"run": str(directory.path), **asdict(verification)}))
    else:
        if verification.ok:
            print(shown(str(certificate)))
        print(*map(shown, str(verification).splitlines()), sep="\n")
    return DONE if verification.ok else NOT_CERTIFIED


def _prove_again(problem: LossProblem, result: Result, kept: Proof, directory: RunDirectory, as_json: bool) -> int:
    """From the problem and the two ends alone; what the run says must not be more."""
    proof = prove(problem, *directory.ends()) if "loss" in result.names else None
    bound = None if proof is None else proof.bound
    ok = bound is not None and kept.bound <= bound and result.threshold < bound
    if as_json:
        print(json.dumps({"run": str(directory.path), "ok": ok, "bound": bound, "claimed": kept.bound}))
    elif proof is not None and ok:
        print(f"proved again: every path climbs to at least {proof.bound!r}, over the threshold {result.threshold!r}")
        print(shown(proof.argument))
    else:
        again = "nothing" if bound is None else f"{bound!r}"
        print(f"NOT proved again: the run claims {kept.bound!r} over {result.threshold!r}; what is proved is {again}")
    return DONE if ok else NOT_CERTIFIED


@contextmanager
def _telling() -> Iterator[Callable[[int, int, float], None]]:
    """A line on a terminal that says how far a proof is, and goes when it ends."""
    shown = 0.0

    def tell(done: int, waiting: int, largest: float) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            print(f"\r{done} intervals proved, {waiting} waiting, bound {largest:.6g}\x1b[K", end="", file=sys.stderr)

    try:
        yield tell
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr)
