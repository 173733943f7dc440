r"""A chain of linear layers without biases and a squared loss: c · Σ (k W_K ⋯ W_1 x − y)², read from the trace.

Where two of the widths h_0 … h_K are equal, h_i = h_j = r, the product W_j ⋯ W_{i+1} is square. If its determinant
has different signs at two ends, it is 0 somewhere on every path between them. There the product of all layers has rank
r − 1 at most: Γ ≥ λ_r, the least loss over such products. With r = min(h_0, h_K) this is λ* of Section III.A, and
tight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise

from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem import Traceable
from weightstring.problem.once import once
from weightstring.theory.exact import Whole
from weightstring.theory.low_rank import least_with_rank
from weightstring.theory.reader import Unrecognised
from weightstring.theory.reading import SquaredSum
from weightstring.theory.squared_loss import DTYPES, IDENTITY, Active, Output, squared_loss


@dataclass(frozen=True, eq=False)
class LinearLayers(SquaredSum):
    """A problem whose loss is c · Σ (k W_K ⋯ W_1 x − y)², for every θ.

    Args:
        names: of W_1 … W_K among the operations' inputs.
    """

    names: tuple[str, ...]

    @once
    def least(self, rank: int) -> Fraction:
        """No more than Σ (P x − y)² for any product P of at most this rank; computed once."""
        return least_with_rank(self.inputs, self.targets, rank)

    @property
    def widths(self) -> tuple[int, ...]:
        """h_0 … h_K."""
        first = self.program.constants[self.names[0]]
        return (first.shape[1], *(len(self.program.constants[name]) for name in self.names))

    @property
    def squares(self) -> list[tuple[int, int]]:
        """All i < j with h_i = h_j, no wider than the narrower end of the chain.

        But for the whole chain: where the sign of its determinant differs, one end lies at λ* or above, and the bound
        says nothing that the ends do not.
        """
        h = self.widths
        narrow, whole = min(h[0], h[-1]), (0, len(h) - 1)
        pairs = combinations(range(len(h)), 2)
        return [(i, j) for i, j in pairs if h[i] == h[j] <= narrow and (i, j) != whole]

    def layers(self, theta: Theta) -> list[Tensor]:
        """W_1 … W_K of a model (P,), frozen ones among them, as stored."""
        views = self.layout.views(theta)
        return [self.program.tensor(name, views) for name in self.names]

    def rounded(self, theta: Theta, i: int, j: int) -> Tensor:
        """W_j ⋯ W_{i+1} in floating arithmetic."""
        product, *others = (weights.double() for weights in self.layers(theta)[i:j])
        for weights in others:
            product = weights @ product
        return product

    def exact(self, theta: Theta, i: int, j: int) -> Sequence[Sequence[int]]:
        """W_j ⋯ W_{i+1} in whole numbers, but for a power of two."""
        product, *others = (Whole.of(weights).rows for weights in self.layers(theta)[i:j])
        for rows in others:
            columns = list(zip(*product, strict=True))
            product = tuple(
                tuple(sum(a * b for a, b in zip(row, column, strict=True)) for column in columns) for row in rows
            )
        return product

    def outputs(self, theta: Theta) -> tuple[Float64[Tensor, "N c"], Float64[Tensor, "N c"], int]:
        """See :class:`SquaredSum`."""
        outputs = self.inputs.double()
        sizes = outputs.abs()
        for weights in self.layers(theta):
            outputs, sizes = outputs @ weights.double().T, sizes @ weights.double().abs().T
        return float(self.factor) * outputs, abs(float(self.factor)) * sizes, sum(self.widths)


@once
def read_linear(problem: Traceable) -> LinearLayers | None:
    """A problem's loss as c · Σ (k W_K ⋯ W_1 x − y)²; None: it is not recognised as one.

    >>> import torch
    >>> net = torch.nn.Sequential(*(torch.nn.Linear(2, 2, bias=False) for _ in range(3)))
    >>> data = torch.ones(5, 2), torch.ones(5, 2)
    >>> from weightstring.problem import ModuleProblem
    >>> read_linear(ModuleProblem(net, torch.nn.MSELoss(), data)).widths
    (2, 2, 2, 2)
    >>> net.insert(1, torch.nn.ReLU())
    Sequential(...)
    >>> read_linear(ModuleProblem(net, torch.nn.MSELoss(), data)) is None
    True
    """
    try:
        return _read(problem)
    except (Unrecognised, Unsupported, InvalidSetting):
        return None


def _read(problem: Traceable) -> LinearLayers:
    reader, loss = squared_loss(problem)
    program, targets, (inputs, *others) = reader.program, reader.examples.targets, reader.examples.leaves
    output: Output | Active = loss.output
    names, factor = [], Fraction(1)
    while isinstance(output, Output):
        names.append(output.outer)
        factor *= output.factor
        output = output.active
    names = [output.hidden.inner, *reversed(names)]
    weights = [program.constants[name] for name in names]
    # Nothing may be spread over another axis.
    fits = (
        output.rho is IDENTITY
        and output.hidden.bias is None
        and not others
        and inputs.ndim == targets.ndim == 2
        and all(w.ndim == 2 and w.dtype in DTYPES for w in weights)
        and inputs.shape[1] == weights[0].shape[1]
        and all(after.shape[1] == len(before) for before, after in pairwise(weights))
        and targets.shape[1] == len(weights[-1])
        and inputs.dtype in DTYPES
        and targets.dtype in DTYPES
    )
    if not fits:
        raise Unrecognised
    return LinearLayers(problem.layout, program, factor, loss.scale, inputs.cpu(), targets.cpu(), names=tuple(names))


def may_apply(problem: Traceable) -> bool:
    """Whether the shapes of the parameters leave room for a proof: quicker than reading the problem."""
    shapes = [entry.shape for entry in problem.layout.entries]
    if len(shapes) < 1 or any(len(shape) != 2 for shape in shapes):
        return False
    widths = {width for shape in shapes for width in shape}
    return len(shapes) + 1 > len(widths)  # else no two widths are equal
