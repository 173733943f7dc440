"""A problem of a LightningModule and its data, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import nn

from weightstring.errors import InvalidCheckpoint, InvalidData, InvalidModel, InvalidSetting
from weightstring.problem.batchwise.per_batch import BatchLoss
from weightstring.problem.datasets.sources import holdouts, told
from weightstring.problem.datasets.streaming import Streamed
from weightstring.problem.inspection.originals import evaluating
from weightstring.problem.lightning.data import batches_of, check_transfer, is_data_module, loaders
from weightstring.problem.lightning.steps import STEPS, Weight, found_step, size_of
from weightstring.problem.module import ModuleProblem
from weightstring.recipe import Recipe
from weightstring.text import first_line

HYPERPARAMETERS = "hyper_parameters"
"""Where a Lightning checkpoint keeps what its module was built with."""


def from_lightning(
    module: nn.Module | type[nn.Module],
    train: object = None,
    evaluate: object = None,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    holdout: object = None,
    step: str | None = None,
    weight: Weight | None = None,
    loss: BatchLoss | None = None,
    metrics: Mapping[str, BatchLoss] | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    buffers: str | None = None,
    recipe: Recipe | None = None,
    training_recipe: Recipe | None = None,
    train_curves: bool | Literal["auto"] = "auto",
) -> ModuleProblem:
    """The loss of a LightningModule, by its own step, over the data of a DataModule or of loaders.

    The loss is what ``validation_step`` returns, or logs as its loss, else ``training_step``: a mean over the examples
    of a batch, so that the loss of a set is the mean over all its examples, whatever the batches. What else the step
    logs is a quantity too, ``val_acc`` as ``acc``; a metric of ``torchmetrics`` that is logged is computed of the whole
    set. No Trainer is needed, nor asked.

    Args:
        module: a LightningModule, which is copied and never changed; or its class, with a checkpoint that says with
            which hyperparameters it is built.
        train: a LightningDataModule, whose ``setup("fit")`` and loaders are called; or the training set itself: a
            DataLoader, a Dataset, or a list of batches. None: the module's own ``train_dataloader``.
        evaluate: likewise the set on which the loss is measured; None: that of the DataModule, or the training set.
        checkpoint: a .ckpt as :func:`weightstring.read_checkpoint` reads it, if ``module`` is a class.
        holdout: a set, or several by name, that is only ever reported.
        step: ``"validation_step"`` or ``"training_step"``; None: the first that gives a loss.
        weight: ``weight(batch)``: how many examples or tokens the step's means are over; None: the batch's rows.
        loss: a loss of (net, batch) in place of the step's; see :meth:`ModuleProblem.from_batches`.
        metrics: further functions of (net, batch) by name.
        batch_size: examples in a batch of a Dataset; loaders have their own.
        device: where to compute; None: where the module is.
        dtype: in what to compute; None: each parameter's own.
        buffers: ``"recalibrate"`` or ``"frozen"`` running statistics.
        recipe: how to descend this loss unless told otherwise.
        training_recipe: how random models are trained.
        train_curves: as of :class:`ModuleProblem`.

    Raises:
        InvalidModel: no step gives a loss without a Trainer.
        InvalidCheckpoint: it has no hyperparameters that the class takes.
        InvalidData: there are no data, several validation sets, or hooks that only a Trainer calls.
        InvalidSetting: the step's values are no means over examples, which parts of batches tell.
        NotDeterministic: as of :class:`ModuleProblem`.
    """
    if isinstance(module, type) and checkpoint is not None:
        module = _built(module, checkpoint)
    if not isinstance(module, nn.Module) or not hasattr(module, "log") or not hasattr(module, STEPS[1]):
        raise InvalidModel(f"module is a {type(module).__name__}: pass a LightningModule")
    if step is not None and step not in STEPS:
        raise InvalidSetting(f"step={step!r}: pass one of {', '.join(map(repr, STEPS))}, or loss=fn(net, batch)")
    check_transfer(module)
    source = module if train is None else train
    found: tuple[object, object] = loaders(source) if is_data_module(source) else (source, None)
    sets = {"train": found[0], "evaluate": found[1] if evaluate is None else evaluate}
    batches = {name: batches_of(each, batch_size) for name, each in sets.items() if each is not None}
    if loss is None:
        with evaluating(module), torch.random.fork_rng(devices=[]):
            loss = found_step(module, _first(batches["train"]), step, weight or size_of)
    elif step is not None or weight is not None:
        raise InvalidSetting("loss= is given, beside which step= and weight= say nothing: leave them out")
    held = {name: batches_of(each, batch_size) for name, each in holdouts(holdout).items()}
    return ModuleProblem.from_batches(
        module,
        cast("Iterable[object]", batches["train"]),
        cast("Iterable[object] | None", batches.get("evaluate")),
        loss,
        holdout=cast("Mapping[str, Iterable[object]]", held) or None,
        metrics=metrics,
        device=device,
        dtype=dtype,
        buffers=buffers,
        recipe=recipe,
        training_recipe=training_recipe,
        train_curves=train_curves,
    )


def _built(kind: type[nn.Module], checkpoint: Mapping[str, Any]) -> nn.Module:
    """A module built with the hyperparameters that are saved in a checkpoint, and loaded from it.

    Raises:
        InvalidCheckpoint: it has none, or the class takes others.
    """
    saved = checkpoint.get(HYPERPARAMETERS)
    if not isinstance(saved, Mapping):
        raise InvalidCheckpoint(
            f"the checkpoint has no {HYPERPARAMETERS}: call self.save_hyperparameters() in {kind.__name__}.__init__, "
            "or build the module yourself"
        )
    try:
        module = kind(**saved)
        module.load_state_dict(checkpoint["state_dict"])
    except Exception as error:
        raise InvalidCheckpoint(
            f"{kind.__name__} cannot be built with the checkpoint's {HYPERPARAMETERS} {', '.join(map(str, saved))} "
            f"({first_line(error)})"
        ) from error
    return module


def _first(source: object) -> object:
    """The first batch of a set.

    Raises:
        InvalidData: there is none.
    """
    inside = source.source if isinstance(source, Streamed) else source
    if not isinstance(inside, Iterable) or isinstance(inside, str):
        raise InvalidData(
            f"train is a {type(inside).__name__}: pass a LightningDataModule, a DataLoader, a Dataset or a list of "
            "batches"
        )
    for batch in told(inside, "train"):
        return batch
    raise InvalidData("train has no batches: pass at least one")
