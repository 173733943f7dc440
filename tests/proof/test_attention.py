"""Attention, softmax, normalisation and embeddings: no step outside its enclosure, and bounds near the loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.testing.steps import check_every_step

TOKENS, WORDS, WIDTH = 5, 11, 8
Spelling = Callable[[Tensor, Tensor, Tensor], Tensor]


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def with_a_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=0.5)


def with_slopes(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    places = torch.arange(TOKENS)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=-0.1 * (places - places[:, None]).abs().to(q))


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    hidden = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
    return F.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v


def with_what_is_added(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * 0.3
    hidden = torch.full((TOKENS, TOKENS), torch.finfo(q.dtype).min, dtype=q.dtype).triu(1)
    return torch.einsum("bhqk,bhkd->bhqd", (scores + hidden).softmax(-1), v)


class Block(nn.Module):
    def __init__(self, attend: Spelling, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attend, self.before, self.after = attend, norm(), norm()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in self.qkv(self.before(x)).chunk(3, dim=2))
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.after(x))))


class Model(nn.Module):
    def __init__(self, attend: Spelling = fused, norm: Callable[[], nn.Module] = lambda: nn.LayerNorm(WIDTH)) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.block, self.norm = Block(attend, norm), norm()
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.words(tokens) + self.places.weight)))


def of_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.reshape(-1, WORDS), targets.reshape(-1), ignore_index=3)


def problem_of(net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor] = of_tokens) -> ws.ModuleProblem:
    torch.manual_seed(1)
    data = torch.randint(WORDS, (6, TOKENS)), torch.randint(WORDS, (6, TOKENS))
    return ws.ModuleProblem(net, loss, data, dtype=torch.float64)


def apart(problem: ws.ModuleProblem, spread: float) -> Tensor:
    a = problem.initial(0)
    return torch.stack([a, a + spread * torch.randn(len(a), generator=torch.Generator().manual_seed(2)).double()])


def at(low: float, high: float) -> Intervals:
    return Intervals(torch.tensor([0]), torch.tensor([low]).double(), torch.tensor([high]).double())


@pytest.mark.parametrize("attend", [fused, with_a_mask, with_slopes, by_hand, with_what_is_added])
def test_no_step_of_attention_lies_outside_its_enclosure(attend: Spelling) -> None:
    problem = problem_of(Model(attend))
    sigmas = torch.tensor([-1.0, -0.6, 0.0, 0.3, 0.8, 1.0]).double()
    for spread, low, high in ((0.3, 0.25, 0.5), (0.1, 0.0, 1.0)):
        assert check_every_step(problem, apart(problem, spread), low, high, sigmas) > 1000


@pytest.mark.parametrize("norm", [lambda: nn.RMSNorm(WIDTH), lambda: nn.LayerNorm(WIDTH, eps=1e-2)])
def test_no_step_of_normalisation_lies_outside_its_enclosure(norm: Callable[[], nn.Module]) -> None:
    problem = problem_of(Model(norm=norm))
    check_every_step(problem, apart(problem, 0.3), 0.4, 0.5, torch.linspace(-1, 1, 7).double())


def test_the_excess_of_a_bound_falls_with_the_third_power_of_the_width() -> None:
    problem = problem_of(Model())
    beads = apart(problem, 0.3)
    bound = enclosing(problem, beads, "loss", 1 << 28).bounds
    excess = []
    for half in (2**-5, 2**-6):
        thetas = torch.lerp(beads[0], beads[1], torch.linspace(0.5 - half, 0.5 + half, 33).double().unsqueeze(1))
        highest = float(problem.measure(thetas, ["loss"])["loss"].max())
        excess.append(float(bound(at(0.5 - half, 0.5 + half))) - highest)
    assert 0 < 5 * excess[1] < excess[0]


def test_a_path_between_two_transformers_is_certified() -> None:
    problem = problem_of(Model())
    string = ws.WeightString(problem, apart(problem, 0.05))
    certificate = ws.certify(problem, string, tol=0.01)
    assert certificate.largest_sample <= certificate.upper_bound <= 1.0101 * certificate.largest_sample


def test_a_loss_bounded_by_parabolas_and_one_by_lines_add_up() -> None:
    problem = problem_of(Model(), lambda logits, targets: of_tokens(logits, targets) + 0.5 * logits.abs().mean())
    beads = apart(problem, 0.05)
    for low, high in ((0.25, 0.5), (0.5, 0.5)):
        thetas = torch.lerp(beads[0], beads[1], torch.linspace(low, high, 9).double().unsqueeze(1))
        bound = float(enclosing(problem, beads, "loss", 1 << 28).bounds(at(low, high)))
        assert 0 <= bound / float(problem.measure(thetas)["loss"].max()) - 1 < (1e-3 if low < high else 1e-8)


class Patches(nn.Module):
    """A vision transformer of torch's own layers, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token, self.places = nn.Conv2d(1, WIDTH, 2, 2), nn.Embedding(1, WIDTH), nn.Embedding(5, WIDTH)
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.weight.expand(len(x), 1, -1), tokens], 1) + self.places.weight
        return self.head(self.block(tokens)[:, 0])


class Weighed(nn.Module):
    """Attention that returns its weights, tokens first, and a normalisation of groups."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.attend = nn.Embedding(WORDS, WIDTH), nn.MultiheadAttention(WIDTH, 2)
        self.norm, self.head = nn.GroupNorm(2, WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens).transpose(0, 1)
        return self.head(self.norm((x + self.attend(x, x, x)[0]).permute(1, 2, 0)).mean(2))


@pytest.mark.parametrize(
    ("net", "inputs"), [(Patches, torch.randn(3, 1, 4, 4)), (Weighed, torch.arange(12).view(3, 4) % WORDS)]
)
def test_no_step_of_torchs_own_layers_lies_outside_its_enclosure(net: type[nn.Module], inputs: Tensor) -> None:
    problem = ws.ModuleProblem(net(), F.cross_entropy, (inputs, torch.tensor([4, 0, 7])), dtype=torch.float64)
    check_every_step(problem, apart(problem, 0.1), 0.25, 0.5, torch.linspace(-1, 1, 5).double())


class Padded(nn.Module):
    """Attention under a causal mask and one of the data, both of which add −∞."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 10)
        self.attend = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
        return self.head(self.attend(x, x, x, attn_mask=hidden, key_padding_mask=tokens == 9)[0].mean(1))


def test_no_step_under_masks_of_the_data_lies_outside_its_enclosure() -> None:
    data = torch.tensor([[1, 2, 3, 9], [4, 9, 5, 9], [0, 1, 2, 3]]), torch.tensor([4, 0, 7])
    problem = ws.ModuleProblem(Padded(), F.cross_entropy, data, dtype=torch.float64)
    check_every_step(problem, apart(problem, 0.1), 0.25, 0.5, torch.linspace(-1, 1, 5).double())


class Through(nn.Module):
    """Tokens, a function of them (n, T, WIDTH), and a normalisation of all that it gives."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(WORDS, WIDTH), nn.LayerNorm(WIDTH)
        self.function, self.head = function, nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.function(self.norm(self.words(tokens)))
        return self.head(F.layer_norm(x, x.shape[1:]).mean(1))


def first_beside_others(x: Tensor) -> Tensor:
    seen = torch.tensor([True, False, True, False]).unsqueeze(1)
    return torch.where(seen, x[:, :1], 0.1)


def heads_that_share_keys(x: Tensor) -> Tensor:
    q, k = x.unflatten(2, (4, 2)).transpose(1, 2), x[..., :4].unflatten(2, (2, 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, k, enable_gqa=True).transpose(1, 2).flatten(2)


def one_row_of_scores_under_two_masks(x: Tensor) -> Tensor:
    hidden = torch.ones(2, x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    scores = (x @ x.mT).unsqueeze(1).masked_fill(hidden, float("-inf"))
    return (scores.softmax(-1) @ x.unsqueeze(1)).mean(1)


def groups_over_other_axes(x: Tensor) -> Tensor:
    return torch.cat([x, F.group_norm(x, 1)], 1)


@pytest.mark.parametrize(
    "function",
    [
        torch.abs,
        lambda x: torch.maximum(x, x.flip(2)),
        lambda x: torch.minimum(x, x[:, :1]),
        first_beside_others,
        lambda x: F.instance_norm(x),
        heads_that_share_keys,
        one_row_of_scores_under_two_masks,
        groups_over_other_axes,
    ],
    ids=["abs", "max", "min", "where", "instance norm", "grouped heads", "two masks", "cat"],
)
def test_no_step_between_normalisations_lies_outside_its_enclosure(function: Callable[[Tensor], Tensor]) -> None:
    data = torch.arange(12).view(3, 4) % WORDS, torch.tensor([4, 0, 7])
    problem = ws.ModuleProblem(Through(function), F.cross_entropy, data, dtype=torch.float64)
    check_every_step(problem, apart(problem, 0.1), 0.25, 0.5, torch.linspace(-1, 1, 5).double())


class Wider(nn.Module):
    """A mask over more numbers than what it chooses from."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm, self.one = nn.Embedding(WORDS, 4), nn.LayerNorm(4), nn.Linear(4, 1)
        self.head = nn.Linear(4, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        ahead = torch.ones(4, 4, dtype=torch.bool).tril()
        chosen = torch.where(ahead, x, self.one(self.norm(x))) + self.one(x).masked_fill(ahead, 0.5)
        return self.head(chosen).mean(1)


def test_errors_that_a_mask_repeats_are_as_often_in_their_length() -> None:
    data = torch.arange(12).view(3, 4) % WORDS, torch.tensor([4, 0, 7])
    problem = ws.ModuleProblem(Wider(), F.cross_entropy, data, dtype=torch.float64)
    check_every_step(problem, apart(problem, 0.3), 0.25, 0.5, torch.linspace(-1, 1, 5).double())


def divergence(logits: Tensor, targets: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(logits, -1), targets, reduction="mean")


def divergence_of_each(logits: Tensor, targets: Tensor) -> Tensor:
    found = F.kl_div(F.log_softmax(logits, -1), targets.clamp(min=1e-9).log(), reduction="none", log_target=True)
    return found.sum(-1).mean()


def gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    """The negative log-likelihood of two means and variances, but for a constant."""
    means, logs = outputs.split(2, -1)
    return (logs + (targets[..., :2] - means).square() / logs.exp()).mean() / 2


class Pointwise(nn.Module):
    """Two layers on each token, or on each example."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, WIDTH), activation, nn.Linear(WIDTH, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize(
    ("shape", "loss", "activation"),
    [
        ((6,), divergence, nn.ReLU()),
        ((6,), divergence_of_each, nn.Tanh()),
        ((6, 2), divergence, nn.Tanh()),
        ((6,), gaussian, nn.Tanh()),
    ],
)
def test_divergence_and_likelihood_of_targets_are_enclosed_and_certified(
    shape: tuple[int, ...], loss: Callable[[Tensor, Tensor], Tensor], activation: nn.Module
) -> None:
    draw = torch.Generator().manual_seed(3)
    targets = (4 * torch.randn(*shape, 4, generator=draw).double()).softmax(-1)
    targets = targets.where(targets > 1e-3, 0.0)
    data = torch.randn(*shape, 3, generator=draw).double(), targets
    problem = ws.ModuleProblem(Pointwise(activation), loss, data, dtype=torch.float64)
    beads = apart(problem, 0.5)
    check_every_step(problem, beads, 0.25, 0.5, torch.linspace(-1, 1, 5).double())
    string = ws.WeightString(problem, beads)
    certificate = ws.certify(problem, string, tol=0.01)
    assert ws.verify(problem, string, certificate).ok
    for piece in certificate.partition:
        t = torch.linspace(piece.low, piece.high, 9, dtype=torch.float64).unsqueeze(1)
        assert float(problem.measure(torch.lerp(beads[0], beads[1], t))["loss"].max()) <= piece.bound * (1 + 1e-12)
