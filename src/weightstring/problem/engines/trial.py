"""Which engine computes a problem: tried out on a few models and real data."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from weightstring.arrays import Rows, Thetas
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.agreement import near, relative, tolerance_of
from weightstring.problem.engines.base import ENGINES, REFERENCE, Engine, Unavailable, Workload, seeded_by
from weightstring.problem.engines.loop import Loop
from weightstring.problem.engines.operations import Operations
from weightstring.problem.engines.threads import BACKWARD, ONE_THREAD_FLOPS, on_threads
from weightstring.problem.engines.timing import best_time, clock
from weightstring.problem.flat import Own
from weightstring.problem.live import Live
from weightstring.problem.losses.means import Mean
from weightstring.protocol import EngineChoice
from weightstring.randomness import some_of
from weightstring.text import first_line

LOG = logging.getLogger("weightstring")

TRIAL_MODELS = 8
FEW_MODELS = 2
"""Models tried where each takes long, or much memory, or is computed by itself like the loop's."""
LARGE_THETA = 10**6
"""Parameters from which few models are tried."""
LARGE_FLOPS = 5 * 10**8
"""Operations in one gradient from which a CPU gains nothing by several side by side."""
TRIAL_EXAMPLES, FEW_EXAMPLES = 512, 128
"""Examples measured in a trial, so that it stays short; and where a gradient is much work."""
ATTEMPTS = 3
"""How often an engine may differ from the loop, on other models each time."""
GAIN = 1.1
"""How much faster an engine has to be than a simpler one."""
CLEARLY = 1.5
"""How far beyond that, or behind another engine, one call each has to put it, so that none is repeated."""


@lru_cache
def tell_once(words: str) -> None:
    """Tell whoever listens how things are on this machine, once in a process."""
    LOG.info(words)


@dataclass(frozen=True, eq=False)
class Trial:
    """The engines on a few models near θ and real data.

    Args:
        work: what is to be computed; where training draws, all engines take gradients alike.
        own: the models tried are this one plus noise of a tenth of its size.
        evaluation: evaluation examples.
        criteria: what is measured on these, the loss first; only the loss is compared, metrics may jump.
        batch_size: examples in a minibatch.
        activations: numbers that one example has in the widest output of any submodule.
    """

    work: Workload
    own: Own
    evaluation: DataSet
    criteria: Sequence[Mean]
    batch_size: int
    activations: int = 1
    _engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        """An engine for the workload; made once, as compiling takes its time.

        Raises:
            InvalidModel: the engine cannot compute it.
        """
        if name not in self._engines:
            self._engines[name] = ENGINES[name](self.work)
        return self._engines[name]

    def choose(self) -> EngineChoice:
        """The first engine that runs, agrees with the loop and pays."""
        with on_threads(None if self.own.on_gpu else 1):
            choice = self._first(self._fills)
        return replace(choice, threads=self._threads(choice.name), flops=self.flops)

    def require(self, name: str) -> EngineChoice:
        """Choose the engine that the caller names.

        Raises:
            InvalidModel: it cannot run the module, or gives other numbers.
        """
        if name == "loop":
            return EngineChoice("loop", "loop: set by the caller", flops=self.flops)
        try:
            agreement = self.agreement(name)
        except Unavailable as problem:
            raise Unavailable(
                f"engine={name!r} cannot run here ({problem}): install it, or begin anew with engine='auto'"
            ) from None
        except InvalidModel:
            raise
        except Exception as error:
            raise InvalidModel(
                f"engine={name!r} cannot run this module ({first_line(error)}): pass engine='auto' or 'loop'"
            ) from error
        if not agreement <= self.tolerance:
            raise InvalidModel(
                f"engine={name!r} differs from one model at a time by {agreement:.0e}, more than the "
                f"{self.tolerance:.0e} that rounding explains: pass engine='auto' or 'loop'"
            )
        return EngineChoice(name, f"{name}: set by the caller", None, agreement, flops=self.flops)

    def _first(self, large: bool) -> EngineChoice:
        if not self.work.train.together:
            return EngineChoice(REFERENCE, "loop: batches of any form go through one model at a time")
        choice, missing = EngineChoice(REFERENCE, "loop: no other engine is registered"), ""
        for name in [name for name, engine in ENGINES.items() if engine.gain is not None]:
            pays = choice.name != REFERENCE
            if pays and not ENGINES[name].rival:
                continue
            if large and ENGINES[name].joint:
                reason = "loop: one step is so much work that more beside it gain nothing on a CPU"
                choice = EngineChoice(REFERENCE, reason)
                continue
            try:
                found = self._try(name, (choice.speedup or 0.0) if pays else 0.0)
            except Unavailable as problem:
                missing = f"; not {name}: {first_line(problem)}"
                if ENGINES[name].without:
                    tell_once(f"{first_line(problem)}: {ENGINES[name].without}")
                continue
            if not pays or (found.name != REFERENCE and (found.speedup or 0.0) > (choice.speedup or 0.0)):
                choice = found
        return replace(choice, reason=choice.reason + missing)

    def _try(self, name: str, beside: float) -> EngineChoice:
        """An engine, or the loop in its place; ``beside``: the speed of one that was chosen before, if any."""
        try:
            agreement, speedup = self._compared(name)
        except Unavailable:
            raise
        except Exception as error:  # whatever a module raises there, the loop runs it
            return EngineChoice("loop", f"loop: {name} cannot run this module ({first_line(error)})")
        if not agreement <= self.tolerance:
            reason = f"loop: {name} differs from one model at a time by {agreement:.0e}, more than rounding explains"
            return EngineChoice("loop", reason, None, agreement)
        if CLEARLY * speedup >= beside and not speedup >= CLEARLY * (ENGINES[name].gain or GAIN):
            speedup = self.speedup(name, "loop")
        if speedup < (ENGINES[name].gain or GAIN):
            reason = f"loop: {name} runs at {speedup:.1f}x the speed of one model at a time"
            return EngineChoice("loop", reason, speedup, agreement)
        reason = f"{name}: {speedup:.1f}x the speed of one model at a time, results agree to {agreement:.0e}"
        return EngineChoice(name, reason, speedup, agreement)

    @cached_property
    def flops(self) -> float:
        """Operations in one forward pass of one example, of matrix products and convolutions."""
        sample = self.work.train.take(slice(2))
        try:
            evaluating = self.work.computation.evaluating
            assert isinstance(evaluating, Live)
            with evaluating.written(self.own.pieces) as theta, torch.enable_grad(), Operations() as operations:
                evaluating(theta, sample)
        except RuntimeError:  # a module that differentiates in its forward pass cannot be counted in
            return 2.0 * self.own.layout.size
        return float(operations.total / len(sample))

    def saved_bytes(self) -> float:
        """Bytes of activations that the gradient of one model keeps for an example, seen on two of the training set.

        They are what a forward pass keeps: of a large model nothing else is made for it.
        """
        found: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            owner = tensor if tensor._base is None else tensor._base
            if not (owner.is_leaf and owner.requires_grad):  # parameters are there anyway
                found[tensor.data_ptr()] = max(tensor.nbytes, found.get(tensor.data_ptr(), 0))
            return tensor

        rows = torch.arange(min(2, len(self.work.train)), device=self.own.device)
        computation, few = self.work.computation, self.work.train.take(rows)
        assert isinstance(computation.training, Live)
        plain = computation.structure is None
        model = computation.training.written(self.own.pieces) if plain else nullcontext(self.own.theta)
        with model as theta, seeded_by(rows[None], self.own.device), torch.enable_grad():
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                loss = computation.loss(theta, None, few)
            del loss
        return sum(found.values()) / len(rows)

    def _threads(self, name: str) -> int | None:
        """1 if all threads are not faster than one on this trial's largest call; None: all."""
        most = torch.get_num_threads()
        work = self.flops * FEW_MODELS * min(self._examples, len(self.evaluation))
        if self.own.on_gpu or most == 1 or work < ONE_THREAD_FLOPS:
            return None
        run = partial(self._run, name, FEW_MODELS)
        with on_threads(1):
            alone = best_time(run, self.own.device)
        return 1 if alone < GAIN * best_time(run, self.own.device) else None

    @property
    def _fills(self) -> bool:
        """Whether one gradient is so much work that a CPU gains nothing by several side by side."""
        return not self.own.on_gpu and BACKWARD * self.flops * self.batch_size > LARGE_FLOPS

    @property
    def _examples(self) -> int:
        """How many are measured."""
        return FEW_EXAMPLES if self._fills else TRIAL_EXAMPLES

    def _few(self, name: str) -> int:
        """How many models to try an engine on."""
        alone = isinstance(self.engine(name), Loop) or (not ENGINES[name].joint and self._fills)
        return FEW_MODELS if alone or self.own.layout.size >= LARGE_THETA else TRIAL_MODELS

    @property
    def tolerance(self) -> float:
        """Largest relative difference that counts as agreement."""
        return tolerance_of(self.work.computation.coarsest)

    def agreement(self, name: str) -> float:
        """Largest relative difference of losses and gradients between an engine and the loop, on few models."""
        return self._compared(name)[0]

    def _compared(self, name: str) -> tuple[float, float]:
        """That, and how many times as fast the engine's first call was as the loop, whose second model is timed.

        Numbers that differ are compared again on others: rounding may carry a unit over the kink of its activation,
        which changes a gradient by as much as an example has in it, but hardly twice.
        """
        for attempt in range(ATTEMPTS):
            agreement, speedup = self._once(name, attempt)
            if agreement <= self.tolerance:
                break
        return agreement, speedup

    def _once(self, name: str, seed: int) -> tuple[float, float]:
        thetas, rows = self._models(self._few(name), seed)  # what the engine refuses it refuses before any are drawn
        now = clock(self.own.device)
        start = now()
        found = self._found(name, thetas, rows)
        fast, differences = now() - start, list[float]()
        for alone in (slice(0, 1), slice(1, 2)):
            start = now()
            expected = self._found(REFERENCE, thetas[alone], rows[alone])
            slow = (now() - start) * len(thetas)
            differences += [relative(some[alone], other) for some, other in zip(found, expected, strict=True)]
        return max(differences, key=lambda share: (math.isnan(share), share)), slow / fast

    def speedup(self, name: str, over: str, run: Callable[[str], object] | None = None) -> float:
        """How many times as fast an engine is as another; one run each if that already shows it to be slower."""
        run = run or partial(self._run, models=self._few(name))
        slow, fast = (partial(run, engine) for engine in (over, name))
        device = self.own.device
        rough = best_time(slow, device, repeats=1) / best_time(fast, device, repeats=1)
        return rough if rough < 1 / (2 * GAIN) else best_time(slow, device) / best_time(fast, device)

    def runs(self, name: str) -> bool:
        """Whether an engine runs the module, and agrees with the loop."""
        try:
            return self.agreement(name) <= self.tolerance
        except Exception:  # whatever a module raises there, the loop runs it
            return False

    def steady(self, name: str) -> bool:
        """Whether a model's numbers are the same, bit for bit, alone, first or last in a batch.

        Tried on minibatches and on examples taken as a whole, whose sums torch may divide otherwise; on one thread, as
        several split a call by its length.
        """
        if (known := ENGINES[name].steady) is not None:
            return known
        thetas, rows = self._models(self._few(name))
        count = len(thetas)
        with on_threads(None if self.own.on_gpu else 1):
            whole = self._every(name, thetas, rows)
            for beside in ([0], [count - 1], [count - 1, 0], list(range(count))[-2::-1], list(range(1, count))):
                numbers = self._every(name, thetas[beside], rows[beside])
                if not all(torch.equal(some, other[beside]) for some, other in zip(numbers, whole, strict=True)):
                    return False
        return True

    def _every(self, name: str, thetas: Thetas, rows: Rows) -> list[Tensor]:
        """:meth:`_found`, and losses and gradients on the first examples, which are no minibatch."""
        few = replace(self.work, train=self.work.train.take(slice(FEW_EXAMPLES)))
        together = ENGINES[name](few).gradient(thetas, None)
        return [*self._found(name, thetas, rows), together.losses[:, None].cpu(), together.gradients.cpu()]

    def _run(self, name: str, models: int) -> tuple[Tensor, Tensor, Tensor]:
        return self._found(name, *self._models(models))

    def _found(self, name: str, thetas: Thetas, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, gradients and measured losses of models."""
        inputs = self.work.train.take(slice(self._examples))
        sample = self.evaluation.take(slice(self._examples))
        gradient = self.engine(name).gradient(thetas, rows)
        values = ENGINES[name](replace(self.work, train=inputs)).measure(thetas, [(sample, self.criteria)])
        return gradient.losses[:, None].cpu(), gradient.gradients.cpu(), values[:, :1].cpu()

    def _models(self, count: int, seed: int = 0) -> tuple[Thetas, Rows]:
        thetas = near(self.own.theta, count, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        size = min(self.batch_size, len(self.work.train))
        rows = torch.stack([some_of(len(self.work.train), size, generator) for _ in thetas])
        return thetas, rows.to(self.own.device)
