"""Proofs of disconnection beside exact barriers, and what ``connect`` makes of them."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidSetting, ProofContradicted
from weightstring.path import Disconnected
from weightstring.proof.disconnect import prove, stands
from weightstring.report import write_report
from weightstring.theory import sign_changes
from weightstring.theory.collinear_weights import least_with_collinear_weights
from weightstring.theory.singular_features import least_with_singular_features
from weightstring.theory.triangle import swapped_ends, swapped_triangle


def least_of_two_units(points: Tensor, goals: Tensor, steps: int = 1441) -> float:
    """The least mean squared distance with two ReLU units on three points, on a grid of their angles."""
    angles = torch.linspace(0, 2 * math.pi, steps, dtype=torch.float64)[:-1]
    features = torch.relu(torch.stack([angles.cos(), angles.sin()], 1) @ points.T)
    features = features / features.norm(dim=1, keepdim=True).clamp(min=1e-300)
    first, second = features.unsqueeze(1), features.unsqueeze(0)
    rest = second - (second * first).sum(2, keepdim=True) * first
    size = rest.norm(dim=2, keepdim=True)
    rest = torch.where(size > 1e-9, rest / size, 0.0)
    explained = ((first @ goals).square() + (rest @ goals).square()).sum(2)
    return float((goals.square().sum() - explained.max()) / 3)


def triangle(seed: int) -> Tensor:
    """Three points with the origin strictly between them."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.tensor([0.4, 2.5, 4.6], dtype=torch.float64) + 0.6 * torch.rand(3, generator=generator)
    sizes = 0.5 + torch.rand(3, generator=generator, dtype=torch.float64)
    return sizes.unsqueeze(1) * torch.stack([angles.cos(), angles.sin()], 1)


class TestTriangle:
    def test_a_transposition_costs_exactly_one_sixth(self) -> None:
        problem = swapped_triangle()
        a, b = swapped_ends(problem)
        assert float(problem.measure(torch.stack([a, b]))["loss"].max()) < 1e-30
        proof = prove(problem, a, b)
        assert proof is not None
        assert proof.bound == pytest.approx(1 / 6, rel=1e-8)
        assert proof.bound <= 1 / 6

    def test_a_cycle_of_three_costs_nothing(self) -> None:
        problem = swapped_triangle()
        assert prove(problem, *swapped_ends(problem, (1, 2, 0))) is None

    @pytest.mark.many(quick=3)
    @pytest.mark.parametrize("seed", range(10))
    def test_the_bound_is_the_best_of_two_units_for_other_triangles(self, seed: int) -> None:
        points = triangle(seed)
        problem = swapped_triangle(points)
        proof = prove(problem, *swapped_ends(problem, (0, 2, 1)))
        assert proof is not None
        attained = least_of_two_units(points, points.roll(-1, 0))
        assert proof.bound <= attained + 1e-12
        assert proof.bound == pytest.approx(attained, rel=0.1, abs=1e-3)  # of the grid's angles

    def test_points_that_do_not_surround_the_origin_are_refused(self) -> None:
        far = triangle(0) + torch.tensor([3.0, 1.0], dtype=torch.float64)
        with pytest.raises(InvalidSetting, match="outside the triangle"):
            swapped_ends(swapped_triangle(far))


class TestSingularFeatures:
    @pytest.mark.parametrize("seed", range(20))
    def test_is_below_what_singular_features_reach_and_near_it(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        count = 2 + seed % 3
        targets = torch.randn(count + seed % 2, count, generator=generator, dtype=torch.float64)
        bound = float(least_with_singular_features(targets.T))
        # H of rank count - 1 that is not negative, orthogonal to a c without a strict sign.
        c = torch.randn(200_000, count, generator=generator, dtype=torch.float64)
        c[:50_000, 0] = 0
        mixed = c[(c.amin(1) <= 0) & (c.amax(1) >= 0)]
        reached = ((mixed @ targets.T).square().sum(1) / mixed.square().sum(1)).min()
        assert bound <= float(reached) + 1e-12
        assert bound == pytest.approx(float(reached), rel=0.15, abs=0.01 * float(targets.square().sum()))

    def test_one_example_leaves_the_output_at_zero(self) -> None:
        assert least_with_singular_features(torch.tensor([[3.0, 4.0]], dtype=torch.float64)) == 25


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("seed", range(6))
def test_collinear_weights_are_searched_from_above_and_below(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5 + seed, 2, generator=generator, dtype=torch.float64)
    y = torch.relu(x @ torch.randn(2, 2, generator=generator, dtype=torch.float64))
    reached = math.inf
    for angle in torch.linspace(0, math.pi, 1001, dtype=torch.float64):
        z = x @ torch.stack([angle.cos(), angle.sin()])
        features = torch.stack([torch.relu(z), torch.relu(-z)], 1)
        fitted = torch.linalg.lstsq(features, y, driver="gelsd").solution
        reached = min(reached, float((features @ fitted - y).square().sum()))
    bound = float(least_with_collinear_weights(x, y))
    assert bound <= reached + 1e-9
    assert bound == pytest.approx(reached, rel=0.03, abs=1e-9)


def two_by_two() -> tuple[ws.ModuleProblem, Tensor, Tensor]:
    """Two clouds about the axes and two units that each see one of them, and their copy with the units swapped."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)).double()
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, torch.relu(x)), batch_size=None)
    one = torch.eye(2, dtype=torch.float64)
    swapped = one[[1, 0]]
    return problem, torch.cat([one.flatten()] * 2), torch.cat([swapped.flatten(), swapped.T.flatten()])


class TestSquareWeights:
    def test_no_string_is_certified_below_the_bound(self) -> None:
        problem, a, b = two_by_two()
        proof = prove(problem, a, b)
        assert proof is not None
        assert proof.bound > 0.05
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            middle = torch.randn(2, 8, generator=generator, dtype=torch.float64)
            string = ws.WeightString(problem, torch.stack([a, *middle, b]))
            assert ws.certify(problem, string).upper_bound >= proof.bound

    def test_one_unit_of_one_input_passes_zero(self) -> None:
        x = torch.tensor([[1.0], [-1.3]], dtype=torch.float64)
        y = torch.tensor([[1.0], [0.8]], dtype=torch.float64)
        net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
        problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, y), batch_size=None)
        ends = torch.tensor([[1.0, 1.0], [-1.0, 0.6]], dtype=torch.float64)
        proof = prove(problem, *ends)
        assert proof is not None
        assert proof.bound == pytest.approx((1 + 0.64) / 2, rel=1e-8)


class TestWhereNoneApplies:
    @pytest.mark.parametrize(
        ("net", "loss"),
        [
            (nn.Sequential(nn.Linear(2, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)), nn.MSELoss()),
            (nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)), nn.MSELoss()),
            (nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)), nn.L1Loss()),
            (nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)), nn.MSELoss()),
            (nn.Linear(2, 2), nn.MSELoss()),
        ],
        ids=["negative activation", "output bias", "another loss", "more units", "no hidden layer"],
    )
    def test_nothing_is_said(self, net: nn.Module, loss: nn.Module) -> None:
        data = torch.randn(3, 2, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
        problem = ws.ModuleProblem(net.double(), loss, data, batch_size=None)
        found = [prove(problem, problem.initial(s), problem.initial(s + 1)) for s in range(4)]
        assert found == [None] * 4

    def test_a_surface_has_none(self) -> None:
        wells = ws.problem.surfaces.TwoWells()
        assert prove(wells, *wells.ends) is None


@pytest.fixture
def too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that is wrong: ten times what is possible."""

    def least(targets: Tensor) -> Fraction:
        return Fraction(10 * float(targets.square().sum()))

    monkeypatch.setattr(sign_changes, "least_with_singular_features", least)


class TestHeldAgainstPaths:
    """Names of what contradicts a proof that is wrong on purpose."""

    @pytest.mark.usefixtures("too_high")
    def test_the_line_contradicts(self) -> None:
        triangle = swapped_triangle()
        ends = swapped_ends(triangle)
        with pytest.raises(
            ProofContradicted, match=r"the straight line .* climb to 9\.99.* No verdict: this is a bug in weightstring"
        ):
            prove(triangle, *ends)
        with pytest.raises(ProofContradicted):
            ws.connect(triangle, *ends, 0.15, progress=False)

    def test_a_string_contradicts_but_samples_alone_only_silence(self) -> None:
        triangle = swapped_triangle()
        a, b = swapped_ends(triangle)
        proof = prove(triangle, a, b)
        assert proof is not None
        string = ws.WeightString(triangle, [a, b])
        assert stands(triangle, proof, string, 1 / 3, "a string")
        assert not stands(triangle, proof, string, proof.bound / 2, "samples that missed the wall")
        below = ws.WeightString(triangle, [a, a * 1.01])
        with pytest.raises(ProofContradicted, match="a detour"):
            stands(triangle, proof, below, below.max_loss, "a detour")

    def test_what_a_run_found_before_is_held_against_a_proof(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        triangle = swapped_triangle()
        a, b = swapped_ends(triangle)
        stop = ws.MaxBeads(2)  # the line is measured, and that is all
        ws.connect(triangle, a, b, 0.15, store=tmp_path / "run", stop=stop, disprove=False, progress=False)
        seen = []

        def noting(problem: object, proof: object, string: ws.WeightString, height: float, what: str) -> bool:
            seen.append((what, len(string), height))
            return False

        monkeypatch.setattr("weightstring.runs.searching.stands", noting)
        again = ws.connect(triangle, a, b, 0.15, store=tmp_path / "run", stop=stop, progress=False)
        assert [what for what, _, _ in seen] == ["a string of this run"]
        assert seen[0][2] > 1 / 6
        assert not isinstance(again.outcome, Disconnected)


class TestConnect:
    def test_returns_the_proof_and_keeps_it(self, tmp_path: Path) -> None:
        problem = swapped_triangle()
        ends = swapped_ends(problem)
        result = ws.connect(problem, *ends, 0.15, store=tmp_path / "run", progress=False)
        assert isinstance(result.outcome, Disconnected)
        assert result.outcome.proof.bound == pytest.approx(1 / 6, rel=1e-8)
        assert not result.connected
        assert len(result.string) == 2
        assert result.steps == 0
        assert ws.load(tmp_path / "run").outcome == result.outcome
        assert ws.connect(problem, *ends, 0.15, store=tmp_path / "run", progress=False).outcome == result.outcome
        page = write_report(tmp_path / "run").read_text()
        assert ">0.166667</data>. This is proved, not searched for" in page
        record = json.loads((tmp_path / "run" / "result.json").read_text())
        assert record["outcome"]["kind"] == "disconnected"

    @pytest.mark.slow
    def test_above_the_bound_a_curve_finds_a_way(self) -> None:
        problem = swapped_triangle()
        sizes = (0.5 + torch.rand(3, generator=torch.Generator().manual_seed(3))).tolist()
        ends = swapped_ends(problem, sizes=sizes)
        strategy, recipe = ws.Bezier(bends=2, steps=400, patience=4), ws.Recipe("adam", {"lr": 0.05}, check_every=20)
        result = ws.connect(problem, *ends, 0.3, strategy=strategy, recipe=recipe, progress=False)
        assert result.connected
        certificate = ws.certify(problem, result.string, threshold=0.31)
        assert certificate.holds
        assert certificate.upper_bound >= 1 / 6

    @pytest.mark.slow
    def test_minimax_takes_the_bound_from_below(self) -> None:
        problem = swapped_triangle()
        found = ws.minimax(problem, *swapped_ends(problem), strategy=ws.BreadthFirst(), progress=False)
        assert found.lower_bound == pytest.approx(1 / 6, rel=1e-8)
        assert found.level >= 1 / 6

    @pytest.mark.slow
    def test_no_search_tunnels_below_the_barrier(self) -> None:
        problem = swapped_triangle()
        sizes = [(0.5 + torch.rand(3, generator=torch.Generator().manual_seed(seed))).tolist() for seed in range(8)]
        pairs = [swapped_ends(problem, sizes=each) for each in sizes]
        stop = ws.MaxBeads(16) | ws.MaxSteps(2_000)
        results = ws.connect_many(problem, pairs, 0.15, stop=stop, disprove=False, progress=False)
        assert not any(result.connected for result in results)
        assert min(result.largest for result in results) >= 1 / 6


class TestVerifying:
    TASK = "from weightstring.theory.triangle import swapped_triangle as problem\n"

    def run(self, folder: Path) -> Path:
        triangle = swapped_triangle()
        ws.connect(triangle, *swapped_ends(triangle), 0.15, store=folder / "run", progress=False)
        (folder / "task.py").write_text(self.TASK)
        return folder / "run"

    def verify(self, run: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
        from weightstring.cli.main import main

        with pytest.raises(SystemExit) as ended:
            main(["verify", str(run), "--task", f"{run.parent / 'task.py'}:problem"])
        return ended.value.code, capsys.readouterr().out

    def test_a_proof_is_made_again_from_the_ends(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, said = self.verify(self.run(tmp_path), capsys)
        assert code == 0
        assert said.startswith("proved again: every path climbs to at least 0.1666")

    def test_a_bound_that_was_raised_is_not(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = self.run(tmp_path)
        record = json.loads((run / "result.json").read_text())
        record["outcome"]["proof"]["bound"] = 0.2
        (run / "result.json").write_text(json.dumps(record))
        code, said = self.verify(run, capsys)
        assert code == 4
        assert "NOT proved again: the run claims 0.2 over 0.15; what is proved is 0.1666" in said
