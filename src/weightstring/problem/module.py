"""The loss of any ``nn.Module`` as a function of one flat θ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal

import torch
from torch import nn

from weightstring.ambient import Defaults, as_made
from weightstring.arrays import Theta
from weightstring.descent import Check
from weightstring.problem.assemble import TrainingStep
from weightstring.problem.building import OfExamples, Settings, build
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.sources import Source
from weightstring.problem.differentiator import Differentiator
from weightstring.problem.engined import ByEngine
from weightstring.problem.evaluator import Evaluator
from weightstring.problem.fit import fit_from
from weightstring.problem.flat import Layout
from weightstring.problem.from_batches import FromBatches
from weightstring.problem.functional import OfTheta
from weightstring.problem.initialise import check_draws, random_copy
from weightstring.problem.losses.means import Given
from weightstring.problem.ranks.shard import Shard
from weightstring.problem.settings import check_recipe
from weightstring.problem.state_dicts import StateDicts
from weightstring.problem.tensors import named_tensors
from weightstring.randomness import check_seed
from weightstring.recipe import Recipe

SCREENING_EXAMPLES = 1000

SCREENING_PAYS = 4
"""How many times as many examples the evaluation set must have."""


class ModuleProblem(FromBatches, Evaluator, Differentiator, StateDicts, ByEngine):
    """The loss L(θ) of an unmodified module on fixed data (the paper's L(X, Θ)).

    θ (P,) is the concatenation of the trainable parameters in the order of ``net.parameters()``,
    each tied one once. ``net`` is copied and never changed. Evaluation runs in evaluation mode;
    training gradients run in training mode, with draws (dropout) that are a function of each
    model's minibatch. Not thread-safe: ``torch.func.functional_call`` lends the module its tensors for
    the time of a call, so give each thread a problem of its own, or use processes.

    Data here are examples, (inputs, targets) by rows; batches of any other form: :meth:`from_batches`.

    Args:
        net: any module. Its parameters may be of several dtypes, half precision among them: θ has the widest, float32
            at least, and each parameter is computed in its own, rounded from θ.
        loss_fn: ``loss_fn(output, targets)``: a mean over examples, or (sum, weight), whose totals' ratio is the
            value of a set; the weight must not depend on θ. torch's own losses with ``weight`` or ``ignore_index``
            are understood as they are. Anything else is measured on all outputs of a set at once, as far as memory
            goes, and its full-batch gradient takes one pass over all.
        train: (inputs, targets), a Dataset, or a DataLoader; inputs are a tensor, a tuple
            (``net(*x)``) or a dict (``net(**x)``). Read into memory once, in a fixed order.
        evaluate: the set on which the loss is measured; None: the training set.
        holdout: a set that is only ever reported, as ``holdout_loss``; or several by name, ``{"shifted": data}``, as
            ``shifted_loss`` and so on. A threshold may bind any of them by ``bind="shifted_error"``.
        metrics: further quantities, ``fn(output, targets)``, by name: of the same kinds; numbers will do. One whose
            signature has a third argument without a default, or one called ``inputs``, sees the inputs as net does:
            ``fn(output, targets, inputs)``.
        device: where to compute; None: where net is.
        dtype: in what to compute; None: each parameter's own.
        batch_size: examples in a minibatch; None: the whole training set.
        chunk: the most examples in one forward pass of a measurement.
        buffers: running statistics of BatchNorm and InstanceNorm: ``"recalibrate"`` re-estimates them on
            the training inputs for each θ, ``"frozen"`` keeps net's, and refuses ends that have others; None:
            recalibrate where there are any.
        recipe: how to descend this loss unless told otherwise.
        training_recipe: how random models are trained (:meth:`fit`, ends of sweeps), such as
            :meth:`weightstring.Recipe.one_cycle`; None: by ``recipe``, :attr:`weightstring.Recipe.untuned` where that
            finds its own step.
        engine: how several models are computed: ``"loop"``, ``"channels-last"``, ``"vmap"``, ``"stack"`` or
            ``"native"``; ``"auto"`` tries them.
        initialise: draws a random model in place; None: each module's own ``reset_parameters``, and
            ``_init_weights`` of the model around it.
        training_step: ``training_step(net, inputs, targets)`` returns the mean loss of a minibatch, or (sum,
            weight), in place of ``loss_fn(net(inputs), targets)``: for augmentation, autocast or further terms of
            the loss. It may draw from torch's generators; the level of a descent is measured on ``loss_fn`` all
            the same.
        train_curves: measure the training set along a finished string too; ``"auto"``: unless an evaluation takes more
            than a second and all these passes would take longer than the search did.
        autocast: training passes under autocast to this dtype, ``torch.bfloat16`` or ``torch.float16``;
            measurements are never under it, so that a loss is that of the module as it is saved.
        compile: let ``torch.compile`` compute passes of one model at a time, after some seconds of compiling.

    Raises:
        InvalidModel: the module cannot be used as it is.
        InvalidData: the data are malformed or change from pass to pass.
        InvalidSetting: a setting is unknown, of another type or out of range, or the loss is no scalar mean.
        NotDeterministic: two evaluations of net differ.

    >>> net = nn.Linear(2, 1)
    >>> inputs, targets = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0], [2.0]])
    >>> problem = ModuleProblem(net, nn.functional.mse_loss, (inputs, targets))
    >>> problem.measure(torch.tensor([[0.0, 0.5, 0.0]]))["loss"].tolist()
    [0.0]

    A loss over the numbers that are there (targets below 0 are padding), as a ratio of two sums:

    >>> def masked(output, targets):
    ...     there = targets >= 0
    ...     return ((output - targets).square() * there).sum(), there.sum()
    >>> padded = torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, -1.0]])
    >>> problem = ModuleProblem(nn.Linear(2, 2), masked, (torch.ones(3, 2), padded), chunk=2)
    >>> problem.measure(torch.zeros(1, 6))["loss"].tolist()  # (1 + 4 + 9) / 3
    [4.666666666666667]
    """

    _draws_checked = False

    @as_made
    def __init__(
        self,
        net: nn.Module,
        loss_fn: Given,
        train: Source,
        evaluate: Source | None = None,
        *,
        holdout: Source | Mapping[str, Source] | None = None,
        metrics: Mapping[str, Given] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = 128,
        chunk: int = 2048,
        buffers: str | None = None,
        recipe: Recipe | None = None,
        training_recipe: Recipe | None = None,
        engine: str = "auto",
        initialise: Callable[[nn.Module], None] | None = None,
        training_step: TrainingStep | None = None,
        train_curves: bool | Literal["auto"] = "auto",
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        self._defaults = Defaults.found()
        self._parts = build(
            net,
            OfExamples(loss_fn, {} if metrics is None else metrics, training_step, chunk),
            {"train": train, "evaluate": evaluate, "holdout": holdout},
            Settings(
                device, dtype, batch_size, buffers, recipe, training_recipe, initialise, train_curves, autocast, compile
            ),
        )
        self.use_engine(engine)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._parts}>"

    @property
    def size(self) -> int:
        """P, the number of trainable parameters."""
        return self._parts.layout.size

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of θ; the module may compute in narrower ones, see ``layout``."""
        return self._parts.layout.dtype

    @property
    def device(self) -> torch.device:
        """Where θ lives."""
        return self._parts.device

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self._parts.layout

    @property
    def recipe(self) -> Recipe:
        """How to descend this loss unless told otherwise."""
        return self._parts.recipe

    @property
    def training_recipe(self) -> Recipe:
        """How random models are trained; it never finds its own step."""
        return (self._parts.training_recipe or self.recipe).untuned

    @property
    def train_size(self) -> int:
        """N, the number of training examples."""
        return len(self._parts.train)

    @property
    def batch_size(self) -> int | None:
        """Examples in a minibatch, at most N; None: the whole training set."""
        return self._parts.batch_size

    @property
    def computation(self) -> Computation:
        """What is computed for one θ."""
        return self._parts.computation

    @property
    def evaluating(self) -> OfTheta:
        """The module in evaluation mode as a function of θ, inputs and running statistics."""
        return self._parts.computation.evaluating

    @cached_property
    def screening(self) -> ModuleProblem | None:
        """The same loss measured on a fixed part of each data set, for a cheap first look.

        None where the evaluation set is so small that looking twice would gain nothing.
        """
        if len(self._parts.evaluation) < SCREENING_PAYS * SCREENING_EXAMPLES:
            return None
        part = copy.copy(self)
        part._parts = self._parts.on_samples(SCREENING_EXAMPLES)
        return part

    @as_made
    def shard(self, number: int, of: int) -> Shard:
        """The part of the data that one of several ranks computes with: see :func:`weightstring.sharded`.

        Raises:
            Unsupported: a value over all data does not come from sums over parts of them.
        """
        return Shard.of(self._parts, number, of)

    @as_made
    def initial(self, seed: int) -> Theta:
        """A random model (P,), the same on every device; frozen parameters stay net's.

        Raises:
            InvalidModel: a module owns parameters but cannot draw them, and ``initialise`` was not given.
        """
        check_seed(seed)
        if not self._draws_checked:
            check_draws(self._parts.net, seed, self._parts.initialise)
            self._draws_checked = True
        drawn = random_copy(self._parts.net, seed, self._parts.initialise)
        return self._parts.layout.flatten(named_tensors(drawn)).to(self._parts.device)

    @as_made
    def fit(
        self,
        seed: int = 0,
        until: float = 0.05,
        max_steps: int | None = None,
        *,
        quantity: str = "loss",
        recipe: Recipe | None = None,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Theta:
        """A random model trained by the recipe until its loss is at most ``until``: an end of a path (P,).

        Args:
            seed: of the random model and of its minibatches.
            until: the level to reach.
            max_steps: gradient steps at most; the recipe's limit by default.
            quantity: whose level it is: the evaluation loss, or another of ``quantities``.
            recipe: how to descend; :attr:`training_recipe` by default. One that finds its own step, which suits beads,
                becomes :attr:`weightstring.Recipe.untuned`: curvature at a random network says little of what follows.
            on_check: told after each measurement how far training is; it may raise.

        Raises:
            LevelNotReached: training ended above ``until``; carries the best θ and its value.
            InvalidSetting: an unknown quantity, or a recipe that torch.optim refuses.

        >>> x = torch.linspace(0, 1, 8).unsqueeze(1)
        >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x), batch_size=None)
        >>> theta = problem.fit(seed=0, until=0.01)
        >>> problem.measure(theta.unsqueeze(0))["loss"].item() <= 0.01
        True
        """
        check_recipe(recipe := self.training_recipe if recipe is None else recipe)
        start = self.initial(seed)
        with self._parts.dispatcher.selection.untimed():
            return fit_from(
                self,
                start,
                recipe=recipe.untuned,
                seed=seed,
                until=until,
                max_steps=max_steps,
                quantity=quantity,
                on_check=on_check,
            )

    def fingerprint(self) -> str:
        """SHA-256 of all that determines a result: module, constants, data, loss, settings.

        The user's own functions and classes count by their names, their code, which differs between versions of
        Python, and what that names: see :mod:`weightstring.problem.digests.identity`.
        """
        return self._parts.fingerprint
