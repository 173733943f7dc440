"""``align``: the symmetric copy of one model whose line to another is the lowest of those tried (Section IV).

Two networks trained apart are far from each other mostly because their hidden units are in another order, and for ReLU
scaled differently. The copy of the second that has its units where the first has them computes the same function; the
straight line to it, or a short string, is often under the threshold.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int64
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.notebook import Viewable
from weightstring.path import check_theta
from weightstring.problem import Modular
from weightstring.protocol import lacking
from weightstring.symmetry.candidates import Matched, matched, observed
from weightstring.symmetry.equivalence import check_equivalent, check_move, check_symmetry
from weightstring.symmetry.finding import find
from weightstring.symmetry.learning import STEPS, learned
from weightstring.symmetry.lines import POINTS, Lines, barrier, worse
from weightstring.symmetry.moves import Move
from weightstring.symmetry.spec import Symmetry
from weightstring.symmetry.trying import Candidate, taken, tried_move, tries

METHODS = ("weights", "activations")
LEARNED = "learned"
"""One more method, not among those by default: it costs gradients."""
CHOICES = ("barrier", "distance")
COMPARED = 2
"""Passes over the evaluation set that compare the outputs of a model and its copy, one for each."""

OBSERVED = 2
"""Passes over a part of it in which activations are recorded, one for each model."""


@dataclass(frozen=True, eq=False)
class Aligned(Viewable):
    """The second model, its function unchanged, with its units where the first has them.

    Args:
        theta: the aligned model (P,).
        move: what was done to it.
        chosen: the candidate that was taken.
        before: the second model as it was.
        barrier_before: barrier of the line a → b at four points: the largest evaluation loss at its ends, in the middle
            and at one more place, over the mean of the ends'. The line may be higher elsewhere.
        barrier_after: the same of the line a → aligned.
        candidates: all that were tried, that one among them.
        difference: between outputs of the model and its aligned copy, at most, over the largest output.
        examples: the number of inputs on which outputs were compared: the whole evaluation set.
        correlations: for each group, before and after, how far each unit's activations correlate with those of the unit
            at its place in the first model; empty where activations were not recorded.
        seconds: how long it took.
        evaluations: how often one model was computed on the evaluation set, or on examples chosen to observe or wake
            units; a part of the evaluation set counts as its share.
        gradients: how many were computed, of a minibatch each; 0 unless a move was learned.
    """

    theta: Theta
    move: Move
    chosen: Candidate
    before: Candidate
    barrier_before: float
    barrier_after: float
    candidates: tuple[Candidate, ...]
    difference: float
    examples: int
    correlations: Mapping[str, tuple[Float[Tensor, " n"], Float[Tensor, " n"]]] = field(default_factory=dict)
    seconds: float = 0.0
    evaluations: float = 0.0
    gradients: int = 0

    def __repr__(self) -> str:
        return (
            f"Aligned(distance {self.distance_before:.6g} -> {self.distance:.6g}, "
            f"barrier of the line, at {POINTS} points {self.barrier_before:.6g} -> {self.barrier_after:.6g}, "
            f"by {self.chosen.method}, {self.evaluations:.3g} evaluations"
            f"{f', {self.gradients} gradients' if self.gradients else ''})"
        )

    @property
    def permutation(self) -> Mapping[str, Int64[Tensor, ...]]:
        """For each group (…, n): unit i is what unit ``permutation[…, i]`` of the second model was."""
        return self.move.permutations

    @property
    def distance(self) -> float:
        """‖aligned − a‖ over all parameters."""
        return self.chosen.distance

    @property
    def distance_before(self) -> float:
        """‖b − a‖ over all parameters."""
        return self.before.distance

    @property
    def log10_permutations(self) -> float:
        """The decimal logarithm of how many permutations the architecture has."""
        return self.move.symmetry.log10_permutations


@undisturbed
def align(
    problem: Modular,
    a: Theta,
    b: Theta,
    *,
    by: str = "barrier",
    methods: Collection[str] = METHODS,
    rescale: bool = True,
    restarts: int = 3,
    seed: int = 0,
    symmetry: Symmetry | None = None,
    maps: bool = True,
    steps: int = STEPS,
) -> Aligned:
    """Bring ``b`` to the copy of those tried whose line from ``a`` has the lowest barrier, its function unchanged.

    Units are matched by weights (max Σ⟨A, P B⟩ over the parameters of balanced copies, Ainsworth et al. 2022) and by
    activations (the largest correlations on real inputs, Li et al. 2015); where units can be scaled, each permutation
    is also tried with the factors that bring it nearest.

    Args:
        problem: the loss of both models.
        a: the model that stays (P,).
        b: the model to be aligned (P,).
        by: which of the candidates is taken: that of the lowest ``"barrier"`` of the straight line (the evaluation
            loss), of the same barrier that of the lowest middle, then the nearest; or of the least ``"distance"``.
            ``b`` itself is one of them.
        methods: how units are matched, of :data:`METHODS`; and ``"learned"``, which is not among them by default since
            it costs gradients: the best move of the others is improved by descent of the training loss on the line.
        rescale: try factors too, and signs where units are odd; else units are only permuted.
        restarts: how often coordinate ascent over the weights starts, each time with the groups in another order.
        seed: of these orders.
        symmetry: which units may move; found from the module unless given. Units of one written by hand are matched
            by weights alone.
        maps: try linear maps too, where the module has any, as transformers do: rotations of what their norms read,
            invertible maps within heads; matched by weights.
        steps: of learning, one gradient each.

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: a setting is unknown.
        Unsupported: the symmetry of the module cannot be found.
        NotEquivalent: the aligned model's outputs differ by more than rounding, on the evaluation set, on inputs made
            to wake units or at other parameters: a symmetry by hand is wrong, or float32 too coarse.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    >>> x = torch.linspace(-1, 1, 20).reshape(10, 2)
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, torch.nn.functional.mse_loss, (x, x.sum(1, keepdim=True)))
    >>> theta = problem.initial(0)
    >>> from weightstring.symmetry.copies import permuted_copy
    >>> aligned = align(problem, theta, permuted_copy(problem, theta, seed=1))
    >>> aligned.distance_before > 0.5, aligned.distance, bool((aligned.theta == theta).all())
    (True, 0.0, True)
    """
    started = time.perf_counter()
    _check(problem, a, b, by, methods, restarts, symmetry, steps)
    methods = _possible(problem, methods, symmetry)
    evaluations = 0.0 if symmetry is None else check_symmetry(problem, symmetry, b, "align")
    symmetry = symmetry or find(problem)
    found = matched(problem, symmetry, a, b, methods, rescale, restarts, seed, maps)
    lines = Lines(problem, a, b)
    tried = list(tries(lines, symmetry, found, rescale))
    as_given, taught = tried[0], None
    if LEARNED in methods:
        start = taken(tried, "barrier")
        taught = learned(problem, lines, start.move, steps=steps, seed=seed, rescale=rescale, maps=maps)
        tried.append(tried_move(lines, Matched(LEARNED, taught.move, ()), taught.move))
    chosen, move, sketch, source = taken(tried, by)
    before = after = lines.sampled(b, as_given.sketch)
    if chosen is not as_given.candidate:
        after = lines.sampled(move(b), sketch)
    if by == "barrier" and worse(after, before):  # it was lower in the middle, or on a part of the data, only
        (chosen, move, _, source), after = as_given, before
    if as_given.source.partners and not source.partners:  # a move was learned: its units have other partners
        source = source._replace(partners=observed(problem, symmetry, a, b, move))
        evaluations += OBSERVED
    evaluations += lines.evaluations + COMPARED + (OBSERVED if as_given.source.partners else 0)
    correlated = as_given.source.correlations(as_given.move), source.correlations(move)
    evaluations += check_move(problem, move, b, "align")  # in float64, which takes two copies of θ: the others are gone
    theta = move(b)
    difference, examples = check_equivalent(problem, b, theta)
    return Aligned(
        theta,
        move,
        chosen,
        as_given.candidate,
        barrier(before),
        barrier(after),
        tuple(each.candidate for each in tried),
        difference,
        examples,
        {name: (correlated[0][name], own) for name, own in correlated[1].items()},
        time.perf_counter() - started,
        evaluations,
        taught.gradients if taught else 0,
    )


def _possible(problem: Modular, methods: Collection[str], symmetry: Symmetry | None) -> Collection[str]:
    """The methods that apply: a symmetry written by hand does not say which activations its units are.

    Raises:
        InvalidSetting: none is left.
    """
    if symmetry is None:
        return methods
    try:
        traceable = find(problem).permutations == symmetry.permutations
    except Unsupported:
        traceable = False
    left = methods if traceable else [name for name in methods if name != "activations"]
    if not left:
        raise InvalidSetting(
            "align(methods=['activations']): the units of a symmetry written by hand cannot be observed: add 'weights'"
        )
    return left


def _check(
    problem: object,
    a: Theta,
    b: Theta,
    by: str,
    methods: Collection[str],
    restarts: int,
    symmetry: object,
    steps: object,
) -> None:
    if not isinstance(problem, Modular):
        raise InvalidSetting(f"align: no module to align: {lacking(problem, Modular)}, or give a ws.ModuleProblem")
    check_theta(problem, a, "the first model")
    check_theta(problem, b, "the second model")
    if by not in CHOICES:
        raise InvalidSetting(f"align(by={by!r}): choose one of {', '.join(CHOICES)}")
    if isinstance(methods, str) or not methods or not set(methods) <= {*METHODS, LEARNED}:
        raise InvalidSetting(f"align(methods={methods!r}): give some of {(*METHODS, LEARNED)}")
    if not isinstance(restarts, int) or restarts < 1:
        raise InvalidSetting(f"align(restarts={restarts!r}): give at least 1")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InvalidSetting(f"align(steps={steps!r}): give at least 1")
    if symmetry is not None and not (isinstance(symmetry, Symmetry) and symmetry.layout == problem.layout):
        raise InvalidSetting(
            f"align(symmetry={type(symmetry).__name__}): give a ws.Symmetry(problem.layout, ...) of this problem"
        )
