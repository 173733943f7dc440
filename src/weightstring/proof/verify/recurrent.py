"""Recurrent layers, step after step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weightstring.proof.verify.activations import sigmoid, tanh
from weightstring.proof.verify.curves import Curve, add, multiply, relu, scale, shift
from weightstring.proof.verify.layers import affine
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, curve_of

State = tuple[Curve, ...]
Step = Callable[[Curve, State], State]


def _cut(x: Curve, parts: int) -> list[Curve]:
    columns = (np.split(part, parts, -1) for part in x.parts)
    return [Curve.of(each, x.norm) for each in zip(*columns, strict=True)]


def _lstm(at: At, weights: Sequence[Any]) -> Step:
    def step(x: Curve, state: State) -> State:
        h, c = state
        both = add(affine(x, weights[0], *weights[2:3]), affine(h, weights[1], *weights[3:4]))
        i, f, g, o = _cut(both, 4)
        c = add(multiply(sigmoid(at, f), c), multiply(sigmoid(at, i), tanh(at, g)))
        return multiply(sigmoid(at, o), tanh(at, c)), c

    return step


def _gru(at: At, weights: Sequence[Any]) -> Step:
    def step(x: Curve, state: State) -> State:
        (h,) = state
        r_x, z_x, n_x = _cut(affine(x, weights[0], *weights[2:3]), 3)
        r_h, z_h, n_h = _cut(affine(h, weights[1], *weights[3:4]), 3)
        z = sigmoid(at, add(z_x, z_h))
        n = tanh(at, add(n_x, multiply(sigmoid(at, add(r_x, r_h)), n_h)))
        return (add(multiply(shift(scale(z, -1.0), 1.0), n), multiply(z, h)),)

    return step


def _plain(function: Callable[[At, Any], Curve]) -> Callable[[At, Sequence[Any]], Step]:
    def steps(at: At, weights: Sequence[Any]) -> Step:
        def step(x: Curve, state: State) -> State:
            both = add(affine(x, weights[0], *weights[2:3]), affine(state[0], weights[1], *weights[3:4]))
            return (function(at, both),)

        return step

    return steps


def _run(x: Curve, start: State, step: Step, backwards: bool) -> tuple[Curve, State]:
    """Outputs (T, N, H), and the last state."""
    order = range(len(x.value))
    state, found = start, {}
    for t in reversed(order) if backwards else order:
        state = step(_at(x, t), state)
        found[t] = state[0]
    return _joined([found[t] for t in order], np.stack), state


def _joined(curves: Sequence[Curve], join: Callable[..., Any], axis: int = 0) -> Curve:
    return Curve.of(join(column, axis) for column in zip(*(curve.parts for curve in curves), strict=True))


def _at(x: Any, place: int) -> Curve:
    return curve_of(x).moved(lambda v: v[place])


def _layers(
    at: At, x: Any, start: Sequence[Any], weights: Sequence[Any], settings: Sequence[Any],
    steps: Callable[[At, Sequence[Any]], Step],
) -> list[Curve]:  # fmt: skip
    biased, layers, share, training, both_ways, first = settings
    if share and training:
        raise NotVerifiable("it draws at random")
    z = curve_of(x)
    if z.value.ndim != 3:
        raise NotVerifiable("its input is not (steps, examples, features)")
    z = z.moved(lambda v: v.swapaxes(0, 1)) if first else z
    ways, many = 1 + bool(both_ways), 2 + 2 * bool(biased)
    if len(weights) != layers * ways * many:
        raise NotVerifiable("it projects its outputs")
    ended: list[State] = []
    for layer in range(layers):
        outputs = []
        for way in range(ways):
            at_place = layer * ways + way
            own = weights[at_place * many : (at_place + 1) * many]
            state = tuple(_at(part, at_place) for part in start)
            output, state = _run(z, state, steps(at, own), bool(way))
            outputs.append(output)
            ended.append(state)
        z = _joined(outputs, np.concatenate, -1)
    last = [_joined([state[k] for state in ended], np.stack) for k in range(len(start))]
    return [z.moved(lambda v: v.swapaxes(0, 1)) if first else z, *last]


@OPERATIONS.register("lstm.input")
def lstm(at: At, x: Any, start: Sequence[Any], weights: Sequence[Any], *settings: Any) -> list[Curve]:
    """Input, forget, cell and output gates."""
    return _layers(at, x, start, weights, settings, _lstm)


@OPERATIONS.register("gru.input")
def gru(at: At, x: Any, start: Any, weights: Sequence[Any], *settings: Any) -> list[Curve]:
    """Reset, update and new gates."""
    return _layers(at, x, [start], weights, settings, _gru)


@OPERATIONS.register("rnn_tanh.input")
def rnn_tanh(at: At, x: Any, start: Any, weights: Sequence[Any], *settings: Any) -> list[Curve]:
    """Tanh of both layers' sum."""
    return _layers(at, x, [start], weights, settings, _plain(tanh))


@OPERATIONS.register("rnn_relu.input")
def rnn_relu(at: At, x: Any, start: Any, weights: Sequence[Any], *settings: Any) -> list[Curve]:
    """ReLU of it."""
    return _layers(at, x, [start], weights, settings, _plain(lambda at, z: relu(z)))
