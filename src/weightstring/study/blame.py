"""``blame``: which part of two models is at fault that the line between them climbs.

A part moves alone, with all others left as they are in one of the models, or stays while all others move (layer-wise
connectivity: Adilova et al. 2024, arXiv:2307.06966). What it costs is held against the same mean of the two models'
own losses as the whole line's, so that the numbers of all parts and of the line are of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import Objective
from weightstring.path.maximum import Samples, locate
from weightstring.path.objective import check_theta
from weightstring.path.quantities import bound_words
from weightstring.path.segment import Segment, measure_points
from weightstring.problem import Modular
from weightstring.problem.capabilities import Laid
from weightstring.problem.live import Live
from weightstring.protocol import LossProblem, lacking
from weightstring.study.blaming import Blame, Part
from weightstring.study.parts import PartOfTheta, parts_of
from weightstring.study.watching import watched

SEEN = 256
"""Examples on which outputs are compared."""


@undisturbed
def blame(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    *,
    depth: int | None = None,
    parts: Mapping[str, Sequence[str]] | None = None,
    at: Sequence[float] | None = None,
    bind: str = "evaluate",
    on_part: Callable[[int, int], None] = lambda done, of: None,
) -> Blame:
    """Find which layer raises the line between two models: interpolate one part at a time, and all but one.

    It costs the samples of one segment, and four evaluations a part at each position.

    Args:
        problem: the loss of a module.
        a: θ1 (P,).
        b: θ2 (P,); align it first, :func:`weightstring.align`, where the two were trained apart.
        depth: how many names of a parameter's path make a part; see :func:`weightstring.study.parts.parts_of`.
        parts: patterns of parameters' names, by part, such as ``{"attention": ["*.attn.*"]}``; the others are one more.
        at: positions t on the lines; None: where the whole line rises most. Near t = 1 a part that moves alone is the
            other model's, in a model that it does not fit: that costs more than any average does.
        bind: what is measured: ``"evaluate"``, ``"train"``, or a metric.
        on_part: told how many parts are done, of how many; it may raise.

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: a problem without a module, unusable parts or positions, or ``bind="both"``.

    >>> from torch import nn
    >>> from weightstring.problem import ModuleProblem
    >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    >>> problem = ModuleProblem(net, nn.functional.mse_loss, (torch.ones(4, 1), torch.ones(4, 1)))
    >>> found = blame(problem, torch.tensor([1.0, 1.0]), torch.tensor([-1.0, -1.0]))
    >>> round(found.barrier, 3), [part.name for part in found.parts]
    (1.0, ['0', '1'])
    """
    if not isinstance(problem, Laid):
        raise InvalidSetting(f"blame takes a loss whose parts have names: {lacking(problem, Laid)}")
    check_theta(problem, a, "the first end")
    check_theta(problem, b, "the second end")
    objective = Objective(problem, bind)
    quantity = objective.quantity("blame measures")
    divided = parts_of(problem.layout, depth, parts)
    line = Samples(Segment(a, b))
    locate(objective, [line])
    ends = line.heights[0.0], line.heights[1.0]
    places = _places(at, line, ends)
    correlations = _correlations(problem, a, b, divided)
    found = []
    for part in divided:
        found.append(_measured(objective, a, b, part, places, ends, correlations.get(part.name)))
        on_part(len(found), len(divided))
    return Blame(
        parts=tuple(found),
        ends=ends,
        line=dict(sorted(line.heights.items())),
        at=places,
        quantity=quantity,
        bound=bound_words(objective.names, problem.evaluation),
    )


def _places(at: Sequence[float] | None, line: Samples, ends: tuple[float, float]) -> tuple[float, ...]:
    if at is None:
        rises = {t: height - ((1 - t) * ends[0] + t * ends[1]) for t, height in line.heights.items() if 0 < t < 1}
        return (max(rises, key=lambda t: (rises[t], -abs(t - 0.5))) if max(rises.values()) > 0 else 0.5,)
    places = tuple(sorted(set(map(float, at))))
    if not places or not all(0 < t < 1 for t in places):
        raise InvalidSetting(f"at={at!r:.80}: give positions between the ends, 0 < t < 1")
    return places


def _measured(
    objective: Objective,
    a: Theta,
    b: Theta,
    part: PartOfTheta,
    places: Sequence[float],
    ends: tuple[float, float],
    correlation: float | None,
) -> Part:
    """What a part costs alone, and what is left without it."""
    with_b, with_a = part.of(b, a), part.of(a, b)  # A with this part of B's, and B with this part of A's
    lines = [Segment(a, with_b), Segment(with_a, b), Segment(a, with_a), Segment(with_b, b)]
    heights = measure_points(objective, [(line, t) for line in lines for t in places])
    rises = [
        max(
            height - ((1 - t) * ends[0] + t * ends[1])
            for t, height in zip(places, heights[i * len(places) :], strict=False)
        )
        for i in range(len(lines))
    ]
    one, other = a[part.mask].double(), b[part.mask].double()
    length, mean = float((other - one).norm()), float(one.norm() + other.norm()) / 2
    product = float(one.norm() * other.norm())
    return Part(
        name=part.name,
        size=int(part.mask.sum()),
        length=length,
        relative_length=length / mean if mean else 0.0,
        cosine=float(one @ other) / product if product else None,
        correlation=correlation,
        alone=(rises[0], rises[1]),
        without=(rises[2], rises[3]),
    )


def _correlations(problem: LossProblem, a: Theta, b: Theta, parts: Sequence[PartOfTheta]) -> dict[str, float]:
    """How well outputs of the modules that parts are named after agree, of those that can be watched.

    Each number of an output is centred over the examples; then Σ xy / √(Σ x² Σ y²) of all together.
    """
    if not isinstance(problem, Modular) or not isinstance(problem.computation.evaluating, Live):
        return {}
    live = problem.computation.evaluating
    known = dict(live.module.named_modules())
    modules = {part.name: known[part.name] for part in parts if part.name in known}
    examples = problem.observed().take(slice(SEEN))

    def outputs(theta: Theta) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}

        def keep(name: str, output: Tensor) -> None:
            if len(output) == len(examples):
                kept[name] = output.detach().to("cpu", torch.float64).flatten(1)

        with torch.no_grad(), watched(modules, keep):
            live(theta, examples, problem.statistics(theta))
        return kept

    first, second = outputs(a), outputs(b)
    return {name: _agreement(first[name], second[name]) for name in first if name in second}


def _agreement(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    scale = float(x.norm() * y.norm())
    return float((x * y).sum()) / scale if scale else 0.0
