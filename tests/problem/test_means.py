"""What a loss or metric is over a whole set, against one forward pass of everything and the user's own function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from weightstring.errors import InvalidData, InvalidSetting, Unsupported
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem, module
from weightstring.problem.engines import first_layer
from weightstring.problem.losses import tally
from weightstring.problem.losses.known import recognised
from weightstring.problem.tensors import named_tensors
from weightstring.proof.enclose.proving import certify

COUNT = 53
WEIGHT = torch.tensor([1.0, 20.0, 0.1], dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(3)
INPUTS = 1 + torch.randn(COUNT, 4, generator=GENERATOR, dtype=torch.float64)
CLASSES = torch.randint(3, (COUNT,), generator=GENERATOR).sort().values
PARTLY = CLASSES.where(torch.rand(COUNT, generator=GENERATOR) < 0.6, -1)
"""Classes of which some are ignored."""
DENSE = torch.randn(COUNT, 3, generator=GENERATOR, dtype=torch.float64)
SHARES = DENSE.softmax(1)
BITS = (DENSE > 0.3).double()


class Weighted(nn.CrossEntropyLoss):
    """A subclass that is no mean, whatever its base class says."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, target).square()


def hooked() -> nn.Module:
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda module, args, value: value.sqrt())
    return loss


def with_own_forward() -> nn.Module:
    loss = nn.MSELoss()
    loss.forward = lambda output, target: (output - target).square().sum()
    return loss


def f1(output: Tensor, target: Tensor) -> Tensor:
    hit = output.argmax(1) == 1
    return 2 * (hit & (target == 1)).sum() / (hit.sum() + (target == 1).sum()).clamp(min=1)


def f1_sums(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    hit = output.argmax(1) == 1
    return 2 * (hit & (target == 1)).sum(), hit.sum() + (target == 1).sum()


def auc(output: Tensor, target: Tensor) -> float:
    scores, positive = output[:, 1] - output[:, 0], target == 1
    return float((scores[positive][:, None] > scores[~positive]).double().mean())


def r_squared(output: Tensor, target: Tensor) -> Tensor:
    return 1 - (output - target).square().sum() / (target - target.mean(0)).square().sum()


def pairs(output: Tensor, target: Tensor) -> Tensor:
    own, wanted = ((x[:, None] - x).square().sum(2) for x in (output, target))
    return (own - wanted).square().mean()


def mean_recall(output: Tensor, target: Tensor) -> Tensor:
    """NaN in a part where a class is missing."""
    right = output.argmax(1) == target
    return torch.stack([right[target == k].double().mean() for k in range(3)]).mean()


def tokens(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    each = functional.cross_entropy(output, target, ignore_index=-1, reduction="none")
    return each.sum(), (target != -1).sum()


def focal(output: Tensor, target: Tensor) -> Tensor:
    each = functional.cross_entropy(output, target, reduction="none")
    return ((1 - (-each).exp()).square() * each).mean()


CASES: dict[str, tuple[Callable[..., object], Tensor, str]] = {
    "mse": (nn.MSELoss(), DENSE, "mean"),
    "huber, partial": (partial(functional.huber_loss, delta=0.3), DENSE, "mean"),
    "mse, summed": (nn.MSELoss(reduction="sum"), DENSE, "sum"),
    "mse, hooked": (hooked(), DENSE, "whole"),
    "mse, its own forward": (with_own_forward(), DENSE, "sum"),
    "root of a mean": (lambda output, target: (output - target).square().mean().sqrt(), DENSE, "whole"),
    "cross-entropy": (nn.CrossEntropyLoss(), CLASSES, "mean"),
    "cross-entropy, subclass": (Weighted(), CLASSES, "whole"),
    "cross-entropy, weighted": (nn.CrossEntropyLoss(weight=WEIGHT), CLASSES, "ratio"),
    "cross-entropy, weighted and smooth": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), CLASSES, "ratio"),
    "cross-entropy, ignored": (nn.CrossEntropyLoss(ignore_index=-1), PARTLY, "ratio"),
    "cross-entropy, a class ignored": (nn.CrossEntropyLoss(ignore_index=1), CLASSES, "ratio"),
    "cross-entropy, all at once": (
        partial(functional.cross_entropy, weight=WEIGHT, ignore_index=-1, label_smoothing=0.1), PARTLY, "ratio"
    ),
    "cross-entropy, shares weighted": (nn.CrossEntropyLoss(weight=WEIGHT), SHARES, "mean"),
    "cross-entropy, in a function": (lambda o, t: functional.cross_entropy(o, t, weight=WEIGHT), CLASSES, "whole"),
    "negative log-likelihood": (
        lambda o, t: functional.nll_loss(o.log_softmax(1), t, ignore_index=-1), PARTLY, "whole"
    ),
    "focal": (focal, CLASSES, "mean"),
    "binary": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), BITS, "mean"),
    "binary, weighted": (partial(functional.binary_cross_entropy_with_logits, weight=WEIGHT), BITS, "mean"),
    "tokens as a pair": (tokens, PARTLY, "ratio"),
    "squares as a pair": (lambda o, t: ((o - t).square().sum(), torch.tensor(float(o.numel()))), DENSE, "ratio"),
    "pairs of examples": (pairs, DENSE, "whole"),
    "perplexity": (lambda output, target: functional.cross_entropy(output, target).exp(), CLASSES, "whole"),
    "cosine": (lambda output, target: 1 - functional.cosine_similarity(output, target).mean(), DENSE, "mean"),
    "in float64": (lambda output, target: functional.mse_loss(output.double(), target.double()), DENSE, "mean"),
    "largest": (lambda output, target: (output - target).abs().max(), DENSE, "whole"),
    "quantile": (lambda output, target: (output - target).abs().flatten().quantile(0.9), DENSE, "whole"),
}  # fmt: skip

METRICS: dict[str, tuple[Callable[..., object], Tensor, str]] = {
    "f1": (f1, CLASSES, "whole"),
    "f1_as_a_pair": (f1_sums, CLASSES, "ratio"),
    "auc": (auc, CLASSES, "whole"),
    "r_squared": (r_squared, DENSE, "whole"),
    "recall": (mean_recall, CLASSES, "whole"),
    "error": (lambda output, target: (output.argmax(1) != target).float().mean().item(), CLASSES, "mean"),
    "mistakes": (lambda output, target: int((output.argmax(1) != target).sum()), CLASSES, "sum"),
    "always": (lambda output, target: output.argmax(1).ge(0).float().mean(), CLASSES, "whole"),
}


def mlp() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def build(loss: Callable[..., object], targets: Tensor = CLASSES, net: nn.Module | None = None, **settings: object):
    return ModuleProblem(
        net or mlp(), loss, (INPUTS[: len(targets)], targets), **{"engine": "loop", "chunk": 7, **settings}
    )


def value_of(returned: object) -> Tensor:
    """A value, or the ratio of a pair."""
    if isinstance(returned, tuple):
        return torch.as_tensor(returned[0]).double() / torch.as_tensor(returned[1]).double()
    return torch.as_tensor(returned, dtype=torch.float64)


def reference(loss: Callable[..., object], targets: Tensor, problem: ModuleProblem, theta: Tensor) -> Tensor:
    """One forward pass of everything through a plain copy, differentiable."""
    output = functional_call(mlp(), problem.layout.views(theta), INPUTS[: len(targets)])
    return value_of(loss(output, targets))


def thetas_of(problem: ModuleProblem) -> Tensor:
    """Net's own, which is near uniform, and two far from that."""
    own = problem.flatten(mlp())
    return torch.stack([own, 3 * own + 0.1, -2 * own])


@pytest.mark.many(quick=9)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_over_a_set_and_its_gradient_are_those_of_one_pass(name):
    loss, targets, kind = CASES[name]
    problem = build(loss, targets, batch_size=None)
    assert problem._parts.quantities.means["loss"].kind == kind
    thetas = thetas_of(problem)
    for engine in ("loop", "vmap", "stack"):
        problem.use_engine(engine)
        measured = problem.measure(thetas)["loss"]
        losses, gradients = problem.gradient(thetas, None)
        for i, theta in enumerate(thetas):
            leaf = theta.clone().requires_grad_()
            value = reference(loss, targets, problem, leaf)
            (slope,) = torch.autograd.grad(value, leaf)
            value = value.detach()
            assert float(measured[i]) == pytest.approx(float(value), rel=1e-12), engine
            assert float(losses[i]) == pytest.approx(float(value), rel=1e-12), engine
            assert torch.allclose(gradients[i], slope, rtol=1e-9, atol=1e-11 * float(slope.abs().max())), engine


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("chunk", [5, 53])
def test_a_metric_over_a_set_is_that_of_one_pass(name, chunk):
    metric, targets, kind = METRICS[name]
    problem = build(
        nn.MSELoss() if targets is DENSE else nn.CrossEntropyLoss(), targets, chunk=chunk, metrics={name: metric}
    )
    assert problem._parts.quantities.means[name].kind == kind
    thetas = thetas_of(problem)
    for i, found in enumerate(problem.measure(thetas, (name,))[name]):
        assert float(found) == pytest.approx(float(reference(metric, targets, problem, thetas[i])), rel=1e-6)


@pytest.mark.parametrize("engine", ["stack", "loop"])
def test_models_of_a_segment_are_measured_as_by_themselves(engine, monkeypatch):
    monkeypatch.setattr(first_layer, "BLOCK_ELEMENTS", 80)  # parts of 10 examples
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    loss = partial(functional.cross_entropy, weight=WEIGHT, ignore_index=-1)
    metrics = {"f1": f1, "pair": f1_sums, "tokens": tokens}
    problem = build(loss, PARTLY, net, engine="stack", metrics={**metrics, "top": lambda o, t: o.max()})
    if engine == "loop":
        problem.use_engine("loop")
    a, b = problem.initial(1), problem.initial(2)
    ts = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    found = problem.measure_along(a, b, ts, problem.quantities)
    for i, t in enumerate(ts):
        output = functional_call(net, problem.layout.views(torch.lerp(a, b, t)), INPUTS)
        for name, criterion in {"loss": loss, **metrics}.items():
            assert float(found[name][i]) == pytest.approx(float(value_of(criterion(output, PARTLY))), rel=1e-10), name


@pytest.mark.parametrize("kind", ["torch", "pair"])
@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
def test_a_minibatch_that_is_all_ignored_has_no_loss_and_no_slope(kind, engine):
    loss = nn.CrossEntropyLoss(ignore_index=-1) if kind == "torch" else tokens
    problem = build(loss, PARTLY, engine=engine)
    ignored = (PARTLY == -1).nonzero().flatten()[:5]
    counted = (PARTLY != -1).nonzero().flatten()[:5]
    thetas = thetas_of(problem)[:2]
    losses, gradients = problem.gradient(thetas, torch.stack([ignored, counted]))
    assert losses[0] == 0
    assert bool((gradients[0] == 0).all())
    leaf = thetas[1].clone().requires_grad_()
    output = functional_call(mlp(), problem.layout.views(leaf), INPUTS[counted])
    value = functional.cross_entropy(output, PARTLY[counted])
    assert torch.allclose(losses[1], value.detach())
    assert torch.allclose(gradients[1], torch.autograd.grad(value, leaf)[0])


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(ignore_index=-1), nn.NLLLoss(weight=WEIGHT, ignore_index=-1)])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_targets_with_axes_of_their_own_are_weighed_by_number(loss, engine):
    net = nn.Sequential(nn.Linear(4, 15), nn.Unflatten(1, (3, 5)), nn.LogSoftmax(1)).double()
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(3, (COUNT, 5), generator=draw).where(torch.rand(COUNT, 5, generator=draw) < 0.3, -1)
    problem = build(loss, targets, net, engine=engine, batch_size=None)
    theta = problem.flatten(net)
    value = loss(net(INPUTS), targets)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(float(value.detach()), rel=1e-12)
    slope = torch.cat([x.flatten() for x in torch.autograd.grad(value, list(net.parameters()))])
    assert torch.allclose(problem.gradient(theta[None], None).gradients[0], slope, rtol=1e-9, atol=1e-14)


class Outputs(nn.Module):
    """The logits of two tokens an example, in a container of some kind."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6, dtype=torch.float64)
        self.form = form

    def forward(self, x: Tensor) -> object:
        logits = self.layer(x)
        match self.form:
            case "dict":
                return {"logits": logits.view(-1, 2, 3), "loss": None}
            case "object":
                return SimpleNamespace(logits=logits.view(-1, 2, 3), names=["a"])
            case "rows":
                return {"logits": logits.view(-1, 3), "scale": torch.ones(2)}
        return {"logits": logits.view(-1, 2, 3), "extra": logits.square().mean()}


def logits_of(output: object) -> Tensor:
    logits = output["logits"] if isinstance(output, dict) else output.logits
    return logits.reshape(-1, 3)


@pytest.mark.parametrize("form", ["dict", "object", "rows", "with a further term"])
@pytest.mark.parametrize("what", ["mean", "whole", "pair"])
def test_outputs_of_any_form_are_put_together(form, what):
    targets = torch.stack([PARTLY, CLASSES.flip(0)], dim=1)

    def loss(output: object, target: Tensor) -> object:
        each = functional.cross_entropy(logits_of(output), target.flatten(), ignore_index=-1, reduction="none")
        further = output.get("extra", 0.0) if isinstance(output, dict) else 0.0
        match what:
            case "mean":
                return each.mean() + further
            case "whole":
                return each.sum() / (target != -1).sum() + further
        return each.sum(), (target != -1).sum()

    net = Outputs(form)
    problem = build(loss, targets, net, batch_size=None)
    theta = problem.flatten(net)
    value = value_of(loss(net(INPUTS), targets))
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(float(value.detach()), rel=1e-12)
    slope = torch.cat([x.flatten() for x in torch.autograd.grad(value, list(net.parameters()))])
    assert torch.allclose(problem.gradient(theta[None], None).gradients[0], slope, rtol=1e-9, atol=1e-14)


class Crowded(nn.Module):
    """What it says of an example depends on those beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x - x.mean(0))


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=WEIGHT)])
def test_a_net_that_mixes_examples_takes_a_set_in_one_piece(loss):
    net = Crowded()
    problem = build(loss, CLASSES, net, metrics={"f1": f1})
    found = problem.measure(problem.flatten(net)[None], ("loss", "f1"))
    assert float(found["loss"]) == pytest.approx(float(loss(net(INPUTS), CLASSES).detach()), rel=1e-12)
    assert float(found["f1"]) == pytest.approx(float(f1(net(INPUTS), CLASSES)))


@pytest.mark.parametrize("name", ["cross-entropy, all at once", "tokens as a pair", "pairs of examples", "mse, summed"])
def test_products_with_the_hessian_differentiate_the_gradient(name):
    loss, targets, _ = CASES[name]
    problem = build(loss, targets)
    theta = thetas_of(problem)[1]
    vectors = torch.randn(2, problem.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = problem.hessian_products(theta, vectors, None)
    step = 1e-6
    ahead, behind = (problem.gradient(theta + sign * step * vectors, None).gradients for sign in (1, -1))
    assert torch.allclose(found, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["cross-entropy, all at once", "tokens as a pair", "mse", "mse, summed"])
def test_what_examples_add_makes_the_value_of_all(name):
    loss, targets, kind = CASES[name]
    problem = build(loss, targets)
    theta = thetas_of(problem)[1]
    each, shares = problem.measure_each(theta), problem.shares(theta)
    value = float(problem.measure(theta[None])["loss"])
    assert float(each.mean()) == pytest.approx(value, rel=1e-12)
    assert float(shares.sums.sum() / shares.weights.sum()) == pytest.approx(value, rel=1e-12)
    if kind == "ratio":
        assert bool((each[targets == -1] == 0).all())
        some = torch.arange(20, 40)  # of other examples it is that of these
        part = build(loss, targets[some], batch_size=None)
        quantities = replace(part._parts.quantities, sets={"": problem.observed().take(some)})
        part._parts = replace(part._parts, quantities=quantities)
        here = float(part.measure(theta[None])["loss"])
        assert float(shares.sums[some].sum() / shares.weights[some].sum()) == pytest.approx(here, rel=1e-9)


def test_an_example_has_no_share_of_what_is_measured_whole(refused):
    problem = build(nn.CrossEntropyLoss(), metrics={"f1": f1})
    assert problem.adds("loss")
    assert not problem.adds("f1")
    with refused(Unsupported, "measured on all outputs together"):
        problem.measure_each(problem.flatten(mlp()), "f1")


def test_an_average_of_predictions_is_measured_as_one_model_is():
    loss = nn.CrossEntropyLoss(weight=WEIGHT)
    problem = build(loss, metrics={"f1": f1, "pair": f1_sums})
    thetas = thetas_of(problem)
    found = problem.measure_average(thetas, ("loss", "f1", "pair")).values
    outputs = [functional_call(mlp(), problem.layout.views(theta), INPUTS).softmax(1) for theta in thetas]
    output = torch.stack(outputs).mean(0).log()
    assert found["loss"] == pytest.approx(float(loss(output, CLASSES)), rel=1e-12)
    assert found["f1"] == pytest.approx(float(f1(output, CLASSES)))
    assert found["pair"] == pytest.approx(float(f1(output, CLASSES)))


@pytest.mark.parametrize("pair", [True, False])
def test_a_training_step_may_return_sums(pair):
    def step(net: nn.Module, inputs: Tensor, targets: Tensor) -> object:
        total, weight = tokens(net(inputs), targets)
        return (2 * total, weight) if pair else 2 * total / weight

    problem = build(tokens, PARTLY, training_step=step, batch_size=None)
    theta = thetas_of(problem)[1]
    leaf = theta.clone().requires_grad_()
    value = 2 * reference(tokens, PARTLY, problem, leaf)
    losses, gradients = problem.gradient(theta[None], None)
    assert float(losses) == pytest.approx(float(value.detach()), rel=1e-12)
    assert torch.allclose(gradients[0], torch.autograd.grad(value, leaf)[0], rtol=1e-10, atol=1e-14)


def test_a_part_looked_at_first_is_weighed_as_all_are(monkeypatch):
    monkeypatch.setattr(module, "SCREENING_EXAMPLES", 13)
    loss = nn.CrossEntropyLoss(ignore_index=-1)
    problem = build(loss, PARTLY, metrics={"f1": f1})
    part = problem.screening
    theta = problem.flatten(mlp())
    found = part.measure(theta[None], ("loss", "f1"))
    examples = part.observed()
    assert len(examples) == 13
    output = mlp()(examples.leaves[0])
    assert float(found["loss"]) == pytest.approx(float(loss(output, examples.targets).detach()), rel=1e-12)
    assert float(found["f1"]) == pytest.approx(float(f1(output, examples.targets)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_in_low_precision_do_not_overflow(dtype):
    targets = torch.randint(3, (600, 400), generator=torch.Generator().manual_seed(0))
    targets[:, :200] = -1
    inputs = torch.linspace(-1, 1, 600).unsqueeze(1)
    net = nn.Sequential(nn.Linear(1, 1200), nn.Unflatten(1, (3, 400)))
    loss = nn.CrossEntropyLoss(ignore_index=-1)
    problem = ModuleProblem(net, loss, (inputs, targets), dtype=dtype, engine="loop", batch_size=None, chunk=250)
    theta = problem.layout.flatten(named_tensors(net))
    want = float(loss(net(inputs), targets).detach())
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(want, rel=0.02)
    found = problem.gradient(theta[None], None)
    assert float(found.losses) == pytest.approx(want, rel=0.02)
    assert bool(found.gradients.isfinite().all())


# What is refused


def test_a_set_in_which_nothing_counts_is_refused(refused):
    with refused(InvalidData, r"^the train targets have no weight in loss_fn \(all 53 examples are ignored"):
        build(nn.CrossEntropyLoss(ignore_index=-1), torch.full_like(CLASSES, -1))
    with refused(InvalidData, "the holdout targets have no weight"):
        build(tokens, PARTLY, holdout=(INPUTS, torch.full_like(CLASSES, -1)))
    with refused(InvalidData, "no weight"):
        build(nn.CrossEntropyLoss(weight=torch.zeros(3, dtype=torch.float64)))


def test_a_weight_that_depends_on_theta_is_refused(refused):
    with refused(InvalidSetting, "a weight that carries a gradient: the weight must not depend on theta"):
        build(lambda output, target: (output.square().sum(), output.sum() * 0 + len(target)), DENSE)
    with refused(InvalidSetting, "a weight that depends on the outputs"):
        build(lambda output, target: (output.square().sum(), output.detach().abs().sum()), DENSE)


def test_means_in_place_of_sums_are_refused(refused):
    with refused(InvalidSetting, r"^loss_fn returned \(sum, weight\) whose sum over 53 .* return sums over"):
        build(lambda output, target: (functional.mse_loss(output, target), torch.tensor(len(target))), DENSE)
    with refused(InvalidSetting, r"^f1 returned \(sum, weight\) whose weight over 53 examples is 1, but 2 over two"):
        build(nn.MSELoss(), DENSE, metrics={"f1": lambda output, target: (output.sum(), 1.0)})


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ((torch.ones(2), 1), r"\(\(2,\) float32, a int\)"),
        ((1.0, 2.0), r"\(a float, a float\)"),
        ((torch.tensor(1.0), torch.tensor(1.0), 3), "a tuple"),
        (torch.tensor(1j), r"\(\) complex64"),
    ],
)
def test_what_is_neither_a_scalar_nor_a_pair_is_refused(refused, returned, what):
    with refused(InvalidSetting, rf"^loss_fn returned {what}: it must return one floating .* or \(sum, weight\)"):
        build(lambda output, target: returned)


def test_outputs_that_do_not_fit_are_refused_in_words(refused, monkeypatch):
    problem = build(nn.CrossEntropyLoss(), metrics={"f1": f1})
    theta = problem.flatten(mlp())[None]
    for engine in ("loop", "vmap", "stack"):
        monkeypatch.setattr(tally, "most_bytes", lambda device: 10**6)
        problem.use_engine(engine)
        monkeypatch.setattr(tally, "most_bytes", lambda device: 1000)
        assert float(problem.measure(theta)["loss"]) > 0
        with refused(InvalidSetting, r"on all 53 outputs at once, which do not fit .*: return \(sum, weight\)"):
            problem.measure(theta, ("f1",))


def test_a_gradient_over_all_that_does_not_fit_is_refused_in_words(refused):
    built = []

    def greedy(output: Tensor, target: Tensor) -> Tensor:
        if built and len(output) > 20:
            raise MemoryError
        return pairs(output, target)

    problem = build(greedy, DENSE, batch_size=10)
    theta = problem.flatten(mlp())[None]
    built.append(problem)
    with refused(InvalidSetting, "one pass over all 53 does not fit into memory: return .* or pass a batch_size="):
        problem.gradient(theta, None)


@pytest.mark.parametrize("altered", [hooked(), with_own_forward(), Weighted(), lambda o, t: functional.mse_loss(o, t)])
def test_only_losses_as_torch_wrote_them_are_recognised(altered):
    assert recognised(altered) is None
    assert recognised(partial(functional.mse_loss, INPUTS)) is None
    assert recognised(partial(functional.mse_loss, target=INPUTS)) is None
    assert type(recognised(partial(partial(functional.huber_loss, delta=2.0), reduction="sum"))) is nn.HuberLoss


# Certificates


def test_a_weighted_loss_is_certified_above_its_own_value():
    problem = build(nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=-1), PARTLY, chunk=5)
    beads = thetas_of(problem)[:2]
    string = WeightString(problem, beads)
    certificate = certify(problem, string, tol=1e-2)
    dense = problem.measure(torch.stack([torch.lerp(*beads, i / 40) for i in range(41)]))["loss"]
    assert float(dense.max()) <= certificate.upper_bound <= 1.05 * float(dense.max())


def test_a_pair_of_sums_is_no_quantity_that_certificates_know(refused):
    problem = build(tokens, PARTLY)
    with refused(Unsupported, r"'loss' is computed as \(sum, weight\), for which certificates have no rule"):
        problem.traceable("loss")


class Inside(nn.Module):
    """Computes its loss itself, as language models do that are given the labels."""

    def __init__(self, pads: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)
        nn.init.uniform_(self.layer.weight, -1e-4, 1e-4)  # near uniform, where a padded mean looks like any other
        nn.init.zeros_(self.layer.bias)
        self.pads = pads

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.layer(x)
        return {"loss": functional.cross_entropy(logits, labels, ignore_index=-1 if self.pads else -100)}


@pytest.mark.parametrize("pads", [True, False])
def test_a_loss_computed_in_the_net_is_right_and_cut_only_where_it_is_a_mean(pads):
    net, labels = Inside(pads), PARTLY if pads else CLASSES
    problem = ModuleProblem(net, lambda out, y: out["loss"], ((INPUTS, labels), labels), engine="loop", chunk=7)
    assert (problem.computation.block, problem._parts.quantities.means["loss"].kind) == (
        (COUNT, "whole") if pads else (7, "mean")
    )
    thetas = torch.stack([problem.flatten(net), torch.linspace(-1, 2, problem.size, dtype=torch.float64)])
    for theta, found in zip(thetas, problem.measure(thetas)["loss"], strict=True):
        value = functional_call(net, problem.layout.views(theta), (INPUTS, labels))["loss"]
        assert float(found) == pytest.approx(float(value.detach()), rel=1e-12)


@pytest.mark.parametrize("form", [nn.CrossEntropyLoss, lambda weight: partial(functional.cross_entropy, weight=weight)])
def test_weights_in_single_precision_serve_a_problem_in_double(form):
    given = form(weight=WEIGHT.float())
    problem = build(given, metrics={"again": given})
    theta = problem.flatten(mlp())
    found = problem.measure(theta[None], ("loss", "again"))
    value = float(functional.cross_entropy(mlp()(INPUTS), CLASSES, weight=WEIGHT.float().double()).detach())
    assert float(found["loss"]) == pytest.approx(value, rel=1e-12)
    assert float(found["again"]) == pytest.approx(value, rel=1e-12)
