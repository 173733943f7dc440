"""Two ways to compute many models: one after the other, or side by side in one tensor program.

``torch.func.vmap`` gains an order of magnitude on tiny networks, little on middling ones, and
loses on convolutions on a CPU; some modules it cannot run at all. So the way is chosen for each
problem by a short trial, which also checks that both give the same numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from time import perf_counter
from typing import Literal

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.func import vmap
from torch.utils.flop_counter import FlopCounterMode

from weightstring.arrays import Rows, Theta, Thetas
from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.data import Examples
from weightstring.problem.digest import tensor_bytes
from weightstring.problem.functional import Computation, Criterion, Wanted, first_line
from weightstring.problem.initialise import generator_states, seeded
from weightstring.protocol import Gradient

Engine = Literal["loop", "vmap"]

ENGINES: tuple[Engine, Engine] = ("loop", "vmap")

CALL_ELEMENTS = 2**24
"""Models × examples × numbers per example that one call of vmap may hold."""

TRIAL_MODELS = 8

TRIAL_EXAMPLES = 512
"""Examples measured in a trial, so that it stays short."""

GAIN = 1.1
"""How much faster vmap has to be."""

ONE_THREAD_FLOPS = 10**8
"""Operations in one gradient of one model below which it is computed by one thread: some milliseconds' worth."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative difference between the engines that rounding explains."""

HALF_TOLERANCE = 3e-2

SALT = b"weightstring training draws"


@dataclass(frozen=True)
class EngineChoice:
    """Which engine computes several models, and why.

    Args:
        name: ``"loop"`` or ``"vmap"``.
        reason: one sentence.
        speedup: time of the loop over time of vmap; None where it was not measured.
        agreement: largest relative difference between the two; None where it was not measured.
        threads: CPU threads to compute with; None: as many as the caller has set.

    >>> EngineChoice("loop", "loop: set by the caller").name
    'loop'
    """

    name: Engine
    reason: str
    speedup: float | None = None
    agreement: float | None = None
    threads: int | None = None


def engine_named(engine: str) -> Engine:
    """An engine by its name.

    Raises:
        InvalidSetting: there is none of that name.
    """
    for name in ENGINES:
        if engine == name:
            return name
    raise InvalidSetting(f"engine={engine!r}: pass 'loop' or 'vmap' (a problem also takes 'auto')")


def width(engine: Engine, examples: int, elements: int) -> int:
    """Models in one call: as many as keep it within ``CALL_ELEMENTS``.

    Args:
        engine: the loop takes one model at a time.
        examples: in one forward pass of one model.
        elements: numbers of one example's input or output, whichever is larger.

    >>> width("vmap", 2048, 784), width("vmap", 2048, 3 * 224 * 224), width("loop", 1, 1)
    (10, 1, 1)
    """
    return 1 if engine == "loop" else max(1, CALL_ELEMENTS // (examples * elements))


def measure_models(
    computation: Computation, thetas: Thetas, train: Examples, wanted: Wanted, engine: Engine, at_once: int
) -> Float64[Tensor, "B Q"]:
    """:meth:`Computation.measure` of B models by ``engine``, ``at_once`` at a time.

    A single model goes through vmap too: its kernels round differently from the loop's, and a model
    must not lie over a threshold in one batch and under it in another.
    """
    one = partial(computation.measure, train=train, wanted=wanted)
    with torch.no_grad(), _without_fallback_warnings():
        if engine == "loop":
            return torch.stack([one(theta) for theta in thetas])
        return torch.cat([vmap(one)(thetas[part]) for part in _parts(len(thetas), at_once)])


def gradient_models(
    computation: Computation, thetas: Thetas, train: Examples, rows: Rows | None, at_once: int
) -> Gradient:
    """Training losses and gradients of B models, ``at_once`` at a time (1: without vmap).

    Where training draws at random, models go one at a time whatever ``at_once``, each from a seed
    derived from its own rows (without rows: from its θ): the result of a model depends on nothing
    beside it, and the global generators stay untouched. Without rows the mean over all examples is
    summed up chunk by chunk.

    Raises:
        InvalidModel: the loss does not depend on θ.
    """
    results = []
    for part in _parts(len(thetas), 1 if computation.draws else at_once):
        models, batch = thetas[part], None if rows is None else rows[part]
        own = models if batch is None else batch
        with seeded(_seed(own), thetas.device) if computation.draws else nullcontext():
            if batch is None and len(train) > computation.chunk:
                results.append(_slopes_in_chunks(computation, models, train))
            else:
                results.append(_slopes(computation, models, batch, train))
    if len(results) == 1:
        return results[0]
    losses, gradients = zip(*results, strict=True)
    return Gradient(torch.cat(losses), torch.cat(gradients))


def draws_at_random(computation: Computation, theta: Theta, train: Examples, rows: Int64[Tensor, " n"]) -> bool:
    """Whether a gradient on these rows moves torch's generators, as dropout does.

    Raises:
        InvalidModel: the loss does not depend on θ.
    """
    with seeded(0, theta.device):
        before = generator_states(theta.device)
        _slopes(computation, theta[None], rows[None], train)
        pairs = zip(before, generator_states(theta.device), strict=True)
        return not all(torch.equal(one, other) for one, other in pairs)


def _slopes_in_chunks(computation: Computation, thetas: Thetas, train: Examples) -> Gradient:
    losses, gradients = torch.zeros_like(thetas[:, 0]), torch.zeros_like(thetas)
    for piece in train.chunks(computation.chunk):
        share = len(piece) / len(train)
        values, slopes = _slopes(computation, thetas, None, piece)
        losses += share * values
        gradients += share * slopes
    return Gradient(losses, gradients)


def _slopes(computation: Computation, thetas: Thetas, rows: Rows | None, examples: Examples) -> Gradient:
    leaf = thetas.detach().requires_grad_()
    one = partial(computation.loss, examples=examples)
    with torch.enable_grad():
        if len(leaf) == 1:
            losses = one(leaf[0], None if rows is None else rows[0])[None]
        else:
            with _without_fallback_warnings():
                losses = vmap(one, (0, None if rows is None else 0))(leaf, rows)
    if not losses.requires_grad:
        raise InvalidModel(
            "the training loss does not depend on any trainable parameter: net or loss_fn leaves autograd "
            "(.item(), .detach(), numpy, torch.no_grad); keep to tensor operations"
        )
    # Each loss depends on its own model only, so that the gradient of the sum holds the gradient of each.
    with _without_fallback_warnings():
        (slopes,) = torch.autograd.grad(losses.sum(), leaf)
    # Autograd may hand back an expanded tensor, which cannot be written to.
    return Gradient(losses.detach().to(leaf.dtype), slopes.contiguous())


@dataclass(frozen=True, eq=False)
class Trial:
    """Both engines on a few models near θ and real data.

    Args:
        computation: what is to be computed; where training draws, both engines take gradients alike.
        theta: the models tried are this one plus noise of a tenth of its size.
        train: training examples.
        evaluation: evaluation examples.
        criteria: what is measured on these, the loss first; only the loss is compared, metrics may jump.
        batch_size: examples in a minibatch.
        elements: see :func:`width`.
    """

    computation: Computation
    theta: Theta
    train: Examples
    evaluation: Examples
    criteria: Sequence[Criterion]
    batch_size: int
    elements: int

    def choose(self) -> EngineChoice:
        """Take vmap if it works, agrees with the loop and is faster."""
        count = self._choose_threads()
        with threads(count):
            return replace(self._choose_engine(), threads=count)

    def _choose_engine(self) -> EngineChoice:
        try:
            agreement = self.agreement()
        except Exception as error:  # whatever a module raises under vmap, the loop runs it
            return EngineChoice("loop", f"loop: vmap cannot run this module ({first_line(error)})")
        if not agreement <= self.tolerance:
            reason = f"loop: vmap differs from one model at a time by {agreement:.0e}, more than rounding explains"
            return EngineChoice("loop", reason, None, agreement)
        speedup = self.speedup()
        if speedup < GAIN:
            reason = f"loop: vmap runs at {speedup:.1f}x the speed of one model at a time"
            return EngineChoice("loop", reason, speedup, agreement)
        reason = f"vmap: {speedup:.1f}x faster than one model at a time, results agree to {agreement:.0e}"
        return EngineChoice("vmap", reason, speedup, agreement)

    def require(self) -> EngineChoice:
        """Take vmap because the caller wants it.

        Raises:
            InvalidModel: vmap cannot run the module, or gives other numbers.
        """
        try:
            agreement = self.agreement()
        except Exception as error:
            raise InvalidModel(
                f"engine='vmap' cannot run this module ({first_line(error)}): pass engine='auto' or 'loop'"
            ) from error
        if not agreement <= self.tolerance:
            raise InvalidModel(
                f"engine='vmap' differs from one model at a time by {agreement:.0e}, more than the "
                f"{self.tolerance:.0e} that rounding explains: pass engine='auto' or 'loop'"
            )
        return EngineChoice("vmap", "vmap: set by the caller", None, agreement)

    def _choose_threads(self) -> int | None:
        """One thread where steps are small: several gain little there, and on a busy machine wait for each other.

        Counted and not timed, so that two runs of one search compute alike.
        """
        thetas, rows = self._models()
        with FlopCounterMode(display=False) as counter:
            gradient_models(self.computation, thetas[:1], self.train, rows[:1], 1)
        return None if self.theta.is_cuda or counter.get_total_flops() > ONE_THREAD_FLOPS else 1

    @property
    def tolerance(self) -> float:
        """Largest relative difference that counts as agreement."""
        return TOLERANCE.get(self.theta.dtype, HALF_TOLERANCE)

    def agreement(self) -> float:
        """Largest relative difference of losses and gradients between the engines."""
        pairs = zip(self._run("vmap"), self._run("loop"), strict=True)
        return max(_relative(one, other) for one, other in pairs)

    def speedup(self) -> float:
        """Time of the loop over time of vmap; one run each where that already shows vmap to be slower."""
        loop, vmapped = (partial(self._run, engine) for engine in ENGINES)
        rough = _best_time(loop, repeats=1) / _best_time(vmapped, repeats=1)
        return rough if rough < 1 / GAIN else _best_time(loop) / _best_time(vmapped)

    def _run(self, engine: Engine) -> tuple[Tensor, Tensor, Tensor]:
        thetas, rows = self._models()
        sample, inputs = self.evaluation.take(slice(TRIAL_EXAMPLES)), self.train.take(slice(TRIAL_EXAMPLES))
        at_once = width(engine, rows.shape[1], self.elements)
        gradient = gradient_models(self.computation, thetas, self.train, rows, at_once)
        at_once = width(engine, max(len(sample), len(inputs)), self.elements)
        values = measure_models(self.computation, thetas, inputs, [(sample, self.criteria)], engine, at_once)
        return gradient.losses[:, None].cpu(), gradient.gradients.cpu(), values[:, :1].cpu()

    def _models(self) -> tuple[Thetas, Rows]:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(TRIAL_MODELS, len(self.theta), generator=generator).to(self.theta)
        thetas = self.theta + 0.1 * self.theta.square().mean().sqrt() * noise
        count = min(self.batch_size, len(self.train))
        rows = torch.stack([torch.randperm(len(self.train), generator=generator)[:count] for _ in thetas])
        return thetas, rows.to(self.theta.device)


def _relative(one: Tensor, other: Tensor) -> float:
    """Largest difference in a row over the row's largest number; not a number where either is not."""
    scale = other.abs().amax(dim=1).clamp_min(torch.finfo(other.dtype).tiny)
    return float(((one - other).abs().amax(dim=1) / scale).amax())


def _best_time(run: Callable[[], Sequence[Tensor]], repeats: int = 5, budget: float = 0.2) -> float:
    best = float("inf")
    begin = perf_counter()
    for _ in range(repeats):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
        if perf_counter() - begin > budget:
            break
    return best


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with ``count`` CPU threads for a while; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_fallback_warnings() -> Iterator[None]:
    # vmap warns where it loops over an operation itself; the trial has timed that.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _parts(count: int, at_once: int) -> Iterator[slice]:
    parts = -(-count // at_once)
    for part in range(parts):
        yield slice(part * count // parts, (part + 1) * count // parts)


def _seed(arguments: Tensor) -> int:
    return int.from_bytes(sha256(SALT + tensor_bytes(arguments)).digest()[:7])
