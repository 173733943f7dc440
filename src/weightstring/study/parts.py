"""Parts of a module: its parameters by layer or block, or as the user names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Bool

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem.flat import Layout

MOST = 24
"""Parts that are told apart unless a depth is given: as many as a figure and a table hold."""


@dataclass(frozen=True, eq=False)
class PartOfTheta:
    """Parameters that belong together.

    Args:
        name: of the module that holds them, or the user's.
        mask: (P,) where they lie in θ.
    """

    name: str
    mask: Bool[torch.Tensor, " P"]

    def of(self, whole: Theta, rest: Theta) -> Theta:
        """``rest`` (P,) with this part of ``whole`` (P,)."""
        return torch.where(self.mask.to(rest.device), whole, rest)


def parts_of(
    layout: Layout, depth: int | None = None, named: Mapping[str, Sequence[str]] | None = None
) -> list[PartOfTheta]:
    """Every parameter in exactly one part, in the module's order.

    Args:
        layout: where parameters lie.
        depth: how many names of a parameter's path are kept: of ``layers.0.mlp.up.weight`` two are ``layers.0``. None:
            as many as leave 24 parts at most, the parameter's own name left out.
        named: patterns of parameters' names, by part; what none takes is one more part, ``"the rest"``.

    Raises:
        InvalidSetting: a depth below 1, a pattern that matches nothing, or a parameter that two parts claim.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)))
    >>> layout = Layout.of(net)
    >>> [part.name for part in parts_of(layout)], [part.name for part in parts_of(layout, depth=1)]
    (['0', '1.0', '1.1'], ['0', '1'])
    >>> [(part.name, int(part.mask.sum())) for part in parts_of(layout, named={"biases": ["*.bias"]})]
    [('the rest', 18), ('biases', 7)]
    """
    if depth is not None and (not isinstance(depth, int) or depth < 1):
        raise InvalidSetting(f"depth={depth!r}: how many names of a parameter's path are kept is 1 or more")
    owners = _named(layout, named) if named else _by_path(layout, depth)
    masks: dict[str, Bool[torch.Tensor, " P"]] = {}
    for entry, owner in zip(layout.entries, owners, strict=True):
        mask = masks.setdefault(owner, torch.zeros(layout.size, dtype=torch.bool))
        mask[entry.offset : entry.offset + entry.size] = True
    return [PartOfTheta(name, mask) for name, mask in masks.items()]


def _by_path(layout: Layout, depth: int | None) -> list[str]:
    paths = [tuple(entry.name.split(".")) for entry in layout.entries]

    def cut(deep: int) -> list[str]:
        return [".".join(path[: min(deep, max(1, len(path) - 1))]) for path in paths]

    if depth is not None:
        return cut(depth)
    deepest = max(map(len, paths))
    fitting = [names for names in map(cut, range(deepest, 0, -1)) if len(set(names)) <= MOST]
    return fitting[0] if fitting else cut(1)


def _named(layout: Layout, named: Mapping[str, Sequence[str]]) -> list[str]:
    owners = []
    unused = {(name, pattern) for name, patterns in named.items() for pattern in patterns}
    for entry in layout.entries:
        claims = {(n, p) for n, ps in named.items() for p in ps if any(fnmatchcase(each, p) for each in entry.names)}
        claimants = sorted({name for name, _ in claims})
        if len(claimants) > 1:
            raise InvalidSetting(f"parameter {entry.name} is claimed by {' and '.join(claimants)}: give it to one")
        unused -= claims
        owners.append(claimants[0] if claimants else "the rest")
    if unused:
        name, pattern = min(unused)
        raise InvalidSetting(f"part {name!r:.80}: no parameter's name matches {pattern!r:.80}")
    return owners
