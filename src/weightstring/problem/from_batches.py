"""A problem whose data are batches of any form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import nn

from weightstring.ambient import Defaults
from weightstring.problem.batchwise.per_batch import BatchLoss
from weightstring.problem.building import OfBatches, Settings, build
from weightstring.problem.datasets.streaming import Streamed
from weightstring.problem.engined import ByEngine
from weightstring.problem.parts import Parts
from weightstring.recipe import Recipe

BatchSource: TypeAlias = Iterable[object] | Streamed
"""Batches as a user has them."""

Own = TypeVar("Own", bound="FromBatches")


class FromBatches(ByEngine):
    """The part of a :class:`ModuleProblem` that builds one from batches."""

    _parts: Parts
    _defaults: Defaults

    @classmethod
    def from_batches(
        cls: type[Own],
        net: nn.Module,
        train: BatchSource,
        evaluate: BatchSource | None = None,
        loss: BatchLoss | None = None,
        *,
        holdout: BatchSource | Mapping[str, BatchSource] | None = None,
        metrics: Mapping[str, BatchLoss] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = 1,
        buffers: str | None = None,
        recipe: Recipe | None = None,
        training_recipe: Recipe | None = None,
        initialise: Callable[[nn.Module], None] | None = None,
        training_step: BatchLoss | None = None,
        train_curves: bool | Literal["auto"] = "auto",
        autocast: torch.dtype | None = None,
        compile: bool = False,
        divisible: bool = True,
    ) -> Own:
        """The loss of a module on batches of any form: dicts, flat graphs with an index, padded sequences, no targets.

        Over a set it is Σ s / Σ w of the sums and weights of its batches. A batch is the unit that is drawn, shuffled
        and counted; each goes through the module by itself, one model at a time.

        Args:
            net: any module.
            train: batches: a list, a DataLoader with any ``collate_fn``, or what can be read twice; see
                :func:`weightstring.epoch` for streams, and :func:`weightstring.streamed` for what is not to be kept.
            evaluate: likewise the set on which the loss is measured; None: the training set.
            loss: ``loss(net, batch)`` returns (sum, weight), or :class:`weightstring.MeanOf` (mean, weight); or a dict
                of these by name, ``"loss"`` among them, whose others are metrics from the same forward pass. None:
                ``net(**batch).loss``, a mean over the labels that are not −100, as Hugging Face's models return it.
            holdout: a set, or several by name, that is only ever reported.
            metrics: further functions of (net, batch) by name, each with a forward pass of its own.
            device: where to compute; None: where net is.
            dtype: in what to compute; None: each parameter's own.
            batch_size: batches in a minibatch; None: the whole training set.
            buffers: ``"recalibrate"`` or ``"frozen"`` running statistics; those are the average over training batches.
            recipe: how to descend this loss unless told otherwise.
            training_recipe: how random models are trained; as of :class:`ModuleProblem`.
            initialise: draws a random model in place; None: as of :class:`ModuleProblem`.
            training_step: what is differentiated in place of ``loss``; of the same form.
            train_curves: as of :class:`ModuleProblem`.
            autocast: training passes under autocast to this dtype, ``torch.bfloat16`` or ``torch.float16``;
                measurements are never under it, so that a loss is that of the module as it is saved.
            compile: let ``torch.compile`` compute passes of one model at a time, after some seconds of compiling.
            divisible: whether a batch's sums must be those of its first rows and of the others, which is tried where
                all of its tensors have as many rows; False where examples of a batch depend on each other.

        Raises:
            InvalidModel, InvalidData, InvalidSetting, NotDeterministic: as of :class:`ModuleProblem`.

        >>> from weightstring.problem import ModuleProblem
        >>> def squares(net, batch):
        ...     return (net(batch["x"]) - batch["y"]).square().sum(), len(batch["y"])
        >>> batches = [{"x": torch.ones(n, 1), "y": torch.full((n, 1), float(n))} for n in (2, 3)]
        >>> problem = ModuleProblem.from_batches(nn.Linear(1, 1), batches, loss=squares)
        >>> problem.measure(torch.zeros(1, 2))["loss"].item()  # (2 · 2² + 3 · 3²) / 5
        7.0
        """
        problem = cls.__new__(cls)
        problem._defaults = Defaults.found()
        problem._parts = build(
            net,
            OfBatches(loss, {} if metrics is None else metrics, training_step, divisible),
            {"train": train, "evaluate": evaluate, "holdout": holdout},
            Settings(
                device, dtype, batch_size, buffers, recipe, training_recipe, initialise, train_curves, autocast, compile
            ),
        )
        problem.use_engine("auto")
        return problem
