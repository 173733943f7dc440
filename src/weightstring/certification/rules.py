"""One rule for each operation: what it does to enclosures. The names are those of torch's ATen operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

import torch
from torch import Tensor

from weightstring.certification import losses, piecewise, pooling, smooth
from weightstring.certification.enclosure import Enclosure
from weightstring.certification.intervals import Intervals, Weights
from weightstring.certification.linear import Apply, LinearMap, convolution, fully_connected
from weightstring.certification.products import Products
from weightstring.certification.program import TRACED, Step
from weightstring.certification.rounding import ELEMENTWISE
from weightstring.certification.values import Bounds, Data, Decision, Logits, LogProbabilities, Rows, Wrong
from weightstring.errors import Unsupported


@dataclass(frozen=True, eq=False)
class Call:
    """What a rule knows beside its arguments.

    Args:
        step: the operation.
        intervals: where θ lies.
        degree: of the enclosures.
        rows: the examples at hand.
        deferred: whether only a loss reads the result, which then does the operation itself.
        kept: what is the same for all examples, by step.
        products: what layers make of the inputs at the beads in play.
    """

    step: Step
    intervals: Intervals
    degree: int
    rows: Rows
    deferred: bool
    kept: dict[str, Any]
    products: Products

    def prepared(self, build: Callable[[], LinearMap]) -> LinearMap:
        """The step's map for these intervals, built once for all examples."""
        if self.step.name not in self.kept:
            self.kept[self.step.name] = build()
        found: LinearMap = self.kept[self.step.name]
        return found

    def refuse(self, why: str) -> Unsupported:
        """An error that names the operation."""
        return Unsupported(f"{self.step.where}: {why}, for which certificates have no rule")

    def enclosed(self, value: object, beside: bool = False) -> Enclosure:
        """A value as an enclosure of all samples at hand; ``beside`` them, a parameter as that of one."""
        if isinstance(value, Enclosure):
            return value
        if isinstance(value, Logits):
            return value.settled()
        if isinstance(value, Weights) and beside:
            return value.enclosed(self.intervals, self.degree)
        if isinstance(value, Data):
            numbers = value.values.double().unsqueeze(0).expand(len(self.intervals), *value.values.shape)
            size = torch.full(
                (len(self.intervals),), _largest(value.values), dtype=torch.float64, device=numbers.device
            )
            return Enclosure((numbers,) * (self.degree + 1), torch.zeros_like(numbers), size)
        raise self.refuse(f"it takes a {type(value).__name__}")

    def same_rank(self, x: Enclosure) -> Enclosure:
        """With axes of length 1 before the others, so that operands of different rank broadcast as torch would."""
        missing = len(self.step.shape) - (len(x.shape) - 1)
        if missing and x.shape[1] != 1:
            raise self.refuse("it combines different examples")
        return x.each(lambda v: v.view(*v.shape[:2], *(1,) * missing, *v.shape[2:])) if missing else x


Rule: TypeAlias = Callable[..., Any]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule under the names of operators."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def _largest(values: Tensor) -> float:
    return float(values.abs().amax()) if values.numel() else 0.0


def _pair(value: int | Sequence[int], axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)


# Layers


@rule("linear.default")
def linear(call: Call, x: object, weight: object, bias: object = None) -> Enclosure | Logits:
    """X Wᵀ + b."""
    return _layer(call, x, weight, bias, fully_connected, axis=-1)


@rule("conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding")
def conv(
    call: Call,
    x: object,
    weight: object,
    bias: object = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Enclosure | Logits:
    """Convolution with zeros around."""
    apply = convolution(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _layer(call, x, weight, bias, apply, axis=1)


def _layer(call: Call, x: object, weight: object, bias: object, apply: Apply, axis: int) -> Enclosure | Logits:
    if not isinstance(weight, Weights) or not (bias is None or isinstance(bias, Weights)):
        raise call.refuse("its weight is computed by the module or frozen")
    layer = call.prepared(lambda: LinearMap(apply, weight, bias, call.intervals, call.degree, axis))
    if isinstance(x, Data):
        products = call.products.of(call.step.name, x, apply, weight, call.rows)
        size = torch.full((len(call.intervals),), _largest(x.values), dtype=torch.float64, device=x.values.device)
        return layer.of_constant(products, size)
    hidden = call.enclosed(x)
    if call.deferred and axis == -1 and len(hidden.shape) == 3:
        return Logits(hidden, layer, call.kept.setdefault(f"{call.step.name} relative", {}))
    return layer.of(hidden)


@rule("batch_norm.default")
def batch_norm(
    call: Call,
    x: object,
    weight: object,
    bias: object,
    mean: Tensor,
    var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Enclosure:
    """(x − mean) / √(var + eps) · weight + bias, with statistics that are frozen."""
    if training:
        raise call.refuse("it normalises by the batch")
    found = call.enclosed(x)
    shape = (-1, *(1,) * (len(found.shape) - 3))
    factor = (var.double() + eps).rsqrt().view(shape)
    found = found.shifted(-mean.double().view(shape)).scaled(factor)
    for given, combine in ((weight, Enclosure.__mul__), (bias, Enclosure.__add__)):
        if given is not None:
            other = Data(given, "") if isinstance(given, Tensor) else given
            found = combine(found, call.enclosed(other, beside=True).each(lambda v: v.reshape(len(v), 1, *shape)))
    return found


# Activations


@rule("relu.default")
def relu(call: Call, x: object) -> Enclosure:
    """max(0, x)."""
    return piecewise.relu(call.enclosed(x))


@rule("relu6.default")
def relu6(call: Call, x: object) -> Enclosure:
    """min(6, max(0, x))."""
    return piecewise.hardtanh(call.enclosed(x), 0.0, 6.0)


@rule("leaky_relu.default")
def leaky_relu(call: Call, x: object, slope: float = 0.01) -> Enclosure:
    """X where positive, slope · x elsewhere."""
    if not 0 <= slope <= 1:
        raise call.refuse(f"its slope is {slope}, outside [0, 1]")
    return piecewise.leaky_relu(call.enclosed(x), slope)


@rule("hardtanh.default", "clamp.default")
def hardtanh(call: Call, x: object, low: float | None = -1.0, high: float | None = 1.0) -> Enclosure:
    """X cut off at both sides; ``clamp`` always gives its own bounds."""
    found = call.enclosed(x)
    if call.step.op == "clamp.default":
        low, high = (
            call.step.args[k] if len(call.step.args) > k else call.step.kwargs.get(name)
            for k, name in ((1, "min"), (2, "max"))
        )
    if low is not None and high is not None:
        return piecewise.hardtanh(found, low, high)
    if low is not None:
        return piecewise.relu(found.shifted(-low)).shifted(low)
    assert high is not None  # torch refuses a clamp without bounds
    return piecewise.relu(found.scaled(-1.0).shifted(high)).scaled(-1.0).shifted(high)


@rule("abs.default")
def absolute(call: Call, x: object) -> Enclosure:
    """|x|."""
    found = call.enclosed(x)
    return piecewise.larger(found, found.scaled(-1.0))


@rule("maximum.default")
def maximum(call: Call, x: object, y: object) -> Enclosure:
    """max(x, y)."""
    return piecewise.larger(call.same_rank(call.enclosed(x)), call.same_rank(call.enclosed(y)))


def _smooth(function: smooth.Smooth) -> Rule:
    return lambda call, x: function(call.enclosed(x))


RULES["tanh.default"] = _smooth(smooth.TANH)
RULES["sigmoid.default"] = _smooth(smooth.SIGMOID)
RULES["silu.default"] = _smooth(smooth.SILU)
RULES["sin.default"] = _smooth(smooth.SINE)
RULES["cos.default"] = _smooth(smooth.COSINE)

SMOOTH = {
    "tanh.default",
    "sigmoid.default",
    "silu.default",
    "sin.default",
    "cos.default",
    "gelu.default",
    "softplus.default",
}
"""What makes enclosures of degree 2 worth their price."""


@rule("gelu.default")
def gelu(call: Call, x: object, approximate: str = "none") -> Enclosure:
    """X Φ(x), or its approximation by tanh."""
    found = call.enclosed(x)
    return smooth.GELU(found) if approximate == "none" else smooth.gelu_by_tanh(found)


@rule("softplus.default")
def softplus(call: Call, x: object, beta: float = 1.0, threshold: float = 20.0) -> Enclosure:
    """log(1 + exp(βx)) / β."""
    return smooth.softplus(call.enclosed(x), beta, threshold)


# Pooling


@rule("max_pool1d.default", "max_pool2d.default")
def max_pool(
    call: Call,
    x: object,
    window: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Enclosure:
    """The largest of each window."""
    axes = 1 if call.step.op.startswith("max_pool1d") else 2
    sizes = _pair(window, axes)
    strides = _pair(stride, axes) if stride else sizes
    pads, spread = _pair(padding, axes), _pair(dilation, axes)
    return pooling.max_pool(call.enclosed(x), sizes, strides, pads, spread, call.step.shape[-axes:])


@rule("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "avg_pool1d.default", "avg_pool2d.default")
def average_pool(call: Call, x: object, *settings: Any, **named: Any) -> Enclosure:
    """The mean of each window."""
    found = call.enclosed(x)
    operator = getattr(torch.ops.aten, call.step.op.removesuffix(".default"))
    if call.step.op.startswith("avg_pool2d") and len(settings) > 5 and settings[5] is not None and settings[5] < 0:
        raise call.refuse("its divisor is negative")
    terms = int(torch.tensor(found.shape[3:]).prod())
    return pooling.average(found, lambda values: operator(values, *settings, **named), terms)


@rule("mean.dim", "sum.dim_IntList")
def over_axes(call: Call, x: object, axes: Sequence[int] | None, keep: bool = False, dtype: object = None) -> Enclosure:
    """The mean or sum over axes of each example."""
    found = call.enclosed(x)
    rank = len(found.shape) - 1
    chosen = sorted({axis % rank for axis in (axes or range(rank))})
    if 0 in chosen:
        raise call.refuse("it combines different examples")
    shifted = [axis + 1 for axis in chosen]
    terms = int(torch.tensor([found.shape[axis] for axis in shifted]).prod())
    mean = call.step.op.startswith("mean")
    reduce = torch.mean if mean else torch.sum
    summed = found.each(lambda v: reduce(v, dim=shifted, keepdim=keep))
    size = found.size if mean else found.size * terms
    return Enclosure(summed.nodes, summed.radius, size).widened(ELEMENTWISE * (terms + 64) * size)


# Shapes


@rule(
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
)
def reshape(call: Call, x: object, *_: object) -> object:
    """Another shape of the same numbers, example by example."""
    if isinstance(x, Weights):
        return Weights(x.beads.reshape(len(x.beads), *call.step.shape))
    if isinstance(x, Tensor):
        return x.reshape(call.step.shape)
    shape = call.step.shape
    if not shape or shape[0] != TRACED:
        raise call.refuse("it combines different examples")
    if isinstance(x, Data):
        whole = x.whole
        return Data(
            x.values.reshape(len(x.values), *shape[1:]),
            f"{x.origin}/{call.step.name}",
            None if whole is None else lambda: whole().reshape(-1, *shape[1:]),
        )
    return call.enclosed(x).each(lambda v: v.reshape(*v.shape[:2], *shape[1:]))


@rule("permute.default", "transpose.int", "t.default", "select.int", "slice.Tensor", "flip.default")
def moved(call: Call, x: object, *settings: Any) -> object:
    """Entries moved or chosen, example by example."""
    operator = getattr(torch.ops.aten, call.step.op.split(".")[0])
    if isinstance(x, Tensor):
        return operator(x, *settings)
    if isinstance(x, Weights):
        return Weights(torch.func.vmap(lambda one: operator(one, *settings))(x.beads))
    values = call.enclosed(x) if not isinstance(x, Data) else x
    rank = values.values.ndim if isinstance(values, Data) else len(values.shape) - 1
    if settings and isinstance(settings[0], Sequence):
        axes = [axis % rank for axis in settings[0]]
        still = axes[0] == 0 if call.step.op.startswith("permute") else 0 not in axes
    else:
        named = settings[:2] if call.step.op.startswith("transpose") else settings[:1] or (0,)
        still = all(axis % rank != 0 for axis in named)
    whole = call.step.op.startswith("slice") and settings and settings[0] % rank == 0 and _whole(settings)
    if whole:
        return x
    if not still:
        raise call.refuse("it moves or chooses examples")
    if isinstance(values, Data):
        return Data(
            torch.func.vmap(lambda v: _inside(operator, v, settings, rank, call))(values.values),
            f"{values.origin}/{call.step.name}",
        )
    each = torch.func.vmap(torch.func.vmap(lambda v: _inside(operator, v, settings, rank, call)))
    return values.each(each)


def _whole(settings: Sequence[Any]) -> bool:
    start, end, step = (*settings[1:], *(None,) * 3)[:3]
    return start in (None, 0) and (end is None or end >= TRACED) and step in (None, 1)


def _inside(operator: Callable[..., Tensor], value: Tensor, settings: Sequence[Any], rank: int, call: Call) -> Tensor:
    """An operator on one example: its axes counted without the examples'."""
    first, *rest = settings
    if call.step.op.startswith("permute"):
        return operator(value, [axis % rank - 1 for axis in first[1:]])
    if isinstance(first, Sequence):
        return operator(value, [axis % rank - 1 for axis in first])
    if call.step.op.startswith("transpose"):
        return operator(value, first % rank - 1, rest[0] % rank - 1)
    return operator(value, first % rank - 1, *rest)


@rule("cat.default")
def concatenate(call: Call, parts: Sequence[object], axis: int = 0) -> Enclosure:
    """Side by side."""
    if axis % len(call.step.shape) == 0:
        raise call.refuse("it joins examples")
    found = [call.same_rank(call.enclosed(part)) for part in parts]
    at = axis % len(call.step.shape) + 1
    nodes = tuple(torch.cat(column, at) for column in zip(*(part.nodes for part in found), strict=True))
    size = torch.stack([part.size for part in found]).amax(0)
    return Enclosure(nodes, torch.cat([part.radius for part in found], at), size)


@rule("dropout.default")
def dropout(call: Call, x: object, share: float, training: bool) -> object:
    """Nothing, in evaluation mode."""
    if training and share:
        raise call.refuse("it draws at random")
    return x


@rule(
    "to.dtype",
    "to.dtype_layout",
    "_to_copy.default",
    "contiguous.default",
    "clone.default",
    "detach.default",
    "alias.default",
    "detach_.default",
    "lift_fresh_copy.default",
    "identity.default",
    "_assert_tensor_metadata.default",
)
def unchanged(call: Call, x: object, *settings: object, **named: object) -> object:
    """The same numbers; a certificate computes in real numbers, whatever their floating dtype."""
    dtypes = [one for one in (*settings, *named.values()) if isinstance(one, torch.dtype)]
    real = isinstance(x, Enclosure | Logits) or (isinstance(x, Data) and x.values.is_floating_point())
    if real and not all(dtype.is_floating_point for dtype in dtypes):
        raise call.refuse("it cuts numbers to whole ones")
    return x


# Arithmetic


@rule("add.Tensor", "sub.Tensor", "add_.Tensor")
def add(call: Call, x: object, y: object, alpha: float = 1) -> object:
    """X + alpha · y."""
    if call.step.op.startswith("sub"):
        alpha = -alpha
    if isinstance(x, Bounds) or isinstance(y, Bounds):
        return _add_bounds(call, x, y, alpha)
    if isinstance(y, int | float):
        return call.enclosed(x).shifted(alpha * y)
    if isinstance(x, int | float):
        return call.enclosed(y).scaled(alpha).shifted(x)
    left, right = _operands(call, x, y)
    return left + (right if alpha == 1 else right.scaled(alpha))


def _add_bounds(call: Call, x: object, y: object, alpha: float) -> Bounds:
    if isinstance(x, Bounds) and isinstance(y, int | float):
        return Bounds(x.ends + alpha * y * call.rows.share)
    if isinstance(y, Bounds) and isinstance(x, int | float) and alpha >= 0:
        return Bounds(x * call.rows.share + alpha * y.ends)
    if isinstance(x, Bounds) and isinstance(y, Bounds) and alpha >= 0:
        return Bounds(x.ends + alpha * y.ends)
    raise call.refuse("it combines a loss with what is none, or subtracts one")


def _operands(call: Call, x: object, y: object) -> tuple[Enclosure, Enclosure]:
    if not any(isinstance(part, Enclosure | Logits | Data) for part in (x, y)):
        raise call.refuse("it combines parameters among themselves")
    found = []
    for part in (x, y):
        if isinstance(part, Tensor):
            if part.ndim >= len(call.step.shape) and part.ndim and part.shape[0] != 1:
                raise call.refuse("it combines a constant of its own for each example")
            row = part.double().reshape(1, *part.shape[max(0, part.ndim - len(call.step.shape) + 1) :])
            part = Data(row, "")
        found.append(call.same_rank(call.enclosed(part, beside=True)))
    return found[0], found[1]


@rule("mul.Tensor", "div.Tensor", "mul_.Tensor", "mul.Scalar", "div.Scalar")
def multiply(call: Call, x: object, y: object) -> object:
    """X · y, or x / y for a constant y."""
    if call.step.op.startswith("div"):
        if isinstance(y, Tensor) and not y.ndim:
            y = float(y)
        if isinstance(y, int | float):
            y = 1 / y
        elif isinstance(y, Tensor):
            y = 1 / y.double()
        else:
            raise call.refuse("it divides by what depends on θ")
    for one, other in ((x, y), (y, x)):
        if isinstance(other, int | float):
            if isinstance(one, Bounds):
                if other < 0:
                    raise call.refuse("it turns a loss round")
                return Bounds(one.ends * other * (1 + ELEMENTWISE))
            return call.enclosed(one).scaled(float(other))
    left, right = _operands(call, x, y)
    return left * right


@rule("neg.default")
def negative(call: Call, x: object) -> Enclosure:
    """−x."""
    return call.enclosed(x).scaled(-1.0)


@rule("square.default")
def square(call: Call, x: object) -> Enclosure:
    """x²."""
    found = call.enclosed(x)
    return found * found


@rule("pow.Tensor_Scalar")
def power(call: Call, x: object, exponent: float) -> Enclosure:
    """X to a small whole power."""
    if exponent not in (1, 2, 3, 4):
        raise call.refuse(f"its exponent is {exponent}, not 1, 2, 3 or 4")
    found = base = call.enclosed(x)
    for _ in range(int(exponent) - 1):
        found = found * base
    return found


@rule("broadcast_tensors.default")
def broadcast(call: Call, parts: Sequence[object]) -> list[object]:
    """Nothing, for tensors of one shape."""
    shapes = {
        tuple(part.values.shape[1:] if isinstance(part, Data) else call.enclosed(part).shape[2:]) for part in parts
    }
    if len(shapes) > 1:
        raise call.refuse(f"the shapes of outputs and targets differ ({sorted(shapes)}, examples left out)")
    return list(parts)


@rule("getitem")
def item(call: Call, parts: Sequence[object], which: int) -> object:
    """One of several results."""
    return parts[which]


# Losses


@rule("cross_entropy_loss.default")
def cross_entropy(
    call: Call,
    logits: object,
    target: Data,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignored: int = -100,
    smoothing: float = 0.0,
) -> Bounds:
    """Mean cross-entropy."""
    losses.require_mean(reduction)
    ignored_ = int(ignored)
    given = logits if isinstance(logits, Logits) else call.enclosed(logits)
    return losses.cross_entropy(given, target, call.rows, call.step.name, weight, ignored_, smoothing)


@rule("log_softmax.int")
def log_softmax(call: Call, logits: object, axis: int, dtype: object = None) -> LogProbabilities:
    """For a loss to read."""
    given = logits if isinstance(logits, Logits) else call.enclosed(logits)
    if len(call.step.shape) != 2 or axis % 2 != 1:
        raise call.refuse("its outputs are not (examples, classes)")
    return LogProbabilities(given)


@rule("nll_loss_nd.default", "nll_loss.default")
def negative_log_likelihood(
    call: Call, given: object, target: Data, weight: Tensor | None = None, reduction: int = 1, ignored: int = -100
) -> Bounds:
    """Mean negative log-likelihood of log softmax."""
    losses.require_mean(reduction)
    if not isinstance(given, LogProbabilities):
        raise call.refuse("its input is not a log softmax")
    return losses.cross_entropy(given.logits, target, call.rows, call.step.name, weight, int(ignored))


@rule("mse_loss.default")
def squared_error(call: Call, x: object, target: Any, reduction: int = 1) -> Bounds:
    """Mean squared error."""
    return _of_distance(call, torch.square, x, target, reduction)


@rule("l1_loss.default")
def absolute_error(call: Call, x: object, target: Any, reduction: int = 1) -> Bounds:
    """Mean absolute error."""
    return _of_distance(call, torch.abs, x, target, reduction)


@rule("huber_loss.default")
def huber(call: Call, x: object, target: Any, reduction: int = 1, delta: float = 1.0) -> Bounds:
    """Quadratic up to δ, linear beyond."""
    return _of_distance(
        call, lambda d: torch.where(d < delta, d * d / 2, delta * (d - delta / 2)), x, target, reduction
    )


@rule("smooth_l1_loss.default")
def smooth_l1(call: Call, x: object, target: Any, reduction: int = 1, beta: float = 1.0) -> Bounds:
    """Quadratic up to β, linear beyond."""
    return _of_distance(call, lambda d: torch.where(d < beta, d * d / (2 * beta), d - beta / 2), x, target, reduction)


def _of_distance(call: Call, loss: Callable[[Tensor], Tensor], x: object, target: Any, reduction: int) -> Bounds:
    losses.require_mean(reduction)
    given = call.enclosed(x)
    known = target if isinstance(target, Data | Tensor) else call.enclosed(target)
    if isinstance(known, Data) and known.values.shape[1:] != given.shape[2:]:
        raise call.refuse("the outputs and the targets differ in shape")
    return losses.of_distance(loss, given, known, call.rows)


@rule("binary_cross_entropy_with_logits.default")
def binary(
    call: Call,
    x: object,
    target: Data,
    weight: Tensor | None = None,
    positive: Tensor | None = None,
    reduction: int = 1,
) -> Bounds:
    """Mean binary cross-entropy of logits."""
    losses.require_mean(reduction)
    return losses.binary(call.enclosed(x), target, call.rows, weight, positive)


@rule("argmax.default")
def argmax(call: Call, logits: object, axis: int | None = None, keep: bool = False) -> Decision:
    """The class that wins."""
    given = logits if isinstance(logits, Logits) else call.enclosed(logits)
    rank = len(given.settled().shape if isinstance(given, Logits) else given.shape) - 1
    if axis is None or rank != 2 or axis % rank != 1 or keep:
        raise call.refuse("it is not the class of each example")
    return Decision(given)


@rule("ne.Tensor")
def different(call: Call, one: object, other: object) -> Wrong:
    """Which decisions differ from the target."""
    for decision, target in ((one, other), (other, one)):
        if isinstance(decision, Decision) and isinstance(target, Data):
            return Wrong(losses.possibly_wrong(decision.logits, target))
    raise call.refuse("it compares other than classes with targets")


@rule("mean.default")
def mean(call: Call, x: object, dtype: object = None) -> Bounds:
    """The mean over everything."""
    if isinstance(x, Wrong):
        return losses.averaged(x.possible.double().expand(2, -1, -1), call.rows.scales())
    if isinstance(x, Bounds):
        return x
    return losses.averaged(losses.per_example(losses.upper_ends(call.enclosed(x))), call.rows.scales())


def require_rule(step: Step) -> None:
    """Refuse an operation that has no rule, or is called in a way that its rule does not know.

    Raises:
        Unsupported: with the operation and the module that calls it.
    """
    if step.op not in RULES:
        raise Unsupported(
            f"{step.where}: certificates have no rule for this operation; a string through it can only be sampled"
        )
    try:
        signature(RULES[step.op]).bind(None, *step.args, **step.kwargs)
    except TypeError as error:
        raise Unsupported(f"{step.where}: its rule does not know this way of calling it ({error})") from error
