"""Fixtures and problems that tests of several rooms use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache

import jaxtyping
import pytest
import torch
from torch import Tensor

from weightstring.errors import WeightstringError
from weightstring.problem.surfaces import Surface
from weightstring.protocol import Gradient, LossProblem
from weightstring.recipe import Recipe
from weightstring.tasks import load_task

Refused = Callable[[type[WeightstringError], str], AbstractContextManager[pytest.ExceptionInfo[WeightstringError]]]


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Which task files tests named is not to be remembered for the user who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of annotations, which takes about 0.1 ms a call, for tests of a hundred thousand calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _misuse_reaches_its_guard(request: pytest.FixtureRequest) -> None:
    """Tests of what is *refused* pass what annotations forbid: there the guards must fire, not the type checker."""
    if "refused" in request.node.name or "refused" in request.fixturenames:
        request.getfixturevalue("unchecked")


@pytest.fixture
def refused() -> Refused:
    """``with refused(kind, pattern)``: the block raises this kind of error, with one line that the pattern finds."""

    @contextmanager
    def check(kind: type[WeightstringError], pattern: str) -> Iterator[pytest.ExceptionInfo[WeightstringError]]:
        assert issubclass(kind, WeightstringError)
        with pytest.raises(kind, match=pattern) as caught:
            yield caught
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)

    return check


@dataclass
class Watched:
    """Any problem, with what it was asked counted, and Ctrl-C after so many gradients or measurements."""

    problem: LossProblem
    interrupt_after: int | None = None
    """Calls of ``gradient`` that are answered before Ctrl-C."""
    interrupt_measuring_after: int | None = None
    gradients: int = 0
    """Models whose gradient was asked for, and likewise:"""
    measured: int = 0
    thetas: list[Tensor] = field(default_factory=list)
    """All models measured."""
    _calls: int = 0
    _measurements: int = 0

    size = property(lambda self: self.problem.size)
    dtype = property(lambda self: self.problem.dtype)
    device = property(lambda self: self.problem.device)
    quantities = property(lambda self: self.problem.quantities)
    evaluation = property(lambda self: self.problem.evaluation)
    recipe = property(lambda self: self.problem.recipe)
    train_size = property(lambda self: self.problem.train_size)
    batch_size = property(lambda self: self.problem.batch_size)

    def fingerprint(self) -> str:
        return self.problem.fingerprint()

    def measure(self, thetas: Tensor, quantities: Sequence[str] = ("loss",)) -> dict[str, Tensor]:
        if self._measurements == self.interrupt_measuring_after:
            raise KeyboardInterrupt
        self._measurements += 1
        self.measured += len(thetas)
        self.thetas.extend(thetas)
        return self.problem.measure(thetas, quantities)

    def gradient(self, thetas: Tensor, rows: Tensor | None) -> Gradient:
        if self._calls == self.interrupt_after:
            raise KeyboardInterrupt
        self._calls += 1
        self.gradients += len(thetas)
        return self.problem.gradient(thetas, rows)


@dataclass(frozen=True, kw_only=True)
class Plateau(Surface):
    """Two narrow pits in an endless plain: L = height · min(1, ‖θ − nearest end‖ / radius)², no slope outside."""

    height: float = 2.0
    radius: float = 0.5
    centre: float = 3.0

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        return self._point(self.centre - 2, 1.0), self._point(self.centre + 2, 1.0)

    @property
    def curvature(self) -> float:
        return 2 * self.height / self.radius**2

    def loss(self, thetas: Tensor) -> Tensor:
        distances = torch.stack([(thetas - end).square().sum(1) for end in self.ends]).amin(0)
        return self.height * (distances / self.radius**2).clamp(max=1)

    def pass_height(self, a: Tensor, b: Tensor) -> float:
        return self.height


@dataclass(frozen=True)
class Cloud:
    """Least squares on a cloud of points x (N, P): L(θ) = mean ½‖(θ − x)·scales‖², with minibatches."""

    points: Tensor
    batch_size: int | None = None
    recipe: Recipe = field(default_factory=lambda: Recipe("sgd", {"lr": 0.1}, check_every=7, patience=3, max_steps=70))

    quantities = ("loss", "train_loss", "spread")
    evaluation = "evaluate"
    device = torch.device("cpu")
    size = property(lambda self: self.points.shape[1])
    dtype = property(lambda self: self.points.dtype)
    train_size = property(lambda self: len(self.points))

    def fingerprint(self) -> str:
        return f"cloud {self.points.sum().item()!r}"

    @property
    def scales(self) -> Tensor:
        return torch.linspace(0.5, 1.5, self.size, dtype=self.dtype)

    def measure(self, thetas: Tensor, quantities: Sequence[str] = ("loss",)) -> dict[str, Tensor]:
        """``loss`` on the first half of the points, ``train_loss`` on all; ``spread`` is the largest |θ_i|."""
        squares = ((thetas[:, None] - self.points) * self.scales).square().sum(2) / 2
        measured = {
            "loss": squares[:, : len(self.points) // 2].mean(1),
            "train_loss": squares.mean(1),
            "spread": thetas.abs().amax(1),
        }
        return {name: measured[name].double() for name in quantities}

    def gradient(self, thetas: Tensor, rows: Tensor | None) -> Gradient:
        batch = self.points.expand(len(thetas), -1, -1) if rows is None else self.points[rows]
        differences = thetas[:, None] - batch
        losses = (differences * self.scales).square().sum(2).mean(1) / 2
        return Gradient(losses, (differences * self.scales.square()).mean(1))


@pytest.fixture(scope="session")
def digits_end() -> Callable[[int], Tensor]:
    """``digits_end(seed)``: a digits network trained until 0.2, one for all tests; not to be written to."""
    problem = load_task("digits")
    return cache(lambda seed: problem.fit(seed=seed, until=0.2))


@pytest.fixture(scope="session")
def watched() -> type[Watched]:
    return Watched


@pytest.fixture(scope="session")
def plateau() -> Plateau:
    return Plateau(size=3)


@pytest.fixture(scope="session")
def cloud() -> Callable[..., Cloud]:
    """``cloud(batch_size=…)``: least squares on 23 points in R⁵, off the origin."""

    def make(*, batch_size: int | None = None, dtype: torch.dtype = torch.float64, **options: object) -> Cloud:
        points = 3 + torch.randn(23, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        return Cloud(points.to(dtype), batch_size, **options)

    return make
