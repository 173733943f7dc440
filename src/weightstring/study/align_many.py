"""``align_many``: copies of many models with their units in one order, so that their mean, and any average, is low.

Two ways are tried beside the models as they are: every model aligned with one of them (:func:`weightstring.align`), and
all with all at once, without a reference (:mod:`weightstring.symmetry.universe`). What counts is the loss of the mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import check_theta
from weightstring.problem import Modular
from weightstring.protocol import lacking
from weightstring.study.averages import averaged, measured
from weightstring.study.naming import by_name
from weightstring.symmetry.activations import activations_of
from weightstring.symmetry.alignment import METHODS, align
from weightstring.symmetry.assignments import as_move, permuted_units, signed_units
from weightstring.symmetry.equivalence import check_equivalent, check_move, check_symmetry
from weightstring.symmetry.finding import find
from weightstring.symmetry.matching import match
from weightstring.symmetry.moves import Factors, Move
from weightstring.symmetry.pairs import Assignments, Groups, Pair
from weightstring.symmetry.rescaling import Scaled, canonical, nearest
from weightstring.symmetry.spec import Symmetry
from weightstring.symmetry.universe import Tensors, in_one_order
from weightstring.symmetry.weights import by_weights

JOINTLY = "all at once, by "


@dataclass(frozen=True)
class Joint:
    """One way to bring many models into one order.

    Args:
        method: ``"none"``, to which model, or all at once and by what.
        loss: the evaluation loss of the mean of all copies.
    """

    method: str
    loss: float


@dataclass(frozen=True, eq=False)
class AlignedMany:
    """Copies of many models that compute the same functions, with their units in one order.

    Args:
        names: of the models, n.
        thetas: the copies, each (P,).
        moves: what was done to each; of any two models, the one's after the inverse of the other's leads from one to
            the other, whichever way one goes.
        chosen: the way that was taken.
        tried: all of them, the models as they are first.
        own: the mean of the models' evaluation losses.
        seconds: how long it took.
    """

    names: tuple[str, ...]
    thetas: tuple[Theta, ...]
    moves: tuple[Move, ...]
    chosen: Joint
    tried: tuple[Joint, ...]
    own: float
    seconds: float

    @property
    def barrier_before(self) -> float:
        """The loss of the mean of the models as they are, over the mean of their losses."""
        return self.tried[0].loss - self.own

    @property
    def barrier(self) -> float:
        """The same of the copies."""
        return self.chosen.loss - self.own

    def __repr__(self) -> str:
        return (
            f"AlignedMany({len(self.names)} models, loss of the mean over the mean loss "
            f"{self.barrier_before:.6g} -> {self.barrier:.6g}, by {self.chosen.method})"
        )


@undisturbed
def align_many(
    problem: Modular,
    models: Mapping[str, Theta] | Sequence[Theta],
    *,
    reference: str | int = 0,
    rescale: bool = True,
    restarts: int = 3,
    seed: int = 0,
    symmetry: Symmetry | None = None,
    maps: bool = True,
) -> AlignedMany:
    """Bring n models into one order of units, of the ways tried the one whose mean has the lowest loss.

    All at once: max Σ_{i<j} ⟨P_i A_i, P_j A_j⟩ over permutations to a common universe, of balanced weights or of
    activations, by turns (:mod:`weightstring.symmetry.universe`). To a reference: as :func:`weightstring.align` does,
    linear maps included. Both are consistent along cycles: copies have one order, whichever two are compared.

    Args:
        problem: the loss of all models.
        models: two or more, each (P,); a mapping names them, a sequence by its numbers.
        reference: name or place of the model that one of the ways aligns all others with; from it the ascents begin.
        rescale: try factors too, and signs where units are odd; else units are only permuted.
        restarts: how often coordinate ascent over two models' weights starts.
        seed: of orders.
        symmetry: which units may move; found from the module unless given.
        maps: with the reference, try linear maps too, where the module has any.

    Memory: three copies of every model.

    Raises:
        InvalidCheckpoint: one is not a θ of the problem.
        InvalidSetting: fewer than two models, or no module to align.
        Unsupported: the symmetry of the module cannot be found.
        NotEquivalent: see :func:`weightstring.align`.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    >>> x = torch.linspace(-1, 1, 20).reshape(10, 2)
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, torch.nn.functional.mse_loss, (x, x.sum(1, keepdim=True)))
    >>> from weightstring.symmetry.copies import permuted_copy
    >>> theta = problem.fit(0, until=0.01)
    >>> found = align_many(problem, [theta, *(permuted_copy(problem, theta, seed=seed) for seed in (1, 2))])
    >>> [bool((copy == theta).all()) for copy in found.thetas]
    [True, True, True]
    """
    started = time.perf_counter()
    named = by_name(models)
    names = tuple(named)
    first = names[reference] if isinstance(reference, int) and -len(names) <= reference < len(names) else str(reference)
    _check(problem, named, first)
    if symmetry is not None:
        check_symmetry(problem, symmetry, named[first], "align_many")
    work = _Work(problem, symmetry or find(problem), list(named.values()), names.index(first), rescale, restarts, seed)
    losses = [values["loss"] for values in measured(problem, list(named.values()))]
    best: tuple[Joint, Sequence[Move]] | None = None
    tried = []
    for method, moves in work.ways(maps, symmetry is None):
        copies = [move(theta) for move, theta in zip(moves, work.thetas, strict=True)]
        (values,) = measured(problem, [averaged(copies)])
        tried.append(Joint(method, values["loss"]))
        if best is None or values["loss"] < best[0].loss:
            best = tried[-1], moves
    assert best is not None
    copies = [_checked(problem, move, theta) for move, theta in zip(best[1], work.thetas, strict=True)]
    own, spent = sum(losses) / len(losses), time.perf_counter() - started
    return AlignedMany(names, tuple(copies), tuple(best[1]), best[0], tuple(tried), own, spent)


def _check(problem: object, models: Mapping[str, Theta], reference: str) -> None:
    if not isinstance(problem, Modular):
        raise InvalidSetting(f"align_many: no module to align: {lacking(problem, Modular)}")
    if len(models) < 2:
        raise InvalidSetting(f"align_many of {len(models)} models: give two or more")
    if reference not in models:
        raise InvalidSetting(f"align_many(reference={reference!r}): name one of the models, {', '.join(models):.200}")
    for name, theta in models.items():
        check_theta(problem, theta, f"model {name!r:.80}")


def _checked(problem: Modular, move: Move, theta: Theta) -> Theta:
    """A copy that was seen to compute the same function."""
    check_move(problem, move, theta, "align_many")
    copy = move(theta)
    check_equivalent(problem, theta, copy, "align_many")
    return copy


@dataclass
class _Work:
    """Moves of all models, way by way."""

    problem: Modular
    symmetry: Symmetry
    thetas: list[Theta]
    first: int
    rescale: bool
    restarts: int
    seed: int

    def ways(self, maps: bool, traced: bool) -> Iterator[tuple[str, list[Move]]]:
        """Each with its name; the models as they are first."""
        still = [Move(self.symmetry) for _ in self.thetas]
        yield "none", still
        one = self.thetas[self.first]
        methods = METHODS if traced else METHODS[:1]
        symmetry = None if traced else self.symmetry
        to_first = [
            still[i] if i == self.first else self._to_first(one, theta, methods, symmetry, maps)
            for i, theta in enumerate(self.thetas)
        ]
        yield "with one of them", to_first
        for method, moves in self._jointly(traced):
            yield JOINTLY + method, moves
            if self.rescale and (scaled := self._scaled(moves)) is not None:
                yield f"{JOINTLY}{method}, rescaled", scaled

    def _to_first(
        self, one: Theta, theta: Theta, methods: Sequence[str], symmetry: Symmetry | None, maps: bool
    ) -> Move:
        return align(
            self.problem,
            one,
            theta,
            methods=methods,
            rescale=self.rescale,
            restarts=self.restarts,
            seed=self.seed,
            symmetry=symmetry,
            maps=maps,
        ).move

    def _jointly(self, traced: bool) -> Iterator[tuple[str, list[Move]]]:
        symmetry = self.symmetry
        signed = signed_units(symmetry)
        groups = Groups(symmetry.permutations.groups, frozenset(signed) if self.rescale else frozenset())
        paired = signed.values()
        models = [Scaled(symmetry, theta, canonical(symmetry, theta, paired).factors) for theta in self.thetas]
        weights = [
            Tensors(
                tuple(block.view(model.parameter(block.parameter)) for model in models),
                names,
                tuple(factor.axis for factor in block.factors),
            )
            for block, names in permuted_units(symmetry)
        ]
        start = [self._with_first(weights, groups, i) for i in range(len(models))]
        yield "weights", self._moves(in_one_order(weights, groups, start, self.seed))
        if not traced:
            return
        activations = [
            Tensors(tuple(pair.b for pair in pairs), pairs[0].groups, pairs[0].axes)
            for pairs in zip(*(activations_of(self.problem, symmetry, model) for model in models), strict=True)
        ]
        start = [match(_pairs(activations, self.first, i), groups) for i in range(len(models))]
        seen = in_one_order(activations, groups, start, self.seed)
        # Units that no layer with weights returns, such as those between two layers of an LSTM, by their weights.
        rest = [match(_pairs(weights, self.first, i, seen), groups, given=own) for i, own in enumerate(seen)]
        yield "activations", self._moves(in_one_order(weights, groups, rest, self.seed, given=seen))

    def _with_first(self, tensors: Sequence[Tensors], groups: Groups, number: int) -> Assignments:
        if number == self.first:
            return {}
        return by_weights(_pairs(tensors, self.first, number), groups, self.restarts, self.seed)

    def _moves(self, assignments: Sequence[Assignments]) -> list[Move]:
        return [as_move(self.symmetry, own) for own in assignments]

    def _scaled(self, moves: Sequence[Move]) -> list[Move] | None:
        """Moves with the factors that bring each copy nearest to the mean of all; None: there are no such."""
        copies = [move(theta) for move, theta in zip(moves, self.thetas, strict=True)]
        mean = averaged(copies)
        found = [nearest(self.symmetry, mean, copy).factors for copy in copies]
        if not any(found):
            return None
        return [
            replace(move, factors={**move.factors, **_after(move.factors, factors)})
            for move, factors in zip(moves, found, strict=True)
        ]


def _after(first: Factors, then: Factors) -> dict[str, Tensor]:
    """Factors that do what the first do and then the others, of the groups that these have."""
    return {name: own * first.get(name, torch.ones(())) for name, own in then.items()}


def _pairs(tensors: Sequence[Tensors], one: int, other: int, known: Sequence[Assignments] | None = None) -> list[Pair]:
    """Tensors of two of the models, the first one's in the order that is known of it."""
    pairs = [Pair(each.each[other], each.each[one], each.groups, each.axes) for each in tensors]
    ahead = [pair if known is None else pair.made(known[one]) for pair in pairs]
    return [replace(pair, a=pair.b, b=pair.a) for pair in ahead]
