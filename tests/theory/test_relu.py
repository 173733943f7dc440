"""Paths through sub-networks and mixtures: no point is over the corners, whatever the ends."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.theory.one_hidden import OneHidden
from weightstring.theory.relu import connect, exchange

unchecked = pytest.mark.usefixtures("unchecked")  # where annotations would take most of the time
TS = torch.linspace(0, 1, 401, dtype=torch.float64)
METHODS = {
    "greedy": connect,
    "lasso": lambda problem, a, b: connect(problem, a, b, method="lasso"),
    "exchange": exchange,
    "exchange, lasso": lambda problem, a, b: exchange(problem, a, b, "lasso"),
}


def drawn(*shape, seed=0, shift=0.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def sequential(d, m, c, bias=(True, True), activation=None):
    return nn.Sequential(nn.Linear(d, m, bias[0]), activation or nn.ReLU(), nn.Linear(m, c, bias[1])).double()


def regression(d=3, m=7, c=2, bias=(True, True), dtype=torch.float64, loss=None, activation=None):
    """Inputs off the origin, measured on another set than that of training, in parts of uneven size."""
    x, more = drawn(37, d, seed=1, shift=0.7), drawn(29, d, seed=2, shift=-0.4)

    def target(z):
        return torch.stack([(z[:, 0] - 0.3).abs() + 0.2 * j * z.sum(1) - 1.5 for j in range(c)], 1)

    data = [(z.to(dtype), target(z).to(dtype)) for z in (x, more)]
    net = sequential(d, m, c, bias, activation).to(dtype)
    return ws.ModuleProblem(net, loss or nn.MSELoss(), *data, batch_size=None, chunk=11, engine="stack")


def classification(d=3, m=5, c=4, bias=(True, True), dtype=torch.float64, loss=None):
    x = drawn(41, d, seed=3, shift=0.5)
    y = (drawn(41, c, seed=4) + x @ drawn(d, c, seed=5)).argmax(1)
    net = sequential(d, m, c, bias).to(dtype)
    return ws.ModuleProblem(net, loss or nn.CrossEntropyLoss(), (x.to(dtype), y), batch_size=None, engine="stack")


def random_ends(problem, scale=1.5, seed=7):
    a, b = scale * drawn(2, problem.size, seed=seed, shift=0.1)
    return a.to(problem.dtype), b.to(problem.dtype)


def highest(problem, path):
    """The largest loss on 401 points of every piece."""
    beads = path.string.beads
    losses = [
        problem.measure(torch.lerp(beads[i], beads[i + 1], TS.to(beads)[:, None]))["loss"].max()
        for i in range(len(beads) - 1)
    ]
    return max(losses).item()


def holds(problem, a, b, path, rel=1e-9):
    assert torch.equal(path.string[0], a)
    assert torch.equal(path.string[-1], b)
    assert path.bound == max(path.losses.values()) == path.curve.bound
    assert len(path.losses) == len(path.string)
    ends = problem.measure(torch.stack([a, b]))["loss"].tolist()
    assert [path.losses["A"], path.losses["B"]] == pytest.approx(ends, rel=rel)
    assert path.excess == pytest.approx(path.bound - max(ends), rel=1e-6, abs=rel)
    assert highest(problem, path) <= path.bound * (1 + rel)
    half = 0.5 / len(path.curve.pieces)
    torch.testing.assert_close(path.curve.at(half), (path.string[0] + path.string[1]) / 2)


@pytest.mark.many(quick=2)
@unchecked
@pytest.mark.parametrize("method", ["greedy", "exchange"])
@pytest.mark.parametrize("bias", [(True, True), (False, False), (True, False), (False, True)])
def test_no_sample_of_a_squared_loss_is_over_the_corners(method, bias):
    problem = regression(bias=bias)
    a, b = random_ends(problem)
    holds(problem, a, b, METHODS[method](problem, a, b))


@pytest.mark.many(quick=2)
@unchecked
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bias", [(True, True), (False, False)])
def test_no_sample_of_a_cross_entropy_is_over_the_corners(method, bias):
    problem = classification(bias=bias)
    a, b = random_ends(problem)
    holds(problem, a, b, METHODS[method](problem, a, b))


@pytest.mark.slow
@pytest.mark.many(quick=1)
@unchecked
@pytest.mark.parametrize("loss", [nn.L1Loss(), nn.HuberLoss(delta=0.3), nn.functional.smooth_l1_loss])
def test_other_convex_losses_and_activations(loss):
    problem = regression(c=1, m=4, loss=loss, activation=nn.Tanh())
    a, b = random_ends(problem)
    holds(problem, a, b, connect(problem, a, b))
    holds(problem, a, b, exchange(problem, a, b))


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("method", ["greedy", "exchange"])
def test_single_precision(make, method):
    problem = make(dtype=torch.float32)
    a, b = random_ends(problem)
    path = METHODS[method](problem, a, b)
    assert path.string.beads.dtype == torch.float32
    holds(problem, a, b, path, rel=2e-5)


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("method", ["greedy", "exchange"])
def test_certificates_agree(make, method):
    problem = make()
    a, b = random_ends(problem)
    path = METHODS[method](problem, a, b)
    certificate = ws.certify(problem, path.string)
    assert path.bound <= certificate.upper_bound <= path.bound * (1 + 1e-3)
    assert ws.verify(problem, path.string, certificate).ok


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    ("s_a", "s_b"),
    [
        ([0, 2, 4], [0, 2, 4, 6]),  # no slot is left over, three are wanted twice
        ([5, 6], [0, 1, 2, 3, 4]),  # no slot is left over, none is wanted twice
        ([6, 5, 4], [4, 5]),
        ([], [0, 1, 2, 3, 4, 5, 6]),
        ([3], []),
    ],
)
def test_given_subsets(s_a, s_b):
    problem = regression()
    a, b = random_ends(problem)
    path = connect(problem, a, b, (s_a, s_b))
    holds(problem, a, b, path)
    assert path.subsets == (sorted(s_a), sorted(s_b))

    examples = problem.traceable("loss")[2]
    for theta, units, name in ((a, s_a, "A on S_A"), (b, s_b, "B on S_B")):
        weights = problem.unflatten(theta)
        hidden = torch.relu(examples.inputs @ weights["0.weight"].T + weights["0.bias"])[:, sorted(units)]
        hidden = torch.cat([hidden, torch.ones(len(hidden), 1).double()], 1)
        best = hidden @ torch.linalg.pinv(hidden) @ examples.targets
        found = [loss for corner, loss in path.losses.items() if corner.startswith(name)]
        assert found
        assert found == pytest.approx([(best - examples.targets).square().mean().item()] * len(found), rel=1e-9)


def test_a_cross_entropy_fit_is_that_of_a_logistic_regression():
    problem = classification(d=2, m=3, c=3)
    a, _ = random_ends(problem, scale=0.6)
    net = OneHidden.of(problem)
    inner, outer = net.parts(a)
    features = net.features(inner)
    loss, gradient = net.slope(features, net.fit(features, [0, 2], outer))
    x, y = features[:, [0, 2]].numpy(), problem.traceable("loss")[2].targets.numpy()
    probabilities = LogisticRegression(C=1e9, max_iter=5000, tol=1e-9).fit(x, y).predict_proba(x)
    assert loss == pytest.approx(-torch.tensor(probabilities)[range(41), y].log().mean().item(), rel=1e-5)
    assert (features[:, [0, 2, 3]].T @ gradient).abs().max() < 1e-5


def embedded(problem, teacher, slots, noise, seed):
    """The teacher's units in some slots; idle units, whose outgoing weights are zero, in the others."""
    layers = problem.unflatten(drawn(problem.size, seed=seed))
    for name in ("0.weight", "0.bias"):
        layers[name][slots] = teacher[name]
    layers["2.weight"].zero_()
    layers["2.weight"][:, slots] = teacher["2.weight"] + noise
    layers["2.bias"].copy_(teacher["2.bias"])
    return problem.flatten(layers)


@pytest.mark.many(quick=2)
@unchecked
@pytest.mark.parametrize("method", ["greedy", "exchange"])  # a lasso of the outputs may take idle units in early
@pytest.mark.parametrize(("m", "noise"), [(6, 0.0), (6, 0.3), (9, 0.3)])
def test_twice_the_teachers_units_are_enough(method, m, noise):
    d, k, c = 4, 3, 2
    net = sequential(d, k, c)
    teacher = {name: drawn(*w.shape, seed=i, shift=0.2) for i, (name, w) in enumerate(net.state_dict().items())}
    net.load_state_dict(teacher)
    x = drawn(50, d, seed=9, shift=0.3)
    problem = ws.ModuleProblem(sequential(d, m, c), nn.MSELoss(), (x, net(x).detach()), batch_size=None, engine="stack")
    a, b = embedded(problem, teacher, [0, 1, 2], noise, 11), embedded(problem, teacher, [4, 2, 0], -2 * noise, 12)
    path = METHODS[method](problem, a, b)
    ends = problem.measure(torch.stack([a, b]))["loss"]
    assert (ends.max() > 0.01) == (noise > 0)
    assert path.bound == pytest.approx(ends.max().item(), abs=1e-20)
    if noise:
        holds(problem, a, b, path)


@pytest.mark.many(quick=2)
@unchecked
@pytest.mark.parametrize("method", METHODS)
def test_permuted_copies(method):
    problem = regression(m=8)
    a, _ = random_ends(problem)
    layers = problem.unflatten(a)
    order = torch.tensor([3, 0, 7, 1, 6, 5, 2, 4])
    moved = {name: layers[name][order] for name in ("0.weight", "0.bias")}
    b = problem.flatten({**layers, **moved, "2.weight": layers["2.weight"][:, order]})
    there, back = METHODS[method](problem, a, b), METHODS[method](problem, b, a)
    holds(problem, a, b, there)
    assert there.losses["A"] == pytest.approx(there.losses["B"], rel=1e-12)
    assert there.bound == pytest.approx(back.bound, rel=1e-9)


@pytest.mark.many(quick=2)
@unchecked
@pytest.mark.parametrize("seed", range(5))
def test_mixtures_are_never_higher_than_sub_networks(seed):
    problem = regression(m=3 + seed, d=2 + seed % 3)
    net = OneHidden.of(problem)
    ends = []
    for theta in random_ends(problem, seed=20 + seed):  # the best outer weights, so that the ends do not hide the rest
        inner, outer = net.parts(theta)
        ends.append(net.theta(inner, net.fit(net.features(inner), range(len(inner)), outer)))
    sparse, mixed = connect(problem, *ends), exchange(problem, *ends)
    holds(problem, *ends, mixed)
    assert mixed.bound <= sparse.bound * (1 + 1e-9)
    by_hand = [connect(problem, *ends, (range(k), range(k, len(inner)))).bound for k in range(len(inner) + 1)]
    assert sparse.bound <= max(by_hand)


@pytest.mark.slow
@unchecked
def test_more_units_lower_the_bound():
    excess = []
    for m in (2, 8, 24):
        problem = regression(m=m)
        a, b = random_ends(problem, seed=3)
        excess.append(max(v for k, v in connect(problem, a, b).losses.items() if "on S" in k))
    assert excess[0] > 2 * excess[1] > 4 * excess[2]


@pytest.mark.slow
@unchecked
def test_silent_and_doubled_units_get_no_huge_weights():
    problem = regression(m=6)
    a, b = random_ends(problem)
    layers = problem.unflatten(a)
    layers["0.weight"][[1, 4]] = 0
    layers["0.bias"][1], layers["0.bias"][4] = -1.0, -2.0
    layers["0.weight"][3], layers["0.bias"][3] = layers["0.weight"][2], layers["0.bias"][2]
    a = problem.flatten(layers)
    for method in METHODS.values():
        path = method(problem, a, b)
        assert path.string.beads.abs().max() < 1e4
        holds(problem, a, b, path)


@unchecked
def test_one_unit_and_equal_ends():
    problem = regression(m=1, c=1)
    a, b = random_ends(problem)
    for method in METHODS.values():
        holds(problem, a, b, method(problem, a, b))
        holds(problem, a, a, method(problem, a, a))


WRONG = {
    "deeper": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
    "another kind": nn.Linear(3, 2),
    "mixing activation": nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)),
    "trained activation": nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2)),
}


@pytest.mark.parametrize("net", WRONG.values(), ids=WRONG)
def test_other_modules_are_refused(refused, net):
    x = drawn(9, 3).float()
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x[:, :2]), engine="loop")
    a = problem.initial(0) if "PReLU" not in str(net) else problem.flatten(net)
    with refused(InvalidSetting, r"needs a module that computes nn\.Sequential\(nn\.Linear, activation, nn\.Linear\)"):
        connect(problem, a, a)


def test_frozen_and_tied_parameters_are_refused(refused):
    x = drawn(9, 3)
    frozen, tied = sequential(3, 4, 3), sequential(3, 3, 3)
    frozen[0].weight.requires_grad_(False)
    tied[2].weight = tied[0].weight
    for net in (frozen, tied):
        problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x), engine="loop")
        with refused(InvalidSetting, "every parameter trained and none tied"):
            exchange(problem, problem.initial(0), problem.initial(1))


def hinge(output, targets):
    return (output - targets).abs().sqrt().mean()


@pytest.mark.parametrize("loss", [hinge, nn.CrossEntropyLoss(weight=torch.tensor([1.0, -0.5, 1.0, 1.0]))])
def test_losses_not_known_to_be_convex_are_refused(refused, loss):
    problem = classification(loss=loss) if isinstance(loss, nn.Module) else regression(loss=loss)
    with refused(InvalidSetting, "is not known to be convex in the output"):
        connect(problem, *random_ends(problem))


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "shift"), [(nn.CrossEntropyLoss(), -0.3), (nn.BCEWithLogitsLoss(), 0.4)])
def test_targets_that_are_no_probabilities_are_refused(refused, loss, shift):
    y = torch.softmax(drawn(9, 2, seed=1), 1).clamp(0.1, 0.9)
    for targets in (y, y + shift):
        problem = ws.ModuleProblem(sequential(3, 4, 2), loss, (drawn(9, 3), targets), engine="loop", batch_size=None)
        a, b = random_ends(problem)
        if targets is y:
            holds(problem, a, b, connect(problem, a, b))
        else:
            with refused(InvalidSetting, r"not probabilities.*give targets in \[0, 1\]"):
                connect(problem, a, b)


def with_hook(module, hook):
    module.register_forward_hook(hook)
    return module


def with_forward(module, forward):
    module.forward = forward
    return module


class Tame(nn.MSELoss):
    def forward(self, output, target):
        return super().forward(output, target) / (1 + super().forward(output, target))


class SquareRoot(nn.CrossEntropyLoss):
    def forward(self, output, target):
        return super().forward(output, target).sqrt()


FALSELY_CONVEX = {
    "hook": with_hook(nn.MSELoss(), lambda module, args, value: value.clamp(max=0.1)),
    "hook that changes the sign": with_hook(nn.MSELoss(), lambda module, args, value: -value),
    "pre-hook": nn.L1Loss(),
    "subclass": Tame(),
    "subclass of an entropy": SquareRoot(),
    "forward of an instance": with_forward(nn.HuberLoss(), lambda output, target: (output - target).sin().mean()),
    "difference of convex losses": lambda output, target: (
        nn.functional.mse_loss(output, target) - nn.functional.l1_loss(output, target)
    ),
    "target that depends on the output": lambda output, target: nn.functional.mse_loss(output, target * output),
}
FALSELY_CONVEX["pre-hook"].register_forward_pre_hook(lambda module, args: (args[0].tanh(), args[1]))


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("loss", FALSELY_CONVEX.values(), ids=FALSELY_CONVEX)
def test_losses_that_only_look_convex_are_refused(refused, loss):
    x = drawn(9, 3)
    problem = ws.ModuleProblem(sequential(3, 4, 2), loss, (x, x[:, :2].softmax(1)), engine="loop", batch_size=None)
    for function in (connect, exchange):
        with refused(InvalidSetting, "not known to be convex in the output"):
            function(problem, *random_ends(problem))


class Half(nn.Module):
    def forward(self, w):
        return w.tanh()


class Bent(nn.Linear):
    def forward(self, x):
        return super().forward(x).tanh()


class Skip(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + x


class Shy(nn.Sequential):
    def forward(self, x):
        return super().forward(x) if torch.compiler.is_compiling() else super().forward(x).sin()


def parametrized():
    net = sequential(3, 4, 3)
    nn.utils.parametrize.register_parametrization(net[0], "weight", Half())
    return net


def changed(layer, change):
    net = sequential(3, 4, 3)
    change(net[layer])
    return net


FALSELY_HIDDEN = {
    "mixing hook": changed(1, lambda layer: with_hook(layer, lambda module, args, output: output.cumsum(1))),
    "hook on the outer layer": changed(2, lambda layer: with_hook(layer, lambda module, args, output: output.sin())),
    "pre-hook": changed(0, lambda layer: layer.register_forward_pre_hook(lambda module, args: (args[0].sin(),))),
    "forward of an instance": changed(2, lambda layer: with_forward(layer, lambda x: x[:, :3] * layer.weight.sum())),
    "subclass of the outer layer": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Bent(4, 3)).double(),
    "subclass of the net": Skip(*sequential(3, 4, 3)),
    "parametrized layer": parametrized(),
    "unit of its own kind": nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.Linear(4, 3)).double(),
    "another course when traced": Shy(*sequential(3, 4, 3)),
}


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("net", FALSELY_HIDDEN.values(), ids=FALSELY_HIDDEN)
def test_nets_that_only_look_like_one_hidden_layer_are_refused(refused, net):
    problem = ws.ModuleProblem(net, nn.MSELoss(), (drawn(5, 3), drawn(5, 3, seed=1)), engine="loop", batch_size=None)
    with refused(InvalidSetting, "nn.Sequential|its traced operations do not give"):
        connect(problem, *random_ends(problem))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.last, self.first = nn.Dropout(0.4), nn.Linear(4, 2), nn.Linear(3, 4, bias=False)

    def forward(self, x):
        return self.last(self.drop(nn.functional.softsign(self.first(x)) * 2 + 0.5))


@pytest.mark.slow
@unchecked
@pytest.mark.parametrize(
    ("net", "loss"),
    [
        (Own().double(), lambda output, target: (3 * (target - output)).abs().sum(1).mean() / 2),
        (
            sequential(3, 4, 2, activation=nn.ReLU(inplace=True)),
            with_hook(nn.MSELoss(), lambda m, args, value: 2 * value),
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.Tanhshrink(), nn.Linear(4, 2)).double(), nn.HuberLoss(delta=0.2)),
        (
            nn.Sequential(
                with_hook(nn.Linear(3, 4), lambda m, args, out: out * 2), nn.SiLU(), nn.Linear(4, 2)
            ).double(),
            lambda output, target: nn.functional.mse_loss(output, target) + nn.functional.l1_loss(output, target),
        ),
    ],
)
def test_what_computes_a_convex_loss_is_taken_whatever_its_classes(net, loss):
    x = drawn(23, 3, seed=1, shift=0.4)
    problem = ws.ModuleProblem(net, loss, (x, x[:, :2].abs() - 0.7), batch_size=None, engine="loop")
    a, b = random_ends(problem)
    holds(problem, a, b, connect(problem, a, b))
    holds(problem, a, b, exchange(problem, a, b))


def test_inputs_with_more_axes_are_refused(refused):
    problem = ws.ModuleProblem(
        sequential(3, 4, 3), nn.MSELoss(), (drawn(5, 2, 3), drawn(5, 2, 3, seed=1)), engine="loop"
    )
    with refused(InvalidSetting, r"needs one tensor \(N, d\)"):
        connect(problem, *random_ends(problem))


@pytest.mark.parametrize(
    ("subsets", "pattern"),
    [
        (([0, 1, 2, 3], [0, 1, 2, 3]), r"4 \+ 4 units for 7 slots; name at most 7"),
        (([0, 7], []), r"no unit 7; the hidden layer has units 0 to 6"),
        (([], [-1]), r"no unit -1"),
    ],
)
def test_subsets_that_do_not_fit_are_refused(refused, subsets, pattern):
    problem = regression()
    with refused(InvalidSetting, pattern):
        connect(problem, *random_ends(problem), subsets)


def test_unknown_methods_and_infinite_ends_are_refused(refused):
    problem = regression()
    a, b = random_ends(problem)
    for function in (connect, exchange):
        with refused(InvalidSetting, "method='best': choose one of greedy, lasso"):
            function(problem, a, b, method="best")
        with refused(InvalidSetting, "the loss of b is (inf|nan): give ends whose loss is finite"):
            function(problem, a, b * 1e200)
    assert math.isfinite(connect(problem, a, b).bound)


def test_recalibrated_batch_norm_is_refused(refused):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    x = drawn(9, 3).float()
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x[:, :2]), engine="loop")
    with refused(Unsupported, "running statistics are estimated anew"):
        connect(problem, problem.initial(0), problem.initial(1))
