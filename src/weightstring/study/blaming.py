"""What each part of two models does to the line between them, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from weightstring.notebook import Viewable

LISTED = 16
"""Parts that are printed at most."""
WIDEST = 28
"""Characters of a part's name that are printed."""


@dataclass(frozen=True)
class Part:
    """What one part does to the line from A to B.

    A rise is the largest of L(t) − ((1 − t) L(A) + t L(B)) at the positions measured, as it is of the whole line.

    Args:
        name: of the module, or the user's.
        size: numbers of θ in it.
        length: ‖B − A‖ within it.
        relative_length: that over the mean of ‖A‖ and ‖B‖ within it.
        cosine: between its numbers in A and in B; None where one has none but zeros.
        correlation: of the outputs of its module in A and in B; None where it has none that can be watched.
        alone: the rise where only it moves: from A towards B's, and from A's to B with all others B's.
        without: the rise where all but it move: it stays A's, or B's.
    """

    name: str
    size: int
    length: float
    relative_length: float
    cosine: float | None
    correlation: float | None
    alone: tuple[float, float]
    without: tuple[float, float]

    @property
    def costs(self) -> float:
        """The larger rise of the two where only it moves."""
        return max(self.alone)

    @property
    def leaves(self) -> float:
        """The smaller rise of the two where all but it move."""
        return min(self.without)


@dataclass(frozen=True, repr=False)
class Blame(Viewable):
    """What each part of two models does to the line between them; everything is *sampled*.

    Args:
        parts: in the module's order.
        ends: the two models' own values.
        line: what was sampled on the whole line, by t.
        at: where the parts were measured.
        quantity: what.
        bound: that, in words.
    """

    parts: tuple[Part, ...]
    ends: tuple[float, float]
    line: Mapping[float, float]
    at: tuple[float, ...]
    quantity: str
    bound: str

    @property
    def barrier(self) -> float:
        """The whole line's largest excess over the mean of its ends, (1 − t) L(A) + t L(B)."""
        first, last = self.ends
        return max(value - ((1 - t) * first + t * last) for t, value in self.line.items())

    @property
    def worst(self) -> Part:
        """The part that costs most where it alone moves."""
        return max(self.parts, key=lambda part: part.costs)

    @property
    def most_saving(self) -> Part:
        """The part without which the line rises least."""
        return min(self.parts, key=lambda part: part.leaves)

    def to_rows(self) -> list[dict[str, str | float | None]]:
        """A row for each part, for a table."""
        rows: list[dict[str, str | float | None]] = []
        for part in self.parts:
            row = asdict(part)
            for name in ("alone", "without"):
                row[f"{name}_at_a"], row[f"{name}_at_b"] = row.pop(name)
            rows.append(row)
        return rows

    @property
    def verdict(self) -> str:
        """Who is to blame, in words."""
        if not self.barrier > 0:
            return f"nothing to blame: the line of the {self.bound} does not rise above the mean of its ends, sampled"
        worst, saving = self.worst, self.most_saving
        lines = [f"the line of the {self.bound} rises by {self.barrier:.4g} over the mean of its ends, sampled"]
        share = f", {worst.costs / self.barrier:.0%} of that" if math.isfinite(worst.costs / self.barrier) else ""
        lines.append(f"moved alone, {worst.name} costs most: {worst.costs:.4g}{share}")
        lines.append(
            f"kept from one of the two while all others move, {saving.name} saves most: it leaves {saving.leaves:.4g}"
            if saving.leaves < self.barrier
            else "no part saves anything when it alone is kept from one of the two"
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.table}"

    @property
    def table(self) -> str:
        """The costliest parts in the module's order, a line each; in 80 columns, and at most a screen."""
        return "\n".join(_table(self.parts))


def _table(parts: Sequence[Part]) -> list[str]:
    costliest = sorted(parts, key=lambda part: -part.costs)[:LISTED]
    names = [part.name if len(part.name) <= WIDEST else f"…{part.name[1 - WIDEST :]}" for part in parts]
    width = max(map(len, names))
    head = f"{'part':<{width}} {'numbers':>9} {'distance':>8} {'cosine':>6} {'corr.':>6} {'alone':>8} {'without':>8}"
    lines = [head]
    for name, part in zip(names, parts, strict=True):
        if part in costliest:
            told = [_number(part.cosine), _number(part.correlation)]
            lines.append(
                f"{name:<{width}} {part.size:>9} {part.relative_length:>8.3g} {told[0]:>6} {told[1]:>6} "
                f"{part.costs:>8.3g} {part.leaves:>8.3g}"
            )
    if len(parts) > LISTED:
        lines.append(f"… {len(parts) - LISTED} more, each of which costs less")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
