"""``weightstring verify``: check a run's certificate again by other arithmetic, or its proof of disconnection."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

import weightstring as ws
from weightstring.cli.ending import DONE, NOT_CERTIFIED
from weightstring.cli.options.limits import add_limits
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.errors import InvalidRun
from weightstring.text import shown

if TYPE_CHECKING:
    from weightstring.store import Store

HELP = "check a run's certificate or proof by independent means"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--certificate", metavar="FILE", help="(default: certificate.json in RUN)")
    add_limits(parser, " for a chunk of training inputs")
    add_json(parser)
    add_problem(parser)


def run(options: Namespace) -> int:
    """Check the certificate; prove again that the ends are disconnected, where the run says so."""
    from weightstring.cli.opening import opened
    from weightstring.cli.progress import telling
    from weightstring.path import Objective
    from weightstring.runs.recording import CERTIFICATE, answers
    from weightstring.store import opened as store_at

    directory = store_at(options.run)
    problem, result, _ = opened(options)
    if isinstance(result.outcome, ws.Disconnected) and options.certificate is None:
        return _prove_again(problem, result, result.outcome.proof, directory, options.json)
    certificate, manifest = _certificate(directory, options.certificate), directory.manifest()
    string = result.string
    if options.certificate is None and (differs := answers(certificate, manifest, result.names, string.beads)):
        raise InvalidRun(
            f"{directory}/{CERTIFICATE}: {differs}: the file was changed, or is another run's; "
            f"weightstring certify {options.run} makes a new one"
        )
    other_threshold = certificate.threshold not in (None, manifest.threshold)
    if other_threshold and certificate.quantity in Objective(problem, manifest.bind).names:
        print(
            f"note: {shown(str(options.certificate))}: its threshold is {certificate.threshold!r}, not the run's "
            f"{manifest.threshold!r}; what is checked is the certificate's",
            file=sys.stderr,
        )
    seconds = math.inf if options.seconds is None else options.seconds
    with telling() as tell:
        verification = ws.verify(
            problem,
            string,
            certificate,
            seconds=seconds,
            max_bytes=options.max_bytes,
            on_interval=lambda done, n: tell(done, n - done, math.nan),
        )
    if options.json:
        print(json.dumps({"run": str(directory), **asdict(verification)}))
    else:
        if verification.ok:
            print(shown(str(certificate)))
        print(*map(shown, str(verification).splitlines()), sep="\n")
    return DONE if verification.ok else NOT_CERTIFIED


def _certificate(store: Store, file: str | None) -> ws.Certificate:
    """That of a file, or the run's own."""
    from weightstring.runs.recording import CERTIFICATE

    if file is not None:
        return ws.Certificate.load(file)
    content, place = store.read(CERTIFICATE), f"{store}/{CERTIFICATE}"
    if content is None:
        raise InvalidRun(f"{place}: no certificate here; make one with weightstring certify")
    return ws.Certificate.from_json(content, place)


def _prove_again(problem: ws.LossProblem, result: ws.Result, kept: ws.Proof, directory: Store, as_json: bool) -> int:
    """From the problem and the two ends alone; what the run says must not be more."""
    from weightstring.proof.disconnect import prove

    proof = prove(problem, *directory.ends()) if "loss" in result.names else None
    bound = None if proof is None else proof.bound
    ok = bound is not None and kept.bound <= bound and result.threshold < bound
    if as_json:
        print(json.dumps({"run": str(directory), "ok": ok, "bound": bound, "claimed": kept.bound}))
    elif proof is not None and ok:
        print(f"proved again: every path climbs to at least {proof.bound!r}, over the threshold {result.threshold!r}")
        print(shown(proof.argument))
    else:
        again = "nothing" if bound is None else f"{bound!r}"
        print(f"NOT proved again: the run claims {kept.bound!r} over {result.threshold!r}; what is proved is {again}")
    return DONE if ok else NOT_CERTIFIED
