"""A module and what is measured of its output as operations, by a trace of its own."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Interpreter, Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from weightstring.problem.capabilities import Recalibration
from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify.marks import name_of, shape_of
from weightstring.proof.verify.operations import NotVerifiable, array

EXAMPLES, MORE = 7, 12
"""With how many a module is traced, and again."""


class Whole(nn.Module):
    """A module and what is measured of its output."""

    def __init__(self, net: nn.Module, criterion: Callable[..., Any], keys: tuple[str, ...] | None) -> None:
        super().__init__()
        self.net, self.criterion, self.keys = net, criterion, keys

    def forward(self, targets: Tensor, *leaves: Tensor) -> Any:
        """The criterion's value."""
        if self.keys is None:
            return self.criterion(self.net(*leaves), targets)
        return self.criterion(self.net(**dict(zip(self.keys, leaves, strict=True))), targets)


class _Likelihoods(TorchFunctionMode):
    """Writes Gaussian likelihoods out: torch's function looks whether a variance is negative, and then gives none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch calls it."""
        kwargs = kwargs or {}
        return (_likelihood if func is torch.nn.functional.gaussian_nll_loss else func)(*args, **kwargs)


def _likelihood(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    if isinstance(var, Tensor):
        kept = torch.clamp_min(var.unsqueeze(-1) if input.dim() == var.dim() + 1 else var, eps)
        each = torch.square(input - target) / kept + torch.log(kept)
    else:
        each = torch.square(input - target) / max(var, eps) + math.log(max(var, eps))
    each = each / 2 + (math.log(2 * math.pi) / 2 if full else 0.0)
    if reduction == "none":
        return each
    return each.mean() if reduction == "mean" else each.sum()


def exported(whole: Whole, examples: Examples, size: int) -> ExportedProgram:
    """The operations for ``size`` examples, whose numbers do not matter, with nothing written in place."""
    inputs = [
        torch.empty(size, *x.shape[1:], dtype=x.dtype, device=x.device) for x in (examples.targets, *examples.leaves)
    ]
    with _Likelihoods(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")  # of an LSTM
        program = torch.export.export(whole, tuple(inputs), strict=False)
    schemas = (getattr(node.target, "_schema", None) for node in calls_of(program))
    if any(schema is not None and schema.is_mutable for schema in schemas):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # which torch gives itself
            program = program.run_decompositions({})
    if any(spec.kind != OutputKind.USER_OUTPUT for spec in program.graph_signature.output_specs):
        raise NotVerifiable("the module or the loss writes to its inputs or buffers")
    # Nothing is written to: what no operation reads is torch's own check, or another quantity of a loss of several.
    program.graph.eliminate_dead_code(lambda node: node.op != "call_function")
    return program


def followed(program: ExportedProgram, held: Mapping[str, Tensor], given: list[Tensor]) -> Tensor:
    """What the traced operations return in torch's own arithmetic."""
    signature, data = program.graph_signature, iter(given)
    values = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            full = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.get(node.name)
            lifted = signature.inputs_to_lifted_tensor_constants.get(node.name)
            values.append(program.constants[lifted] if lifted else next(data) if full is None else held[full])
    value: Tensor = Interpreter(program.graph_module).run(*values)[-1]
    return value


def statistics_of(recalibration: Recalibration, parameters: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Any]:
    """Running statistics at parameters as torch's own BatchNorm averages them, by their names in :class:`Whole`."""
    net = copy.deepcopy(recalibration.inputs.module).to(dtype).eval()
    layers = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    state = {name: value.clone() for name, value in net.named_buffers(remove_duplicate=False)}
    for part in recalibration.examples.chunks(recalibration.chunk):
        leaves = tuple(x.to(dtype) if x.is_floating_point() else x for x in part.leaves)
        named = None if part.keys is None else dict(zip(part.keys, leaves, strict=True))
        with torch.no_grad():
            torch.func.functional_call(net, {**parameters, **state}, () if named else leaves, named)
    return {f"net.{name}": value for name, value in state.items() if name in recalibration.names}


def calls_of(program: ExportedProgram) -> list[Node]:
    """The operations, in order."""
    return [node for node in program.graph.nodes if node.op == "call_function"]


def grown_of(few: list[Node], more: list[Node]) -> dict[str, tuple[int, int]]:
    """The axis along which a result grows with the number of examples, and how much each has of it."""
    found = {}
    for one, two in zip(few, more, strict=False):
        lengths = enumerate(zip(shape_of(one), shape_of(two), strict=False))
        axes = [(axis, n // EXAMPLES) for axis, (n, m) in lengths if n != m]
        if len(axes) == 1 and (shape_of(one)[axes[0][0]], shape_of(two)[axes[0][0]]) == (
            EXAMPLES * axes[0][1], MORE * axes[0][1]
        ):  # fmt: skip
            found[one.name] = axes[0]
    return found


def each_of(node: Node, grown: Mapping[str, tuple[int, int]]) -> int:
    """How many numbers a result has for each example."""
    return math.prod(shape_of(node)) // EXAMPLES if node.name in grown else 1


def same(one: Node, two: Node, size: int, grown: Mapping[str, tuple[int, int]]) -> bool:
    """Whether two calls are the same but for an axis of their results, which is as long as there are examples."""
    first, second = list(shape_of(one)), list(shape_of(two))
    if one.name in grown and len(first) == len(second):
        axis, each = grown[one.name]
        if (first[axis], second[axis]) == (EXAMPLES * each, size * each):
            del first[axis], second[axis]
    return _text(one) == _text(two) and first == second


def same_constants(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether the numbers that were lifted from two traces are the same."""
    return one.keys() == two.keys() and all(np.array_equal(array(one[name]), array(two[name])) for name in one)


RESIZING = {"view.default", "reshape.default", "_unsafe_view.default", "expand.default", "broadcast_to.default"}


def _text(node: Node) -> str:
    """A call in words; what a view is told is left out, as its result's shape says it all."""
    args = [node.args[0]] if name_of(node) in RESIZING else node.args
    return f"{node.name} {name_of(node)} {list(args)} {node.kwargs}"
