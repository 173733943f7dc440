"""One convolutional model after the other, its channels last in memory, where convolutions and pooling run along them.

PyTorch computes a convolution in the memory format of its weights, and all that follows in that of its inputs: a copy
of the module whose weights lie so computes the same function, by other kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import nn

from weightstring.errors import InvalidModel
from weightstring.problem.copying import announces, copied
from weightstring.problem.engines.base import ENGINES, Workload
from weightstring.problem.engines.loop import Loop
from weightstring.problem.functional import Computation
from weightstring.problem.live import Live

PLANAR = (nn.Conv2d, nn.ConvTranspose2d)
_rearranged: WeakKeyDictionary[Computation, Computation] = WeakKeyDictionary()
"""The copy of each computation: several data sets of a problem share one."""


@ENGINES.register("channels-last")
@dataclass(frozen=True, eq=False)
class ChannelsLast(Loop):
    """The loop, by a copy of the module in the memory format ``torch.channels_last``.

    Raises:
        InvalidModel: nothing in the module is a convolution over a plane, or ``torch.compile`` lays out its tensors.
    """

    gain = 1.1

    def __post_init__(self) -> None:
        super().__post_init__()
        computation = self.work.computation
        if computation not in _rearranged:
            _rearranged[computation] = rearranged(computation)
        object.__setattr__(self, "work", replace(self.work, computation=_rearranged[computation]))

    def __reduce__(self) -> tuple[type[Loop], tuple[Workload]]:
        return Loop, (self.work,)  # whose module is already that copy


def rearranged(computation: Computation) -> Computation:
    """The same computation by a copy of its module, whose trainable convolutions have their channels last in memory.

    Raises:
        InvalidModel: see :class:`ChannelsLast`.
    """
    functions = {
        name: function.functional
        for name in ("evaluating", "training", "calibrating")
        if (function := getattr(computation, name)) is not None
    }
    modules = nn.ModuleList(functional.module for functional in functions.values())
    if not any(isinstance(module, PLANAR) for module in modules.modules()):
        raise InvalidModel("engine='channels-last' is for modules with Conv2d or ConvTranspose2d: pass engine='auto'")
    if any(functional.compiled for functional in functions.values()):
        raise InvalidModel("engine='channels-last' leaves a module as it is that torch.compile lays out: use 'loop'")
    constants = [] if announces(modules) else computation.evaluating.constants.values()
    twins = copied(modules, {id(tensor): tensor for tensor in constants})
    for parameter in twins.parameters():
        if parameter.requires_grad and parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    lives = {
        name: Live(replace(functional, module=twin))
        for (name, functional), twin in zip(functions.items(), twins.children(), strict=True)
    }
    return replace(computation, **lives)
