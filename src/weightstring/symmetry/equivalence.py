"""Whether two models compute the same function: on all data, and whether what made one of the other is a symmetry.

Data cannot tell apart units that sleep on them. So a move is also tried in float64 on inputs made to wake units, and at
other parameters, where a symmetry of the architecture must hold as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from weightstring.arrays import Theta, blocks
from weightstring.errors import NotEquivalent, Unsupported
from weightstring.memory import is_out_of_memory
from weightstring.problem import Modular, PerExample
from weightstring.problem.batchwise.calls import OneCall
from weightstring.problem.copying import announces
from weightstring.problem.datasets.data import Examples, sample
from weightstring.problem.live import Live
from weightstring.problem.once import once
from weightstring.randomness import generator
from weightstring.symmetry.apart import Apart, floating, numbers_in, parts, ratio
from weightstring.symmetry.moves import Move, random_factors, random_maps, random_permutation
from weightstring.symmetry.outputs import Path, Read, as_built, name_of, what_is_read
from weightstring.symmetry.spec import Symmetry
from weightstring.symmetry.waking import EXAMPLES, coarsest, doubled, other_models, precise, precisely, woken

Computed = TypeVar("Computed")

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-1}
"""How far outputs may differ by rounding, relative in norm."""

AMPLIFIED = 1e3
"""How much more of it is allowed where a module is tried on inputs that it was not made for."""

SENSITIVE = 30.0
"""How often what a last digit of θ makes of the outputs may be seen."""

TOLD = 0.5
"""Share of outputs that is finite from which a model tells enough, so that no further one is tried."""

AT_ONCE = 1 << 18
"""Numbers of outputs that are computed at a time, unless a single example has more."""

HELD = 1 << 20
"""Numbers of outputs on the inputs of one kind that are compared in float64: of more, so many at even distances."""


def check_equivalent(problem: Modular, one: Theta, other: Theta, subject: str = "align") -> tuple[float, int]:
    """How far two models' outputs differ at most on the whole evaluation set, and on how many inputs.

    That is the largest max |x − y| / max |x| of the floating outputs that the loss or a metric reads; where they read
    something that is not in the output, it is taken of the losses of single examples. Whether it is too much is decided
    by ‖x − y‖ / ‖x‖, in which the rounding of many numbers does not accumulate.

    Raises:
        NotEquivalent: that is more than rounding, or infinities are in other places.
    """
    examples, read = problem.observed(), what_is_read(problem)
    apart: dict[str, Apart] = {}
    if not read.elsewhere:
        statistics = [problem.statistics(theta) for theta in (one, other)]
        with torch.no_grad():
            for part in examples.chunks(_at_once(problem, read)):
                outputs = (
                    read(problem.computation.evaluating(theta, part, own))
                    for theta, own in zip((one, other), statistics, strict=True)
                )
                for path, x, y in floating(read.paths, *outputs):
                    apart.setdefault(name_of(path), Apart()).add(x, y)
    count = len(examples)
    if not apart or isinstance(examples, OneCall):
        losses = [_losses(problem, theta) for theta in (one, other)]
        apart["losses"], count = Apart(), len(losses[0])
        apart["losses"].add(*losses)
    name, worst = max(apart.items(), key=lambda each: each[1].relative)
    tolerance = TOLERANCES[rounding(problem)]
    if not worst.relative <= tolerance:
        remedy = "a symmetry given by hand is wrong"
        if problem.dtype != torch.float64:
            remedy += ", or rounding is large in so deep a network: build the problem with dtype=torch.float64"
        raise NotEquivalent(
            f"{subject}: on the {count} inputs of the evaluation set the {name} of the two models differ by "
            f"{worst.relative:.3g} in norm, most on input {worst.index}, more than rounding ({tolerance:g}): {remedy}"
        )
    return max(own.at_most for own in apart.values()), count


def _losses(problem: Modular, theta: Theta) -> Tensor:
    """The loss of each example, or of all where a single one has none."""
    if isinstance(problem, PerExample):
        with suppress(Unsupported):
            return problem.measure_each(theta)
    return problem.measure(theta[None])["loss"]


def check_symmetry(problem: Modular, symmetry: Symmetry, theta: Theta, subject: str) -> int:
    """Refuse a symmetry of which a random permutation of all groups, or random factors, change the function.

    Returns:
        See :func:`check_move`.

    Raises:
        NotEquivalent: see :func:`check_move`.
    """
    drawn = random_permutation(symmetry, 0)
    orders = {  # of few units a draw often leaves all where they are
        name: order.roll(1, -1) if bool((order == torch.arange(order.shape[-1])).all()) else order
        for name, order in drawn.permutations.items()
    }
    moves = [replace(drawn, permutations=orders), random_factors(symmetry, 0)]
    moves += [random_maps(symmetry, 0)] if symmetry.maps.groups else []
    return sum(check_move(problem, move, theta, subject) for move in moves)


def check_move(problem: Modular, move: Move, theta: Theta, subject: str) -> int:
    """Refuse a move that changes the function in float64, at θ on inputs that activate idle units, or at other θ.

    How much rounding explains is measured by changing the last digit of θ. Inputs that the module cannot take, and
    those on which its outputs are not finite, are left out. A module that must hold each θ itself, such as one that
    merges weights when its mode changes, is compared on the evaluation set alone.

    Returns:
        How many models were computed: each on all inputs of its kind, at most 32 for each way to choose them.

    Raises:
        NotEquivalent: the outputs differ; says which, where, by how much, and which group of units is at fault.
    """
    read = what_is_read(problem)
    if (
        read.elsewhere
        or announces(problem.computation.evaluating.module)
        or not (move.permutations or move.factors or move.maps)
    ):
        return 0
    trial, inputs = _Trial(problem, read), woken(problem)
    # In float64 a model takes two copies of θ: what computes in another precision makes room meanwhile.
    computing = problem.computation.evaluating
    with computing.resting(theta) if isinstance(computing, Live) else nullcontext():
        for where, model, words, examples in _tried(problem, theta, inputs):
            change = trial.differs(move, model, examples, where)
            if change is None and where and trial.told >= TOLD:
                break
            if change is None:
                continue
            name, relative, allowed = change
            single = (part for part in _single(move) if trial.differs(part, model, examples, where) is not None)
            group = next((next(iter({**part.permutations, **part.factors, **part.maps})) for part in single), None)
            blame = "these units are" if group is None else f"the units of {group!r} are"
            how = "permuted" if move.permutations else "scaled" if move.factors else "mixed"
            raise NotEquivalent(
                f"{subject}: {blame} not free to be {how}: on {len(examples)} inputs {words}{where} the {name} differ "
                f"by {relative:.3g} in norm, where rounding explains {allowed:.2g}: correct the symmetry"
            )
    return len(trial.computed)


def _tried(
    problem: Modular, theta: Theta, inputs: Iterator[tuple[str, Examples]]
) -> Iterator[tuple[str, Callable[[], Theta], str, Examples]]:
    """Models and inputs with their descriptions: θ on inputs of all kinds, then others on the evaluation set's."""
    base: Examples | None = None
    for words, examples in inputs:
        base = base or examples
        yield "", partial(precisely, theta), words, examples
    assert base is not None
    for where, other in other_models(problem, theta):
        yield f" {where}", other, "of the evaluation set", base


class _NotRunError(Exception):
    """A stranger's module refuses inputs or parameters that it was not made for."""


class _Trial:
    """Outputs in float64, of a model and of the moved one."""

    def __init__(self, problem: Modular, read: Read) -> None:
        self.problem, self.read, self.coarsest = problem, read, _coarsest(problem)
        self.computation = precise(problem.computation)
        self.computed: set[tuple[str, str]] = set()
        """Which models, on some or all of their inputs."""
        self.told = 0.0
        """Of the outputs that were compared last, the share that is finite."""

    def differs(
        self, move: Move, model: Callable[[], Theta], examples: Examples, at: str
    ) -> tuple[str, float, float] | None:
        """Which outputs a move changes most, by how much, and what would have been rounding; None: that is all.

        The model, in float64, is made anew for each use, so that one is in memory at a time.
        """
        self.computed |= {(at, "itself"), (at, "moved")}
        self.told = 0.0
        try:
            base = list(self._outputs(model(), examples))
            columns = list(zip(*base, strict=True))
            sizes = [(sum(int(x.isfinite().sum()) for x in xs), sum(x.numel() for x in xs)) for xs in columns]
            self.told = min((finite / count for finite, count in sizes if count), default=1.0)
            apart = self._apart(base, move.apply_(model()), examples)
            least = TOLERANCES[self.coarsest] * (AMPLIFIED if self.coarsest == torch.float64 else 1)
            if not any(relative > least for relative in apart.values()):
                return None
            self.computed.add((at, "shaken"))
            shaken = self._apart(base, _shaken(model(), torch.finfo(self.coarsest).eps), examples)
        except _NotRunError:
            return None
        for path, relative in sorted(apart.items(), key=lambda each: -each[1]):
            allowed = max(least, SENSITIVE * shaken[path])
            if relative > allowed:
                return name_of(path), relative, allowed
        return None

    def _apart(self, base: Sequence[list[Tensor]], theta: Theta, examples: Examples) -> dict[Path, float]:
        """How far each output of a model is from the base's, of the numbers that are finite in both."""
        sums: dict[Path, tuple[float, float, float]] = {}
        for one, other in zip(base, self._outputs(theta, examples), strict=True):
            for path, x, y in floating(self.read.paths, one, other):
                if x.shape != y.shape:  # of a module whose outputs have as many rows as it finds
                    raise _NotRunError
                finite = x.isfinite() & y.isfinite()
                difference, size, masks = parts(numbers_in(finite, x), numbers_in(finite, y))
                earlier = sums.get(path, (0.0, 0.0, 0.0))
                sums[path] = (earlier[0] + difference, earlier[1] + size, max(earlier[2], masks))
        return {path: max(ratio(difference, size), masks) for path, (difference, size, masks) in sums.items()}

    def _outputs(self, theta: Theta, examples: Examples) -> Iterator[list[Tensor]]:
        """What is read of one model, block by block; of very much, a part."""
        train = doubled(sample(self.problem.fitted()[0], EXAMPLES))
        statistics = self._run(lambda: self.computation.estimate(theta, train))
        step = -(-self.read.numbers * len(examples) // HELD)
        for part in examples.chunks(_at_once(self.problem, self.read)):
            output = self._run(lambda part=part: self.read(self.computation.evaluating(theta, part, statistics)))  # type: ignore[misc]
            yield output if step <= 1 else [each.reshape(-1)[::step].clone() for each in output]

    def _run(self, compute: Callable[[], Computed]) -> Computed:
        """What the module computes.

        Raises:
            _NotRunError: it raised anything but that there is no memory.
        """
        try:
            with torch.no_grad():
                return compute()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _NotRunError from error


def _at_once(problem: Modular, read: Read) -> int:
    """Examples whose outputs are computed together."""
    return min(problem.computation.block, max(1, AT_ONCE // max(1, read.numbers)))


def _shaken(theta: Theta, digit: float) -> Theta:
    """A model with each number changed by about so much of itself, in place."""
    draw = generator(0, "last digit")
    for part in blocks(len(theta)):
        own = theta[part]
        own.mul_(torch.randn(own.shape, generator=draw, dtype=own.dtype).mul_(digit).add_(1))
    return theta


@once
def rounding(problem: Modular) -> torch.dtype:
    """The dtype whose rounding the outputs of a model and its copy may differ by."""
    return max(_coarsest(problem), problem.dtype, key=lambda dtype: torch.finfo(dtype).eps)


def _coarsest(problem: Modular) -> torch.dtype:
    with as_built(problem) as theta:
        dtype = coarsest(problem.computation, theta, sample(problem.fitted()[0], 2))
    return dtype if dtype in TOLERANCES else torch.bfloat16


def _single(move: Move) -> Iterator[Move]:
    """A move group by group."""
    for name, permutation in move.permutations.items():
        yield Move(move.symmetry, {name: permutation})
    for name, factors in move.factors.items():
        yield Move(move.symmetry, factors={name: factors})
    for name, matrix in move.maps.items():
        yield Move(move.symmetry, maps={name: matrix}, unfolded=move.unfolded)
