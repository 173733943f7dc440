"""Exact products of a training loss's Hessian with vectors, by differentiating twice.

The Hessian itself, P × P, is never formed: H v = ∇(∇L · v) costs about three gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from weightstring.arrays import Theta, Thetas
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines import on_threads
from weightstring.problem.engines.base import seeded_by
from weightstring.problem.engines.parts import in_parts
from weightstring.problem.engines.threads import BACKWARD, threads_for
from weightstring.problem.functional import Computation
from weightstring.problem.graphs import nodes_of
from weightstring.problem.live import Live, pure
from weightstring.protocol import EngineChoice

MARKED = once_differentiable(lambda ctx: None).__code__
"""The code of what ``once_differentiable`` makes of a function, whichever."""

TWICE = 3
"""Gradients' worth of operations in one product, the gradient that is differentiated included."""


def products(loss: Callable[[Theta], Tensor], theta: Theta, vectors: Thetas) -> Thetas:
    """The products H v (k, P) of a loss's Hessian at ``theta`` (P,) with ``vectors`` (k, P).

    Args:
        loss: (P,) → a scalar, differentiable.
        theta: where.
        vectors: the v, one a row.

    Raises:
        RuntimeError: autograd cannot differentiate one of the operations twice.

    >>> products(lambda theta: theta[0] ** 2 * theta[1], torch.tensor([1.0, 3.0]), torch.eye(2))
    tensor([[6., 2.],
            [2., 0.]])
    """
    leaf = theta.detach().requires_grad_()
    with torch.enable_grad():
        return products_by(loss(leaf), (leaf,), vectors)


def products_by(value: Tensor, leaves: Sequence[Tensor], vectors: Thetas) -> Thetas:
    """The products with the Hessian of a value by its leaves, whose numbers one after the other are θ (P,)."""
    slope = _joined(torch.autograd.grad(value, leaves, create_graph=True, materialize_grads=True))
    if not len(vectors):
        return torch.zeros_like(vectors)
    _check_twice(value, slope)
    if not slope.requires_grad:  # linear in θ
        return torch.zeros_like(vectors)
    # One graph for all vectors; where the slope does not depend on θ after all, its derivative is 0, not None.
    products = torch.empty_like(vectors)
    for row, v in zip(products, vectors, strict=True):
        parts = torch.autograd.grad(slope, leaves, v, retain_graph=True, materialize_grads=True)
        torch.cat([part.reshape(-1) for part in parts], out=row)
    return products


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _check_twice(value: Tensor, slope: Tensor) -> None:
    """Refuse a gradient that depends on θ by ways unknown to autograd.

    What a function marked with ``once_differentiable`` returns has an error in place of its derivative, which
    ``autograd.grad`` does not meet: it takes the ways to θ alone, and would leave that one out without a word.
    Where such a function is the last of a loss, its gradient is a constant to autograd, and has no error either.

    Raises:
        RuntimeError: it does.
    """
    failing = any(node.name() == "torch::autograd::Error" for node in nodes_of(slope))
    if failing or any(_is_marked(node) for node in nodes_of(value)):
        raise RuntimeError("an operation of the loss is differentiable only once (once_differentiable)")


def _is_marked(node: Node) -> bool:
    """Whether it is a function of a user's own whose backward is wrapped by ``once_differentiable``."""
    backward = getattr(getattr(node, "_forward_cls", None), "backward", None)
    return getattr(backward, "__code__", None) is MARKED


def training_products(
    computation: Computation,
    train: DataSet,
    theta: Theta,
    vectors: Thetas,
    rows: Int64[Tensor, " n"] | None,
    couples: bool = False,
) -> Thetas:
    """Products (k, P) with the Hessian of the loss that the gradient on the same rows differentiates.

    The same mode, draws and buffers as there: without rows chunk by chunk; given rows in one piece, and chunk
    by chunk only where no example depends on those beside it.

    Args:
        computation: the loss as pure functions of one θ.
        train: training examples.
        theta: (P,).
        vectors: (k, P).
        rows: which examples (n,); None: all.
        couples: whether examples of different chunks meet, so that all are one piece.

    Raises:
        InvalidSetting: one piece does not fit into memory.
        RuntimeError: autograd cannot differentiate one of the operations twice.
    """
    examples = train if rows is None else train.take(rows)
    whole = couples or computation.kind == "whole" or (rows is not None and _depend_on_each_other(computation, train))
    size = len(examples) if whole and train.together else computation.chunk

    def compute(_: slice) -> Thetas:
        mean, total = torch.zeros_like(vectors), 0.0
        with _as_the_gradient(computation, theta if rows is None else rows, theta.device):
            for piece in examples.chunks(size):
                part, share = _of_piece(computation, piece, theta, vectors, len(examples))
                mean.add_(part, alpha=share)
                total += share
        # Sums over minibatches in which nothing has a weight are 0, as in the gradient.
        return mean.div_(total) if computation.kind == "ratio" and total else mean

    # In halves it would not get smaller: the vectors share a graph, and are differentiated one by one.
    return in_parts(1, 1, compute)[0]


def _of_piece(
    computation: Computation, piece: DataSet, theta: Theta, vectors: Thetas, examples: int
) -> tuple[Thetas, float]:
    """Hessian products of one part's loss, and the part's weight per example."""
    if computation.structure is None and not computation.training.layout.rounds:
        training = computation.training
        assert isinstance(training, Live)
        with torch.enable_grad():
            value, weight = computation.weighed_loss(theta, None, piece)
            part = products_by(value, training.parameters, vectors)
    else:  # singular vectors and rounded parameters are functions of θ, whose derivatives θ itself collects
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            value, weight = pure(computation).weighed_loss(leaf, None, piece)
            part = products_by(value, (leaf,), vectors)
    return part, 1.0 if computation.kind in ("sum", "whole") else float(weight) / examples


def threads_of(choice: EngineChoice, products: int, examples: int) -> AbstractContextManager[None]:
    """The threads for some products over so many examples."""
    flops = BACKWARD * TWICE * products * examples * choice.flops
    return on_threads(threads_for(flops, choice.threads or torch.get_num_threads()))


def _depend_on_each_other(computation: Computation, train: DataSet) -> bool:
    """Whether a batch may be more than its examples: by BatchNorm, draws, or a user's training step."""
    # A loss need not be a mean over examples where the training set is a single chunk.
    one_chunk = len(train) <= computation.chunk
    return one_chunk or computation.calibrating is not None or computation.draws or computation.own_step


class _PlainWeightNorm(TorchFunctionMode):
    """Weight norm by plain operations: the second derivative of torch's own operation is wrong by some percent."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """As torch calls it."""
        if func is torch._weight_norm:
            direction, length, *dim = args
            axis = dim[0] if dim else (kwargs or {}).get("dim", 0)
            others = [d for d in range(direction.ndim) if d != axis % direction.ndim] if axis != -1 else None
            norm = direction.square().sum(others, keepdim=True).sqrt()
            return direction * (length / norm)
        return func(*args, **(kwargs or {}))


def _as_the_gradient(computation: Computation, arguments: Tensor, device: torch.device) -> ExitStack:
    """Draw as the gradient does; without draws, replace fused attention, which is differentiable only once."""
    stack = ExitStack()
    stack.enter_context(_PlainWeightNorm())
    if computation.draws:
        stack.enter_context(seeded_by(arguments, device))
    else:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack
