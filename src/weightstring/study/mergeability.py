"""What becomes of models when they are merged, way by way, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from weightstring.arrays import Theta
from weightstring.notebook import Viewable
from weightstring.study.lines import Matrix
from weightstring.study.merging import no_worse

ADVICE = {
    "average": "average them as they are",
    "aligned average": "align all to {reference}, then average: weightstring align",
    "repaired average": "average them and rescale the average's units: weightstring mergeable --out writes it",
    "aligned and repaired": "align all to {reference}, average, and rescale the average's units: "
    "weightstring mergeable --out writes it",
    "greedy soup": "average only {members}: the others make it worse",
    "best on the string": "take the best model of the string: weightstring mergeable --out writes it",
    "ensemble on the string": "average the predictions of models along the string; no single model is as good",
}
"""What to do, by the way that serves best."""


@dataclass(frozen=True, eq=False)
class Way:
    """One way to merge, and what comes out.

    Args:
        name: of the way.
        theta: the merged model (P,); None: what is merged are predictions.
        values: what was measured of it, by quantity.
        members: names of the models in it.
    """

    name: str
    theta: Theta | None
    values: Mapping[str, float]
    members: tuple[str, ...]

    @property
    def loss(self) -> float:
        """The evaluation loss; +inf where it is not finite."""
        return self.values["loss"] if math.isfinite(self.values["loss"]) else math.inf


@dataclass(frozen=True, eq=False, repr=False)
class Mergeability(Viewable):
    """Whether models can be merged, after what, and what it costs; losses are measured, maxima of lines *sampled*.

    Args:
        models: what was measured of each, by name and quantity.
        ways: those that were tried, in that order.
        untried: why others were not, by name.
        lines: barriers between every two; None where these were not measured.
        reference: the model that others were aligned to: of more than two that from which lines rise least.
        evaluation: what ``loss`` is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
        seconds: all of it took.
    """

    models: Mapping[str, Mapping[str, float]]
    ways: tuple[Way, ...]
    untried: Mapping[str, str]
    lines: Matrix | None
    reference: str
    evaluation: str
    seconds: float

    @property
    def best(self) -> Way:
        """The way of the least loss; of equal ones the first, which is the simplest."""
        best = self.ways[0]
        for way in self.ways[1:]:
            if not no_worse(best.loss, way.loss):
                best = way
        return best

    @property
    def merges(self) -> bool:
        """Whether the best way is no worse than the worst of the models."""
        return no_worse(self.best.loss, max(values["loss"] for values in self.models.values()))

    @property
    def verdict(self) -> str:
        """Will it work, after what, and what to do; a line each."""
        losses = [values["loss"] for values in self.models.values()]
        best, name = self.best, "train" if self.evaluation == "train" else "evaluation"
        plain = self.ways[0]
        lines = [
            f"{'they merge' if self.merges else 'they do not merge'}: by {best.name} the {name} loss is {best.loss:.4g}"
            f"; the models' own {min(losses):.4g} to {max(losses):.4g}"
        ]
        if best is not plain:
            lines.append(f"averaged as they are: {plain.loss:.4g}")
        if self.merges:
            told = ADVICE[best.name].format(reference=self.reference, members=", ".join(best.members))
            lines.append(f"to do: {told}")
            if best.loss > min(losses) and best.theta is not None:
                lines.append(f"the best of them alone is better still: {min(losses):.4g}")
        else:
            lines.append("to do: look for a string (--search STEPS), and for the layer to blame (weightstring blame)")
        return "\n".join(lines)

    def __str__(self) -> str:
        width = max(len(way.name) for way in self.ways)
        rows = [f"  {way.name:<{width}}  {way.loss:.6g}" for way in self.ways]
        left = [f"not tried: {name}: {why}" for name, why in self.untried.items()]
        return "\n".join([self.verdict, *rows, *left])

    def to_rows(self) -> list[dict[str, str | float]]:
        """A row for each model and each way, for a table."""
        models: list[dict[str, str | float]] = [{"model": name, **values} for name, values in self.models.items()]
        return models + [{"model": way.name, **way.values} for way in self.ways]
