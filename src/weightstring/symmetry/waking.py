"""Inputs and models that activate units which are idle on the data, and a module's arithmetic in float64.

As far as the examples can tell, a ReLU that is 0 on all of them may be exchanged with any other. On inputs of other
sizes, other signs and other tokens, and at other parameters, it is not 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from weightstring.arrays import Theta, blocks
from weightstring.problem import Modular
from weightstring.problem.batchwise.calls import OneCall
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import AnySet, DataSet, Examples, sample
from weightstring.problem.functional import Functional, OfTheta
from weightstring.randomness import generator
from weightstring.symmetry.outputs import as_built

EXAMPLES = 32
"""Examples of each kind."""

TOKENS = 4096
"""Numbers of an input of integers, at most, that are spent on showing every value once."""


def precise(computation: Computation) -> Computation:
    """The same computation in float64 on the CPU, for θ and examples in float64 there."""

    def held(function: OfTheta) -> Functional:
        functional = function.functional
        constants = {name: _double(tensor) for name, tensor in functional.constants.items()}
        return replace(functional, layout=functional.layout.unrounded, constants=constants)

    calibrating = computation.calibrating
    return replace(
        computation,
        evaluating=held(computation.evaluating),
        calibrating=None if calibrating is None else held(calibrating),
        statistics={name: _double(tensor) for name, tensor in computation.statistics.items()},
    )


def doubled(data: AnySet) -> AnySet:
    """Data with floating numbers as float64, on the CPU."""
    return data.to(torch.device("cpu"), torch.float64)


def coarsest(computation: Computation, theta: Theta, examples: DataSet) -> torch.dtype:
    """The coarsest floating dtype in which a module computes anything: some always do a part in float32."""
    watch = _Dtypes()
    with torch.no_grad(), watch:
        computation.evaluating(theta, examples, computation.estimate(theta, examples))
    return max(watch.seen, key=lambda dtype: torch.finfo(dtype).eps, default=theta.dtype)


def woken(problem: Modular) -> Iterator[tuple[str, Examples]]:
    """Inputs like the evaluation set's and unlike them, in float64, each kind with a description.

    The module is looked at now; the inputs are made one kind after the other.
    """
    base = doubled(sample(problem.observed(), EXAMPLES))
    integers = any(not leaf.is_floating_point() for leaf in base.leaves)
    return _woken(problem, base, _tables(problem) if integers else None)


def _woken(problem: Modular, base: Examples, tables: Mapping[int, int] | None) -> Iterator[tuple[str, Examples]]:
    yield "of the evaluation set", base
    if any(leaf.is_floating_point() for leaf in base.leaves):
        for factor in (-1.0, 10.0, 1e3):
            yield f"of the evaluation set times {factor:g}", _each(base, lambda x, factor=factor: factor * x)
        yield "of the evaluation set, shifted", _each(base, lambda x: x + 3 * _size(x))
        for factor in (1.0, 30.0, 1e4):
            yield f"of noise {factor:g} times as large", _each(base, lambda x, factor=factor: factor * _noise(x))
    if tables is not None:
        yield "of all values of the integers", _all_values(problem, base, tables)


def other_models(problem: Modular, theta: Theta) -> Iterator[tuple[str, Callable[[], Theta]]]:
    """Other models in float64, made when asked for: drawn anew at each parameter's scale, and θ disturbed."""

    def drawn(words: str, share: float) -> Theta:
        other, draw = precisely(theta), generator(0, words)
        for entry in problem.layout.entries:
            values = other[entry.offset : entry.offset + entry.size]
            size = (values.norm() / max(1, entry.size) ** 0.5).clamp(min=0.1)
            for part in blocks(entry.size):
                noise = torch.randn(part.stop - part.start, generator=draw, dtype=torch.float64)
                values[part].mul_(share).add_(noise.mul_((0.5 if share else 1.0) * size))
        return other

    for words, share in (("at random parameters", 0.0), ("at disturbed parameters", 1.0)):
        yield words, partial(drawn, words, share)


def precisely(theta: Theta) -> Theta:
    """A copy of θ (P,) in float64, on the CPU."""
    return theta.to("cpu", torch.float64, copy=True)


def _double(tensor: Tensor) -> Tensor:
    numbers = tensor.detach().cpu()
    if numbers.is_complex():
        return numbers.to(torch.complex128)
    return numbers.to(torch.float64) if numbers.is_floating_point() else numbers


def _size(x: Tensor) -> Tensor:
    return x.square().mean().sqrt().clamp(min=1e-3)


def _noise(x: Tensor) -> Tensor:
    return _size(x) * torch.randn(x.shape, generator=generator(0, "waking noise"), dtype=x.dtype)


def _each(examples: Examples, function: Any) -> Examples:
    """Examples with a function of each floating input; integers stay."""
    leaves = tuple(function(leaf) if leaf.is_floating_point() else leaf for leaf in examples.leaves)
    return examples.with_leaves(leaves)


def _all_values(problem: Modular, base: Examples, rows: Mapping[int, int]) -> Examples:
    """Examples with every integer that occurs in the data, and every row of the tables that they index.

    The tensors of a single call keep their shapes, and hold what there is room for.
    """
    call = isinstance(base, OneCall)
    draw = generator(0, "waking tokens")
    leaves = list(base.leaves)
    spans: dict[int, tuple[int, int]] = {}
    count = EXAMPLES
    for index, leaf in enumerate(leaves):
        if leaf.is_floating_point() or leaf.is_complex() or not leaf.numel():
            continue
        whole = problem.observed().leaves[index]
        low, high = int(whole.min()), int(whole.max())
        if index in rows and low >= 0:
            low, high = 0, max(high, rows[index] - 1)
        spans[index] = low, high
        wanted = min(high - low + 1, TOKENS)
        count = max(count, -(-wanted // max(leaf[0].numel(), 1)))
    for index, leaf in enumerate(leaves):
        shape = leaf.shape if call else (count, *leaf.shape[1:])
        if index not in spans:
            leaves[index] = leaf if call else leaf[torch.arange(count) % len(leaf)]
            continue
        low, high = spans[index]
        values = torch.randint(low, high + 1, shape, generator=draw)
        every = torch.arange(low, high + 1)[: values.numel()]
        values.view(-1)[: len(every)] = every
        leaves[index] = values.to(leaf.dtype)
    if call:
        return base.with_leaves(leaves)
    return Examples(tuple(leaves), base.targets[torch.arange(count) % len(base)], base.keys)


def _tables(problem: Modular) -> dict[int, int]:
    """The number of rows of the table that each integer input indexes directly, by the input's position."""
    examples = problem.observed().take(slice(2))
    watch = _Lookups()
    with torch.no_grad(), as_built(problem) as theta:
        statistics = problem.statistics(theta)
        with watch:
            problem.computation.evaluating(theta, examples, statistics)
    places = {leaf.data_ptr(): index for index, leaf in enumerate(examples.leaves)}
    return {places[pointer]: rows for pointer, rows in watch.rows.items() if pointer in places}


class _Lookups(TorchFunctionMode):
    """Notes which tensors index which tables."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (F.embedding, F.embedding_bag) and len(args) > 1:
            pointer, rows = args[0].data_ptr(), len(args[1])
            self.rows[pointer] = min(rows, self.rows.get(pointer, rows))
        return func(*args, **(kwargs or {}))


class _Dtypes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the floating dtypes of all results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        values = (value for value in tree_leaves(result) if isinstance(value, Tensor))
        self.seen |= {value.dtype for value in values if value.is_floating_point() and value.ndim}
        return result
