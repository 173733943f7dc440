"""What becomes of models when they are merged, way by way, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from weightstring.arrays import Theta
from weightstring.notebook import Viewable
from weightstring.path.quantities import quantity_label
from weightstring.path.string_curve import StringCurve
from weightstring.study.blaming import Blame
from weightstring.study.lines import Matrix
from weightstring.study.merging import no_worse

AVERAGES = ("average", "aligned average", "learned average")
"""Ways that are the mean of all weights: of models as they are, and of their copies."""

ADVICE = {
    "average": "average them as they are",
    "aligned average": "align all to {reference}, then average: weightstring mergeable --out writes it",
    "learned average": "align all to {reference} by the loss on the line, then average: "
    "weightstring mergeable --out writes it",
    "slerp": "take the middle of the arcs between the two in place of that of the line: "
    "weightstring mergeable --out writes it",
    "aligned slerp": "align all to {reference}, then take the middle of the arcs between the two: "
    "weightstring mergeable --out writes it",
    "repaired average": "average them and rescale the average's units: weightstring mergeable --out writes it",
    "aligned and repaired": "align all to {reference}, average, and rescale the average's units: "
    "weightstring mergeable --out writes it",
    "learned and repaired": "align all to {reference} by the loss on the line, average, and rescale the average's "
    "units: weightstring mergeable --out writes it",
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
        barrier: the largest of the lines between what is averaged, or that of the string, over the mean of the ends;
            *sampled*. None where none was measured.
        seconds: it took.
    """

    name: str
    theta: Theta | None
    values: Mapping[str, float]
    members: tuple[str, ...]
    barrier: float | None = None
    seconds: float = 0.0

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
        lines: between every two, as given, and between the copies aligned with the reference; of many models their
            midpoints alone; None where there are too many for these too.
        reference: the model that the other was aligned to; of more than two that from which lines rise least, unless
            an order that is common to all was better.
        evaluation: what ``loss`` is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
        seconds: all of it took.
        memory: the most bytes that the process had used when it was over, all that it did before included; on a GPU
            those of its tensors there.
        string: what was measured along the string between two, where one was found.
        blame: which part raises the line between two of them, where that was asked for.
        blamed: names of these two.
        about: digests of the problem, its module and data, and of the models, and versions.
        search: gradient steps that a search for a string was allowed; 0: there was none.
        learn: gradients that learned matching was allowed for each model but one; 0: none.
        words: the task and its options as a shell takes them; empty: it was asked from Python.
    """

    models: Mapping[str, Mapping[str, float]]
    ways: tuple[Way, ...]
    untried: Mapping[str, str]
    lines: Matrix | None
    reference: str
    evaluation: str
    seconds: float
    memory: int = 0
    string: StringCurve | None = None
    blame: Blame | None = None
    blamed: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    search: int = 0
    learn: int = 0
    words: tuple[str, ...] = ()

    @property
    def best(self) -> Way:
        """The way of the least loss; of equal ones the first, which is the simplest."""
        best = self.ways[0]
        for way in self.ways[1:]:
            if not no_worse(best.loss, way.loss):
                best = way
        return best

    @property
    def better_aligned(self) -> bool:
        """Whether an average of aligned copies is better than that of the models as they are."""
        return any(way.name in AVERAGES and way.loss < self.ways[0].loss for way in self.ways[1:])

    @property
    def averages(self) -> bool:
        """Whether the best way is an average of models as they are."""
        return self.best.name == "average" or (self.best.name == "greedy soup" and not self.better_aligned)

    @property
    def nearest(self) -> tuple[str, str] | None:
        """The two models between which the line rises least; None where no lines were measured."""
        if self.lines is None:
            return None
        table = self.lines.barriers(aligned=self.better_aligned)
        i, j = min(combinations(range(len(self.models)), 2), key=lambda pair: float(table[pair]))
        return self.lines.names[i], self.lines.names[j]

    def rise(self, way: Way) -> float:
        """How much a way's loss is over the mean of its own models' losses; negative where it is under it."""
        losses = [self.models[name]["loss"] for name in way.members]
        return way.loss - sum(losses) / len(losses)

    def label(self, quantity: str) -> str:
        """A quantity in words, with the set that it is of; on a surface, which has no data, its own name."""
        data = {"evaluate": "evaluation", "train": "training"}[self.evaluation] if "module" in self.about else ""
        return quantity_label(quantity, self.ways[0].values, data)

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
            order = self.reference if len(self.models) == 2 else "one order of units"
            told = ADVICE[best.name].format(reference=order, members=", ".join(best.members))
            lines.append(f"to do: {told}")
            if best.loss > min(losses) and best.theta is not None:
                lines.append(f"the best of them alone is better still: {min(losses):.4g}")
        elif len(losses) == 2:
            lines.append("to do: look for a string (--search STEPS), and for the layer to blame (weightstring blame)")
        else:
            pair = "" if self.nearest is None else f", such as {' and '.join(self.nearest)}, which are nearest"
            lines.append(f"to do: merge fewer of them{pair}; weightstring blame names the layer that keeps two apart")
        return "\n".join(lines)

    def __str__(self) -> str:
        width = max(len(way.name) for way in self.ways)
        rows = [f"  {'':<{width}}  {'loss':>9}  {'barrier':>9}"]
        for way in self.ways:
            barrier = "–" if way.barrier is None else f"{way.barrier:.4g}"
            rows.append(f"  {way.name:<{width}}  {way.loss:>9.5g}  {barrier:>9}")
        left = [f"left out: {name}: {why}" for name, why in self.untried.items()]
        return "\n".join([self.verdict, *rows, *left])

    def to_rows(self) -> list[dict[str, str | float]]:
        """A row for each model and each way, for a table."""
        models: list[dict[str, str | float]] = [{"model": name, **values} for name, values in self.models.items()]
        return models + [{"model": way.name, **way.values} for way in self.ways]
