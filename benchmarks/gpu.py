"""On one GPU, in five minutes: steps and curves beside a plain loop, agreement with the CPU, peak memory.

    python -m benchmarks gpu [--device cuda] [--only mlp|cnn|gpt]

Without the device it says so and ends with 0. ``--device cpu`` tries the script out, on the smaller networks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from benchmarks.measuring import asked, keep, parser
from weightstring.descent import Start, descend
from weightstring.devices import wait_for
from weightstring.problem.engines.agreement import tolerance_of

BEADS = 8
"""Models that descend side by side."""

POINTS = 9
"""Models on a curve."""


class Block(nn.Module):
    """A block of GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width) → the same."""
        n, length, width = x.shape
        parts = self.attend(self.first(x)).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(n, length, width))
        return x + self.narrow(functional.gelu(self.widen(self.second(x)), approximate="tanh"))


class GPT(nn.Module):
    """The layout of GPT-2 small: 124 million parameters, the embedding tied to the head."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12, tokens: int = 50257) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(1024, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) → logits (n, T, tokens)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        output: Tensor = self.head(self.last(self.blocks(self.tokens(tokens) + self.places(places))))
        return output


def next_token(logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy of all tokens: its sum and their number."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"), targets.numel()


def plain_next_token(logits: Tensor, targets: Tensor) -> Tensor:
    """Their mean."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Subject:
    """A network, its data and how it is trained; ``options`` are further settings of the problem."""

    net: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Any]
    plain_loss: Callable[[Tensor, Tensor], Tensor]
    batch: int
    chunk: int
    beads: int = BEADS
    options: dict[str, Any] = field(default_factory=dict)


def images(n: int) -> tuple[Tensor, Tensor]:
    """Noise of MNIST's shape, and classes that depend on it."""
    x = torch.randn(n, 1, 28, 28)
    return x, (x.flatten(1) @ torch.randn(784, 10)).argmax(1)


def text(n: int, length: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Random tokens, and those that follow them."""
    drawn = torch.randint(tokens, (n, length + 1))
    return drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 10)),
    )


CLASSES = (functional.cross_entropy, functional.cross_entropy)
TOKENS = (next_token, plain_next_token)
SUBJECTS = {
    "mlp": Subject(mlp, lambda: images(10_000), *CLASSES, 128, 2048),
    "cnn": Subject(cnn, lambda: images(4_000), *CLASSES, 128, 1024),
    "gpt": Subject(GPT, lambda: text(64, 128, 50257), *TOKENS, 8, 8, beads=2),
    "gpt, autocast": Subject(
        GPT, lambda: text(64, 128, 50257), *TOKENS, 8, 8, beads=2, options={"autocast": torch.bfloat16}
    ),
}


def rate(run: Callable[[int], object], device: torch.device, budget: float) -> float:
    """Units of work a second, after a first one that counts for nothing."""
    run(1)
    wait_for(device)
    count = 1
    while True:
        start = time.perf_counter()
        run(count)
        wait_for(device)
        took = time.perf_counter() - start
        if took > budget / 2:
            return count / took
        count = max(count + 1, min(10 * count, math.ceil(count * budget / max(took, 1e-6))))


class Plain:
    """The 30 lines that a user would write instead: a training loop, and a curve of losses."""

    def __init__(self, subject: Subject, problem: ws.ModuleProblem, device: torch.device) -> None:
        torch.manual_seed(0)  # the problem's own network and data
        self.net = subject.net().to(device)
        self.x, self.y = (each.to(device) for each in subject.data())
        self.subject, self.problem, self.device = subject, problem, device
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)

    def train(self, steps: int) -> None:
        """Gradient steps."""
        precision = self.subject.options.get("autocast")
        for _ in range(steps):
            rows = torch.randint(len(self.x), (self.subject.batch,)).to(self.device)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, precision, enabled=precision is not None):
                output = self.net(self.x[rows])
            self.subject.plain_loss(output.float(), self.y[rows]).backward()
            self.optimizer.step()

    def curve(self, a: Tensor, b: Tensor) -> list[float]:
        """Losses at equal distances from a to b."""
        return [self._loss(torch.lerp(a, b, i / (POINTS - 1))) for i in range(POINTS)]

    def _loss(self, theta: Tensor) -> float:
        nn.utils.vector_to_parameters(theta, self.net.parameters())
        with torch.no_grad():
            return sum(self._parts()) / len(self.x)

    def _parts(self) -> Iterator[float]:
        for x, y in zip(self.x.split(self.subject.chunk), self.y.split(self.subject.chunk), strict=True):
            yield float(self.subject.plain_loss(self.net(x), y)) * len(x)


def problem_on(subject: Subject, device: torch.device) -> ws.ModuleProblem:
    """The problem, the same on every device."""
    torch.manual_seed(0)
    return ws.ModuleProblem(
        subject.net(),
        subject.loss,
        subject.data(),
        device=device,
        batch_size=subject.batch,
        chunk=subject.chunk,
        recipe=ws.Recipe("adam", {"lr": 1e-3}, check_every=10**6),
        **subject.options,
    )


def agreement(subject: Subject, there: ws.ModuleProblem) -> dict[str, object]:
    """How far losses and gradients are from those on the CPU, relative, and how far rounding explains."""
    here = problem_on(subject, torch.device("cpu"))
    theta, rows = here.initial(1), torch.arange(subject.batch)[None]
    found = there.gradient(theta[None].to(there.device), rows)
    wanted = here.gradient(theta[None], rows)
    allowed = tolerance_of(there.computation.coarsest)
    apart = {
        "losses": float((found.losses.cpu() - wanted.losses).abs() / wanted.losses.abs()),
        "gradients": float((found.gradients.cpu() - wanted.gradients).norm() / wanted.gradients.norm()),
    }
    return {**apart, "allowed": allowed, "agrees": all(value <= allowed for value in apart.values())}


def measured(subject: Subject, device: torch.device, budget: float) -> dict[str, object]:
    """Everything about one subject."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    problem = problem_on(subject, device)
    choice = problem.engine_choice()
    plain = Plain(subject, problem, device)
    a, b = (problem.initial(seed) for seed in (0, 1))

    def steps(count: int, beads: int) -> None:
        starts = [Start(a, -math.inf, -math.inf, f"bead {bead}", value=0.0) for bead in range(beads)]
        recipe = ws.Recipe("adam", {"lr": 1e-3}, check_every=count, max_steps=count)
        descend(problem, lambda thetas: torch.zeros(len(thetas), dtype=torch.float64), starts, seed=0, recipe=recipe)

    ts = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    curve, plain_curve = problem.measure_along(a, b, ts)["loss"], torch.tensor(plain.curve(a, b))
    found: dict[str, object] = {
        "parameters": problem.size,
        "engine": choice.reason,
        "agreement with the CPU": agreement(subject, problem),
        "curve and plain curve differ by": float((curve - plain_curve).abs().max() / curve.abs().max()),
        "steps/s, plain loop": rate(plain.train, device, budget),
        "steps/s, one model": rate(lambda count: steps(count, 1), device, budget),
        f"steps/s of {subject.beads} models side by side, all together": subject.beads
        * rate(lambda count: steps(count, subject.beads), device, budget),
        "points/s of a curve, plain loop": POINTS
        * rate(lambda count: [plain.curve(a, b) for _ in range(count)], device, budget),
        "points/s of a curve": POINTS
        * rate(lambda count: [problem.measure_along(a, b, ts) for _ in range(count)], device, budget),
    }
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        found |= {"peak memory, GB": peak / 1e9, "peak memory, copies of θ": peak / (4 * problem.size)}
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure what was asked for, on the device that was asked for."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda")
    options.add_argument("--only", choices=sorted(SUBJECTS), default=None)
    options.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    chosen = asked(options, arguments)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("gpu.py: there is no CUDA device here: nothing was measured")
        return
    torch.backends.cudnn.allow_tf32 = False  # as matrix products by default: what agrees, agrees to float32's rounding
    small = ["mlp", "cnn"] if device.type == "cpu" else list(SUBJECTS)
    names = [chosen.only] if chosen.only else small
    found: dict[str, object] = {name: measured(SUBJECTS[name], device, chosen.seconds) for name in names}
    if device.type != "cuda":
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    free, total = torch.cuda.mem_get_info(device)
    about = {"device": torch.cuda.get_device_name(device), "memory, GB": total / 1e9, "free, GB": free / 1e9}
    keep("gpu", {**about, **found}, chosen.quick)
