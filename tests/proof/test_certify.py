"""What ``certify`` says: bounds of whole strings, what it refuses, and that nothing gets past ``verify``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.problem.surfaces import Ring, Spike, TwoWells, shifted
from weightstring.proof.certificate import Piece
from weightstring.proof.enclose import bisection, proving
from weightstring.proof.enclose.bounding import Plain
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.samples import Sampled

GRID = torch.linspace(0, 1, 301, dtype=torch.float64)
FINE = torch.linspace(0, 1, 20001, dtype=torch.float64)


def small_problem(seed: int = 0, **settings: object) -> ws.ModuleProblem:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        inputs, targets = torch.randn(40, 4), torch.randint(3, (40,))
    return ws.ModuleProblem(net, nn.functional.cross_entropy, (inputs, targets), batch_size=None, **settings)


def chord(problem: ws.ModuleProblem, *seeds: int) -> ws.WeightString:
    return ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in seeds]))


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return small_problem()


@pytest.fixture(scope="module")
def string(problem: ws.ModuleProblem) -> ws.WeightString:
    return chord(problem, 1, 2, 3)


@pytest.fixture(scope="module")
def certificate(problem: ws.ModuleProblem, string: ws.WeightString) -> ws.Certificate:
    return ws.certify(problem, string, threshold=2.0)


class Counting(nn.Module):
    """A loss that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.weight = 0, 2.0

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return self.weight * (output - targets).square().mean()


def test_a_loss_that_counts_its_calls_is_the_same_when_it_is_verified() -> None:
    inputs = torch.linspace(1, 2, 8).view(4, 2)
    counting = ws.ModuleProblem(nn.Linear(2, 1), Counting(), (inputs, inputs[:, :1]), batch_size=None)
    string = chord(counting, 0, 1)
    certificate = ws.certify(counting, string, tol=1e-2)
    counting.measure(string.beads)
    assert ws.verify(counting, string, certificate).ok


class TestBound:
    def test_is_within_the_tolerance_of_the_largest_sample_and_above_a_dense_grid(
        self, problem: ws.ModuleProblem, string: ws.WeightString
    ) -> None:
        certificate = ws.certify(problem, string, tol=1e-3)
        dense = max(float(ws.loss_curve(problem, string[i], string[i + 1], GRID).max()) for i in range(2))
        assert dense <= certificate.upper_bound * (1 + 1e-6)  # the samples are float32
        assert certificate.upper_bound <= 1.0011 * certificate.largest_sample
        assert certificate.holds is None

    def test_of_the_spike_is_within_one_percent_of_its_true_maximum(self) -> None:
        for spike in (Spike(), Spike(width=0.001, position=0.37), shifted(Spike(), torch.tensor([0.4, -3.0]))):
            ends = ws.WeightString(spike, torch.stack(spike.ends))
            own = spike if isinstance(spike, Spike) else Spike()
            certificate = ws.certify(spike, ends, threshold=1.01 * own.chord_maximum)
            assert own.chord_maximum <= certificate.upper_bound <= 1.01 * own.chord_maximum
            assert certificate.holds
            assert ws.verify(spike, ends, certificate).ok

    @pytest.mark.parametrize("surface", [TwoWells(), Ring(), Ring(ridge=0.3)], ids=str)
    def test_of_a_surface_meets_its_dense_maximum(self, surface: TwoWells | Ring) -> None:
        ends = ws.WeightString(surface, torch.stack(surface.ends))
        highest = float(ws.loss_curve(surface, *surface.ends, FINE).max())
        certificate = ws.certify(surface, ends)
        assert highest <= certificate.upper_bound <= 1.0011 * highest

    def test_that_was_stopped_is_valid_and_says_where_it_is_loose(
        self, problem: ws.ModuleProblem, string: ws.WeightString
    ) -> None:
        stopped = ws.certify(problem, string, max_intervals=2, tol=1e-6)
        assert stopped.upper_bound > 1.00001 * stopped.largest_sample
        assert stopped.loosest.bound == stopped.upper_bound
        assert ws.verify(problem, string, stopped).ok

    def test_bounds_no_more_intervals_than_its_seconds_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each takes a second, by a clock that they alone move on."""
        now = 0

        def bound(intervals: Intervals) -> Tensor:
            nonlocal now
            now += len(intervals)
            return torch.full((len(intervals),), 2.0, dtype=torch.float64)

        monkeypatch.setattr(bisection, "time", SimpleNamespace(perf_counter=lambda: now))
        zeros = torch.zeros(40, dtype=torch.float64)
        sampled = Sampled(lambda segment, ts: torch.zeros_like(ts), range(40))
        whole, budget = Intervals(torch.arange(40), zeros, zeros + 1), bisection.Budget(seconds=10.5)
        found = bisection.bisect(Plain(bound), sampled, whole, 1.0, 1e-3, budget)
        assert (now, found.computed) == (10, 10)

    def test_counts_what_comes_before_the_first_interval_in_its_seconds(
        self, problem: ws.ModuleProblem, string: ws.WeightString, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proving, "time", SimpleNamespace(perf_counter=count().__next__))
        given: list[float] = []

        def told(*arguments: object) -> object:
            given.extend(one.seconds for one in arguments if isinstance(one, bisection.Budget))
            return bisection.bisect(*arguments)

        monkeypatch.setattr(proving, "bisect", told)
        ws.certify(problem, string, threshold=2.0, seconds=60)
        assert given == [59]

    def test_does_not_depend_on_the_memory_it_may_use(self, problem: ws.ModuleProblem, string: ws.WeightString) -> None:
        roomy, tight = (ws.certify(problem, string, max_bytes=n) for n in (1 << 30, 1 << 16))
        assert tight.upper_bound == pytest.approx(roomy.upper_bound, rel=1e-9)

    @pytest.mark.slow
    def test_of_chunks_counts_a_constant_once(self) -> None:
        def shifted_down(output: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(output, target) - 5.0

        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        data = (torch.randn(40, 4), torch.randint(3, (40,)))
        problem = ws.ModuleProblem(net, shifted_down, data)
        string = chord(problem, 1, 2)
        certificate = ws.certify(problem, string, max_bytes=1 << 16)
        assert certificate.upper_bound >= certificate.largest_sample - 1e-6
        assert ws.verify(problem, string, certificate).ok

    def test_of_the_error_rate_is_a_count(self) -> None:
        problem = small_problem(metrics={"error": lambda output, target: (output.argmax(1) != target).float().mean()})
        string = chord(problem, 1, 2)
        certificate = ws.certify(problem, string, quantity="error")
        assert certificate.upper_bound * 40 == pytest.approx(round(certificate.upper_bound * 40), abs=1e-6)
        assert ws.verify(problem, string, certificate).ok


@pytest.mark.many(quick=5)
@pytest.mark.parametrize("seed", range(16))
def test_no_certificate_of_a_deep_linear_net_is_under_its_exact_barrier(seed: int) -> None:
    # Width 1-1-1 and (w2 w1 x - y)²: between w and -w every path passes w2 w1 = 0, where the loss is mean(y²).
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(7, 1, generator=generator, dtype=torch.float64)  # as many as it is traced with anyway
    targets = inputs * 1.3 + 0.1 * torch.randn(7, 1, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (inputs, targets), batch_size=None)
    a = torch.rand(2, generator=generator, dtype=torch.float64) + 0.5
    middle = torch.randn(1, 2, generator=generator, dtype=torch.float64)
    string = ws.WeightString(problem, torch.cat([a[None], middle, -a[None]]))
    least = float(targets.square().mean())  # w2 changes sign on the way, and w2 w1 = 0 there
    assert ws.certify(problem, string).upper_bound >= least


class TestRefusal:
    def test_names_the_module_and_the_operation(self) -> None:
        net = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.ELU()))
        problem = ws.ModuleProblem(net, nn.functional.mse_loss, (torch.randn(9, 4), torch.randn(9, 3)))
        with pytest.raises(ws.Unsupported, match=r"elu.*1\.1 \(ELU\)"):
            ws.certify(problem, chord(problem, 1, 2))

    def test_of_an_operation_that_mixes_examples(self) -> None:
        class Centred(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                h = self.layer(x)
                return h - h.mean(dim=0)

        problem = ws.ModuleProblem(
            Centred(), nn.functional.mse_loss, (torch.randn(9, 4), torch.randn(9, 3)), batch_size=None
        )
        with pytest.raises(ws.Unsupported, match="examples"):
            ws.certify(problem, chord(problem, 1, 2))

    def test_of_whole_numbers_and_of_parameters_among_themselves(self) -> None:
        class Rounded(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                h = super().forward(x)
                return h + (10 * h).to(torch.int64).to(h.dtype) / 10

        class Decayed(nn.Module):
            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x) + (self.net.weight * self.net.weight).mean()

        data = torch.randn(9, 4), torch.randn(9, 3)
        for net, said in ((Rounded(4, 3), "whole"), (Decayed(nn.Linear(4, 3)), "parameters")):
            problem = ws.ModuleProblem(net, nn.functional.mse_loss, data, batch_size=None)
            with pytest.raises(ws.Unsupported, match=said):
                ws.certify(problem, chord(problem, 1, 2), max_bytes=1 << 12)

    @pytest.mark.parametrize(
        "setting", [{"tol": 0.0}, {"quantity": "accuracy"}, {"threshold": float("nan")}, {"seconds": -1.0}], ids=str
    )
    def test_of_settings(self, problem: ws.ModuleProblem, string: ws.WeightString, setting: dict[str, object]) -> None:
        with pytest.raises(ws.InvalidSetting, match=next(iter(setting))):
            ws.certify(problem, string, **setting)


def resealed(certificate: ws.Certificate, **changes: object) -> ws.Certificate:
    return msgspec.structs.replace(certificate, **changes).sealed()


class TestTampering:
    def test_nothing_changed_is_verified(
        self, problem: ws.ModuleProblem, string: ws.WeightString, certificate: ws.Certificate
    ) -> None:
        verification = ws.verify(problem, string, certificate)
        assert verification.ok
        assert verification.intervals == certificate.intervals
        assert "proved again" in str(verification)

    def test_a_moved_bead(
        self, problem: ws.ModuleProblem, string: ws.WeightString, certificate: ws.Certificate
    ) -> None:
        beads = torch.stack(list(string.beads))
        beads[1, 3] += 1e-6
        assert "beads" in failures_of(problem, ws.WeightString(problem, beads), certificate)

    def test_other_data(self, problem: ws.ModuleProblem, string: ws.WeightString, certificate: ws.Certificate) -> None:
        other = small_problem(seed=1)
        found = failures_of(other, ws.WeightString(other, torch.stack(list(string.beads))), certificate)
        assert "inputs" in found
        assert "targets" in found

    def test_one_label(self, string: ws.WeightString, certificate: ws.Certificate) -> None:
        changed = small_problem()
        changed.observed().targets[0] = (changed.observed().targets[0] + 1) % 3
        assert "targets" in failures_of(changed, string, certificate)

    def test_another_module(self, string: ws.WeightString, certificate: ws.Certificate) -> None:
        net = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 3))
        other = ws.ModuleProblem(net, nn.functional.cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))
        assert "module" in failures_of(other, string, certificate)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda c: msgspec.structs.replace(c, threshold=3.0), "seal"),
            (lambda c: resealed(c, threshold=0.5), "threshold"),
            (lambda c: resealed(c, upper_bound=c.upper_bound / 2), "upper bound"),
            (lambda c: resealed(c, partition=c.partition[1:]), "segments"),
            (lambda c: resealed(c, partition=()), "no intervals"),
            (lambda c: resealed(c, format=99), "format"),
            (lambda c: resealed(c, quantity="accuracy"), "accuracy"),
            (
                lambda c: resealed(c, partition=(*c.partition[:-1], Piece(*c.partition[-1][:3], 0.1))),
                "refuted",
            ),
            (
                lambda c: resealed(c, partition=(c.partition[0], *c.partition)),
                "gap or overlap",
            ),
        ],
    )
    def test_the_file(
        self,
        problem: ws.ModuleProblem,
        string: ws.WeightString,
        certificate: ws.Certificate,
        change: Callable[[ws.Certificate], ws.Certificate],
        said: str,
    ) -> None:
        assert said in failures_of(problem, string, change(certificate))

    def test_time_that_runs_out_verifies_nothing(
        self, problem: ws.ModuleProblem, string: ws.WeightString, certificate: ws.Certificate
    ) -> None:
        assert not ws.verify(problem, string, certificate, seconds=0.0).ok


def failures_of(problem: ws.ModuleProblem, string: ws.WeightString, certificate: ws.Certificate) -> str:
    verification = ws.verify(problem, string, certificate)
    assert not verification.ok
    return "\n".join(verification.failures)


class TestFile:
    def test_says_by_how_much_it_misses_a_threshold_and_that_the_string_touches_it(
        self, certificate: ws.Certificate
    ) -> None:
        touched = msgspec.structs.replace(certificate, threshold=certificate.largest_sample)
        assert touched.beside_threshold.endswith(
            f"by {certificate.upper_bound - certificate.largest_sample:.2g}, which the string touches: "
            "a proof needs a threshold a little higher"
        )
        between = (certificate.largest_sample + certificate.upper_bound) / 2
        assert "touches" not in msgspec.structs.replace(certificate, threshold=between).beside_threshold

    def test_comes_back(self, certificate: ws.Certificate, tmp_path: Path) -> None:
        certificate.save(tmp_path / "certificate.json")
        assert ws.Certificate.load(tmp_path / "certificate.json") == certificate

    @pytest.mark.parametrize("content", [b"", b"{}", b'{"upper_bound": 1}', b"\xff"])
    def test_that_is_damaged_is_refused_in_one_line(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "certificate.json").write_bytes(content)
        with pytest.raises(ws.InvalidRun, match="not a certificate"):
            ws.Certificate.load(tmp_path / "certificate.json")

    def test_that_is_missing_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(ws.InvalidRun, match="weightstring certify"):
            ws.Certificate.load(tmp_path / "certificate.json")


class TestConnect:
    def test_certifies_and_keeps_the_certificate(self, tmp_path: Path) -> None:
        ring = Ring()
        result = ws.connect(ring, *ring.ends, threshold=0.1, certify=True, store=tmp_path / "run")
        assert result.certificate is not None
        assert result.certificate.holds
        again = ws.load(tmp_path / "run", ring)
        assert again.certificate == result.certificate
        assert ws.verify(ring, again.string, again.certificate).ok
        assert "certified" in str(again)

    def test_refines_where_the_samples_touch_the_threshold(self) -> None:
        ring = Ring()
        found = ws.connect(ring, *ring.ends, threshold=0.1)
        tight = dataclasses.replace(found, threshold=found.largest * (1 + 1e-12))
        result = ws.connect(ring, *ring.ends, threshold=tight.threshold, certify=True)
        assert result.certificate is not None
        assert result.certificate.holds
        assert result.certificate.upper_bound <= tight.threshold

    def test_refuses_before_any_search_what_it_could_not_certify(self) -> None:
        net = nn.Sequential(nn.Linear(4, 3), nn.ELU())
        problem = ws.ModuleProblem(net, nn.functional.mse_loss, (torch.randn(9, 4), torch.randn(9, 3)))
        with pytest.raises(ws.Unsupported, match="elu"):
            ws.connect(problem, problem.initial(0), problem.initial(1), 100.0, certify=True, progress=False)

    def test_refuses_two_quantities_at_once(self) -> None:
        problem = small_problem(evaluate=(torch.randn(9, 4), torch.randint(3, (9,))))
        ends = problem.initial(0), problem.initial(1)
        with pytest.raises(ws.InvalidSetting, match="one quantity"):
            ws.connect(problem, *ends, 100.0, bind="both", certify=True, progress=False)
