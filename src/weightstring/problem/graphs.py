"""What autograd knows of how a tensor was computed."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.autograd.graph import Node


def nodes_of(*tensors: Tensor) -> Iterator[Node]:
    """The operations that tensors came from, each once.

    >>> import torch
    >>> leaf = torch.ones(2, requires_grad=True)
    >>> [node.name() for node in nodes_of(leaf.exp().sum())]
    ['SumBackward0', 'ExpBackward0', 'torch::autograd::AccumulateGrad']
    """
    seen: set[Node] = set()
    ahead = [tensor.grad_fn for tensor in tensors]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [before for before, _ in node.next_functions]
            yield node


def leaves_of(tensor: Tensor) -> list[Tensor]:
    """The tensors whose gradients a backward pass would leave behind.

    >>> import torch
    >>> leaf = torch.ones(2, requires_grad=True)
    >>> leaves_of(leaf.exp().sum())[0] is leaf
    True
    """
    return [variable for node in nodes_of(tensor) if (variable := getattr(node, "variable", None)) is not None]
