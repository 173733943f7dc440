"""Which networks experiments/soundness_certificates.py tries with which losses."""

from __future__ import annotations

from soundness_networks import Case, Layer


def _stack(activation: Layer, outputs: int = 3) -> tuple[Layer, ...]:
    return (
        Layer("linear", (3, 4)), activation, Layer("linear", (4, 4)), activation, Layer("linear", (4, outputs)),
    )  # fmt: skip


def _tokens(*layers: Layer, outputs: int = 3, width: int = 4) -> tuple[Layer, ...]:
    return (Layer("linear", (3, width)), *layers, Layer("linear", (width, outputs)))


TOKENS = (3, 3)
NORM, ATTENTION = Layer("layer norm", (4,)), Layer("attention", (4, 2))

CASES: dict[str, Case] = {
    "layer norm": Case(_tokens(NORM), "tokens", TOKENS),
    "turned layers": Case(
        _tokens(Layer("turned layer", (4, 5)), Layer("relu"), Layer("turned layer", (5, 4))), "tokens", TOKENS),
    "rms norm": Case(_tokens(Layer("rms norm", (4,)), Layer("silu")), "outputs", TOKENS),
    "group norm": Case(_tokens(Layer("group norm", (1, 3))), "outputs", TOKENS),
    "instance norm": Case(_tokens(Layer("instance norm", (3,)), Layer("relu")), "tokens", TOKENS),
    **{
        f"attention, {how}": Case(_tokens(Layer("attention", (4, 2, how))), "tokens", TOKENS)
        for how in ("fused", "masked", "by hand", "multihead")
    },
    "grouped heads": Case(_tokens(Layer("grouped", (4, 2))), "outputs", TOKENS),
    "block": Case(
        _tokens(Layer("lookup", (5, 4)), NORM, ATTENTION, NORM, Layer("linear", (4, 4)), Layer("gelu_tanh"), NORM),
        "tokens", TOKENS),
    **{
        kind: Case((Layer(kind, (3, 2)), Layer("last"), Layer("linear", (2, 3))), "entropy", TOKENS)
        for kind in ("lstm", "gru", "rnn")
    },
    **{
        kind: Case(_tokens(Layer(kind)), "outputs", TOKENS)
        for kind in (
            "softmax", "log softmax", "log sum exp", "root", "over root", "power", "quotient", "reciprocal",
            "logarithm", "exponential", "extremes", "clamped", "chosen",
        )
    },
    "products": Case(_tokens(Layer("products")), "outputs", TOKENS),
    "stacked": Case((Layer("linear", (3, 2)), Layer("stacked"), Layer("linear", (4, 3))), "outputs", TOKENS),
    "mean over tokens": Case(
        (*_tokens(Layer("softmax"))[:2], Layer("turned"), Layer("turned"), Layer("mean over tokens"),
         Layer("linear", (4, 3))), "entropy", TOKENS),
    **{
        kind: Case(_stack(Layer(kind, numbers)), loss)
        for kind, numbers, loss in [
            ("relu", (), "entropy"), ("leaky", (0.25,), "squared"), ("hardtanh", (-0.5, 2.0), "huber"),
            ("relu6", (), "smooth l1"), ("tanh", (), "entropy"), ("sigmoid", (), "squared"), ("silu", (), "weighted"),
            ("gelu_tanh", (), "absolute"), ("softplus", (2.0, 1.0), "squared"), ("sin", (), "smoothed"),
            ("square", (), "squared"), ("abs", (), "absolute"), ("gate", (), "entropy"), ("gelu", (), "squared"),
        ]
    },
    **{f"relu, {loss}": Case(_stack(Layer("relu")), loss) for loss in ("squared", "weighted", "smoothed", "errors")},
    **{f"{kind}, outputs": Case(_stack(Layer(kind)), "outputs") for kind in ("relu", "tanh", "silu", "square")},
    "linear, outputs": Case((Layer("linear", (3, 2)), Layer("linear", (2, 1))), "outputs"),
    "linear": Case((Layer("linear", (3, 3)), Layer("linear", (3, 3))), "squared"),
    "wide": Case(
        (Layer("linear", (3, 40)), Layer("relu"), Layer("linear", (40, 35)), Layer("relu"), Layer("linear", (35, 3))),
        "entropy"),
    "deep": Case((*(Layer("linear", (3, 12)), Layer("relu")), *(Layer("linear", (12, 12)), Layer("relu")) * 4,
                  Layer("linear", (12, 3))), "entropy"),
    "one hidden": Case((Layer("linear", (3, 20)), Layer("relu"), Layer("linear", (20, 3))), "entropy"),
    "one layer": Case((Layer("linear", (3, 3)),), "entropy"),
    "one unit": Case((Layer("linear", (3, 1)), Layer("relu"), Layer("linear", (1, 1))), "squared"),
    "binary": Case(_stack(Layer("relu"), 1), "binary"),
    "positive": Case(_stack(Layer("tanh"), 1), "positive"),
    "mean": Case(_stack(Layer("softplus"), 2), "mean"),
    "signal": Case(
        (Layer("conv1", (1, 3, 3, 1, 1)), Layer("relu"), Layer("max1", (3, 2, 1)), Layer("flatten"),
         Layer("linear", (12, 3))), "entropy", (1, 8)),
    "averages": Case(
        (Layer("conv1", (1, 3, 3, 2, 0)), Layer("tanh"), Layer("avg1", (2, 1, 0)), Layer("flatten"),
         Layer("linear", (6, 3))), "squared", (1, 8)),
    "image": Case(
        (Layer("conv2", (1, 2, 3, 1, 1)), Layer("relu"), Layer("max2", (2, 2, 0)), Layer("conv2", (2, 3, 2, 1, 0)),
         Layer("leaky", (0.1,)), Layer("flatten"), Layer("linear", (3, 3))), "errors", (1, 4, 4)),
    "pooled": Case(
        (Layer("conv2", (1, 2, 3, 1, 1)), Layer("hardtanh"), Layer("avg2", (3, 1, 1)), Layer("max2", (3, 2, 1)),
         Layer("flatten"), Layer("linear", (8, 3))), "entropy", (1, 4, 4)),
    **{
        kind: Case(_tokens(Layer(kind)), "outputs", TOKENS)
        for kind in (
            "numbers", "limits", "waves", "copies", "parts", "hidden", "matrices", "soft by its name", "curves",
            "error function", "spreads", "places", "sums",
        )
    },
    **{
        f"frozen norm{', in place' * other}": Case(_tokens(Layer("frozen norm", (other,))), "outputs", TOKENS)
        for other in (False, True)
    },
    "windows": Case((Layer("linear", (3, 4)), Layer("windows"), Layer("linear", (2, 3))), "outputs", TOKENS),
    "windows of images": Case(
        (Layer("same size", (2, 2)), Layer("windows of images"), Layer("flatten"), Layer("linear", (4, 3))), "entropy",
        (2, 3, 4)),
    "same length": Case(
        (Layer("same length", (2, 2)), Layer("relu"), Layer("flatten"), Layer("linear", (8, 3))), "entropy", (2, 4)),
    **{
        loss: Case(_stack(Layer(kind), outputs), loss)
        for loss, kind, outputs in [
            ("perplexity", "relu", 3), ("likelihood", "tanh", 3), ("likelihood by its name", "relu", 3),
            ("focal", "relu", 3), ("focal of yes and no", "tanh", 3), ("divergence", "tanh", 3),
            ("gaussian", "tanh", 2),
            ("gaussian, fixed", "relu", 2), ("squared, each", "relu", 3), ("absolute, each", "tanh", 3),
            ("huber, each", "relu", 3), ("smooth l1, each", "relu", 3), ("probabilities", "relu", 3),
            ("total", "tanh", 2),
        ]
    },
    "statistics": Case(
        (Layer("linear", (3, 4)), Layer("batch norm", (4,)), Layer("relu"), Layer("linear", (4, 4)),
         Layer("batch norm", (4,)), Layer("tanh"), Layer("linear", (4, 3))), "entropy"),
    "statistics of signals": Case(
        (Layer("conv1", (1, 2, 3, 1, 1)), Layer("batch norm", (2,)), Layer("relu"), Layer("avg1", (2, 2, 0)),
         Layer("flatten"), Layer("linear", (8, 3))), "squared", (1, 8)),
}  # fmt: skip
