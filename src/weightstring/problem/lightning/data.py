"""The data of a DataModule, or of a module that has loaders of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from weightstring.errors import InvalidData
from weightstring.text import first_line

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
"""Hooks in which a Trainer changes batches on their way to the module."""


def is_data_module(source: object) -> bool:
    """Whether it has loaders, as a LightningDataModule does."""
    return callable(getattr(source, "train_dataloader", None)) and not isinstance(source, DataLoader)


def check_transfer(owner: object) -> None:
    """Refuse hooks that change batches between the loader and the module, as nothing calls them here.

    Raises:
        InvalidData: one is overridden.
    """
    for name in TRANSFERS:
        function = getattr(type(owner), name, None)
        if function is not None and not function.__module__.startswith(("pytorch_lightning.", "lightning.")):
            raise InvalidData(
                f"{type(owner).__name__}.{name} changes batches, and only a Trainer calls it: do that in the "
                "loader's collate_fn, or pass loss=fn(net, batch) that does"
            )


def loaders(source: Any) -> tuple[object, object | None]:
    """The loaders of the training set and of the one on which the loss is measured, after ``setup("fit")``.

    Raises:
        InvalidData: they cannot be made, or there is none, or several validation sets.
    """
    check_transfer(source)
    try:
        for prepare, given in ((getattr(source, "prepare_data", None), ()), (getattr(source, "setup", None), ("fit",))):
            if callable(prepare):
                prepare(*given)
        train = source.train_dataloader()
        evaluate = source.val_dataloader() if callable(getattr(source, "val_dataloader", None)) else None
    except Exception as error:
        raise InvalidData(
            f"{type(source).__name__} does not give its loaders ({type(error).__name__}: {first_line(error)}): pass "
            "them themselves, train and evaluate"
        ) from error
    if train is None:
        raise InvalidData(f"{type(source).__name__}.train_dataloader() returns None: pass train= and evaluate=")
    return one(train, "train_dataloader()"), None if evaluate is None else one(evaluate, "val_dataloader()")


def one(loader: object, name: str) -> object:
    """A loader, which may stand in a list by itself.

    Raises:
        InvalidData: there are several.
    """
    if isinstance(loader, Mapping) or (
        isinstance(loader, Sequence) and any(isinstance(each, DataLoader) for each in loader)
    ):
        each = list(loader.values()) if isinstance(loader, Mapping) else list(loader)
        if len(each) != 1:
            raise InvalidData(
                f"{name} gives {len(each)} loaders: pass train= and evaluate= themselves, and the others by name, "
                "holdout={'other': …}"
            )
        return each[0]
    return loader


def batches_of(source: object, batch_size: int) -> object:
    """What gives batches: a Dataset through a loader, anything else as it is."""
    if isinstance(source, Dataset):
        return DataLoader(source, batch_size=batch_size)
    return source
