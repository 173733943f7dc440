"""Exact products of a training loss's Hessian with vectors, by differentiating twice.

The Hessian itself, P × P, is never formed: H v = ∇(∇L · v) costs about three gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from weightstring.arrays import Theta, Thetas, zeros
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines import on_threads
from weightstring.problem.engines.base import seeded_by
from weightstring.problem.engines.parts import in_parts
from weightstring.problem.engines.threads import BACKWARD, threads_for
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
        slopes = slopes_of(loss(leaf), (leaf,))
    found = torch.zeros_like(vectors)
    add_products(found, slopes, (leaf,), vectors)
    return found


def slopes_of(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of a value by leaves, in their shapes, as functions of these alone: without numbers of their own.

    Raises:
        RuntimeError: autograd cannot differentiate one of the operations twice.
    """
    handles = [leaf.register_hook(_WithoutNumbers.apply) for leaf in leaves]  # type: ignore[no-untyped-call]
    try:
        slopes = list(torch.autograd.grad(value, leaves, create_graph=True, materialize_grads=True))
    finally:
        for handle in handles:
            handle.remove()
    _check_twice(value, slopes)
    return slopes


class _WithoutNumbers(torch.autograd.Function):
    """A tensor of which only the derivative is wanted: its numbers are let go, and read as 0."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """A single number in its shape."""
        return tensor.new_zeros(()).expand(tensor.shape)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """As if it were the tensor itself."""
        return slope


def add_products(
    sums: Thetas, slopes: Sequence[Tensor], leaves: Sequence[Tensor], vectors: Thetas, share: float = 1.0
) -> None:
    """Add a share of the products with a Hessian to ``sums`` (k, P), leaf by leaf as autograd comes to them.

    Args:
        sums: changed in place.
        slopes: the gradients by the leaves, a graph that is used up.
        leaves: whose numbers one after the other are θ (P,).
        vectors: (k, P).
        share: by which the products are multiplied.
    """
    sizes = [leaf.numel() for leaf in leaves]
    # What is linear in θ has no derivative: its product is 0.
    bent = [place for place, slope in enumerate(slopes) if slope.requires_grad]
    for k, (total, v) in enumerate(zip(sums, vectors, strict=True) if bent else ()):
        pieces = v.split(sizes)
        handles = [
            leaf.register_post_accumulate_grad_hook(partial(_moved, part, share))  # type: ignore[no-untyped-call]
            for leaf, part in zip(leaves, total.split(sizes), strict=True)
        ]
        try:
            torch.autograd.backward(
                [slopes[place] for place in bent],
                [pieces[place].view(slopes[place].shape) for place in bent],
                retain_graph=k + 1 < len(vectors),
                inputs=list(leaves),
            )
        finally:
            for handle in handles:
                handle.remove()


def _moved(total: Tensor, share: float, leaf: Tensor) -> None:
    """Add a leaf's gradient to a part of a sum and let it go."""
    assert leaf.grad is not None
    total.add_(leaf.grad.reshape(-1), alpha=share)
    leaf.grad = None


def _check_twice(value: Tensor, slopes: Sequence[Tensor]) -> None:
    """Refuse a gradient that depends on θ by ways unknown to autograd.

    What a function marked with ``once_differentiable`` returns has an error in place of its derivative, which
    ``autograd.grad`` does not meet: it takes the ways to θ alone, and would leave that one out without a word.
    Where such a function is the last of a loss, its gradient is a constant to autograd, and has no error either.

    Raises:
        RuntimeError: it does.
    """
    failing = any(node.name() == "torch::autograd::Error" for node in nodes_of(*slopes))
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
        mean, total = None, 0.0
        with _as_the_gradient(computation, theta if rows is None else rows, theta.device):
            for piece in examples.chunks(size):
                slopes, leaves, share = _of_piece(computation, piece, theta, len(examples))
                mean = zeros(vectors) if mean is None else mean
                add_products(mean, slopes, leaves, vectors, share)
                total += share
        assert mean is not None
        # Sums over minibatches in which nothing has a weight are 0, as in the gradient.
        return mean.div_(total) if computation.kind == "ratio" and total else mean

    # In halves it would not get smaller: the vectors share a graph, and are differentiated one by one.
    return in_parts(1, 1, compute)[0]


def _of_piece(
    computation: Computation, piece: DataSet, theta: Theta, examples: int
) -> tuple[list[Tensor], Sequence[Tensor], float]:
    """The gradient of one part's loss, what it is a function of, and the part's weight per example."""
    leaves: Sequence[Tensor]
    with torch.enable_grad():
        if computation.structure is None and not computation.training.layout.rounds:
            training = computation.training
            assert isinstance(training, Live)
            training.forget()
            leaves = training.parameters
            value, weight = computation.weighed_loss(theta, None, piece)
        else:  # singular vectors and rounded parameters are functions of θ, whose derivatives θ itself collects
            leaves = (theta.detach().requires_grad_(),)
            value, weight = pure(computation).weighed_loss(leaves[0], None, piece)
        share = 1.0 if computation.kind in ("sum", "whole") else float(weight) / examples
        return slopes_of(value, leaves), leaves, share


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
