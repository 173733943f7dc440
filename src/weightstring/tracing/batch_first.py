"""Operations on results that hold the examples along another axis, as operations on the same numbers, examples first.

A network that takes sequences first moves the examples to axis 1 and back. With x' = x.movedim(k, 0) for a result x
that has them along axis k, each operation that leaves examples apart is one on x'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from weightstring.registry import Registry
from weightstring.tracing.steps import Ref, Step, Trace

Shape = tuple[int, ...]

KEEPING = {
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "dropout.default",
}  # fmt: skip
"""What changes no number's place, beside torch's pointwise operators."""

EXCHANGING = (
    "movedim.int", "movedim.intlist", "swapaxes.default", "swapdims.default", "mT.default", "numpy_T.default",
)  # fmt: skip
"""What exchanges axes by other names than ``permute`` and ``transpose``, and is said as the former in any case."""


def axis_of(few: Shape, more: Shape) -> int | None:
    """Along which axis a result has the examples, from its shapes for few and for more of them; None: along none.

    >>> axis_of((5, 7, 3), (5, 11, 3))
    1
    """
    different = [axis for axis, pair in enumerate(zip(few, more, strict=False)) if pair[0] != pair[1]]
    return different[0] if different and (different[0] == 0 or len(different) == 1) else None


@dataclass(frozen=True)
class Moved:
    """An operation whose result, or an argument, has the examples elsewhere than along axis 0.

    Args:
        step: the operation.
        axes: where each result has them.
        shapes: of all arguments, by name.
    """

    step: Step
    axes: Mapping[str, int]
    shapes: Mapping[str, Shape]

    @property
    def at(self) -> int:
        """Where the first argument has the examples."""
        return self.axes[self.step.args[0].name]

    @property
    def shape(self) -> Shape:
        """The first argument's."""
        return self.shapes[self.step.args[0].name]

    @property
    def to(self) -> int:
        """Where the result has them."""
        return self.axes[self.step.name]

    def place(self, axis: int) -> int | None:
        """Which axis of x' an axis of the first argument is; None: the examples'."""
        axis %= len(self.shape)
        return None if axis == self.at else _place(axis, self.at)

    def like(self, *settings: Any) -> Step | None:
        """The same operation with these settings behind the first argument; None: one of them is None."""
        args = (self.step.args[0], *settings)
        return None if any(each is None for each in settings) else replace(self.step, args=args)


Rewriting = Callable[[Moved], Step | None]
REWRITINGS: Registry[Rewriting] = Registry("operation on examples along another axis")


@dataclass(frozen=True, eq=False)
class Course:
    """The operations on a number of examples.

    Args:
        trace: as torch gives them.
        steps: with the examples along axis 0.
        stuck: names of those that cannot be said so, and are as they were.
    """

    trace: Trace
    steps: tuple[Step, ...]
    stuck: frozenset[str]


def batch_first(trace: Trace, axes: Mapping[str, int]) -> Course:
    """Steps whose results have the examples along axis 0 wherever a trace's results have them along one axis.

    Args:
        trace: whose steps.
        axes: along which axis each result and argument has the examples; those without are left out.
    """
    shapes = {name: tuple(value.shape) for name, value in {**trace.held, **trace.given}.items()}
    found, stuck = list[Step](), set[str]()
    for step in trace.steps:
        shapes[step.name] = step.shape
        elsewhere = any(axes.get(name) for name in (*step.takes, step.name))
        if elsewhere or (step.name in axes and step.op in EXCHANGING):
            new = _rewritten(Moved(step, axes, shapes))
            if new is None:
                stuck.add(step.name)
            else:
                step = replace(new, result=step.result.movedim(axes[step.name], 0))
        found.append(step)
    return Course(trace, tuple(found), frozenset(stuck))


def _rewritten(moved: Moved) -> Step | None:
    step = moved.step
    if step.name not in moved.axes or not isinstance(step.result, torch.Tensor):
        return None
    if step.op in KEEPING or torch.Tag.pointwise in getattr(step.target, "tags", ()):
        return step if _broadcasts(moved) else None
    leading = step.args[0] if step.args else None
    if step.op in ("cat.default", "stack.default"):
        leading = leading[0] if leading else None
    if not isinstance(leading, Ref) or leading.name not in moved.axes or step.op not in REWRITINGS:
        return None
    return REWRITINGS[step.op](moved)


def _broadcasts(moved: Moved) -> bool:
    """Whether all arguments have the examples where the result has them, or none and only axes behind those."""
    step, rank = moved.step, len(moved.step.shape)
    return all(
        (moved.axes[name] == moved.to and len(moved.shapes[name]) == rank)
        if name in moved.axes
        else len(moved.shapes[name]) < rank - moved.to
        for name in step.takes
    )


def _place(axis: int, examples: int) -> int:
    return axis + 1 if axis < examples else axis


@REWRITINGS.register("permute.default", "transpose.int", "t.default", *EXCHANGING)
def permuted(moved: Moved) -> Step | None:
    """Axes exchanged."""
    step, rank = moved.step, len(moved.shape)
    sizes = range(2, 2 + rank)  # which axis went where is seen by its length
    lengths = step.target(torch.empty(*sizes, device="meta"), *step.args[1:], **step.kwargs).shape
    order = [sizes.index(length) for length in lengths]
    rest = [axis for axis in range(rank) if axis != moved.to]
    places = [_place(order[axis], moved.at) for axis in rest]
    return Step(step.name, torch.ops.aten.permute.default, (step.args[0], [0, *places]), {}, step.result, step.path)


@REWRITINGS.register("select.int", "slice.Tensor", "squeeze.dim")
def chosen(moved: Moved) -> Step | None:
    """Entries chosen along an axis."""
    axis, *others = moved.step.args[1:]
    return moved.like(moved.place(axis), *others) if None not in others else None


@REWRITINGS.register("unsqueeze.default")
def widened(moved: Moved) -> Step | None:
    """An axis more."""
    return moved.like(_place(moved.step.args[1] % len(moved.step.shape), moved.to))


@REWRITINGS.register("mean.dim", "sum.dim_IntList")
def averaged(moved: Moved) -> Step | None:
    """Means and sums along axes."""
    axes, *others = moved.step.args[1:]
    places = [moved.place(axis) for axis in axes or ()]
    return moved.like(places, *others) if places and None not in places else None


@REWRITINGS.register("view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int")
def reshaped(moved: Moved) -> Step | None:
    """Another shape of what lies behind the examples."""
    step, ahead = moved.step, moved.at + 1
    if moved.to != moved.at or step.shape[:ahead] != moved.shape[:ahead]:
        return None
    shape = list(step.result.movedim(moved.to, 0).shape)
    return Step(step.name, torch.ops.aten.reshape.default, (step.args[0], shape), {}, step.result, step.path)


@REWRITINGS.register("linear.default", "matmul.default")
def multiplied(moved: Moved) -> Step | None:
    """The last axis times a matrix that is the same for all examples."""
    last = len(moved.shape) - 1
    same = not any(name in moved.axes for name in moved.step.takes[1:])
    matrix = len(moved.shapes[moved.step.takes[1]]) == 2
    return moved.step if same and matrix and moved.at < last else None


@REWRITINGS.register("stack.default")
def stacked(moved: Moved) -> Step | None:
    """Side by side along an axis of their own."""
    parts, axis = moved.step.args[0], (*moved.step.args[1:], 0)[0] % len(moved.step.shape)
    at = moved.to - 1 if axis < moved.to else moved.to
    if any(moved.axes.get(part.name) != at for part in parts) or axis == moved.to:
        return None
    return replace(moved.step, args=(parts, _place(axis, moved.to)))


@REWRITINGS.register("cat.default")
def joined(moved: Moved) -> Step | None:
    """Side by side."""
    parts, axis = moved.step.args[0], (*moved.step.args[1:], 0)[0] % len(moved.step.shape)
    if any(moved.axes.get(part.name) != moved.to for part in parts) or axis == moved.to:
        return None
    return replace(moved.step, args=(parts, _place(axis, moved.to)))
