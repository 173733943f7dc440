"""Alignment recovers the copies whose answer is known, keeps the function, and says what it did."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidSetting, NotEquivalent, Unsupported
from weightstring.problem.surfaces import Ring
from weightstring.symmetry import activations, equivalence, finding
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import Move, random_permutation
from weightstring.symmetry.spec import Group, Spec, Symmetry

from .zoo import ZOO, Net, change, numbers, problem_of, scattered

REQUIRED = (
    "mlp, relu",
    "cnn, recalibrated",
    "resnet, batch norm",
    "separable",
    "resnet, group norm",
    "lstm",
    "encoder",
    "gpt",
)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", ZOO)
def test_a_permuted_copy_is_recovered_exactly(name):
    problem = ZOO[name].problem()
    theta = scattered(problem)
    for method in ("weights", "activations"):
        found = ws.align(problem, theta, ws.permuted_copy(problem, theta, 1), methods=[method])
        assert torch.equal(found.theta, theta)
        assert found.distance == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUIRED)
def test_several_permuted_copies_are_recovered_exactly(name):
    problem = ZOO[name].problem()
    theta = scattered(problem)
    found = [ws.align(problem, theta, ws.permuted_copy(problem, theta, seed)) for seed in range(5)]
    assert [torch.equal(each.theta, theta) for each in found] == [True] * 5
    assert max(each.difference for each in found) <= 1e-12


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_permuted_and_rescaled_copy_is_recovered_up_to_rounding(name):
    problem = ZOO[name].problem()
    theta = scattered(problem)
    copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    found = ws.align(problem, theta, copy)
    assert float((found.theta - theta).norm() / theta.norm()) < 1e-6
    assert found.difference <= 1e-12


@pytest.fixture(scope="module")
def digits(digits_end):
    from weightstring.tasks import load_task

    return load_task("digits"), digits_end(0), digits_end(1)


@pytest.mark.slow
def test_trained_networks_come_nearer_and_keep_their_function(digits):
    problem, a, b = digits
    found = ws.align(problem, a, b)
    assert found.distance < 0.8 * found.distance_before
    assert found.barrier_after < 0.15 * found.barrier_before
    assert found.difference <= 1e-5
    assert float((found.theta - a).norm()) == pytest.approx(found.distance)
    assert change(problem, b, found.theta) <= 1e-5


@pytest.mark.slow
def test_matched_units_correlate(digits):
    problem, a, b = digits
    found = ws.align(problem, a, b)
    assert {name: len(after) for name, (_, after) in found.correlations.items()} == {"0": 64, "2": 64}
    for before, after in found.correlations.values():
        assert float(before.mean()) < 0.2 < 0.5 < float(after.mean())


@pytest.mark.slow
def test_the_choice_is_the_least_of_what_was_asked_for(digits):
    problem, a, b = digits
    by_distance = ws.align(problem, a, b, by="distance")
    assert by_distance.distance == min(each.distance for each in by_distance.candidates)
    by_barrier = ws.align(problem, a, b, by="barrier")
    assert by_barrier.chosen.barrier == min(each.barrier for each in by_barrier.candidates)
    assert [each.method for each in by_barrier.candidates][:2] == ["none", "weights"]


@pytest.mark.slow
def test_of_the_same_barrier_the_lowest_middle_is_taken():
    problem = ZOO["mlp, relu"].problem()
    kept = 0
    for seed in range(8):
        a, b = scattered(problem, seed), 3 * scattered(problem, seed + 50)
        found, nearest = ws.align(problem, a, b), ws.align(problem, a, b, by="distance")
        if len({each.barrier for each in found.candidates}) > 1:
            continue
        middles = [(a + theta) / 2 for theta in (found.theta, b, nearest.theta)]
        taken, given, other = problem.measure(torch.stack(middles))["loss"].tolist()
        assert taken <= min(given, other) * (1 + 1e-5)
        kept += found.chosen.method == "none" and other > given
    assert kept


def test_without_rescaling_only_units_move(digits):
    problem, a, b = digits
    found = ws.align(problem, a, b, rescale=False)
    assert torch.equal(found.theta.sort().values, b.sort().values)
    assert not any(each.rescaled for each in found.candidates)


def test_rescaling_brings_models_nearer_than_permuting(digits):
    problem, a, b = digits
    both, permuted = (ws.align(problem, a, b, by="distance", rescale=rescale) for rescale in (True, False))
    assert both.distance < permuted.distance


def test_alignment_repeats_itself(digits):
    problem, a, b = digits
    one, two = (ws.align(problem, a, b, seed=3) for _ in range(2))
    assert torch.equal(one.theta, two.theta)


def test_a_model_aligned_with_itself_stays_as_it_is(digits):
    problem, a, _ = digits
    found = ws.align(problem, a, a)
    assert torch.equal(found.theta, a)
    assert (found.distance, found.distance_before) == (0, 0)


def test_the_move_makes_the_aligned_model(digits):
    problem, a, b = digits
    found = ws.align(problem, a, b)
    assert torch.equal(found.move(b), found.theta)
    assert found.permutation.keys() == {"0", "2"}
    assert sorted(found.permutation["0"].tolist()) == list(range(64))


def test_dead_and_identical_units_do_no_harm():
    problem = ZOO["mlp, relu"].problem()
    theta = scattered(problem)
    views = problem.layout.views(theta)
    first = next(iter(views))
    views[first][0] = 0.0
    views[first][2] = views[first][1]
    found = ws.align(problem, theta, ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 1))
    assert found.difference <= 1e-12
    assert bool(found.theta.isfinite().all())


def test_signs_of_odd_units_are_matched():
    problem = ZOO["mlp, tanh"].problem()
    theta = scattered(problem)
    flipped = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 1)
    found = ws.align(problem, theta, flipped)
    assert torch.equal(found.theta, theta)
    assert any(bool((factors < 0).any()) for factors in found.move.factors.values())


# By hand


def by_hand(width: int = 6) -> tuple[ws.ModuleProblem, Symmetry]:
    """A network with an operation that has no rule, and its symmetry by hand."""

    def forward(self, x):
        return self.last(torch.fft.fft(self.first(x).relu(), dim=0).real)

    problem = problem_of(Net(forward, first=nn.Linear(3, width), last=nn.Linear(width, 2)), numbers(3)(9))
    axes = {"first.weight": ("h", None), "first.bias": ("h",), "last.weight": (None, "h")}
    return problem, Symmetry(problem.layout, Spec({"h": Group("h", width)}, axes))


def gated() -> nn.Module:
    """Two layers of gated units: what opens a gate has a sign of its own, what goes through it may be negated."""

    def forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for index in (0, 1):
            x = getattr(net, f"down{index}")(F.silu(getattr(net, f"gate{index}")(x)) * getattr(net, f"up{index}")(x))
        return x

    sizes = {"gate": (5, 7), "up": (5, 7), "down": (7, 5)}
    return Net(forward, **{f"{name}{i}": nn.Linear(*own, bias=False) for name, own in sizes.items() for i in (0, 1)})


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_signs_of_gated_units_are_matched_where_they_have_any(method):
    problem = problem_of(gated(), numbers(5)(24))
    theta = scattered(problem)
    copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    found = ws.align(problem, theta, copy, methods=[method])
    assert bool((found.move.factors["up0"] < 0).any())
    assert found.distance < 1e-10
    assert found.distance_before > 1
    assert all(float(own.min()) > 1 - 1e-6 for _, own in found.correlations.values())
    still = ws.align(problem, theta, copy, methods=[method], rescale=False)
    assert still.distance > 0.1


def test_a_symmetry_by_hand_aligns_what_cannot_be_traced():
    problem, symmetry = by_hand()
    theta = scattered(problem)
    copy = ws.permuted_copy(problem, theta, 1, symmetry=symmetry)
    with pytest.raises(Unsupported, match="by hand"):
        ws.align(problem, theta, copy)
    found = ws.align(problem, theta, copy, symmetry=symmetry, methods=["weights"])
    assert torch.equal(found.theta, theta)


def test_a_found_symmetry_can_be_overridden():
    problem = ZOO["mlp, relu"].problem()
    found = find(problem)
    name = next(iter(found.permutations.axes))
    held = found.with_axes({key: tuple(None for _ in terms) for key, terms in found.permutations.axes.items()})
    assert random_permutation(held, 1)(scattered(problem)).tolist() == scattered(problem).tolist()
    assert found.with_axes({name: found.permutations.axes[name]}) == found


def test_a_wrong_symmetry_is_refused_and_nothing_changes():
    problem = ZOO["mlp, relu"].problem()
    theta = scattered(problem)
    names = [entry for entry in problem.layout.entries if len(entry.shape) == 2]
    size = names[0].shape[0]
    wrong = Symmetry(problem.layout, Spec({"h": Group("h", size)}, {names[0].name: ("h", None)}))
    other = Move(wrong, {"h": torch.arange(size).flip(0)})(theta)
    words = r"units of 'h' are not free to be permuted: on 9 inputs of the evaluation set the outputs differ by"
    with pytest.raises(NotEquivalent, match=words) as refusal:
        ws.align(problem, theta, other, symmetry=wrong, methods=["weights"])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"9.weight": ("h", None)}, "no trainable parameter '9.weight'"),
        ({"0.weight": ("h", None, None)}, "has 2 axes"),
        ({"0.weight": ("nothing", None)}, "group 'nothing'"),
        ({"0.weight": (None, "h")}, "has length 3"),
        ({"0.weight": (("h", 2), None)}, "has length 4"),
        ({"0.weight": ("of", None)}, "is over"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused_in_one_line(axes, words):
    layout = problem_of(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), numbers(3)(9)).layout
    groups = {"h": Group("h", 4), "of": Group("of", 4, over=("h",))}
    with pytest.raises(InvalidSetting, match=words) as refusal:
        Symmetry(layout, Spec(groups, axes))
    assert "\n" not in str(refusal.value)


# Misuse


def test_models_of_another_architecture_are_refused(digits):
    problem, a, _ = digits
    with pytest.raises(InvalidCheckpoint, match="second model"):
        ws.align(problem, a, a[:-1])


def test_a_formula_has_no_units():
    ring = Ring()
    with pytest.raises(InvalidSetting, match="no module to align: Ring has no "):
        ws.connect(ring, *ring.ends, align=True)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"by": "luck"}, "by='luck'"),
        ({"methods": "weights"}, "methods="),
        ({"methods": ["hope"]}, "methods="),
        ({"methods": []}, "methods="),
        ({"restarts": 0}, "restarts=0"),
    ],
)
def test_unknown_settings_are_refused(digits, setting, words):
    problem, a, b = digits
    with pytest.raises(InvalidSetting, match=words):
        ws.align(problem, a, b, **setting)


def test_a_module_whose_course_depends_on_its_numbers_is_refused():
    def forward(self, x):
        hidden = self.first(x)
        return self.last(hidden if hidden.sum() > 0 else -hidden)

    problem = problem_of(Net(forward, first=nn.Linear(3, 6), last=nn.Linear(6, 2)), numbers(3)(9))
    theta = scattered(problem)
    with pytest.raises(Unsupported, match="symmetry: Net cannot be traced") as refusal:
        ws.align(problem, theta, theta)
    assert "\n" not in str(refusal.value)


def test_float32_is_recovered_too():
    x = torch.linspace(-1, 1, 40).reshape(20, 2)
    net = nn.Sequential(nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1))
    problem = ws.ModuleProblem(net, F.mse_loss, (x, x.sum(1, keepdim=True)))
    theta = problem.initial(0)
    found = ws.align(problem, theta, ws.permuted_copy(problem, theta, 4))
    assert torch.equal(found.theta, theta)
    assert found.log10_permutations == pytest.approx(math.log10(math.factorial(7) * math.factorial(5)))


@pytest.mark.parametrize("examples", [300, 4000])
def test_it_takes_at_most_twenty_evaluations_and_says_how_many(examples):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    problem = problem_of(net, numbers(3)(examples))
    a, b = scattered(problem, 1), scattered(problem, 2)
    find(problem)  # reads the module, once for all alignments
    seen: list[int] = []
    module = problem.computation.evaluating.module
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    found = ws.align(problem, a, b)
    handle.remove()
    assert [each.rescaled for each in found.candidates] == [False, False, True, False, True]
    assert found.evaluations <= 20
    assert 8 * examples < sum(seen) <= examples * found.evaluations


@pytest.mark.slow
def test_large_outputs_are_observed_and_compared_in_parts(monkeypatch):
    name = "gpt"
    problem = ZOO[name].problem()
    theta = scattered(problem)
    copy = ws.permuted_copy(problem, theta, 1)
    whole = ws.align(problem, theta, copy, methods=["activations"])
    for module, limit, value in (
        (finding, "AT_ONCE", 1),
        (activations, "HELD", 5000),
        (equivalence, "AT_ONCE", 1),
        (equivalence, "HELD", 100),
    ):
        monkeypatch.setattr(module, limit, value)
    problem = ZOO[name].fresh()
    assert {len(part) for part in finding.traced(problem).parts} == {2}
    found = ws.align(problem, theta, copy, methods=["activations"])
    assert torch.equal(found.theta, theta)
    assert found.examples == whole.examples
    for group, (_, after) in found.correlations.items():
        assert torch.allclose(after, whole.correlations[group][1], atol=1e-6)
    with pytest.raises(NotEquivalent):
        equivalence.check_equivalent(problem, theta, 1.01 * theta)
