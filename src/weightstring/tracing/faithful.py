"""Whether what was traced of a module is what the module computes.

A module can ask whether it is being traced (``torch.compiler.is_compiling()``) and then do something else. So what was
traced is run beside the module itself, at its own parameters and at others, before anything is concluded from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind
from torch.func import functional_call
from torch.fx import Interpreter
from torch.utils._pytree import tree_leaves

from weightstring.errors import Unsupported
from weightstring.problem.tensors import named_tensors, slot_names
from weightstring.randomness import generator
from weightstring.tracing.steps import Trace, name_of

AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""How far outputs of the same operations may differ, relative in norm: kernels are chosen and fused in other ways."""

DISTURBANCE = 0.5
"""Of the other parameters: noise of this size relative to their root mean square."""


def check_faithful(trace: Trace, module: nn.Module, leaves: Sequence[Tensor], subject: str) -> None:
    """Refuse a trace whose outputs are not those of the module.

    Both are run on the same inputs, at the module's own parameters and at disturbed ones, where a branch that is
    multiplied by zeros shows too.

    Args:
        trace: of the module.
        module: what was traced.
        leaves: its positional arguments.
        subject: the first word of the message.

    Raises:
        Unsupported: outputs differ, or are of another number or shape.

    >>> doubled = torch.nn.Linear(2, 1, bias=False)
    >>> x = torch.ones(3, 2)
    >>> check_faithful(Trace.of(torch.export.export(doubled, (x,))), doubled, [x], "proof")
    """
    places = slot_names(module)
    name = name_of(module)
    for tensors in (named_tensors(module), disturbed(module)):
        held = {place: tensor for place, tensor in tensors.items() if place in places}
        with torch.no_grad():
            traced = run(trace, tensors, leaves)
            computed = functional_call(module, held, tuple(leaves), tie_weights=False, strict=False)
        each = [value for value in tree_leaves(computed) if isinstance(value, Tensor)]
        apart = [
            torch.inf if one.shape != other.shape else distance(one, other)
            for one, other in zip(traced, each, strict=False)
        ]
        furthest = max(apart, default=0.0) if len(traced) == len(each) else torch.inf
        allowed = max((AGREEMENT.get(value.dtype, 0.0) for value in each), default=0.0)
        if not furthest <= allowed:
            raise Unsupported(
                f"{subject}: what torch traces of {name} is not what {name} computes: outputs on {len(leaves[0])} "
                f"inputs differ by {furthest:.3g} of their norm. It does something else while it is traced "
                "(torch.compiler.is_compiling(), is_exporting()): remove that branch"
            )


def run(trace: Trace, tensors: Mapping[str, Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that a traced module returns.

    Args:
        trace: of the module.
        tensors: its parameters and buffers by name.
        leaves: the module's positional arguments.
    """
    returned = Interpreter(trace.exported.graph_module).run(*trace.arguments(tensors, leaves))
    kinds = (spec.kind for spec in trace.exported.graph_signature.output_specs)
    outputs = zip(tree_leaves(returned), kinds, strict=True)
    return [value for value, kind in outputs if kind == OutputKind.USER_OUTPUT and isinstance(value, Tensor)]


def disturbed(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by name, the trainable parameters with noise; ties stay."""
    tensors: dict[str, Tensor] = {}
    noisy: dict[int, Tensor] = {}
    for name, tensor in named_tensors(module).items():
        if isinstance(tensor, nn.Parameter) and tensor.requires_grad and id(tensor) not in noisy:
            size = tensor.detach().square().mean().sqrt().clamp(min=0.1)
            draw = torch.randn(tensor.shape, generator=generator(0, "disturbed", name), dtype=torch.float64)
            noisy[id(tensor)] = tensor.detach() + (DISTURBANCE * size * draw.to(tensor.device)).to(tensor.dtype)
        tensors[name] = noisy.get(id(tensor), tensor)
    return tensors


def distance(one: Tensor, other: Tensor) -> float:
    """‖x − y‖ / ‖y‖ of the finite numbers; ∞ where infinite or undefined ones are at other places.

    >>> distance(torch.tensor([3.0, torch.nan]), torch.tensor([3.0, torch.nan]))
    0.0
    """
    x, y = (tensor.to(torch.complex128 if tensor.is_complex() else torch.float64) for tensor in (one, other))
    finite = x.isfinite() & y.isfinite()
    odd = ~finite
    if not bool((x[odd] == y[odd]).logical_or(x[odd].isnan() & y[odd].isnan()).all()):
        return torch.inf
    apart, size = float((x - y)[finite].norm()), float(y[finite].norm())
    return apart / size if size else (torch.inf if apart else 0.0)
