"""LSTM, GRU and plain recurrent layers: one group of units for all gates of a layer and direction."""

from __future__ import annotations

from weightstring.errors import Unsupported
from weightstring.symmetry.axes import Axis, Label
from weightstring.symmetry.rules.base import REMEDY, RULES, Call, Labels, labels_in

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@RULES.register(*GATES)
def recurrent(call: Call) -> Labels:
    """Weights (gates · H, inputs) and (gates · H, H); states (layers · directions, batch, H)."""
    if "data" in call.given:
        raise Unsupported(f"symmetry: {call.where} takes packed sequences, for which there is no rule: {REMEDY}")
    x = call.label("input")
    weights = labels_in(call["params"])
    directions = 2 if call["bidirectional"] else 1
    each = 4 if call["has_biases"] else 2
    if len(weights) != each * call["num_layers"] * directions:
        raise Unsupported(
            f"symmetry: {call.where} projects its state (proj_size), for which there is no rule: {REMEDY}"
        )
    inputs, units = x.axes[-1], []
    for first in range(0, len(weights), each * directions):
        outputs = [
            _one_direction(call, inputs, weights[start : start + each], call.op)
            for start in range(first, first + each * directions, each)
        ]
        units += outputs
        inputs = call.ties.joined(outputs)
    time = x.axes[0] if len(x) == 2 or not call["batch_first"] else x.axes[1]
    call.freeze(time)
    call.unscaled(*x.axes[:-1])
    batch = x.axes[:-1] if len(x) == 2 else x.axes[0 if call["batch_first"] else 1 : 1 if call["batch_first"] else 2]
    which, state = call.ties.family(units)
    which = which or call.ties.fixed(len(units))
    for given in labels_in(call["hx"]):
        call.ties.same(given.axes[0], which)
        call.ties.same(given.axes[-1], state)
    last = Label((which, *(batch if len(x) == 3 else ()), state))
    return (x.replace(-1, inputs), *(last for _ in call.result[1:]))


@RULES.register(*(f"{name}_cell" for name in GATES))
def step(call: Call) -> Labels:
    """One step of a recurrent layer: LSTMCell and its like."""
    x = call.label("input")
    weights = [call.label("w_ih"), call.label("w_hh")]
    weights += [call[name] for name in ("b_ih", "b_hh") if isinstance(call[name], Label)]
    units = _one_direction(call, x.axes[-1], weights, call.op.removesuffix("_cell"))
    call.unscaled(*x.axes[:-1])
    for state in labels_in(call["hx"]):
        call.ties.same(state.axes[-1], units)
    label = x.replace(-1, units)
    return tuple(label for _ in call.result) if isinstance(call.result, tuple | list) else label


def _one_direction(call: Call, inputs: Axis, weights: list[Label], kind: str) -> Axis:
    """The units of one layer in one direction."""
    gates = GATES[kind]
    first, recurring, *shifts = weights
    gate, units = call.ties.split(first.axes[0], gates)
    call.freeze(gate)
    for other in (recurring, *shifts):
        call.ties.same(first.axes[0], other.axes[0])
    call.ties.inverse(units, recurring.axes[1])
    call.ties.inverse(inputs, first.axes[1])
    if call.ties.rescaling:
        call.ties.restrict(units, positive=kind == "rnn_relu", negative=kind == "rnn_tanh")
    return units
