"""Which data set and which metric a measured quantity is of, as its name says: ``train_error``, ``shifted_loss``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ALWAYS = ("train_", "holdout_")
"""Prefixes that no metric's name can have."""


def set_prefixes(known: Iterable[str]) -> tuple[str, ...]:
    """What quantities of each data set begin with: nothing for the evaluation set, which comes first.

    Every set is measured by the same loss and metrics, in one order, so that names fall into blocks of one length.

    >>> set_prefixes(("loss", "error", "train_loss", "train_error", "shifted_loss", "shifted_error"))
    ('', 'train_', 'shifted_')
    >>> set_prefixes(("loss", "token_loss", "error"))  # token_loss is a metric: there is no token_error
    ('',)
    """
    names = list(known)
    for size in range(len(names) - 1, 0, -1):
        prefixes = [name.removesuffix("loss") for name in names[::size]]
        if names == [prefix + metric for prefix in prefixes for metric in names[:size]]:
            return tuple(prefixes)
    return ("", *(prefix for prefix in ALWAYS if f"{prefix}loss" in names and "loss" in names))


def split_quantity(name: str, known: Iterable[str]) -> tuple[str, str]:
    """Split a quantity's name into the prefix of its data set and its metric.

    A prefix counts only where the bare metric is among the ``known`` names too: a metric may be called ``train_time``.

    >>> split_quantity("train_loss", ("loss", "train_loss")), split_quantity("train_time", ("loss", "train_time"))
    (('train_', 'loss'), ('', 'train_time'))
    """
    names = list(known)
    for prefix in sorted(set_prefixes(names), key=len, reverse=True):
        if prefix and name.startswith(prefix) and name.removeprefix(prefix) in names:
            return prefix, name.removeprefix(prefix)
    return "", name


def quantity_label(name: str, known: Iterable[str], measured_on: str = "evaluation") -> str:
    """Call a quantity by its data set and its metric; ``measured_on`` names the set of those without a prefix.

    >>> known = ("loss", "train_loss")
    >>> [quantity_label(name, known) for name in known]
    ['evaluation loss', 'training loss']
    """
    prefix, metric = split_quantity(name, known)
    names = {"": measured_on, "train_": "training"}
    return f"{names.get(prefix, prefix.removesuffix('_'))} {metric}".strip()


def bound_words(names: Sequence[str], evaluation: str) -> str:
    """What a threshold binds, in words.

    Args:
        names: the quantities whose largest that is.
        evaluation: ``"evaluate"``, or ``"train"`` where no evaluation set was given; empty: there are no data.

    >>> bound_words(("loss", "train_loss"), "evaluate")
    'larger of evaluation loss and train loss'
    """
    train = "train loss"
    loss = {"train": f"{train} (no evaluation set was given)", "": "loss"}.get(evaluation, "evaluation loss")
    words = [{"loss": loss, "train_loss": train}.get(name, name) for name in names]
    return words[0] if len(words) == 1 else f"larger of {' and '.join(words)}"


def holdout_prefixes(known: Iterable[str]) -> tuple[str, ...]:
    """Those of sets that neither train a model nor judge one.

    >>> holdout_prefixes(("loss", "train_loss", "holdout_loss"))
    ('holdout_',)
    """
    return tuple(prefix for prefix in set_prefixes(known) if prefix not in ("", "train_"))
