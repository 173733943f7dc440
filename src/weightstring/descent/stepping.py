"""Several steps of models that move by themselves in one call, where a problem offers that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.protocol import LossProblem


class Tie(NamedTuple):
    """Where models that move stand among those of a string: each is kept on the hyperplane between its neighbours.

    As :class:`~weightstring.descent.constraint.Hyperplane` does it, all models seeing where the others were before the
    step.

    Args:
        string: all models (n, P), line by line; where those go that move is written into it.
        places: the row of each model that moves, neither the first nor the last.
    """

    string: Thetas
    places: Sequence[int]


class Blend(NamedTuple):
    """Where the gradients of models that move are taken: at points of their curve, each owing them its share.

    A point is the sum of its weights times the models; a model that moves follows the mean over the points of its
    weight times their gradients. Minibatches are the points'.

    Args:
        string: all models (n, P), line by line; where those go that move is written into it.
        places: the row of each model that moves.
        weights: of each model in each point of each step, (k, m, n), float64.
    """

    string: Thetas
    places: Sequence[int]
    weights: Float64[Tensor, "k m n"]


@dataclass(frozen=True, eq=False)
class Update:
    """The next steps of an optimizer, in numbers, as torch.optim takes them. What it changes it changes in place.

    Args:
        kind: SGD, or Adam.
        size: P; lines of θ and of what lies beside it may be longer.
        taken: Adam's steps before these.
        rates: the learning rate of each step.
        momentum: of SGD, or Adam's β1.
        second: Adam's β2.
        epsilon: Adam's ε.
        decay: of the weights.
        decoupled: whether weights decay by themselves, and not through the gradient.
        nesterov: whether SGD's momentum is Nesterov's.
        clip: the largest norm of a model's gradient; None: any.
        moments: SGD's momentum buffer or Adam's first moment, laid out as θ; None without momentum.
        squares: Adam's second moment.
        average: the average of the iterates; None: there is none.
        weights: of each new iterate in it.
        tie: what the models have to do with each other; None: nothing. Only for a problem that :class:`Tying` says
            it of.
    """

    kind: Literal["sgd", "adam"]
    size: int
    taken: int
    rates: Sequence[float]
    momentum: float = 0.0
    second: float = 0.0
    epsilon: float = 0.0
    decay: float = 0.0
    decoupled: bool = False
    nesterov: bool = False
    clip: float | None = None
    moments: Tensor | None = None
    squares: Tensor | None = None
    average: Tensor | None = None
    weights: Sequence[float] = ()
    tie: Tie | Blend | None = None


@runtime_checkable
class Stepping(LossProblem, Protocol):
    """Takes several steps of models at once, without anyone looking at them between."""

    @property
    def strides(self) -> bool:
        """Whether its engine can."""

    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, update: Update) -> None:
        """Take k steps with each of B models, the first P numbers of the lines of ``thetas``, in place.

        Args:
            thetas: the models; they are changed, and so is what ``update`` holds.
            rows: training examples of each model, or of each point of a :class:`Blend`, at each step; None: all.
            update: what becomes of a gradient.
        """


@runtime_checkable
class Tying(Stepping, Protocol):
    """Takes several steps of models that are tied to each other, too."""

    @property
    def ties(self) -> bool:
        """Whether its engine does as :class:`Tie` and :class:`Blend` say, where it strides."""
