"""What is known of Γ between two models without a search: proofs from below, closed-form paths from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import Proof, check_theta
from weightstring.problem import Traceable
from weightstring.proof.disconnect import prove
from weightstring.protocol import lacking
from weightstring.theory.constructions import Construction, constructions


@dataclass(frozen=True, eq=False)
class Known:
    """What theory says of two models.

    Args:
        losses: of the two.
        proof: why every path climbs to a bound; None where no proof applies.
        constructions: paths, the lowest first, of equally low ones the shortest.
        refused: why each of the others does not apply, by name.
    """

    losses: tuple[float, float]
    proof: Proof | None
    constructions: tuple[Construction, ...]
    refused: dict[str, str]

    @property
    def at_least(self) -> float:
        """Γ is no lower: the higher end, or the proof's bound."""
        return max(*self.losses, -math.inf if self.proof is None else self.proof.bound)

    @property
    def at_most(self) -> float:
        """Γ is no higher: the lowest construction's bound; inf without one."""
        return min((path.bound for path in self.constructions), default=math.inf)


def known(problem: Traceable, a: Theta, b: Theta, tolerance: float = 1e-3) -> Known:
    """Everything that theory says of Γ between two models, and the paths that it gives.

    Args:
        problem: the loss; what is bounded is the evaluation loss.
        a: one end (P,).
        b: the other end.
        tolerance: how far a string inscribed in a curved path may rise over the path's bound, as a share of the
            straight line's height.

    Raises:
        InvalidSetting: a tolerance that is not positive, or a problem that is no module.
        InvalidCheckpoint: an end is not the problem's.

    >>> from torch import nn
    >>> x = torch.linspace(-1, 2, 12, dtype=torch.float64).unsqueeze(1)
    >>> net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, nn.MSELoss(), (x, x.abs()), batch_size=None)
    >>> theory = known(problem, problem.initial(0), problem.initial(1))
    >>> [path.name for path in theory.constructions], list(theory.refused)
    (['sub-networks', 'exchange'], ['linear'])
    """
    if not isinstance(problem, Traceable):
        raise InvalidSetting(f"theory: {lacking(problem, Traceable)}, or give a ws.ModuleProblem")
    if not 0 < tolerance < math.inf:
        raise InvalidSetting(f"tolerance={tolerance}: give a positive share")
    for theta, what in ((a, "the first model"), (b, "the second model")):
        check_theta(problem, theta, what)
    losses = problem.measure(torch.stack([a, b]))["loss"].tolist()
    paths, refused = constructions(problem, a, b, tolerance)
    return Known((losses[0], losses[1]), prove(problem, a, b), paths, refused)
