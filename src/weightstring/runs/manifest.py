"""What makes two runs the same: everything that determines the result, and nothing else."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

import msgspec
import torch

from weightstring.codec import finite_or_none, none_as_infinity
from weightstring.errors import InvalidRun, InvalidSetting, Unsupported
from weightstring.path import Objective
from weightstring.problem import Digested, Laid
from weightstring.problem.capabilities import CERTIFIABLE, Traceable, certified_inputs
from weightstring.protocol import Engined, LossProblem
from weightstring.runs.run import Run
from weightstring.runs.settings import Pair
from weightstring.search import Bead, Query
from weightstring.search.strategies import plain
from weightstring.store import Manifest, Store, digest
from weightstring.store.origins import provenance
from weightstring.store.records import FORMAT, Parameter, WaypointRecord

_IDENTITY = {
    "problem": "the problem (its module, data, loss, metrics or recipe)",
    "ends": "the ends",
    "through": "the waypoints",
    "threshold": "the threshold",
    "bind": "what the threshold binds",
    "seed": "the seed",
    "strategy": "the strategy or its recipe",
    "dtype": "the dtype",
    "sampling": "how densely segments are sampled",
}


def manifest_of(run: Run) -> Manifest:
    """What is written down before a run's first round."""
    problem, settings, computing = run.problem, run.settings, run.computing
    entries = problem.layout.entries if isinstance(problem, Laid) else ()
    first, last = run.ends
    return Manifest(
        format=FORMAT,
        versions=versions(),
        task=settings.task,
        problem=problem.fingerprint(),
        ends=(digest(first.theta), digest(last.theta)),
        end_losses=(first.value, last.value),
        as_saved=run.pair.as_saved,
        through=tuple(
            WaypointRecord(sha256=digest(bead.theta), loss=finite_or_none(bead.value), original=original)
            for bead, original in zip_longest(run.through, run.pair.originals)
        ),
        threshold=run.threshold,
        bind=settings.bind,
        seed=settings.seed,
        strategy=as_read_back({**plain(settings.strategy), "recipe": computing.recipe.plain()}),
        engine=problem.engine_choice().name if isinstance(problem, Engined) else "own",
        threads=computing.threads,
        width=computing.width,
        sampling="adaptive" if computing.adaptive else "dense",
        evaluation_seconds=computing.seconds,
        stop=settings.limits.plain(),
        command=settings.command,
        certify=None if run.pair.beside else settings.certify,
        certifiable=_certifiable(problem, settings.bind),
        disprove=settings.disprove,
        size=problem.size,
        dtype=str(problem.dtype).removeprefix("torch."),
        parameters=tuple(
            Parameter(name=e.name, shape=tuple(e.shape), offset=e.offset, aliases=tuple(e.aliases)) for e in entries
        ),
        digests=digests_of(problem),
        provenance=run.pair.provenance or provenance(),
    )


def _certifiable(problem: LossProblem, bind: str) -> bool:
    """Whether a certificate can be about what is bound, as far as that is known without tracing it."""
    try:
        quantity = Objective(problem, bind).quantity()
        if isinstance(problem, Traceable):
            certified_inputs(problem, quantity)
    except (InvalidSetting, Unsupported):
        return False
    return isinstance(problem, CERTIFIABLE)


def versions() -> dict[str, str]:
    """Of what decides how numbers round."""
    return {
        "weightstring": version("weightstring"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def digests_of(problem: LossProblem) -> dict[str, str]:
    """Digests of a problem's module and data, where it tells them."""
    return dict(problem.digests) if isinstance(problem, Digested) else {}


def names_of(waypoints: int) -> list[str]:
    """What the models are called that a search with so many waypoints is given, in their order.

    >>> names_of(2)
    ['a', 'given1', 'given2', 'b']
    """
    return ["a", *(f"given{number}" for number in range(1, waypoints + 1)), "b"]


def query_of(directory: Store, manifest: Manifest) -> Query:
    """What the strategy of a run on disk was asked.

    Raises:
        InvalidRun: its models are damaged.
    """
    (a, b), (low, high) = directory.ends(), manifest.end_losses
    thetas = [a, *directory.through(), b]
    heights = [low, *(none_as_infinity(waypoint.loss) for waypoint in manifest.through), high]
    first, *through, last = map(Bead, names_of(len(manifest.through)), thetas, heights)
    return Query((first, last), manifest.threshold, manifest.seed, tuple(through))


def as_read_back(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, so that those asked for can be compared with those on disk."""
    return msgspec.json.decode(msgspec.json.encode(settings), type=dict[str, Any])


def earlier(problem: LossProblem, pair: Pair) -> Manifest | None:
    """The manifest of the run that an earlier session began; None where there is none.

    Raises:
        InvalidRun: it is damaged, or of another problem.
    """
    if pair.directory is None or not pair.directory.exists:
        return None
    manifest = pair.directory.manifest()
    if manifest.problem != problem.fingerprint():
        raise _another_run(pair.directory, "problem", other_python(manifest))
    return manifest


def require_same(directory: Store, begun: Manifest, wanted: Manifest) -> None:
    """Refuse a directory whose run is not the one asked for.

    Raises:
        InvalidRun: a field of the manifest that determines the result differs, or an end measures otherwise.
    """
    for field in _IDENTITY:
        if _identity(begun, field) != _identity(wanted, field):
            raise _another_run(directory, field, other_python(begun) if field == "problem" else "")
    for old, new in zip(begun.end_losses, wanted.end_losses, strict=True):
        if abs(old - new) > 1e-5 * max(abs(old), abs(new)):
            raise InvalidRun(
                f"{directory}: an end measured {old:.9g} when it was begun and {new:.9g} now: has loss_fn changed?"
            )


def other_python(manifest: Manifest) -> str:
    """What to add where a problem seems to be another: that Python is, by which the user's own functions are known."""
    begun = manifest.versions.get("python", "")
    then, now = (".".join(text.split(".")[:2]) for text in (begun, platform.python_version()))
    if then in ("", now):
        return ""
    return f" (functions of your own are known by their bytecode, which is another in Python {now} than in {then})"


def _identity(manifest: Manifest, field: str) -> object:
    return [each.sha256 for each in manifest.through] if field == "through" else getattr(manifest, field)


def _another_run(directory: Store, field: str, why: str = "") -> InvalidRun:
    return InvalidRun(
        f"{directory}: holds another run: {_IDENTITY[field]} differs{why}; resume it with what it was begun with, "
        "or choose another directory"
    )
