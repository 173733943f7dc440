"""Perplexity, e to a mean: certified and verified where it is torch's own exp of torch's own mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.certificate import Piece
from weightstring.report.writing import write_report
from weightstring.runs.facts import facts

WORDS = 5


class NextWord(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.hidden, self.head = nn.Embedding(WORDS, 3), nn.Linear(3, 4), nn.Linear(4, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.hidden(self.words(tokens)).tanh())
        return scores


Metric = Callable[[Tensor, Tensor], Tensor]


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)


def perplexity(logits: Tensor, targets: Tensor) -> Tensor:
    return nats(logits, targets).exp()


def problem_of(**more: Metric) -> ws.ModuleProblem:
    draw = torch.Generator().manual_seed(1)
    data = torch.randint(WORDS, (6, 4), generator=draw), torch.randint(WORDS, (6, 4), generator=draw)
    metrics = {"perplexity": perplexity, **more}
    return ws.ModuleProblem(NextWord(), nats, data, metrics=metrics, dtype=torch.float64)


def string_of(problem: ws.ModuleProblem) -> ws.WeightString:
    draw = torch.Generator().manual_seed(2)
    a = problem.initial(0)
    return ws.WeightString(problem, torch.stack([a, a + 0.3 * torch.randn(len(a), generator=draw).double()]))


def dense(problem: ws.ModuleProblem, string: ws.WeightString, piece: Piece) -> float:
    t = torch.linspace(piece.low, piece.high, 33, dtype=torch.float64).unsqueeze(1)
    thetas = torch.lerp(string.beads[piece.segment], string.beads[piece.segment + 1], t)
    return float(problem.measure(thetas, ["perplexity"])["perplexity"].max())


@pytest.mark.slow
def test_perplexity_is_bounded_by_e_to_the_bound_of_its_mean() -> None:
    problem = problem_of()
    string = string_of(problem)
    certificate = ws.certify(problem, string, tol=0.01, quantity="perplexity", explain=True)
    highest = certificate.largest_sample
    assert str(certificate).startswith("certified: perplexity is at most ")
    assert highest <= certificate.upper_bound <= 1.0101 * highest
    assert all(dense(problem, string, piece) <= piece.bound for piece in certificate.partition)
    assert ws.verify(problem, string, certificate).ok
    mean = ws.certify(problem, string, tol=0.01, max_intervals=1)
    one = ws.certify(problem, string, tol=0.01, quantity="perplexity", max_intervals=1)
    bounds = [(math.exp(a.bound), b.bound) for a, b in zip(mean.partition, one.partition, strict=True)]
    assert all(low * (1 - 1e-8) <= high <= low * (1 + 1e-8) for low, high in bounds)
    (loose,) = certificate.looseness
    top = certificate.loosest
    assert 0 < loose.gap <= top.bound - dense(problem, string, top) + 1e-3
    assert sum(cause.share for cause in loose.causes) == pytest.approx(1, abs=1e-2)


def test_a_bound_that_is_lowered_is_refuted() -> None:
    problem = problem_of()
    string = string_of(problem)
    certificate = ws.certify(problem, string, threshold=6.2, quantity="perplexity")
    assert certificate.holds
    low = certificate.largest_sample * (1 - 1e-4)
    pieces = tuple(piece._replace(bound=min(piece.bound, low)) for piece in certificate.partition)
    wrong = msgspec.structs.replace(certificate, partition=pieces, upper_bound=low, largest_sample=low).sealed()
    verified = ws.verify(problem, string, wrong)
    assert not verified.ok
    assert verified.failures[0].startswith("refuted: the value at t = ")


@pytest.mark.slow
def test_a_run_that_is_held_to_a_perplexity_is_proved_on_its_page(tmp_path: Path) -> None:
    problem = problem_of()
    a, b = string_of(problem).beads
    run = ws.connect(
        problem, a, b, threshold=6.2, bind="perplexity", certify=True, store=tmp_path / "run", progress=False
    )
    certificate = run.certificate
    assert certificate is not None
    assert certificate.holds
    assert certificate.quantity == "perplexity"
    assert "perplexity is at most" in write_report(tmp_path / "run").read_text()
    assert dict(facts(ws.load(tmp_path / "run")))["certified"].startswith("perplexity at most ")


def test_e_to_several_means_is_no_mean() -> None:
    problem = problem_of(twice=lambda logits, targets: perplexity(logits, targets).exp())
    with pytest.raises(ws.Unsupported, match=r"^exp\.default in the loss"):
        ws.certify(problem, string_of(problem), quantity="twice")
