"""One scale of colours for losses that may lie far apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from weightstring.report.draw.theme import LOSS_SCALE

LOG_RATIO = 3.0
"""Beyond this ratio of the largest to the smallest loss the scale is logarithmic: what matters lies near the lowest."""
TICKS = 5


@dataclass(frozen=True)
class Colours:
    """A scale from the smallest to the largest of some losses.

    Args:
        low, high: these; both None where no loss is finite.
        logarithmic: whether colours follow the logarithm.
    """

    low: float | None
    high: float | None
    logarithmic: bool

    @classmethod
    def over(cls, losses: Iterable[float | None]) -> Colours:
        """The scale of those losses that are finite.

        >>> Colours.over([0.1, None, 2.0])
        Colours(low=0.1, high=2.0, logarithmic=True)
        """
        finite = [loss for loss in losses if loss is not None]
        low, high = min(finite, default=None), max(finite, default=None)
        return cls(low, high, low is not None and high is not None and 0 < LOG_RATIO * low < high)

    def place(self, loss: float | None) -> float | None:
        """Where a loss stands on the scale; nowhere where it is not finite."""
        if loss is None:
            return None
        return short(math.log10(loss)) if self.logarithmic else short(loss)

    def axis(self, title: str) -> dict[str, object]:
        """Plotly's settings of the scale and of its bar, which lies above: beside, it would leave a phone no room."""
        bar: dict[str, object] = {
            "title": {"text": title, "side": "top"}, "thickness": 10, "outlinewidth": 0, "orientation": "h",
            "len": 0.8, "y": 1, "yanchor": "bottom",
        }  # fmt: skip
        if self.low is None or self.high is None or self.low == self.high:
            # A bar over a single value would make up a range around it.
            return {"colorscale": LOSS_SCALE, "showscale": False}
        if self.logarithmic:
            ticks = [self.low * (self.high / self.low) ** (k / (TICKS - 1)) for k in range(TICKS)]
            bar |= {"tickvals": [self.place(tick) for tick in ticks], "ticktext": [f"{tick:.3g}" for tick in ticks]}
        limits = {"cmin": self.place(self.low), "cmax": self.place(self.high)}
        return {"colorscale": LOSS_SCALE, "colorbar": bar, "showscale": True, **limits}


def short(number: float) -> float:
    """A number to six digits, for a picture: more would only make the page larger.

    >>> short(0.1 + 0.2)
    0.3
    """
    return float(f"{number:.6g}") + 0.0
