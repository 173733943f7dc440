"""Models as the command line names them: checkpoints, folders of these, and random ones."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from weightstring.arrays import Theta
from weightstring.codec import finite_or_none
from weightstring.errors import Converted, InvalidCheckpoint, InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.problem.copying import copied
from weightstring.store import checkpoints_in, read_checkpoint
from weightstring.store.origins import provenance
from weightstring.store.provenance import Provenance
from weightstring.text import shown

MOST = 1000
"""Models that one command takes."""


def _seed_of(word: str) -> int | None:
    """The seed of ``random:SEED``; None for anything else."""
    kind, _, seed = word.partition(":")
    return int(seed) if kind == "random" and seed.isdecimal() else None


def models_of(problem: ModuleProblem, words: Sequence[str], allowed: Collection[str] = ()) -> dict[str, Theta]:
    """θ of each model that the words name, by what to call it.

    Args:
        problem: whose models.
        words: each a checkpoint, a folder of checkpoints, ``random:SEED`` or ``random:FIRST-LAST``.
        allowed: classes that checkpoints may hold.

    Raises:
        InvalidCheckpoint: one cannot be read, or is no model of the problem's.
        InvalidSetting: one is named twice, or there are too many.
    """
    return {name: end_of(problem, name, allowed) for name in model_names(words)}


def loaders_of(problem: ModuleProblem, options: Namespace) -> dict[str, Callable[[], Theta]]:
    """What loads each model that the command line names, by what to call it; see :func:`models_of`."""
    told: set[str] = set()
    return {name: partial(end_of, problem, name, options.allowed, told) for name in model_names(options.models)}


def model_names(words: Sequence[str]) -> list[str]:
    """What each model that words name is called: a checkpoint, or ``random:SEED``; see :func:`models_of`.

    Raises:
        InvalidSetting: one is named twice, or there are too many.
    """
    names: list[str] = []
    for word in words:
        names += _random_ones(word) or ([word] if _seed_of(word) is not None else map(str, checkpoints_in(word)))
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise InvalidSetting(f"{twice[0]} is named twice: name each model once")
    if len(names) > MOST:
        raise InvalidSetting(f"{len(names)} models: at most {MOST}")
    return names


def pair_of(problem: ModuleProblem, options: Namespace) -> tuple[Theta, Theta]:
    """θ of the two models that the command line names."""
    return end_of(problem, options.a, options.allowed), end_of(problem, options.b, options.allowed)


def origins(options: Namespace, through: Sequence[str] = ()) -> Provenance:
    """Where the models of a search come from that the command line asks for."""
    files = {"a": options.a, "b": options.b, **{f"given{number}": name for number, name in enumerate(through, 1)}}
    return provenance(options.words, **files)


def _random_ones(word: str) -> list[str]:
    """``random:FIRST-LAST``, one by one; nothing for any other word."""
    seeds = re.fullmatch(r"random:(\d+)-(\d+)", word)
    if seeds is None:
        return []
    first, last = map(int, seeds.groups())
    if not 0 <= last - first < MOST:
        raise InvalidSetting(f"{word}: give FIRST-LAST, rising, of at most {MOST} seeds")
    return [f"random:{seed}" for seed in range(first, last + 1)]


def check_destination(checkpoint: Path) -> None:
    """Refuse before a long training what could not be written after it."""
    if checkpoint.suffix != ".safetensors":
        raise InvalidCheckpoint(
            f"{checkpoint}: name it {checkpoint.stem}.safetensors; checkpoints are written in that format only"
        )
    try:
        folder = next(parent for parent in checkpoint.absolute().parents if parent.exists())
        possible = not checkpoint.is_dir() and folder.is_dir() and os.access(folder, os.W_OK)
    except (OSError, ValueError):  # a name that no file can have
        possible = False
    if not possible:
        raise InvalidCheckpoint(f"{checkpoint}: cannot be written; give --out a file in a directory of your own")


def check_file(option: str, path: Path, endings: Sequence[str]) -> None:
    """Refuse before long work a file that could not be written after it."""
    if path.suffix not in endings:
        raise InvalidSetting(f"{option} {path}: name the file {path.stem or 'file'}{endings[0]}")
    if path.is_dir():
        raise InvalidSetting(f"{option} {path}: a folder; give {option} a file")


def check_new(folder: Path) -> None:
    """Refuse a folder that holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidCheckpoint(f"{folder}: there is something already; give --out a new folder")


def check_folder(folder: Path, problem: ModuleProblem) -> None:
    """Refuse a folder that no model could be written to, or that a model cannot write by itself."""
    net = problem.computation.evaluating.module
    if not callable(getattr(net, "save_pretrained", None)):
        raise InvalidCheckpoint(
            f"{folder}: a {type(net).__name__} has no save_pretrained() to write a folder; name a file, "
            f"{folder.name}.safetensors"
        )
    check_new(folder)


def save_pretrained(folder: Path, problem: ModuleProblem, theta: Theta, about: Mapping[str, object]) -> None:
    """Write a model as its own ``save_pretrained`` does, and beside it what is told about it."""
    net = copied(problem.computation.evaluating.module)
    net.load_state_dict(problem.unflatten(theta))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        net.save_pretrained(folder)  # type: ignore[operator]
        (folder / "weightstring.json").write_text(json.dumps(dict(about), sort_keys=True) + "\n")
    except OSError as problem_of_disk:
        raise InvalidCheckpoint(f"{folder}: cannot be written: {problem_of_disk.strerror}") from None


def end_of(problem: ModuleProblem, path: str, allowed: Collection[str] = (), told: set[str] | None = None) -> Theta:
    """θ of a checkpoint, or of a random model; a refusal names the file, and so does a word on its dtype.

    Words that were ``told`` are not repeated, for whoever loads a model several times.
    """
    if (seed := _seed_of(path)) is not None:
        return problem.initial(seed)
    state = read_checkpoint(path, allowed)
    with warnings.catch_warnings(record=True, action="always", category=Converted) as said:
        try:
            theta = problem.flatten(state)
        except InvalidCheckpoint as refusal:
            raise InvalidCheckpoint(f"{path}: {refusal}") from None
    told = set() if told is None else told
    for word in (f"weightstring: {shown(path)}: {each.message}" for each in said):
        if word not in told:
            print(word, file=sys.stderr)
        told.add(word)
    return theta


def as_saved(problem: ModuleProblem, path: str, allowed: Collection[str] = ()) -> float | None:
    """The loss of a checkpoint with its own running statistics; None where none are re-estimated, or it is random."""
    if not problem.statistics_names or _seed_of(path) is not None:
        return None
    return finite_or_none(problem.as_saved(read_checkpoint(path, allowed))["loss"])
