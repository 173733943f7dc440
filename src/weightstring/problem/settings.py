"""Settings of a problem that are refused before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe

TAKEN = ("loss", "train", "evaluate", "both", "holdout")
"""Names of the loss and of the sets, by which a threshold says what it binds."""


def check_metrics(metrics: Mapping[str, object], holdouts: Sequence[str] = (), taken: Sequence[str] = ()) -> None:
    """Refuse names of metrics that clash with other quantities or with what a threshold can bind.

    Args:
        metrics: by name.
        holdouts: names of hold-out sets.
        taken: names of further quantities.

    Raises:
        InvalidSetting: not a mapping, or a name that is not an identifier, or is taken.
    """
    if not isinstance(metrics, Mapping):
        raise InvalidSetting(
            f"metrics is a {type(metrics).__name__}: pass a mapping from names to functions, such as {{'error': fn}}"
        )
    sets = tuple(dict.fromkeys(f"{name}_" for name in ("train", "holdout", *holdouts)))
    reserved = (*TAKEN, *taken)
    for name in metrics:
        fits = isinstance(name, str) and name.isidentifier()
        if not fits or name in (*reserved, *holdouts) or name.startswith(sets):
            raise InvalidSetting(
                f"metric name {name!r}: pass an identifier other than {', '.join(map(repr, reserved))} that does not "
                f"begin with {' or '.join(map(repr, sets))}, which name the quantities of the other sets"
            )


def check_recipe(recipe: Recipe) -> None:
    """Refuse settings that are not a :class:`Recipe`.

    Raises:
        InvalidSetting: another type.
    """
    if not isinstance(recipe, Recipe):
        raise InvalidSetting(
            f"recipe is a {type(recipe).__name__}: pass a Recipe, such as Recipe('adam', {{'lr': 1e-3}})"
        )


def check_sizes(batch_size: int | None, chunk: int) -> None:
    """Refuse sizes below 1.

    Raises:
        InvalidSetting: batch_size or chunk is not a positive integer.
    """
    for name, size in (("batch_size", 1 if batch_size is None else batch_size), ("chunk", chunk)):
        if not isinstance(size, int) or size < 1:
            raise InvalidSetting(f"{name}={size!r}: pass an integer of at least 1")


def check_batches(batch_size: int | None, chunk: int, train_size: int) -> None:
    """Refuse batches of a single example, over which BatchNorm has no variance.

    Raises:
        InvalidSetting: they would occur while running statistics are re-estimated or in training.
    """
    parts = -(-train_size // chunk)
    sizes = {
        "batch_size": batch_size,
        "chunk": chunk,
        "the number of training examples": train_size,
        f"the smallest of {parts} parts of at most chunk={chunk} training examples": train_size // parts,
    }
    for name, size in sizes.items():
        if size == 1:
            raise InvalidSetting(
                f"{name} is 1 but buffers='recalibrate' needs batches of at least 2 for BatchNorm's variance: "
                f"use 2 or more, or buffers='frozen'"
            )


def check_rows(rows: Tensor, models: int) -> None:
    """Refuse rows that are not one minibatch for each of ``models`` models.

    Raises:
        InvalidSetting: rows that are not (B, n) int64.
    """
    if rows.ndim != 2 or len(rows) != models or rows.dtype != torch.int64 or not rows.shape[1]:
        raise InvalidSetting(
            f"rows are {tuple(rows.shape)} {rows.dtype} for {models} models: pass (B, n) int64 with n > 0, or None"
        )
