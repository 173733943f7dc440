"""What an atlas of many models is: a graph of lines and strings between them, and what it bounds.

Models are vertices; between every two there is a straight line, between some a string that was searched. A path over
several of them is a path, so that Γ between any two models is at most the highest edge of the path whose highest edge
is lowest. From below it is bounded by the models' own losses and by proofs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.notebook import Viewable
from weightstring.runs.result import Result
from weightstring.study.components import FEW, SHOWN, Components, Count
from weightstring.study.lines import Matrix, Square
from weightstring.study.spanning import Edge, over_paths, single_linkage

ROUNDED = 1e-4
"""What the samples of a path may miss of a proved bound, relative to it; a proof that is missed by more is not used."""


@dataclass(frozen=True, eq=False)
class Searched:
    """A pair between which a string was searched.

    Args:
        result: the search with its string, the lowest that it found, under a threshold or not.
        run: the name of its run in the atlas's directory; empty where it is kept nowhere.
    """

    result: Result
    run: str = ""

    @property
    def level(self) -> float:
        """The largest *sampled* loss on its string."""
        return self.result.largest

    @property
    def certified(self) -> float:
        """What the loss on its string is proved to be at most; +inf where nothing is."""
        certificate = self.result.certificate
        return math.inf if certificate is None else certificate.upper_bound


@dataclass(frozen=True, eq=False, repr=False)
class Atlas(Viewable):
    """Lines and strings between many models, and bounds of Γ between every two of them.

    Args:
        lines: the straight line between every two; *sampled*.
        searched: strings, by the numbers of the models, rising.
        proved: by pair, what every path between the two climbs to, where there is a proof.
        threshold: under which models were to be joined; None: as low as they can be.
        next: the pairs that a further search would take first; none where no search can join any further.
        aligned: whether the models are copies whose units were brought into one order.

    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.study.atlas import atlas
    >>> ring = Ring()
    >>> found = atlas(ring, {"a": ring.ends[0], "b": ring.ends[1]}, threshold=0.1, progress=False)
    >>> [found.count(level).at_most for level in (0.05, 0.1)], found.next
    ([2, 1], ())
    """

    lines: Matrix
    searched: Mapping[Edge, Searched]
    proved: Mapping[Edge, float] = field(default_factory=dict)
    threshold: float | None = None
    next: tuple[Edge, ...] = ()
    aligned: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models, n."""
        return self.lines.names

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The models' names without the folders and endings of files, where that tells them apart."""
        short = tuple(PurePath(name).stem for name in self.names)
        return short if len({*short}) == len(short) and all(short) else self.names

    @property
    def about(self) -> Mapping[str, str]:
        """Digests of the problem, its data and the models, and versions."""
        return self.lines.about

    @cached_property
    def losses(self) -> Float64[Tensor, " n"]:
        """Of the models."""
        return self.lines.barriers("max").diagonal().clone()

    @cached_property
    def direct(self) -> Square:
        """The largest *sampled* loss between every two models, on their line or on their string (n, n)."""
        return direct_heights(self.lines, {pair: own.level for pair, own in self.searched.items()})

    @cached_property
    def bounds(self) -> Components:
        """Γ between every two models from above, over all paths of the graph, *sampled*; from below proved."""
        above = over_paths(self.direct)
        return Components(self.losses, above, lower_bounds(self.losses, above, self.proved), "sampled")

    @cached_property
    def certified(self) -> Square:
        """What Γ is proved to be at most (n, n): over strings that are certified; +inf where there is no such path."""
        heights = torch.full_like(self.direct, math.inf)
        for (i, j), own in self.searched.items():
            heights[i, j] = heights[j, i] = own.certified
        return over_paths(heights).fill_diagonal_(0) + self.losses.diag()

    @cached_property
    def tree(self) -> frozenset[Edge]:
        """The edges by which single linkage joins the models."""
        return frozenset(join.edge for join in single_linkage(self.direct))

    @property
    def levels(self) -> list[float]:
        """Where N(λ) may change, rising: the models' own losses, and the levels at which groups join."""
        joins = [join.level for join in self.bounds.joins]
        return sorted({*self.losses.tolist(), *joins, *([] if self.threshold is None else [self.threshold])})

    def count(self, level: float) -> Count:
        """N(λ) at a level, from both sides; see :class:`~weightstring.study.components.Count`."""
        return self.bounds.count(level)

    def certified_at_most(self, level: float) -> int:
        """N(λ) from above by certified strings alone, which no sample is part of."""
        unproved = torch.full_like(self.certified, -math.inf)
        return Components(self.losses, self.certified, unproved, "certified").count(level).at_most

    @property
    def gradients(self) -> int:
        """Gradient steps of all searches."""
        return sum(own.result.steps for own in self.searched.values())

    def to_rows(self) -> list[dict[str, str | float | bool | int | None]]:
        """A row for each pair, for a table such as ``pandas.DataFrame(atlas.to_rows())``; None: there is no such."""
        above, below = self.bounds.above, self.bounds.below
        rows: list[dict[str, str | float | bool | int | None]] = []
        for edge, line in ((edge, own.given.curve) for edge, own in self.lines.lines.items()):
            own = self.searched.get(edge)
            rows.append(
                {
                    "a": self.names[edge[0]],
                    "b": self.names[edge[1]],
                    "line": line.barrier("max", self.lines.quantity),
                    "line_over_mean": line.barrier("over_mean", self.lines.quantity),
                    "string": None if own is None else own.level,
                    "certified": None if own is None or math.isinf(own.certified) else own.certified,
                    "at_least": float(below[edge]),
                    "at_most": float(above[edge]),
                    "proved": edge in self.proved and float(below[edge]) > float(self.losses[list(edge)].max()),
                    "tree": edge in self.tree,
                    "outcome": None if own is None else own.result.outcome.kind,
                    "beads": None if own is None else len(own.result.string),
                    "length": None if own is None else own.result.string.normalized_length,
                    "gradients": None if own is None else own.result.steps,
                    "run": None if own is None else own.run,
                }
            )
        return rows

    @property
    def verdict(self) -> str:
        """How many components there are at the threshold, or where all are joined; and on what evidence."""
        what = self.lines.label(self.lines.quantity)
        if self.threshold is not None:
            count = self.count(self.threshold)
            told = f"under {self.threshold:.6g}: {_range(count)} of {_models(count.models)}"
            if high := len(self.names) - count.models:
                told += f"; {high} {'is' if high == 1 else 'are'} over it"
        else:
            told = f"{len(self.names)} models, all joined under {self.bounds.joins[-1].level:.6g}"
        return f"{told} ({what}; joined by samples, kept apart by proofs)"

    def __str__(self) -> str:
        joins = self.bounds.joins
        tree = [f"under {join.level:.6g}: {self.group(join.one)} with {self.group(join.other)}" for join in joins]
        more = [f"… {len(tree) - SHOWN} more"] if len(tree) > SHOWN else []
        return "\n".join([self.verdict, *tree[:SHOWN], *more, self.spent, *([self.what_next] if self.next else [])])

    def group(self, numbers: Sequence[int]) -> str:
        """Some of the models by name; of many the first few."""
        few = ", ".join(self.labels[number] for number in numbers[:FEW])
        return few if len(numbers) <= FEW else f"{few}, … ({len(numbers)})"

    @property
    def spent(self) -> str:
        """What was measured and searched, in words."""
        strings, lines = len(self.searched), len(self.lines.lines)
        return f"{lines} line{'s' * (lines != 1)}, {strings} string{'s' * (strings != 1)}, {self.gradients} gradients"

    @property
    def what_next(self) -> str:
        """Which pairs a further search would take, in words."""
        if not self.next:
            return "next: nothing; no search can join any further"
        edge, more = self.next[0], len(self.next) - 1
        pair = (
            f"{self.labels[edge[0]]} and {self.labels[edge[1]]}, where the line reaches {float(self.direct[edge]):.6g}"
        )
        return f"next: {pair}{f', and {more} more' if more else ''}"


def direct_heights(lines: Matrix, strings: Mapping[Edge, float]) -> Square:
    """The lower of a pair's line and string (n, n); the models' own losses on the diagonal."""
    heights = lines.barriers("max")
    for (i, j), level in strings.items():
        heights[i, j] = heights[j, i] = min(float(heights[i, j]), level)
    return heights


def lower_bounds(losses: Float64[Tensor, " n"], above: Square, proved: Mapping[Edge, float]) -> Square:
    """What no path stays under (n, n): the higher of the two models' losses, or a proof that the samples do not miss.

    Between samples a path may cross a wall unseen. A proof that they miss by rounding is counted up to what they
    reach; one that they miss by more cannot be checked on this path, and is left out.
    """
    below = torch.maximum(losses[:, None], losses[None, :]).clone()
    for (i, j), bound in proved.items():
        if float(above[i, j]) >= bound - ROUNDED * abs(bound):
            below[i, j] = below[j, i] = max(float(below[i, j]), min(bound, float(above[i, j])))
    return torch.minimum(below, above)


def _range(count: Count) -> str:
    if count.at_least == count.at_most:
        return _components(count.at_most)
    return f"{count.at_least} to {_components(count.at_most)}"


def _components(count: int) -> str:
    return f"{count} component" + "s" * (count != 1)


def _models(count: int) -> str:
    return f"{count} model" + "s" * (count != 1)
