"""The loss of any ``nn.Module`` as a function of one flat θ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from weightstring.ambient import Defaults, as_made
from weightstring.arrays import Positions, Rows, Theta, Thetas, Values
from weightstring.descent import Check
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem import checks
from weightstring.problem.additive import PROBE, sorted_by_target
from weightstring.problem.arithmetic import Arithmetic, Chosen
from weightstring.problem.assemble import TrainingStep, adopt, adopt_loss, assemble
from weightstring.problem.buffers import normalises_batches, resolve, statistics_names
from weightstring.problem.capabilities import TraceInputs
from weightstring.problem.checkpoint import Template
from weightstring.problem.constants import Probe, check_constants, check_function
from weightstring.problem.data import Examples, Source, by_prefix, holdouts, read, sample
from weightstring.problem.each import Shares, measure_each
from weightstring.problem.engines import Trial, Workload
from weightstring.problem.engines.parts import BLOCK_ELEMENTS, width
from weightstring.problem.fingerprint import fingerprint_of
from weightstring.problem.fit import fit_from
from weightstring.problem.flat import Layout, named_tensors
from weightstring.problem.functional import Computation, OfTheta
from weightstring.problem.hessian import threads_of, training_products
from weightstring.problem.initialise import check_draws, random_copy
from weightstring.problem.means import Criterion, Given, Mean
from weightstring.problem.predictions import Averaged, averaging, measure_average
from weightstring.problem.purity import Subject
from weightstring.problem.sighted import sighted
from weightstring.problem.spectral import is_spectral, vector_names
from weightstring.protocol import EngineChoice, Gradient, Recipe
from weightstring.randomness import check_seed

SCREENING_EXAMPLES = 1000

SCREENING_PAYS = 4
"""How many times as many examples the evaluation set must have."""


class ModuleProblem:
    """The loss L(θ) of an unmodified module on fixed data (the paper's L(X, Θ)).

    θ (P,) is the concatenation of the trainable parameters in the order of ``net.parameters()``,
    each tied one once. ``net`` is copied and never changed. Evaluation runs in evaluation mode;
    training gradients run in training mode, with draws (dropout) that are a function of each
    model's minibatch. Not thread-safe: ``torch.func.functional_call`` lends the module its tensors for
    the time of a call, so give each thread a problem of its own, or use processes.

    Args:
        net: any module; one dtype for all its trainable parameters.
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
        dtype: in what to compute; None: net's own.
        batch_size: examples in a minibatch; None: the whole training set.
        chunk: the most examples in one forward pass of a measurement.
        buffers: running statistics of BatchNorm and InstanceNorm: ``"recalibrate"`` re-estimates them on
            the training inputs for each θ, ``"frozen"`` keeps net's, and refuses ends that have others; None:
            recalibrate where there are any.
        recipe: how to descend this loss unless told otherwise.
        engine: how several models are computed: ``"loop"``, ``"vmap"``, ``"stack"`` or ``"compiled"``;
            ``"auto"`` tries all but the last, ``"fastest"`` that one too, which may take a minute.
        initialise: draws a random model in place; None: each module's own ``reset_parameters``.
        training_step: ``training_step(net, inputs, targets)`` returns the mean loss of a minibatch, or (sum,
            weight), in place of ``loss_fn(net(inputs), targets)``: for augmentation, autocast or further terms of
            the loss. It may draw from torch's generators; the level of a descent is measured on ``loss_fn`` all
            the same.
        train_curves: measure the training set along a finished string too; False where that many passes over it
            would take longer than the search.

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
        engine: str = "auto",
        initialise: Callable[[nn.Module], None] | None = None,
        training_step: TrainingStep | None = None,
        train_curves: bool = True,
    ) -> None:
        self._defaults = Defaults.found()
        metrics = {} if metrics is None else metrics
        recipe = Recipe() if recipe is None else recipe
        named = holdouts(holdout)
        checks.check_metrics(metrics, list(named))
        checks.check_recipe(recipe)
        checks.check_sizes(batch_size, chunk)
        self._net = adopt(net, device, dtype)
        self._layout = Layout.of(self._net)
        self._device = next(self._net.parameters()).device
        self._recipe = recipe
        self._initialise = initialise
        self._draws_checked = False

        sources = {"train": train, "evaluate": evaluate, **named}
        self._data = {
            name: read(source, name, self.dtype, self._device) for name, source in sources.items() if source is not None
        }
        self._train = self._data["train"]
        self._train_curves = train_curves
        self._sets = by_prefix(self._data)
        self._batch_size = None if batch_size is None else min(batch_size, len(self._train))
        self._buffers = resolve(buffers, self._net)
        if self._buffers == "recalibrate" and normalises_batches(self._net):
            checks.check_batches(self._batch_size, chunk, len(self._train))

        loss_fn = adopt_loss(loss_fn, self._net)
        metrics = {name: sighted(adopt_loss(metric, self._net)) for name, metric in metrics.items()}
        self._criteria: dict[str, Given] = {"loss": loss_fn, **metrics}
        self._computation = assemble(self._net, loss_fn, self._buffers, chunk, training_step)
        self._training_step = training_step
        self._theta = self._layout.flatten(named_tensors(self._net))
        original = {name: tensor.dtype for name, tensor in named_tensors(net).items()}
        self._template = Template(self._net, self._layout, original)
        subject = Subject(
            net,
            self._net,
            self._computation,
            self._theta,
            self._buffers,
            self._train,
            checks.probe_rows(self._train),
            list(self._criteria.values()),
        )
        findings = checks.check_all(subject, self._data, metrics)
        self._means = findings.study.means
        # On a CPU, activations that leave its cache cost more than the passes that smaller blocks add.
        block = chunk if self._device.type == "cuda" else min(chunk, width(1, findings.activations, BLOCK_ELEMENTS))
        if findings.study.one_piece:
            block = chunk = max(map(len, self._data.values()))
        self._computation = replace(findings.computation, block=block, chunk=chunk)
        self._workload = Workload(self._computation, self._train, findings.elements)
        self._chosen = Chosen(self._trial())
        self._arithmetic = Arithmetic(self._workload, self._chosen)
        self._screening: ModuleProblem | None = None
        self._fingerprint: str | None = None
        self.use_engine(engine)

    @property
    def size(self) -> int:
        """P, the number of trainable parameters."""
        return self._layout.size

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of θ and of the computation."""
        return self._layout.dtype

    @property
    def device(self) -> torch.device:
        """Where θ lives."""
        return self._device

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self._layout

    @property
    def quantities(self) -> tuple[str, ...]:
        """``loss`` and the metrics on the evaluation set, then on the others with a prefix."""
        return tuple(prefix + name for prefix in self._sets for name in self._criteria)

    @property
    def criteria(self) -> tuple[str, ...]:
        """``loss`` and the names of the metrics."""
        return tuple(self._criteria)

    @property
    def curve_quantities(self) -> tuple[str, ...]:
        """What is measured along a finished string beside what the threshold binds."""
        return tuple(name for name in self.quantities if self._train_curves or not name.startswith("train_"))

    @property
    def evaluation(self) -> str:
        """What the evaluation set is: ``"evaluate"``, or ``"train"`` where none was given."""
        return "evaluate" if "evaluate" in self._data else "train"

    @property
    def recipe(self) -> Recipe:
        """How to descend this loss unless told otherwise."""
        return self._recipe

    @property
    def train_size(self) -> int:
        """N, the number of training examples."""
        return len(self._train)

    @property
    def batch_size(self) -> int | None:
        """Examples in a minibatch, at most N; None: the whole training set."""
        return self._batch_size

    @property
    def computation(self) -> Computation:
        """What is computed for one θ."""
        return self._computation

    @property
    def evaluating(self) -> OfTheta:
        """The module in evaluation mode as a function of θ, inputs and running statistics."""
        return self._computation.evaluating

    @property
    def statistics_names(self) -> frozenset[str]:
        """Names of the buffers that are functions of θ: re-estimated running statistics, spectral norm's vectors."""
        running = statistics_names(self._net) if self._buffers == "recalibrate" else frozenset()
        return running | vector_names(self._net)

    @as_made
    def statistics(self, theta: Theta) -> dict[str, Tensor]:
        """The buffers that are functions of θ: see :attr:`statistics_names`."""
        with torch.no_grad():
            return self._computation.estimate(theta, self._train)

    def observed(self) -> Examples:
        """The evaluation set."""
        return self._sets[""]

    @as_made
    def flatten(self, source: nn.Module | Mapping[str, object]) -> Theta:
        """θ of a checkpoint: a detached copy (P,) on the problem's device.

        It is loaded into a copy of net by ``load_state_dict``: versions, hooks and renamed keys are torch's affair.

        Args:
            source: a module, its state dict, or what a training script saved around one. Prefixes of wrappers
                (``module.``, ``_orig_mod.``, ``model.``, any that all keys share) may be there or not.

        Raises:
            InvalidCheckpoint: keys are missing or unknown, of another shape or dtype, not finite, or tied but
                different; a constant (frozen parameter, buffer) differs from net's and the loss depends on it;
                several state dicts fit; a module computes something else than net with its numbers.

        >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
        >>> problem.flatten({"weight": torch.tensor([[3.0]]), "bias": torch.tensor([4.0])})
        tensor([3., 4.])
        """
        saved = self._template.read(source)
        running = statistics_names(self._net)
        check_constants(saved, self._probe, self.statistics_names, running)
        check_function(saved, self._probe)
        return saved.theta.to(self._device)

    @property
    def _probe(self) -> Probe:
        examples = self._sets[""]
        rows = sorted_by_target(examples, PROBE)
        train = self._train.take(slice(PROBE))
        return Probe(self._computation, train, examples.take(rows), list(self._means.values()))

    @as_made
    def as_saved(
        self, source: nn.Module | Mapping[str, object], quantities: Sequence[str] = ("loss",)
    ) -> dict[str, float]:
        """Measure a checkpoint with the running statistics and other buffers that are saved in it.

        :meth:`measure` of its θ estimates statistics anew, as for every model on a path; how far the two lie apart
        is what that changes. Equal where there is nothing to estimate.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: see :meth:`flatten`.

        >>> net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
        >>> x = torch.tensor([[0.0], [4.0]])
        >>> problem = ModuleProblem(net, nn.functional.mse_loss, (x, x))
        >>> problem.as_saved(net)["loss"] != problem.measure(problem.flatten(net)[None])["loss"].item()
        True
        """
        saved = self._template.read(source)
        names, wanted = self._wanted(quantities)
        if not names:
            return {}
        with torch.no_grad():
            values = self._computation.measure(saved.theta, self._train, wanted, saved.constants).tolist()
        return {name: values[names.index(name)] for name in quantities}

    @as_made
    def unflatten(self, theta: Theta) -> dict[str, Tensor]:
        """The state dict that net would save at θ, for ``net.load_state_dict``: detached copies, buffers included.

        Running statistics, where they are recalibrated, and spectral norm's vectors are those of θ.

        Raises:
            InvalidCheckpoint: θ has another size or dtype.

        >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
        >>> dict(problem.unflatten(torch.tensor([3.0, 4.0])))
        {'weight': tensor([[3.]]), 'bias': tensor([4.])}
        """
        self._layout.check(theta, 1, self._device)
        return self._template.write({**self._layout.views(theta), **self.statistics(theta)})

    @as_made
    def measure(self, thetas: Thetas, quantities: Sequence[str] = ("loss",)) -> dict[str, Values]:
        """Measure B models (B, P): float64 values (B,) on the CPU, by name.

        A pure function of θ, up to rounding that may depend on the engine.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: models of another size or dtype.
        """
        self._layout.check(thetas, 2, self._device)
        names, wanted = self._wanted(quantities)
        if not names or not len(thetas):
            return {name: torch.empty(len(thetas), dtype=torch.float64) for name in quantities}
        return _columns(quantities, names, self._arithmetic.measure(thetas, wanted))

    @as_made
    def measure_each(self, theta: Theta, quantity: str = "loss") -> Values:
        """The quantity of one model (P,) on each of its N examples by itself: float64 (N,) on the CPU.

        The mean of these is the quantity. Where it is weighted, an example counts by its weight: N s_i / Σ w for
        s_i its share of the sum, so that an ignored one has 0.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: θ has another size or dtype.
            Unsupported: the quantity is no mean over examples, nor a ratio of two sums over them.
        """
        return self.shares(theta, quantity).each

    @as_made
    def shares(self, theta: Theta, quantity: str = "loss") -> Shares:
        """What each of N examples adds to a quantity of one model (P,): sums and weights, whose totals' ratio it is.

        Raises:
            InvalidSetting, InvalidCheckpoint, Unsupported: as :meth:`measure_each`.
        """
        self._layout.check(theta, 1, self._device)
        _, ((examples, (mean,)),) = self._wanted([quantity])
        return measure_each(self._computation, theta, self._train, examples, mean)

    def adds(self, quantity: str) -> bool:
        """Whether a quantity of all examples comes from what each adds, or else is measured on all outputs at once.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        _, ((_, (mean,)),) = self._wanted([quantity])
        return mean.adds

    def fitted(self) -> tuple[Examples, Criterion]:
        """The training examples and the loss."""
        return self._train, self._means["loss"].scalar

    def measured(self, quantity: str) -> tuple[Examples, Criterion]:
        """The examples on which a quantity is measured, and what is measured on them.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        _, ((examples, (mean,)),) = self._wanted([quantity])
        return examples, mean.scalar

    @property
    def shares_along(self) -> bool:
        """Whether the models of one segment are measured cheaper together: see :meth:`measure_along`."""
        return self._arithmetic.along is not None

    @as_made
    def measure_along(
        self, a: Theta, b: Theta, ts: Positions, quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """Measure the models (1 − t) a + t b at positions ``ts`` (T,): float64 values (T,) on the CPU, by name.

        Where a wide linear layer comes first, its two products at the ends serve every t. What is found
        at one t does not depend on the others.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: ends of another size or dtype.
        """
        for end in (a, b):
            self._layout.check(end, 1, self._device)
        names, wanted = self._wanted(quantities)
        along = self._arithmetic.along
        if along is None or not names:
            return self.measure(torch.lerp(a, b, ts.to(a).unsqueeze(1)), quantities)
        return _columns(quantities, names, self._arithmetic.measure_along(along, a, b, ts, wanted))

    @as_made
    def measure_average(
        self, thetas: Thetas, quantities: Sequence[str] = ("loss",), average: str | None = None
    ) -> Averaged:
        """Measure the average of K models' (K, P) predictions as if it were one model; ``average``: :func:`averaging`.

        Raises:
            InvalidSetting: no models, an unknown quantity or average.
            InvalidModel: outputs that cannot be averaged.
            InvalidCheckpoint: models of another size or dtype.
        """
        self._layout.check(thetas, 2, self._device)
        names, wanted = self._wanted(quantities)
        by = averaging(self._criteria["loss"], average)
        if not len(thetas) or not names:
            raise InvalidSetting(f"{len(thetas)} models and quantities={list(quantities)}: give at least one of each")
        values = measure_average(self._computation, thetas, self._train, wanted, by)
        return Averaged(dict(zip(names, values.tolist(), strict=True)), by)

    @property
    def screening(self) -> ModuleProblem | None:
        """The same loss measured on a fixed part of each data set, for a cheap first look.

        None where the evaluation set is so small that looking twice would gain nothing.
        """
        if len(self._sets[""]) < SCREENING_PAYS * SCREENING_EXAMPLES:
            return None
        if self._screening is None:
            self._screening = self._on_part_of_the_data()
        return self._screening

    def _on_part_of_the_data(self) -> ModuleProblem:
        part = copy.copy(self)
        part._fingerprint = None
        part._data = {name: sample(data, SCREENING_EXAMPLES) for name, data in self._data.items()}
        part._train = part._data["train"]
        part._sets = by_prefix(part._data)
        part._arithmetic = self._arithmetic.on(replace(self._workload, train=part._train))
        return part

    def _wanted(self, quantities: Sequence[str]) -> tuple[list[str], list[tuple[Examples, list[Mean]]]]:
        """The quantities' names in the order in which they are measured, set by set."""
        checks.check_quantities(quantities, self.quantities)
        names: list[str] = []
        wanted: list[tuple[Examples, list[Mean]]] = []
        for prefix, examples in self._sets.items():
            means = {prefix + name: mean for name, mean in self._means.items() if prefix + name in quantities}
            names += means
            wanted += [(examples, list(means.values()))] if means else []
        return names, wanted

    def traceable(self, quantity: str) -> TraceInputs:
        """What a quantity is computed from: evaluating module, criterion, examples, and the most of these in one pass.

        Raises:
            InvalidSetting: an unknown quantity.
            Unsupported: running statistics or spectral norm's vectors are functions of θ, or the quantity is a ratio
                of sums that only the caller knows.
        """
        _, ((examples, (mean,)),) = self._wanted([quantity])
        if mean.sees:
            raise Unsupported(
                f"{quantity!r} sees the inputs, for which certificates have no rule: bound a loss or a metric of "
                "output and targets alone"
            )
        if mean.kind == "ratio" and mean.loss is None:
            raise Unsupported(
                f"{quantity!r} is computed as (sum, weight), for which certificates have no rule: use a loss of "
                "torch's own with weight= or ignore_index=, or a mean over examples"
            )
        if self._buffers == "recalibrate":
            raise Unsupported(
                "running statistics are estimated anew at every point of the string, for which certificates have no "
                "rule: fold each end's BatchNorm into the layer before it (torch.nn.utils.fusion.fuse_conv_bn_eval, "
                "fuse_linear_bn_eval) and connect what comes out, which computes what each end does with its own "
                "statistics; buffers='frozen' suits only ends whose statistics are equal"
            )
        if is_spectral(self._net):
            raise Unsupported(
                "spectral norm's singular vectors are functions of theta, for which certificates have no rule: where "
                "paths may leave its bound, take it off net and both ends "
                "(torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight'))"
            )
        # What is no plain mean over examples is that of all of them, whatever blocks it is computed in.
        block = self._computation.block if mean.kind == "mean" else len(examples)
        return TraceInputs(self._computation.evaluating.module, mean.scalar, examples, block)

    @as_made
    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Mean training losses (B,) of B models (B, P) on their own rows (B, n), and gradients (B, P).

        A pure function of its arguments: dropout draws from a seed derived from the rows (without
        rows from θ), BatchNorm changes no buffer. ``rows=None``: the whole training set.

        Raises:
            InvalidCheckpoint: models of another size or dtype.
            InvalidSetting: rows that are not (B, n) int64, or not even one model fits into memory.
        """
        self._layout.check(thetas, 2, self._device)
        if rows is not None:
            checks.check_rows(rows, len(thetas))
            rows = rows.to(self._device)
        if not len(thetas):
            return Gradient(thetas.new_zeros(0), torch.zeros_like(thetas))
        return self._arithmetic.gradient(thetas, rows)

    @as_made
    def hessian_products(self, theta: Theta, vectors: Thetas, rows: Int64[Tensor, " n"] | None) -> Thetas:
        """Products H v (k, P) of vectors (k, P) with the Hessian at θ (P,) of what :meth:`gradient` differentiates.

        Raises:
            InvalidCheckpoint: θ or vectors of another size or dtype.
            InvalidSetting: rows that are not (n,) int64, or the examples do not fit into memory.
            RuntimeError: autograd cannot differentiate one of the operations twice.
        """
        self._layout.check(theta, 1, self._device)
        self._layout.check(vectors, 2, self._device)
        if rows is not None:
            checks.check_rows(rows[None], 1)
            rows = rows.to(self._device)
        with threads_of(self._chosen.choice, len(vectors), self.train_size if rows is None else len(rows)):
            return training_products(self._computation, self._train, theta, vectors, rows, self._arithmetic.couples)

    @as_made
    def engine_choice(self) -> EngineChoice:
        """Which engine and how many threads compute, and why; a trial of about a second the first time."""
        return self._chosen.choice

    @as_made
    def use_engine(self, name: str) -> None:
        """Compute several models by an engine: see ``engine`` of :class:`ModuleProblem`.

        Raises:
            InvalidSetting: none of these.
            InvalidModel: that engine cannot run the module.
        """
        self._chosen.use(name)

    def computing_by(self, name: str, threads: int | None = None) -> AbstractContextManager[None]:
        """Compute by an engine for a while, as a resumed run must repeat its choice; see :meth:`use_engine`.

        Args:
            name: of the engine.
            threads: CPU threads for large calls; None: as many as the choice says.
        """
        return self._chosen.using(name, threads)

    @property
    def independent(self) -> bool:
        """Whether what is computed of a model is the same, bit for bit, whoever is computed beside it.

        Found out by trying: then any searches may share batches, and be interrupted, without a bit's difference.
        """
        return self._chosen.independent

    @as_made
    def initial(self, seed: int) -> Theta:
        """A random model (P,), the same on every device; frozen parameters stay net's.

        Raises:
            InvalidModel: a module owns parameters but cannot draw them, and ``initialise`` was not given.
        """
        check_seed(seed)
        if not self._draws_checked:
            check_draws(self._net, seed, self._initialise)
            self._draws_checked = True
        drawn = random_copy(self._net, seed, self._initialise)
        return self._layout.flatten(named_tensors(drawn)).to(self._device)

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
            recipe: how to descend; the problem's own by default.
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
        checks.check_recipe(recipe := self._recipe if recipe is None else recipe)
        start = self.initial(seed)
        with self._chosen.untimed():
            return fit_from(
                self,
                start,
                recipe=recipe,
                seed=seed,
                until=until,
                max_steps=max_steps,
                quantity=quantity,
                on_check=on_check,
            )

    def fingerprint(self) -> str:
        """SHA-256 of all that determines a result: module, constants, data, loss, settings.

        Functions count by their names, not by what they do.
        """
        if self._fingerprint is None:  # all data go into it, and every pair of a call asks for it
            self._fingerprint = self._digest()
        return self._fingerprint

    def _digest(self) -> str:
        return fingerprint_of(
            self._net,
            self._layout,
            self.statistics_names,
            self._data,
            self._criteria,
            self._training_step,
            settings=f"{self._buffers} {self._batch_size} {self._computation.chunk}",
            recipe=self._recipe,
        )

    def _trial(self) -> Trial:
        return Trial(
            work=self._workload,
            theta=self._theta,
            evaluation=self._sets[""],
            criteria=[mean for mean in self._means.values() if not mean.sees],
            batch_size=min(self._batch_size or len(self._train), self._computation.chunk),
        )


def _columns(quantities: Sequence[str], names: Sequence[str], values: Tensor) -> dict[str, Values]:
    """Measured values (B, Q) by name, in the order asked for."""
    on_cpu = values.cpu()
    return {name: on_cpu[:, names.index(name)].clone() for name in quantities}
