"""All straight lines between n models, in one value: barriers, lengths, rows for a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64

from weightstring.codec import Loss, Record
from weightstring.errors import InvalidSetting
from weightstring.notebook import Viewable
from weightstring.path import BARRIERS
from weightstring.path.quantities import quantity_label
from weightstring.path.string_curve import StringCurve

ROWS, COLUMNS, NAME = 16, 80, 24
"""What is printed at most: models, and characters of a line and of a name in it."""

Square = Float64[torch.Tensor, "n n"]


class Line(Record, frozen=True, kw_only=True):
    """A straight line between two models: its length over all parameters, and its samples."""

    length: float
    t: tuple[float, ...]
    values: dict[str, tuple[Loss, ...]]

    @property
    def curve(self) -> StringCurve:
        """Its samples as a curve of one segment, which knows every barrier; *sampled*."""
        return StringCurve(self.t, (0,) * len(self.t), self.t, self.values)


class Lines(Record, frozen=True, kw_only=True):
    """The line between two models, and that to the second one's copy which is aligned with the first."""

    given: Line
    aligned: Line | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Matrix(Viewable):
    """Straight lines between every two of n models; every maximum is *sampled*.

    Args:
        names: of the models, n.
        ends: what was measured at each of them, by quantity.
        lines: between models i and j, for every i < j.
        quantity: what the lines' maxima were looked for of, and what a barrier is of unless told otherwise.
        evaluation: what ``loss`` is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
        about: digests of the problem, its module and data, and of the models, and versions.

    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.study.matrix import matrix
    >>> ring = Ring()
    >>> found = matrix(ring, {"a": ring.ends[0], "b": ring.ends[1]})
    >>> found.barriers("over_mean")[0, 1].item() == found.lines[0, 1].given.curve.barrier("over_mean")
    True
    """

    names: tuple[str, ...]
    ends: tuple[Mapping[str, float], ...]
    lines: Mapping[tuple[int, int], Lines]
    quantity: str = "loss"
    evaluation: str = "evaluate"
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def aligned(self) -> bool:
        """Whether there are lines to aligned copies beside those to the models as they are."""
        return any(lines.aligned is not None for lines in self.lines.values())

    def barriers(self, name: str = "over_mean", *, quantity: str | None = None, aligned: bool = False) -> Square:
        """One barrier of all lines (n, n); on the diagonal that of a model with itself.

        Args:
            name: ``"max"``, ``"over_ends"``, ``"over_mean"`` or ``"over_linear"``, see
                :meth:`weightstring.path.string_curve.StringCurve.barrier`.
            quantity: of what; by default of what the maxima were looked for.
            aligned: of the lines to aligned copies.

        Raises:
            InvalidSetting: an unknown barrier or quantity, or nothing was aligned.
        """
        what = self.quantity if quantity is None else quantity
        table = self._square(lambda line: line.curve.barrier(name, what), aligned)
        own = [values[what] if name == "max" else 0.0 for values in self.ends]
        return table + torch.tensor(own, dtype=torch.float64).diag()

    def lengths(self, *, aligned: bool = False) -> Square:
        """‖θ_j − θ_i‖ over all parameters (n, n).

        Raises:
            InvalidSetting: nothing was aligned.
        """
        return self._square(lambda line: line.length, aligned)

    def to_rows(self) -> list[dict[str, str | float | bool]]:
        """A row for each line, for a table such as ``pandas.DataFrame(matrix.to_rows())``."""
        rows = []
        for (i, j), lines in self.lines.items():
            for aligned, line in ((False, lines.given), (True, lines.aligned)):
                if line is not None:
                    rows.append(self._row(i, j, aligned, line))
        return rows

    def _row(self, i: int, j: int, aligned: bool, line: Line) -> dict[str, str | float | bool]:
        top = line.curve.segment_maximum(0, (self.quantity,))
        return {
            "a": self.names[i],
            "b": self.names[j],
            "aligned": aligned,
            "quantity": self.quantity,
            "end_a": self.ends[i][self.quantity],
            "end_b": self.ends[j][self.quantity],
            **{name: line.curve.barrier(name, self.quantity) for name in BARRIERS},
            "t": top.t,
            "length": line.length,
        }

    def _square(self, value: Callable[[Line], float], aligned: bool) -> Square:
        table = torch.zeros(len(self.names), len(self.names), dtype=torch.float64)
        for (i, j), lines in self.lines.items():
            line = lines.aligned if aligned else lines.given
            if line is None:
                raise InvalidSetting("this matrix has no aligned lines: call ws.matrix(..., align=True)")
            table[i, j] = table[j, i] = value(line)
        return table

    def __str__(self) -> str:
        """Barriers over the mean of the ends, each model's own value on the diagonal; aligned ones below it."""
        upper, head = self.barriers("over_mean"), [f"{values[self.quantity]:.4g}" for values in self.ends]
        lower = self.barriers("over_mean", aligned=True) if self.aligned else upper
        below = ", below it of lines to aligned copies" if self.aligned else ""
        cells = [
            [head[i] if i == j else f"{float((upper if i < j else lower)[i, j]):.4g}" for j in range(len(head))]
            for i in range(len(head))
        ]
        width = max(len(cell) for row in cells for cell in row)
        label = min(max(map(len, self.names)), NAME)
        columns = max(1, (COLUMNS - label) // (width + 2))
        rows = [
            f"{name[:NAME]:<{label}}  {'  '.join(f'{cell:>{width}}' for cell in row[:columns])}"
            for name, row in zip(self.names[:ROWS], cells, strict=False)
        ]
        left = [f"… all {len(cells)} models: barriers() or to_rows()"] if len(cells) > min(ROWS, columns) else []
        return "\n".join([f"{self.title}: over_mean above the diagonal{below}; on it the models' own", *rows, *left])

    @property
    def title(self) -> str:
        """What it is about, in words."""
        return f"sampled barriers of {self.label(self.quantity)} on straight lines between {len(self.names)} models"

    def label(self, quantity: str) -> str:
        """A quantity in words, with the set that it is of; on a surface, which has no data, its own name."""
        data = {"evaluate": "evaluation", "train": "training"}[self.evaluation] if "module" in self.about else ""
        return quantity_label(quantity, self.ends[0], data)
