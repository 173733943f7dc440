"""S(θ1, θ2, α, d) against Section II.B written down a second time: a recursion that shares no code with the search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.path import Samples, Segment
from weightstring.problem.surfaces import Maze, Ring, Surface, TwoWells, shifted
from weightstring.protocol import Gradient, LossProblem
from weightstring.randomness import generator
from weightstring.search.strategies import from_plain, plain
from weightstring.tasks import load_task

pytestmark = pytest.mark.usefixtures("unchecked")

GRID = torch.arange(33, dtype=torch.float64) / 32


@dataclass
class SectionTwoB:
    """Its beads in order by ``run``. Given are the loss and the documented draws: a descent's minibatches are slices of
    permutations from ``generator(seed, "minibatches", place)``."""

    problem: LossProblem
    threshold: float
    alpha: float
    depth: int
    seed: int = 0
    maxima: dict[int, list[float]] = field(default_factory=dict)
    """By depth, of every segment of the string there."""

    def run(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a, *self.between(a, b, "a", "b", 1, 0), b])

    def between(self, a: Tensor, b: Tensor, left: str, right: str, number: int, depth: int) -> list[Tensor]:
        """Steps 2 to 5 on one segment: the beads that it gets."""
        curve = self.losses(torch.lerp(a, b, GRID.to(a)[:, None]))
        bead = None
        if curve.max() > self.threshold and depth < self.depth:
            bead = self.descend(torch.lerp(a, b, GRID[curve.argmax()].to(a)), f"{left}-{right}/0")
        # A segment that is not split stays on the string at every greater depth.
        for at in range(depth, depth + 1 if bead is not None else self.depth + 1):
            self.maxima.setdefault(at, []).append(float(curve.max()))
        if bead is None:
            return []
        first = self.between(a, bead, left, str(number), 2 * number, depth + 1)
        return [*first, bead, *self.between(bead, b, str(number), right, 2 * number + 1, depth + 1)]

    def descend(self, theta: Tensor, place: str) -> Tensor | None:
        """Step 3: the first state that is at most at α L0, where the recipe looks."""
        recipe, draws = self.problem.recipe, generator(self.seed, "minibatches", place)
        leaf, rows, order = theta.clone().requires_grad_(), None, torch.empty(0, dtype=torch.int64)
        optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[recipe.optimizer]([leaf], **recipe.options)
        for step in range(recipe.max_steps + 1):
            if step % recipe.check_every == 0 and self.losses(leaf.detach()[None]) <= self.alpha * self.threshold:
                return leaf.detach()
            if (size := self.problem.batch_size) is not None:
                order = order if len(order) >= size else torch.randperm(self.problem.train_size, generator=draws)
                rows, order = order[None, :size], order[size:]
            leaf.grad = self.problem.gradient(leaf.detach()[None], rows).gradients[0]
            optimizer.step()
        return None

    def losses(self, thetas: Tensor) -> Tensor:
        return self.problem.measure(thetas)["loss"]


def gamma_by_depth(result: ws.Result) -> list[float]:
    """Eq. (4) for S(θ1, θ2, α, d), d = 0, 1, … until the string no longer changes."""
    return [one.highest for one in result.history if one.measured]


SURFACES = [
    Ring(size=3, angles=(2.1, -0.7)),
    TwoWells(size=4),
    Maze(size=3),
    shifted(Ring(size=5, ridge=0.2), torch.linspace(-2, 3, 5, dtype=torch.float64)),
]


@pytest.mark.many(quick=5)
@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: f"{surface._name}-{surface.size}")
@pytest.mark.parametrize(("alpha", "depth"), [(0.95, 7), (0.6, 4), (1.0, 1), (0.9, 0)])
def test_it_is_the_recursion_bead_for_bead(surface: Surface, alpha: float, depth: int) -> None:
    ends = surface.ends
    threshold = max(1.05 * surface.gamma(*ends), 0.05)
    paper = SectionTwoB(surface, threshold, alpha, depth)
    beads = paper.run(*ends)
    found = ws.connect(surface, *ends, threshold, strategy=ws.AsInThePaper(alpha, depth), disprove=False)
    assert torch.equal(found.string.beads, beads)
    assert found.unpruned is found.string
    assert found.beads_before_pruning == len(beads)
    expected = [max(paper.maxima[d]) for d in sorted(paper.maxima)]
    levels = gamma_by_depth(found)
    assert levels == expected[: len(levels)]
    assert set(expected[len(levels) :]) <= {levels[-1]}
    assert list(found.by_depth) == list(accumulate(levels, min))
    assert found.connected == (max(expected[-1:]) <= threshold)


@pytest.fixture(scope="module")
def digits() -> ws.ModuleProblem:
    problem = load_task("digits")
    problem._parts = replace(
        problem._parts, recipe=ws.Recipe()
    )  # the recursion of this file takes steps of torch's own
    return problem


@pytest.mark.slow
@pytest.mark.parametrize("pair", range(3))
def test_on_digits_it_is_the_recursion_with_the_same_minibatches(digits: ws.ModuleProblem, pair: int) -> None:
    a, b = (digits.fit(seed=seed, until=0.2) for seed in (2 * pair, 2 * pair + 1))
    threshold = 1.02 * digits.measure(torch.stack([a, b]))["loss"].max().item()
    paper = SectionTwoB(digits, threshold, 0.95, 6, seed=pair)
    beads = paper.run(a, b)
    found = ws.connect(digits, a, b, threshold, strategy=ws.AsInThePaper(0.95, 6), seed=pair)
    # Beside other models a float32 mean is rounded otherwise.
    torch.testing.assert_close(found.string.beads, beads, rtol=0, atol=1e-4)
    length = sum(float((right - left).double().norm()) for left, right in pairwise(beads))
    assert found.string.length == pytest.approx(length, rel=1e-6)
    levels = gamma_by_depth(found)
    assert levels == pytest.approx([max(paper.maxima[d]) for d in range(len(levels))], rel=1e-5)
    assert found.connected == (max(paper.maxima[6]) <= threshold)


@dataclass(frozen=True)
class Sampled:
    """A surface as the mean over examples that pull θ this way and that, so that minibatches tell."""

    surface: Surface
    pulls: Tensor
    batch_size = 4
    recipe = ws.Recipe("adam", {"lr": 0.02}, check_every=5, patience=60, max_steps=300)
    quantities, evaluation, device, dtype = ("loss",), "evaluate", torch.device("cpu"), torch.float64
    size = property(lambda self: self.surface.size)
    train_size = property(lambda self: len(self.pulls))

    def fingerprint(self) -> str:
        return self.surface.fingerprint()

    def measure(self, thetas: Tensor, quantities: object = ("loss",)) -> dict[str, Tensor]:
        return self.surface.measure(thetas)

    def gradient(self, thetas: Tensor, rows: Tensor) -> Gradient:
        losses, gradients = self.surface.gradient(thetas, None)
        return Gradient(losses, gradients + self.pulls[rows].mean(1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7])
def test_the_minibatches_of_a_bead_depend_on_its_place_alone(seed: int) -> None:
    pulls = 0.1 * torch.randn(11, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    problem = Sampled(Ring(size=3, ridge=0.1), pulls - pulls.mean(0))
    paper = SectionTwoB(problem, 0.11, 0.8, 6, seed)
    beads = paper.run(*problem.surface.ends)
    found = ws.connect(problem, *problem.surface.ends, 0.11, strategy=ws.AsInThePaper(0.8, 6), seed=seed)
    assert len(beads) > 4
    torch.testing.assert_close(found.string.beads, beads, rtol=0, atol=1e-12)
    assert gamma_by_depth(found)[-1] == pytest.approx(max(paper.maxima[6]), rel=1e-12)


def test_gamma_is_sampled_on_the_grid_alone(watched) -> None:
    surface = watched(Maze(size=2))
    a, b = surface.problem.ends
    threshold = 1.1 * surface.problem.gamma(a, b)
    found = ws.connect(surface, a, b, threshold, strategy=ws.AsInThePaper(0.9, 1))
    assert [one.evaluations for one in found.history if one.measured] == [31, 62]
    assert all(32 * t % 1 == 0 for known in found.string.heights(("loss",)) for t in known)
    top = ws.loss_curve(surface.problem, a, b, GRID).max().item()
    assert found.by_depth[0] == pytest.approx(top, rel=1e-12)


def test_a_plateau_counts_as_its_middle() -> None:
    """Between flat top and flat top the nearer to the middle is taken, and there its own middle."""
    heights = [0.0] * 4 + [1.0] * 5 + [0.5] * 12 + [1.0] * 7 + [0.0] * 5
    samples = Samples(Segment(torch.zeros(1), torch.ones(1)), dict(zip(GRID.tolist(), heights, strict=True)))
    assert samples.peaks()[0].t == 24 / 32


@pytest.mark.parametrize("calls", [1, 3, 9])
def test_it_goes_on_with_the_same_bits(tmp_path, watched, calls: int) -> None:
    surface, strategy = Maze(size=3), ws.AsInThePaper(0.9, 8)
    whole = ws.connect(surface, *surface.ends, 0.32, strategy=strategy)
    run = tmp_path / "run"
    ws.connect(watched(surface, interrupt_after=calls), *surface.ends, 0.32, strategy=strategy, store=run)
    again = ws.connect(surface, *surface.ends, 0.32, strategy=strategy, store=run)
    assert torch.equal(again.string.beads, whole.string.beads)
    assert again.by_depth == whole.by_depth


def test_a_descent_that_fails_ends_its_own_branch_only(plateau: Surface) -> None:
    a, b = plateau.ends
    found = ws.connect(plateau, a, b, 0.5, strategy=ws.AsInThePaper())
    assert isinstance(found.outcome, ws.Unresolved)
    assert found.outcome.reason == "descent_failed"
    assert (found.outcome.evidence.retries, found.outcome.evidence.lowest_loss) == (0, 2.0)
    assert sum(one.descents for one in found.history) == 1


@pytest.mark.slow
def test_a_bead_counts_at_alpha_l0_only() -> None:
    """Beads in the higher well get under L0 and no lower than its floor: greedy takes them, the paper does not."""
    surface = TwoWells(size=2)
    a, b = surface.ends
    floor = surface.measure(torch.stack([a, b]))["loss"].max().item()
    threshold, low = 1.05 * surface.gamma(a, b), 0.9 * floor
    greedy = ws.connect(surface, a, b, threshold, strategy=ws.Greedy(low / threshold, max_depth=3))
    assert isinstance(greedy.outcome, ws.Unresolved)
    assert greedy.outcome.reason == "depth"
    paper = ws.connect(surface, a, b, threshold, strategy=ws.AsInThePaper(low / threshold))
    assert isinstance(paper.outcome, ws.Unresolved)
    assert paper.outcome.reason == "descent_failed"
    assert low < paper.outcome.evidence.lowest_loss <= threshold
    assert surface.measure(paper.string.beads[1:-1])["loss"].max() <= low


def test_nothing_limits_it_but_its_depth_unless_asked() -> None:
    surface = Maze(size=2)
    strategy = ws.AsInThePaper(0.95, 7)
    below = 0.97 * surface.gamma(*surface.ends)
    whole = ws.connect(surface, *surface.ends, below, strategy=strategy, disprove=False)
    assert isinstance(whole.outcome, ws.Unresolved)
    assert whole.outcome.reason == "depth"
    cut = ws.connect(surface, *surface.ends, below, strategy=strategy, stop=ws.MaxBeads(5), disprove=False)
    assert isinstance(cut.outcome, ws.Unresolved)
    assert cut.outcome.reason == "beads"
    assert len(cut.string) <= 5 < len(whole.string)


@pytest.mark.parametrize(
    "settings", [{"alpha": 0.0}, {"alpha": 1.2}, {"max_depth": -1}, {"max_depth": 2.5}, {"alpha": "high"}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], refused) -> None:
    with refused(ws.InvalidSetting, r"AsInThePaper\(.*" + next(iter(settings))):
        ws.AsInThePaper(**settings)  # type: ignore[arg-type]


def test_a_manifest_holds_it() -> None:
    assert from_plain(plain(ws.AsInThePaper(0.8, 3))) == ws.AsInThePaper(0.8, 3)
