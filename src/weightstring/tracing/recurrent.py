"""Recurrent layers as the operations that they repeat: one step of the sequence after another.

A state h is (n, H) throughout, the examples first, wherever the layer's own arguments have them. See Hochreiter &
Schmidhuber 1997 for the LSTM, Cho et al. 2014 for the GRU, as torch has their equations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State, Sequence[Tensor]], State]
"""What a step makes of an input (n, d), the state and the layer's weights: a state, whose first part is the output."""


def _plain(activation: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
        return (activation(_sum(x, state[0], weights)),)

    return cell


def _sum(x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
    inner, outer, *biases = weights
    first, second = biases[:2] if len(biases) > 1 else (None, None)
    return linear(x, inner, first) + linear(h, outer, second)


def _lstm(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    i, f, g, o = _sum(x, state[0], weights).chunk(4, 1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    projected = linear(h, weights[-1]) if len(weights) in (3, 5) else h
    return projected, c


def _gru(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    inner, outer, *biases = weights
    first, second = biases or (None, None)
    r, z, n = linear(x, inner, first).chunk(3, 1)
    own_r, own_z, own_n = linear(state[0], outer, second).chunk(3, 1)
    r, z = (r + own_r).sigmoid(), (z + own_z).sigmoid()
    n = (n + r * own_n).tanh()
    return (n + z * (state[0] - n),)


def _run(
    cell: Cell, x: Tensor, initial: Sequence[Tensor], params: Sequence[Tensor], settings: Sequence[Any]
) -> tuple[Tensor, ...]:
    """Layer after layer: the outputs, and the last states of all."""
    _, layers, dropout, training, both, first = settings
    if dropout and training:
        raise NotImplementedError("it draws at random")
    axis = 1 if first else 0
    ways = 2 if both else 1
    each = len(params) // (layers * ways)
    inputs = [x.select(axis, t) for t in range(x.shape[axis])]
    lasts: list[State] = []
    for layer in range(layers):
        outputs = []
        for way in range(ways):
            index = layer * ways + way
            state: State = tuple(part.select(0, index) for part in initial)
            found = []
            for part in reversed(inputs) if way else inputs:
                state = cell(part, state, params[index * each : (index + 1) * each])
                found.append(state[0])
            outputs.append(found[::-1] if way else found)
            lasts.append(state)
        inputs = [torch.cat(parts, 1) if both else parts[0] for parts in zip(*outputs, strict=True)]
    return (torch.stack(inputs, axis), *(torch.stack(column) for column in zip(*lasts, strict=True)))


def _of_one(cell: Cell) -> Callable[..., tuple[Tensor, ...]]:
    def layer(x: Tensor, initial: Tensor, params: Sequence[Tensor], *settings: Any) -> tuple[Tensor, ...]:
        return _run(cell, x, [initial], params, settings)

    return layer


def _of_two(x: Tensor, initial: Sequence[Tensor], params: Sequence[Tensor], *settings: Any) -> tuple[Tensor, ...]:
    return _run(_lstm, x, initial, params, settings)


UNROLLED: Mapping[Any, Callable[..., tuple[Tensor, ...]]] = {
    torch.ops.aten.lstm.input: _of_two,
    torch.ops.aten.gru.input: _of_one(_gru),
    torch.ops.aten.rnn_tanh.input: _of_one(_plain(torch.tanh)),
    torch.ops.aten.rnn_relu.input: _of_one(_plain(torch.relu)),
}
"""Operators, and the same in operations that have rules."""
