"""Spectral norm's singular vectors, which are functions of the weights and are computed as such.

Torch keeps them in buffers that one power iteration a training step brings a little nearer to the truth, so that a
buffer holds what its own run left there. Another model's buffers give another σ: they do not belong to it. Here u and v
are the top singular pair of each θ's own weight, to rounding, wherever that θ is evaluated or differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

Pair = tuple[Tensor, Tensor]
"""The left (m,) and right (n,) singular vector."""


def top_pair(matrix: Tensor) -> Pair:
    """The singular vectors u, v of a matrix (m, n) that belong to its largest singular value σ = uᵀ W v.

    From the eigenvectors of the smaller Gram matrix, in float64. Differentiable: with σᵢ the other singular values and
    uᵢ their vectors, du = Σᵢ uᵢ uᵢᵀ d(W Wᵀ) u / (σ² − σᵢ²). Since u is first moved along this derivative and then put
    back to length 1, σ has its true second derivatives too. Where the largest value is a double one, u has no
    derivative, and the directions within its space are left out.

    >>> u, v = top_pair(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
    >>> u.abs().tolist(), round(float(u @ torch.tensor([[3.0, 0.0], [0.0, -4.0]]) @ v), 6)
    ([0.0, 1.0], 4.0)
    """
    if matrix.shape[0] > matrix.shape[1]:
        right, left = top_pair(matrix.mT)
        return left, right
    exact = matrix.to(torch.float64)
    # Squares neither overflow nor vanish where the largest number is 1; vectors do not depend on the scale.
    exact = exact / exact.detach().abs().amax().clamp_min(torch.finfo(torch.float64).tiny)
    gram = exact @ exact.mT
    values, vectors = torch.linalg.eigh(gram.detach())
    u = vectors[:, -1]
    gaps = values[-1] - values
    apart = gaps > len(values) * torch.finfo(torch.float64).eps * values[-1]
    inverse = torch.where(apart, 1 / torch.where(apart, gaps, 1.0), 0.0)
    change = gram @ u - gram.detach() @ u  # zero, but for its derivative
    u = u + vectors @ (inverse * (vectors.mT @ change))
    u = u / u.norm()
    v = exact.mT @ u
    v = v / v.norm().clamp_min(torch.finfo(torch.float64).tiny)
    return u.to(matrix.dtype), v.to(matrix.dtype)


def is_spectral(net: nn.Module) -> bool:
    """Whether anywhere in a module a weight is under spectral norm, by parametrization or by hook.

    >>> is_spectral(nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))), is_spectral(nn.ReLU())
    (True, False)
    """
    return next(_norms(net), None) is not None


def vector_names(net: nn.Module) -> frozenset[str]:
    """Every name of every buffer that holds a singular vector."""
    owned = {id(step._u) for step in net.modules() if _iterates(step)}
    owned |= {id(step._v) for step in net.modules() if _iterates(step)}
    for module in net.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                owned |= {id(vector) for vector in _buffers_of(hook, module)}
    return frozenset(name for name, buffer in net.named_buffers(remove_duplicate=False) if id(buffer) in owned)


def hold_still(net: nn.Module) -> None:
    """Keep a module's passes from iterating: its vectors stay as given, in training too."""
    for norm in _norms(net):
        norm.n_power_iterations = 0


def singular_vectors(net: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers of all spectral norms, by every name that the module has for them.

    Args:
        net: the module, for its structure alone.
        tensors: its parameters and buffers at θ, by name.
    """
    vectors: dict[int, Tensor] = {}
    for path, module in net.named_modules():
        if isinstance(module, ParametrizationList):
            vectors |= _of_parametrization(path, module, tensors)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                weight = tensors[_join(path, f"{hook.name}_orig")]
                left, right = _buffers_of(hook, module)
                u, v = top_pair(hook.reshape_weight_to_matrix(weight))
                vectors |= {id(left): u, id(right): v}
    return {
        name: vectors[id(buffer)] for name, buffer in net.named_buffers(remove_duplicate=False) if id(buffer) in vectors
    }


def _of_parametrization(path: str, chain: ParametrizationList, tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """The vectors in a chain of parametrizations, each for the weight as it arrives there."""
    if not any(_iterates(step) for step in chain):
        return {}
    vectors: dict[int, Tensor] = {}
    originals = ["original"] if chain.is_tensor else [f"original{i}" for i in range(chain.ntensors)]
    args = tuple(tensors[_join(path, name)] for name in originals)
    for i, step in enumerate(chain):
        prefix = _join(path, f"{i}.")
        held = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if _iterates(step):
            u, v = top_pair(step._reshape_weight_to_matrix(args[0]))
            vectors |= {id(step._u): u, id(step._v): v}
            held |= {"_u": u, "_v": v}
        args = (functional_call(step, held, args),)
    return vectors


def _norms(net: nn.Module) -> Iterator[_SpectralNorm | SpectralNorm]:
    for module in net.modules():
        if _iterates(module):
            yield module
        yield from (hook for hook in module._forward_pre_hooks.values() if isinstance(hook, SpectralNorm))


def _buffers_of(hook: SpectralNorm, module: nn.Module) -> Pair:
    return getattr(module, f"{hook.name}_u"), getattr(module, f"{hook.name}_v")


def _iterates(module: nn.Module) -> TypeGuard[_SpectralNorm]:
    """Whether this spectral norm has vectors; that of a single vector divides by its length."""
    return isinstance(module, _SpectralNorm) and hasattr(module, "_u")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
