"""A computation by a copy of its module whose convolutions have their channels last in memory.

PyTorch computes a convolution in the memory format of its weights, and all that follows in that of its inputs: such a
copy computes the same function by other kernels, of which those of pooling are several times as fast on a CPU.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import nn

from weightstring.errors import InvalidModel
from weightstring.problem.computation import Computation
from weightstring.problem.copying import announces, copied
from weightstring.problem.live import Live, with_functions

PLANAR = (nn.Conv2d, nn.ConvTranspose2d)
FEWEST = 8
"""Channels that a 1×1 convolution with a stride must read."""

_rearranged: WeakKeyDictionary[Computation, Computation] = WeakKeyDictionary()
"""The copy of each computation: several data sets of a problem share one."""


def channels_last(computation: Computation) -> Computation:
    """The same computation, made once; weights that are not trained stay where they lie.

    Raises:
        InvalidModel: nothing in the module is a convolution over a plane, one of them crashes in that format, or
            ``torch.compile`` lays out its tensors.
    """
    if computation not in _rearranged:
        _rearranged[computation] = _made(computation)
    return _rearranged[computation]


def _crashes(module: nn.Module) -> bool:
    """Whether PyTorch 2.13 would write outside of its memory: as on shortcuts of narrow residual networks."""
    if not isinstance(module, nn.Conv2d) or set(module.kernel_size) != {1}:
        return False
    return max(module.stride) > 1 and module.in_channels // module.groups < FEWEST


def _made(computation: Computation) -> Computation:
    functions = [computation.evaluating, computation.training]
    functions += [] if computation.calibrating is None else [computation.calibrating]
    modules = nn.ModuleList(function.module for function in functions)
    if not any(isinstance(module, PLANAR) for module in modules.modules()):
        raise InvalidModel("engine='channels-last' is for modules with Conv2d or ConvTranspose2d: pass engine='auto'")
    if any(map(_crashes, modules.modules())):
        raise InvalidModel(
            f"engine='channels-last': the backward pass of a 1×1 convolution with a stride, of fewer than {FEWEST} "
            "channels, crashes PyTorch in that format: use 'loop'"
        )
    if any(function.functional.compiled for function in functions):
        raise InvalidModel("engine='channels-last' leaves a module as it is that torch.compile lays out: use 'loop'")
    constants = [] if announces(modules) else computation.evaluating.constants.values()
    twins = copied(modules, {id(tensor): tensor for tensor in constants})
    for parameter in twins.parameters():
        if parameter.requires_grad and parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    twin_of = dict(zip(map(id, functions), twins.children(), strict=True))
    return with_functions(
        computation, lambda function: Live(replace(function.functional, module=twin_of[id(function)]))
    )
