"""What makes two runs the same: everything that determines the result, and nothing else."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec
import torch

from weightstring.errors import InvalidRun
from weightstring.problem import Traceable
from weightstring.protocol import Engined, LossProblem, Recipe
from weightstring.search import Bead, StopRule, Strategy
from weightstring.search.strategies import plain
from weightstring.store import Manifest, RunDirectory, digest
from weightstring.store.records import FORMAT, AsSaved, CertifyRecord, Command, Parameter, TaskRef

_IDENTITY = {
    "problem": "the problem (its module, data, loss or recipe)",
    "ends": "the ends",
    "threshold": "the threshold",
    "bind": "what the threshold binds",
    "seed": "the seed",
    "strategy": "the strategy or its recipe",
    "dtype": "the dtype",
}


def manifest_of(
    problem: LossProblem,
    ends: Sequence[Bead],
    threshold: float,
    bind: str,
    seed: int,
    strategy: Strategy[Any],
    stop: StopRule,
    recipe: Recipe,
    width: int,
    threads: int,
    task: TaskRef | None,
    command: Command,
    certify: CertifyRecord | None,
    disprove: bool,
    as_saved: AsSaved = (None, None),
) -> Manifest:
    """What is written down before a run's first round."""
    entries = problem.layout.entries if isinstance(problem, Traceable) else ()
    return Manifest(
        format=FORMAT,
        versions={
            "weightstring": version("weightstring"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        task=task,
        problem=problem.fingerprint(),
        ends=(digest(ends[0].theta), digest(ends[1].theta)),
        end_losses=(ends[0].value, ends[1].value),
        as_saved=as_saved,
        threshold=threshold,
        bind=bind,
        seed=seed,
        strategy=_as_read_back(
            {
                **plain(strategy),
                "recipe": dataclasses.asdict(recipe),
            }
        ),
        engine=problem.engine_choice().name if isinstance(problem, Engined) else "own",
        threads=threads,
        width=width,
        stop=stop.plain(),
        command=command,
        certify=certify,
        disprove=disprove,
        size=problem.size,
        dtype=str(problem.dtype).removeprefix("torch."),
        parameters=tuple(
            Parameter(name=e.name, shape=tuple(e.shape), offset=e.offset, aliases=tuple(e.aliases)) for e in entries
        ),
    )


def _as_read_back(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, so that those asked for can be compared with those on disk."""
    return msgspec.json.decode(msgspec.json.encode(settings), type=dict[str, Any])


def another_run(directory: RunDirectory, field: str) -> InvalidRun:
    """The refusal of a directory whose run differs in a field of its manifest."""
    return InvalidRun(
        f"{directory.path}: holds another run: {_IDENTITY[field]} differs; resume it with what it was begun with, "
        "or choose another directory"
    )


def require_same(directory: RunDirectory, found: Manifest, asked: Manifest) -> None:
    """Refuse a directory whose run is not the one asked for.

    Raises:
        InvalidRun: a field of the manifest that determines the result differs, or an end measures otherwise.
    """
    for field in _IDENTITY:
        if getattr(found, field) != getattr(asked, field):
            raise another_run(directory, field)
    for old, new in zip(found.end_losses, asked.end_losses, strict=True):
        if abs(old - new) > 1e-5 * max(abs(old), abs(new)):
            raise InvalidRun(
                f"{directory.path}: an end measured {old:.9g} when it was begun and {new:.9g} now: has loss_fn changed?"
            )
