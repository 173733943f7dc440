"""Activations, and what is larger."""

from __future__ import annotations

from collections.abc import Callable

from weightstring.proof.enclose import piecewise, ranged, smooth
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.rules.call import Call, Rule, rule


@rule("relu.default")
def relu(call: Call, x: object) -> Enclosure:
    """max(0, x)."""
    return piecewise.rectified(call.enclosed(x))


@rule("relu6.default")
def relu6(call: Call, x: object) -> Enclosure:
    """min(6, max(0, x))."""
    return piecewise.unsteepened(lambda z: piecewise.hardtanh(z, 0.0, 6.0), call.enclosed(x))


@rule("leaky_relu.default")
def leaky_relu(call: Call, x: object, slope: float = 0.01) -> Enclosure:
    """The larger of x and slope · x."""
    if not 0 <= slope <= 1:
        raise call.refuse(f"its slope is {slope}, outside [0, 1]")
    return piecewise.unsteepened(lambda z: piecewise.leaky_relu(z, slope), call.enclosed(x))


@rule("hardtanh.default", "clamp.default")
def hardtanh(call: Call, x: object, low: float | None = -1.0, high: float | None = 1.0) -> Enclosure:
    """Clip x to an interval; ``clamp`` always states its own."""
    z = call.enclosed(x)
    if call.step.op == "clamp.default":
        low, high = (
            call.step.args[k] if len(call.step.args) > k else call.step.kwargs.get(name)
            for k, name in ((1, "min"), (2, "max"))
        )
    return piecewise.unsteepened(lambda one: _clipped(one, low, high), z)


@rule("clamp_min.default")
def at_least(call: Call, x: object, low: float) -> Enclosure:
    """max(x, low)."""
    return piecewise.unsteepened(lambda z: _clipped(z, low, None), call.enclosed(x))


@rule("clamp_max.default")
def at_most(call: Call, x: object, high: float) -> Enclosure:
    """min(x, high)."""
    return piecewise.unsteepened(lambda z: _clipped(z, None, high), call.enclosed(x))


def _clipped(z: Enclosure, low: float | None, high: float | None) -> Enclosure:
    if low is not None and high is not None:
        return piecewise.hardtanh(z, low, high)
    if low is not None:
        return piecewise.relu(z.shifted(-low)).shifted(low)
    assert high is not None  # torch refuses a clamp without bounds
    return piecewise.relu(z.scaled(-1.0).shifted(high)).scaled(-1.0).shifted(high)


@rule("abs.default")
def absolute(call: Call, x: object) -> Enclosure:
    """|x|."""
    return piecewise.magnitude(call.enclosed(x))


@rule("maximum.default", "max.other")
def maximum(call: Call, x: object, y: object) -> Enclosure:
    """max(x, y)."""
    return piecewise.larger_of(*call.operands(x, y))


@rule("minimum.default", "min.other")
def minimum(call: Call, x: object, y: object) -> Enclosure:
    """min(x, y)."""
    one, other = call.operands(x, y)
    return piecewise.larger_of(one.scaled(-1.0), other.scaled(-1.0)).scaled(-1.0)


def elementwise(function: Callable[[Enclosure], Enclosure]) -> Rule:
    """A function of each number by itself, as a rule."""
    return lambda call, x: function(call.enclosed(x))


rule("tanh.default", smooth=True)(elementwise(smooth.TANH))
rule("sigmoid.default", smooth=True)(elementwise(smooth.SIGMOID))
rule("silu.default", smooth=True)(elementwise(smooth.SILU))
rule("sin.default", smooth=True)(elementwise(smooth.SINE))
rule("cos.default", smooth=True)(elementwise(smooth.COSINE))
rule("exp.default", smooth=True)(elementwise(ranged.EXP))
rule("log.default", smooth=True)(elementwise(ranged.LOG))
rule("sqrt.default", smooth=True)(elementwise(ranged.SQRT))
rule("rsqrt.default", smooth=True)(elementwise(ranged.RSQRT))
rule("reciprocal.default", smooth=True)(elementwise(ranged.reciprocal))


@rule("gelu.default", smooth=True)
def gelu(call: Call, x: object, approximate: str = "none") -> Enclosure:
    """The product x Φ(x), or its approximation by tanh."""
    z = call.enclosed(x)
    return smooth.GELU(z) if approximate == "none" else smooth.gelu_by_tanh(z)


@rule("softplus.default", smooth=True)
def softplus(call: Call, x: object, beta: float = 1.0, threshold: float = 20.0) -> Enclosure:
    """log(1 + exp(βx)) / β."""
    if not beta > 0:
        raise call.refuse(f"its beta is {beta}, not positive")
    return smooth.softplus(call.enclosed(x), beta, threshold)
