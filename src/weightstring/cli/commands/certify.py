"""``weightstring certify``: prove how high the loss is at most on a finished run's whole string."""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser, Namespace

import weightstring as ws
from weightstring.cli.ending import DONE, NOT_CERTIFIED
from weightstring.cli.options.limits import add_limits
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.cli.options.values import number
from weightstring.cli.quiet import is_quiet
from weightstring.text import shown

HELP = "prove an upper bound on the loss over a run's whole string"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--threshold", type=number, metavar="L0", help="what to prove (default: the run's own)")
    parser.add_argument("--quantity", metavar="NAME", help="what to bound, such as error (default: what the run bound)")
    parser.add_argument(
        "--tol",
        type=number,
        default=1e-3,
        metavar="T",
        help="how close to the largest sample, relative, where there is no threshold to reach (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="(default: certificate.json in RUN, certificate-NAME.json where not the run's own)",
    )
    add_limits(parser)
    add_json(parser)
    add_problem(parser)


def run(options: Namespace) -> int:
    """Prove the bound, and keep the certificate in the run's directory."""
    import msgspec

    from weightstring.cli.opening import learn, opened
    from weightstring.cli.progress import telling
    from weightstring.path import Objective
    from weightstring.runs.certify_step import bounded
    from weightstring.runs.recording import CERTIFICATE, certificate_name
    from weightstring.store import opened as store_at

    directory = store_at(options.run)
    problem, before, _ = opened(options)
    manifest = directory.manifest()
    objective = Objective(problem, manifest.bind)
    quantity = options.quantity or objective.quantity()
    threshold = options.threshold
    if threshold is None and quantity in objective.names and manifest.command == "connect":
        threshold = manifest.threshold
    # What answers another question than the run's own does not take the place of its certificate.
    answers_run = quantity in objective.names and threshold in (None, manifest.threshold)
    name = CERTIFICATE if answers_run else certificate_name(quantity)
    with telling() as tell:
        after = bounded(
            problem,
            before,
            threshold,
            options.tol,
            quantity,
            seconds=math.inf if options.seconds is None else options.seconds,
            max_bytes=options.max_bytes,
            explain=True,
            on_round=tell,
        )
    certificate = after.certificate
    assert certificate is not None
    if options.out is None:
        directory.write(name, certificate.to_json())
    else:
        certificate.save(options.out)
    learn(directory, before, after, keep=answers_run)
    if options.json:
        print(json.dumps({"run": str(directory), **msgspec.to_builtins(certificate)}))
    else:
        _print(certificate, options.out or f"{directory}/{name}")
    return NOT_CERTIFIED if certificate.holds is False else DONE


def _print(certificate: ws.Certificate, out: str) -> None:
    print(shown(str(certificate)))
    if is_quiet():
        return
    if certificate.holds is False:
        segment, low, high, top = certificate.loosest
        print(f"loosest: {top:.6g} between beads {segment} and {segment + 1}, t from {low:.6g} to {high:.6g}")
    print(f"kept in {shown(out)}, {certificate.seconds:.1f} s")
