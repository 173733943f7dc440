"""A certificate of a network with attention: what ``verify`` accepts, and each change to it that it must refuse."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws

TOKENS, WORDS, WIDTH = 3, 5, 4
CAUSAL = torch.full((TOKENS, TOKENS), -torch.inf, dtype=torch.float64).triu(1)


class Attending(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.words, self.norm, self.qkv = nn.Embedding(WORDS, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return self.head(x + F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask))


def built(mask: Tensor = CAUSAL, ignored: int = 3, change: int = 0) -> ws.ModuleProblem:
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(WORDS, (2, 4, TOKENS), generator=generator)
    tokens[0, 0] = (tokens[0, 0] + change) % WORDS

    def loss(logits: Tensor, given: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), given.flatten(), ignore_index=ignored)

    return ws.ModuleProblem(Attending(mask), loss, (tokens, targets), dtype=torch.float64)


def string_of(problem: ws.ModuleProblem, moved: float = 0.0) -> ws.WeightString:
    beads = 0.3 * torch.randn(2, problem.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    beads[0, -1] += moved
    return ws.WeightString(problem, beads)


@pytest.fixture(scope="module")
def certificate() -> ws.Certificate:
    problem = built()
    return ws.certify(problem, string_of(problem), tol=0.05)


def test_a_certificate_of_attention_is_accepted(certificate: ws.Certificate) -> None:
    problem = built()
    assert ws.verify(problem, string_of(problem), certificate).ok


@pytest.mark.parametrize(
    "other",
    [
        lambda: built(mask=torch.zeros_like(CAUSAL)),
        lambda: built(ignored=4),
        lambda: built(change=1),
    ],
    ids=["mask", "ignored class", "a token"],
)
def test_another_problem_is_refused(certificate: ws.Certificate, other: Callable[[], ws.ModuleProblem]) -> None:
    problem = other()
    assert not ws.verify(problem, string_of(problem), certificate).ok


def test_other_weights_are_refused(certificate: ws.Certificate) -> None:
    problem = built()
    assert not ws.verify(problem, string_of(problem, moved=1e-9), certificate).ok


def lowered(c: ws.Certificate) -> ws.Certificate:
    """No bound above what lies a thousandth below the largest value there is."""
    problem = built()
    first, last = string_of(problem).beads.double()
    between = torch.lerp(first, last, torch.linspace(0, 1, 65).double().unsqueeze(1))
    most = 0.999 * float(problem.measure(between, ["loss"])["loss"].max())
    pieces = tuple(piece._replace(bound=min(piece.bound, most)) for piece in c.partition)
    return msgspec.structs.replace(c, partition=pieces, upper_bound=most, largest_sample=most).sealed()


def with_a_gap(c: ws.Certificate) -> ws.Certificate:
    return msgspec.structs.replace(c, partition=c.partition[1:]).sealed()


@pytest.mark.parametrize(("lie", "said"), [(lowered, "refuted"), (with_a_gap, "gap|interval")])
def test_a_lie_under_a_seal_of_its_own_is_refused(
    certificate: ws.Certificate, lie: Callable[[ws.Certificate], ws.Certificate], said: str
) -> None:
    problem = built()
    verification = ws.verify(problem, string_of(problem), lie(certificate))
    assert not verification.ok
    assert re.search(said, verification.failures[0])
