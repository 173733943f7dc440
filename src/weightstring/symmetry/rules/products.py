"""Products of activations with each other: matrix products, einsum, attention."""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, factors
from weightstring.symmetry.rules.base import RULES, Call, Labels
from weightstring.symmetry.rules.pointwise import broadcast, combined


@RULES.register("matmul", "mm", "bmm", "mv", "dot", "vdot")
def matmul(call: Call) -> Labels:
    """Matrices times matrices, their leading dimensions side by side."""
    second = next(name for name in ("other", "mat2", "vec", "tensor") if name in call.given)
    return _product(call, call.label("self"), call.label(second))


def _product(call: Call, x: Label, y: Label) -> Label:
    call.ties.inverse(x.axes[-1], y.axes[-2 if len(y) > 1 else -1])
    lead = broadcast_lead(call, x.axes[:-2], y.axes[:-2])
    rows = x.axes[-2:-1] if len(x) > 1 else ()
    columns = y.axes[-1:] if len(y) > 1 else ()
    call.virtual.append(Label((*lead, *rows, *columns, x.axes[-1])))
    return Label((*lead, *rows, *columns))


def broadcast_lead(call: Call, one: tuple[Axis, ...], other: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Leading dimensions of two tensors, side by side: no scales of theirs."""
    call.unscaled(*one, *other)
    return broadcast(call, [Label(one), Label(other)], max(len(one), len(other))).axes


@RULES.register("addmm", "baddbmm")
def added(call: Call) -> Labels:
    """The sum b + x y."""
    one, other = ("batch1", "batch2") if "batch1" in call.given else ("mat1", "mat2")
    product = _product(call, call.label(one), call.label(other))
    return combined(call, [product, call.label("self")], len(product))


@RULES.register("einsum")
def einsum(call: Call) -> Labels:
    """Products of any axes, as an equation names them."""
    tensors = call["tensors"]
    equation = call["equation"].replace(" ", "")
    if "." in equation or not all(isinstance(tensor, Label) for tensor in tensors):
        for label in call.tensors():
            call.freeze(*label.axes)
        return call.fixed()
    inputs, _, output = equation.partition("->")
    names = inputs.split(",")
    if "->" not in equation:
        letters = sorted(set(inputs) - {","})
        output = "".join(letter for letter in letters if inputs.count(letter) == 1)
    known: dict[str, Axis] = {}
    seen: dict[str, int] = {}
    for subscripts, label in zip(names, tensors, strict=True):
        for letter, axis in zip(subscripts, label.axes, strict=True):
            seen[letter] = seen.get(letter, 0) + 1
            if not factors(known.get(letter, ())):
                known[letter] = axis
            elif factors(axis):
                (call.ties.same if letter in output else call.ties.inverse)(known[letter], axis)
    for letter, axis in known.items():
        if seen[letter] > 2 or (seen[letter] == 2 and letter in output) or (seen[letter] == 1 and letter not in output):
            call.unscaled(axis)  # multiplied, or summed, with scales of its own
    call.virtual.append(Label(tuple(known.values())))
    return Label(tuple(known[letter] for letter in output))


@RULES.register("scaled_dot_product_attention")
def attention(call: Call) -> Labels:
    """softmax(q kᵀ) v: heads side by side; the width of queries and keys is contracted."""
    q, k, v = (call.label(name) for name in ("query", "key", "value"))
    call.ties.inverse(q.axes[-1], k.axes[-1])
    call.ties.same(k.axes[-2], v.axes[-2])
    lead = broadcast_lead(call, k.axes[:-2], v.axes[:-2])
    if call["enable_gqa"] and len(lead) and factors(lead[-1]):
        # Several query heads share a head of keys.
        outer, _ = call.ties.split(q.axes[-3], lead[-1][0][0].size)
        call.ties.same(outer, lead[-1])
        lead = q.axes[:-2]
    lead = broadcast_lead(call, q.axes[:-2], lead)
    scores = Label((*lead, q.axes[-2], k.axes[-2]))
    call.mixes(scores, [len(scores) - 1])
    call.virtual += [Label((*scores.axes, width)) for width in (q.axes[-1], v.axes[-1])]
    call.unscaled(q.axes[-2], k.axes[-2])
    if call["is_causal"]:
        call.freeze(q.axes[-2], k.axes[-2])
    if isinstance(call["attn_mask"], Label):
        call.unscaled(*call["attn_mask"].axes)
        broadcast(call, [scores, call["attn_mask"]], len(scores))
    return Label((*lead, q.axes[-2], v.axes[-1]))


@RULES.register("bilinear")
def bilinear(call: Call) -> Labels:
    """y_o = Σ x_i W_oij z_j + b_o; the factors of both inputs enter the weight."""
    x, z, weight = call.label("input1"), call.label("input2"), call.label("weight")
    call.ties.inverse(x.axes[-1], weight.axes[1])
    call.ties.inverse(z.axes[-1], weight.axes[2])
    if isinstance(call["bias"], Label):
        call.ties.same(weight.axes[0], call["bias"].axes[0])
    lead = broadcast_lead(call, x.axes[:-1], z.axes[:-1])
    call.virtual.append(Label((*lead, weight.axes[0], x.axes[-1], z.axes[-1])))
    return Label((*lead, weight.axes[0]))


@RULES.register("cosine_similarity", "pairwise_distance")
def alike(call: Call) -> Labels:
    """Cosine similarities and distances of vectors: degree 0, or a constant added, so that no factors pass."""
    x, y = call.label("x1"), call.label("x2")
    result = broadcast(call, [x, y], max(len(x), len(y)))
    call.unscaled(*x.axes, *y.axes)
    dim = (-1 if call["dim"] is None else call["dim"]) % len(result)
    return result.replace(dim, *([()] if call["keepdim"] else []))
