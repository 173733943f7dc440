"""What a problem is made of, once its module, loss and data have been checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from weightstring.problem.buffers import Buffers, statistics_names
from weightstring.problem.checkpoints.checkpoint import Template
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet, sample
from weightstring.problem.digests.digest import tensors_digest, text_digest, without_addresses
from weightstring.problem.dispatcher import Dispatcher
from weightstring.problem.engines import Trial, Workload
from weightstring.problem.engines.base import REFERENCE
from weightstring.problem.engines.parts import BLOCK_ELEMENTS, width
from weightstring.problem.engines.selection import EngineSelection
from weightstring.problem.flat import Layout, Own
from weightstring.problem.inspection.checks import Findings
from weightstring.problem.losses.means import Given
from weightstring.problem.quantities import Quantities, by_prefix
from weightstring.problem.spectral import vector_names
from weightstring.problem.tensors import named_tensors
from weightstring.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a problem, none of which ever changes but the engine that the dispatcher uses.

    Args:
        template: the problem's own copy of the module; it reads checkpoints and writes them.
        data: the sets by name, ``"train"`` among them.
        quantities: what can be measured on them.
        criteria: the loss and the metrics as they were given, by name.
        identities: what these, the training step and net's own classes compute: see :mod:`identity`.
        dispatcher: computes all that.
        buffers: the mode of running statistics.
        batch_size: examples in a minibatch; None: the whole training set.
        recipe: how to descend.
        training_recipe: how random models are trained; None: by the recipe.
        initialise: draws a random model in place; None: each module's own ``reset_parameters``.
        training_step: the user's own; None: the loss of the output.
        train_curves: whether the training set is measured along finished strings too.
        one_piece: whether outputs of an example depend on those beside it, so that a set goes through in one pass.
    """

    template: Template
    data: Mapping[str, DataSet]
    quantities: Quantities
    criteria: Mapping[str, Given]
    identities: tuple[str, ...]
    dispatcher: Dispatcher
    buffers: Buffers
    batch_size: int | None
    recipe: Recipe
    training_recipe: Recipe | None
    initialise: Callable[[nn.Module], None] | None
    training_step: Callable[..., object] | None
    train_curves: bool | Literal["auto"]
    one_piece: bool = False

    def __str__(self) -> str:
        """The module and its size, and the sets by name."""
        sets = ", ".join(f"{name} {len(data):,} {data.units}" for name, data in self.data.items())
        precision = str(self.layout.dtype).removeprefix("torch.")
        return f"{type(self.net).__name__}, {self.layout.size:,} parameters, {precision} on {self.device}; {sets}"

    @property
    def net(self) -> nn.Module:
        """The problem's own copy of the module."""
        return self.template.net

    @property
    def device(self) -> torch.device:
        """Where θ lives."""
        return self.template.own.device

    @property
    def computation(self) -> Computation:
        """What is computed for one θ."""
        return self.dispatcher.work.computation

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self.template.layout

    @property
    def train(self) -> DataSet:
        """The training set."""
        return self.data["train"]

    @property
    def evaluation(self) -> DataSet:
        """The evaluation set."""
        return self.quantities.sets[""]

    @property
    def derived(self) -> frozenset[str]:
        """Names of the buffers that are functions of θ: re-estimated running statistics, spectral norm's vectors."""
        running = statistics_names(self.net) if self.buffers == "recalibrate" else frozenset()
        return running | vector_names(self.net)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the module without its parameters' numbers, and of each data set."""
        module = (without_addresses(str(self.net)), repr(self.layout), tensors_digest(self._constants))
        sets = {f"data: {name}": examples.digest() for name, examples in self.data.items()}
        return {"module": text_digest(*module), **sets}

    @property
    def _constants(self) -> dict[str, Tensor]:
        left = self.layout.names | self.derived
        return {name: tensor for name, tensor in named_tensors(self.net).items() if name not in left}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that determines a result; the user's own functions and classes count by their code.

        Neither the parameters' numbers count nor buffers that belong to each θ.
        """
        return text_digest(
            without_addresses(str(self.net)),
            repr(self.layout),
            *([repr([entry.dtype for entry in self.layout.entries])] if self.layout.rounds else ()),
            tensors_digest(self._constants),
            *(f"{name} {self.digests[f'data: {name}']}" for name in self.data),
            *self.identities,
            f"{self.buffers} {self.batch_size} {self.computation.chunk}",
            *(
                f"{replace(recipe, options={})} {sorted(recipe.options.items())}"
                for recipe in (self.recipe, self.training_recipe)
                if recipe is not None
            ),
        )

    @property
    def curve_quantities(self) -> tuple[str, ...]:
        """The quantities measured along a finished string besides the one the threshold binds."""
        return tuple(name for name in self.quantities.names if self.train_curves or not name.startswith("train_"))

    @property
    def spared(self) -> tuple[str, ...]:
        """Those of them that are left out where measuring them would take longer than the search did."""
        if self.train_curves != "auto":
            return ()
        return tuple(name for name in self.quantities.names if name.startswith("train_"))

    def check(self, thetas: Tensor, ndim: int) -> None:
        """Refuse models (B, P), or one (P,), that are none of this problem's.

        Raises:
            InvalidCheckpoint: another shape, dtype or device.
        """
        self.layout.check(thetas, ndim, self.device)

    def on_samples(self, count: int) -> Parts:
        """The same with at most ``count`` examples of each set, always the same ones."""
        data = {name: sample(examples, count) for name, examples in self.data.items()}
        return self._on(data, self.dispatcher.on(replace(self.dispatcher.work, train=data["train"])))

    def by_loop(self, data: Mapping[str, DataSet]) -> Parts:
        """The same with other data, one model after the other; it keeps nothing of the data that there were."""
        work, trial = replace(self.dispatcher.work, train=data["train"]), self.dispatcher.selection.trial
        selection = EngineSelection(replace(trial, work=work, evaluation=by_prefix(data)[""], _engines={}))
        selection.use(REFERENCE)
        return self._on(data, Dispatcher(work, selection))

    def _on(self, data: Mapping[str, DataSet], dispatcher: Dispatcher) -> Parts:
        quantities = replace(self.quantities, sets=by_prefix(data))
        return replace(self, data=data, quantities=quantities, dispatcher=dispatcher)


def dispatcher_of(
    findings: Findings,
    own: Own,
    quantities: Quantities,
    data: Mapping[str, DataSet],
    batch_size: int | None,
    chunk: int,
) -> Dispatcher:
    """The computation in blocks of examples that suit it, and the engines that may do it."""
    # On a CPU, activations that leave its cache cost more than the passes that smaller blocks add.
    block = chunk if own.on_gpu else min(chunk, width(1, findings.activations, BLOCK_ELEMENTS))
    if findings.study.one_piece:
        block = chunk = max(map(len, data.values()))
    work = Workload(replace(findings.computation, block=block, chunk=chunk), data["train"], findings.elements)
    trial = Trial(
        work=work,
        own=own,
        evaluation=quantities.sets[""],
        criteria=[mean for mean in quantities.means.values() if not mean.alone],
        batch_size=min(batch_size or len(data["train"]), chunk),
        activations=findings.activations,
    )
    return Dispatcher(work, EngineSelection(trial))
