"""Building a problem: the module adopted, the data read, all of it tried, and the parts put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import nn

from weightstring.errors import InvalidSetting
from weightstring.problem.assemble import Stepping, TrainingStep, adopt, adopt_loss, assemble, returned
from weightstring.problem.batchwise.per_batch import BatchLoss, PerBatch, Picked
from weightstring.problem.buffers import Buffers, normalises_batches, resolve
from weightstring.problem.checkpoints.checkpoint import Template
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.batch_sources import read_batches
from weightstring.problem.datasets.batches import Batches
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.datasets.sources import holdouts, read
from weightstring.problem.datasets.stored import Stored
from weightstring.problem.digests.identity import identities, kept
from weightstring.problem.flat import HALF, Layout, Own, common_dtype
from weightstring.problem.functional import Autocast, Call, forward
from weightstring.problem.inspection.batch_checks import check_batched, means_of
from weightstring.problem.inspection.checks import Findings, check_all, probe_rows
from weightstring.problem.inspection.own_loss import own_loss
from weightstring.problem.inspection.subject import Subject
from weightstring.problem.live import compiled
from weightstring.problem.losses.means import Given, Mean
from weightstring.problem.losses.metric_objects import as_criterion, is_metric
from weightstring.problem.losses.sighted import sighted
from weightstring.problem.parts import Parts, dispatcher_of
from weightstring.problem.quantities import Quantities, by_prefix
from weightstring.problem.settings import check_batches, check_metrics, check_recipe, check_sizes
from weightstring.problem.tensors import named_tensors
from weightstring.recipe import Recipe


class Adopted(NamedTuple):
    """A module as the problem holds it.

    Args:
        original: the user's net.
        own: the problem's copy of it, and its parameters.
        buffers: the mode of its running statistics.
        batch_size: units in a minibatch; None: the whole training set.
        settings: the user's.
    """

    original: nn.Module
    own: Own
    buffers: Buffers
    batch_size: int | None
    settings: Settings

    @property
    def net(self) -> nn.Module:
        """The problem's copy."""
        return self.own.net

    def trained(self, call: Call) -> Call:
        """How the module is called in training."""
        return call if self.settings.autocast is None else Autocast(call, self.settings.autocast)

    def finished(self, computation: Computation) -> Computation:
        """The computation as the user wants it."""
        return compiled(computation) if self.settings.compile else computation


class Tried(NamedTuple):
    """The criteria of a problem.

    Args:
        criteria: the loss and the metrics by name.
        identities: what these, the training step and net's own classes compute.
        findings: what trying them has told.
    """

    criteria: dict[str, Given]
    identities: tuple[str, ...]
    findings: Findings


class Kind(Protocol):
    """What data and loss are like: examples and a loss of outputs, or batches and a loss that calls the module."""

    @property
    def metrics(self) -> Mapping[str, Callable[..., object]]:
        """Further quantities by name."""

    @property
    def chunk(self) -> int:
        """The most units in one forward pass."""

    @property
    def step(self) -> Callable[..., object] | None:
        """The user's own training step."""

    def read(self, source: object, name: str, own: Own) -> DataSet:
        """A set in the form of this kind, where θ is, in dtypes that the module takes."""

    def tried(self, adopted: Adopted, data: Mapping[str, DataSet]) -> Tried:
        """The loss and the metrics, and what is found out about them by trying."""


@dataclass(frozen=True, eq=False)
class Settings:
    """What both kinds of problem are given: see :class:`weightstring.problem.module.ModuleProblem`."""

    device: torch.device | str | None
    dtype: torch.dtype | None
    batch_size: int | None
    buffers: str | None
    recipe: Recipe | None
    training_recipe: Recipe | None
    initialise: Callable[[nn.Module], None] | None
    train_curves: bool | Literal["auto"]
    autocast: torch.dtype | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.autocast not in (None, *HALF):
            raise InvalidSetting(f"autocast={self.autocast!r}: pass torch.bfloat16 or torch.float16, or None")

    @property
    def passes(self) -> tuple[str, ...]:
        """What is special about forward and backward passes, for the record."""
        autocast = () if self.autocast is None else (f"autocast {self.autocast}",)
        return autocast + (("compile",) if self.compile else ())


def build(net: nn.Module, kind: Kind, sources: Mapping[str, object], settings: Settings) -> Parts:
    """The parts of a problem.

    Args:
        net: the user's, which is copied.
        kind: of the data and the loss.
        sources: ``train``, ``evaluate`` and ``holdout`` as the user gave them.
        settings: the rest.

    Raises:
        InvalidModel, InvalidData, InvalidSetting, NotDeterministic: see
            :class:`weightstring.problem.module.ModuleProblem`.
    """
    recipe = Recipe.tuned() if settings.recipe is None else settings.recipe
    for each in (recipe, settings.training_recipe or recipe):
        check_recipe(each)
    check_sizes(settings.batch_size, kind.chunk)
    others = holdouts(sources["holdout"])
    check_metrics(kind.metrics, list(others))
    named = {"train": sources["train"], "evaluate": sources["evaluate"], **others}
    own_net = adopt(net, settings.device, settings.dtype)
    dtypes = {name: tensor.dtype for name, tensor in named_tensors(net).items()}
    template = Template(own_net, Layout.of(own_net), dtypes)
    own = template.own
    data = {name: kind.read(source, name, own) for name, source in named.items() if source is not None}
    batch_size = None if settings.batch_size is None else min(settings.batch_size, len(data["train"]))
    mode = resolve(settings.buffers, own_net)
    criteria, known, findings = kind.tried(Adopted(net, own, mode, batch_size, settings), data)
    quantities = Quantities(by_prefix(data), findings.study.means)
    return Parts(
        template=template,
        data=data,
        quantities=quantities,
        criteria=criteria,
        identities=(*known, *settings.passes),
        dispatcher=dispatcher_of(findings, template.own, quantities, data, batch_size, kind.chunk),
        buffers=mode,
        batch_size=batch_size,
        recipe=recipe,
        training_recipe=settings.training_recipe,
        initialise=settings.initialise,
        training_step=kind.step,
        train_curves=settings.train_curves,
        one_piece=findings.study.one_piece,
    )


@dataclass(frozen=True, eq=False)
class OfExamples:
    """(inputs, targets) with one example per row, and a loss of the module's output and the targets."""

    loss_fn: Given
    metrics: Mapping[str, Given]
    step: TrainingStep | None
    chunk: int

    def read(self, source: object, name: str, own: Own) -> Examples | Stored:
        """Inputs and targets, stacked."""
        return read(source, name, common_dtype(own.net), own.device, own.layout.dtype)

    def tried(self, adopted: Adopted, data: Mapping[str, DataSet]) -> Tried:
        """How each criterion adds up over examples is found out."""
        train = data["train"]
        if adopted.buffers == "recalibrate" and normalises_batches(adopted.net):
            check_batches(adopted.batch_size, self.chunk, len(train))
        metrics = {
            name: sighted(adopt_loss(as_criterion(metric), adopted.net)) for name, metric in self.metrics.items()
        }
        criteria: dict[str, Given] = {"loss": adopt_loss(self.loss_fn, adopted.net), **metrics}
        training = adopted.trained(forward if self.step is None else Stepping(self.step))
        step = None if self.step is None else Mean(returned)
        computation = assemble(adopted.net, criteria["loss"], adopted.buffers, self.chunk, forward, training, step)
        computation = adopted.finished(computation)
        original, own, mode, *_ = adopted
        rows = probe_rows(train, own.layout.size)
        subject = Subject(original, own, computation, mode, train, rows, list(criteria.values()))
        called: dict[str, object] = {**criteria, "training_step": self.step}
        before = identities(own.net, called)
        findings = check_all(subject, data, metrics)
        return Tried(criteria, kept(before, identities(computation.evaluating.module, called)), findings)


@dataclass(frozen=True, eq=False)
class OfBatches:
    """Batches of any form, and a loss that takes the module and a batch; one at a time goes through the module."""

    loss: BatchLoss | None
    metrics: Mapping[str, BatchLoss]
    step: BatchLoss | None
    divisible: bool
    chunk: int = 1

    def read(self, source: object, name: str, own: Own) -> Batches:
        """Batches as they come; which of their numbers half precision may round, only the user's loss knows."""
        dtype = common_dtype(own.net)
        return read_batches(source, name, None if dtype in HALF else dtype, own.device)

    def tried(self, adopted: Adopted, data: Mapping[str, DataSet]) -> Tried:
        """Sums and weights are tried on a few batches, and on parts of these."""
        original, own, mode, *_ = adopted
        batches = {name: each for name, each in data.items() if isinstance(each, Batches)}
        train = batches["train"]
        loss: BatchLoss = own_loss(original, batches.values()) if self.loss is None else adopt_loss(self.loss, own.net)
        metrics = {name: adopt_loss(_of_batch(name, metric), own.net) for name, metric in self.metrics.items()}
        call = PerBatch(loss, metrics)
        training_call = adopted.trained(call if self.step is None else PerBatch(self.step))
        computation = assemble(own.net, Picked("loss"), mode, self.chunk, call, training_call)
        computation = adopted.finished(replace(computation, loss_fn=Mean(Picked("loss"), "ratio")))
        means = means_of(computation, own.theta, train, list(metrics))
        check_metrics({name: loss for name in means if name != "loss"}, list(batches))
        criteria: dict[str, Given] = {name: mean.given for name, mean in means.items()}
        subject = Subject(original, own, computation, mode, train, torch.tensor([0]), list(criteria.values()))
        called: dict[str, object] = {"loss": loss, **metrics, "training_step": self.step}
        before = identities(own.net, called)
        findings = check_batched(subject, batches, means, self.divisible)
        return Tried(criteria, kept(before, identities(computation.evaluating.module, called)), findings)


def _of_batch(name: str, metric: BatchLoss) -> BatchLoss:
    """A metric of (net, batch).

    Raises:
        InvalidSetting: one of ``torchmetrics``, which does not know where in a batch predictions and targets are.
    """
    if is_metric(metric):
        raise InvalidSetting(
            f"{name} is a {type(metric).__name__}, which takes predictions and targets: pass lambda net, batch: "
            "ws.FromMetric(metric, predictions, targets)"
        )
    return metric
