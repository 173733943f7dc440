"""What can be measured of a model: the loss and each metric, on each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weightstring.errors import InvalidSetting
from weightstring.problem.datasets.data import AnySet, DataSet
from weightstring.problem.losses.means import Mean


@dataclass(frozen=True, eq=False)
class Quantities:
    """Each criterion on each set.

    Args:
        sets: the data by what the names of their quantities begin with; the evaluation set is first, and has ``""``.
        means: the criteria by name, ``"loss"`` first.
    """

    sets: Mapping[str, DataSet]
    means: Mapping[str, Mean]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, set by set."""
        return tuple(prefix + name for prefix in self.sets for name in self.means)

    def select(self, quantities: Sequence[str]) -> tuple[list[str], list[tuple[DataSet, list[Mean]]]]:
        """Names in the order in which they are measured, set by set, and what is measured on each set.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        if unknown := [name for name in quantities if name not in self.names]:
            raise InvalidSetting(f"quantity {unknown[0]!r} is unknown: pass some of {', '.join(self.names)}")
        names: list[str] = []
        wanted: list[tuple[DataSet, list[Mean]]] = []
        for prefix, examples in self.sets.items():
            means = {prefix + name: mean for name, mean in self.means.items() if prefix + name in quantities}
            names += means
            wanted += [(examples, list(means.values()))] if means else []
        return names, wanted

    def beside(self, quantities: Sequence[str]) -> tuple[str, ...]:
        """These quantities and all others of the same sets that are measured in the same passes."""
        found = {name: self.single(name) for name in self.names}
        passes = {name: (id(data), data.together and mean.alone) for name, (data, mean) in found.items()}
        taken = {passes[name] for name in quantities}
        return tuple(name for name, own in passes.items() if own in taken)

    def single(self, quantity: str) -> tuple[DataSet, Mean]:
        """The examples on which a quantity is measured, and what is measured on them.

        Raises:
            InvalidSetting: an unknown quantity.
        """
        _, ((examples, (mean,)),) = self.select([quantity])
        return examples, mean


def by_prefix(data: Mapping[str, AnySet]) -> dict[str, AnySet]:
    """The sets on which quantities are measured, by what their names begin with; the evaluation set comes first.

    Args:
        data: ``"train"``, and where they exist ``"evaluate"`` and hold-out sets by their names.

    >>> import torch
    >>> from weightstring.problem.datasets.data import Examples
    >>> examples = Examples((torch.zeros(2, 1),), torch.zeros(2))
    >>> list(by_prefix({"train": examples})), list(by_prefix({"train": examples, "evaluate": examples}))
    ([''], ['', 'train_'])
    """
    sets = {"": data.get("evaluate", data["train"])}
    if "evaluate" in data:
        sets["train_"] = data["train"]
    return sets | {f"{name}_": examples for name, examples in data.items() if name not in ("train", "evaluate")}
