"""What a call must leave as it found it: the state of torch, Python and numpy, and the user's own objects."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from .plain import leaves


def ambient() -> dict[str, Any]:
    """Everything global that changes what a later line of the user's program computes."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "autocast": (
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.is_autocast_cache_enabled(),
        ),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "anomaly mode": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "torch's generator": torch.get_rng_state().tolist(),
        "Python's generator": random.getstate(),
        "numpy's generator": [str(part) for part in numpy.random.get_state()],
    }


def held(net: nn.Module) -> dict[str, Any]:
    """A module's tensors, by bits, with their owners' modes and hooks."""
    return {
        "tensors": {name: bits(tensor) for name, tensor in named_tensors(net)},
        "identities": {name: id(tensor) for name, tensor in named_tensors(net)},
        "trainable": {name: tensor.requires_grad for name, tensor in named_tensors(net)},
        "gradients": [parameter.grad for parameter in net.parameters() if parameter.grad is not None],
        "modes": [module.training for module in net.modules()],
        "hooks": [
            sum(len(table) for name, table in vars(module).items() if name.endswith("_hooks"))
            for module in net.modules()
        ],
    }


def named_tensors(net: nn.Module) -> list[tuple[str, Tensor]]:
    return [*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False)]


def contents(value: Any) -> list[Any]:
    return [bits(leaf) for leaf in leaves(value)]


def bits(tensor: Tensor) -> Any:
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return "not there yet"
    dense = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
    return (tensor.dtype, tuple(tensor.shape), dense.contiguous().view(-1).resolve_conj().numpy().tobytes())
