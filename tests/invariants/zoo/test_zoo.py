"""Each module of the zoo: loss, metrics and gradients at three θ are a plain copy's, or it is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.errors import InvalidModel

from .entries import ENTRIES
from .entry import Entry
from .expected import Expected
from .plain import seed
from .surroundings import ambient, contents, held

TRAIN, EVALUATE, BATCH, CHUNK = 23, 11, 8, 8


def cases(*, refused: bool) -> list[Any]:
    """Each entry in one of its precisions, by turns: what an operation does to these is the same in all modules."""
    entries = [entry for entry in ENTRIES if (entry.refused is not None) is refused]
    pairs = [(entry, entry.dtypes[number % len(entry.dtypes)]) for number, entry in enumerate(entries)]
    return [pytest.param(*pair, id=f"{pair[0].name}, {str(pair[1])[6:]}", marks=marks(pair[0])) for pair in pairs]


def marks(entry: Entry) -> list[pytest.MarkDecorator]:
    ignored = [pytest.mark.filterwarnings(f"ignore:{pattern}") for pattern in entry.warns]
    slow = [pytest.mark.slow] if entry.slow else []
    return [*ignored, *slow]


class Scene:
    """A problem made of an entry, the user's own net and data, and how all of it was before."""

    def __init__(self, entry: Entry, dtype: torch.dtype) -> None:
        self.entry, self.dtype = entry, dtype
        self.options = {"batch_size": BATCH, "chunk": CHUNK} | dict(entry.options)
        seed(3)
        self.train = entry.inputs(TRAIN), entry.targets(TRAIN)
        self.evaluate = entry.inputs(EVALUATE), entry.targets(EVALUATE)
        seed(11)
        self.net = entry.net()
        loss = entry.loss_of(self.net) if entry.loss_of else entry.loss
        seed(99)
        self.before = self.state()
        self.problem = ws.ModuleProblem(
            self.net,
            loss,
            self.train,
            self.evaluate,
            metrics=dict(entry.metrics),
            dtype=dtype,
            engine="loop",
            **self.options,
        )

    def state(self) -> dict[str, Any]:
        data = {"training data": contents(self.train), "evaluation data": contents(self.evaluate)}
        return ambient() | held(self.net) | data

    def changed(self) -> list[str]:
        now = self.state()
        return [what for what, value in self.before.items() if now[what] != value]

    def thetas(self) -> Tensor:
        """The net's own θ, a random neighbour, and one far away."""
        own = self.problem.flatten(self.net)
        noise = torch.randn(2, len(own), generator=torch.Generator().manual_seed(5)).to(own)
        return torch.stack([own, own + 0.1 * noise[0], 1.5 * own + 0.7 * noise[1]])

    def rows(self) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        return torch.stack([torch.randperm(TRAIN, generator=generator)[:BATCH] for _ in range(3)])

    def computing_by(self, engine: str) -> bool:
        """Whether an engine takes the module: "loop" and "auto" must, the others may say that they cannot."""
        try:
            self.problem.use_engine(engine)
        except InvalidModel:
            return False
        return True


@pytest.mark.many(quick=40)
@pytest.mark.usefixtures("unchecked")  # beartype, which checks annotations, draws from Python's generator
@pytest.mark.parametrize(("entry", "dtype"), cases(refused=False))
def test_what_is_computed_is_what_a_plain_copy_gives(entry, dtype):
    scene = Scene(entry, dtype)
    compare(scene, ["loop", "vmap", "stack", *(["auto"] if dtype == torch.float32 else [])])
    assert scene.changed() == []


@pytest.mark.parametrize(("entry", "dtype"), cases(refused=True))
def test_what_cannot_be_explored_is_refused_by_name(entry, dtype, refused):
    kind, pattern = entry.refused
    with refused(kind, pattern):
        Scene(entry, dtype)


def compare(scene: Scene, engines: list[str]) -> None:
    """Losses, metrics and gradients by each engine, and what the user's own net makes of ``unflatten``."""
    thetas, rows = scene.thetas(), scene.rows()
    kept = thetas.clone()
    expected = Expected(scene, thetas, rows)
    for engine in engines:
        if not scene.computing_by(engine):
            assert engine in ("vmap", "stack")
            continue
        for name, values in scene.problem.measure(thetas, tuple(expected.values)).items():
            expected.values[name].check(values.unsqueeze(1), f"{engine}: {name}")
        for chosen in (rows, None):
            found = scene.problem.gradient(thetas, chosen)
            if scene.entry.draws:
                check_repeatable(scene, thetas, chosen, found)
                continue
            for answer, values in zip(expected.gradients(chosen), found, strict=True):
                answer.check(values.view(3, -1).double(), f"{engine}: {answer.name}")
        assert torch.equal(thetas, kept), f"{engine}: the caller's θ was changed"
    for index, theta in enumerate(thetas):
        loss = expected.plain.loaded(scene.problem.unflatten(theta), scene.evaluate)
        expected.values["loss"].check_one(index, loss, "the user's own net, loaded")


def check_repeatable(scene: Scene, thetas: Tensor, rows: Tensor | None, found: ws.protocol.Gradient) -> None:
    again = scene.problem.gradient(thetas, rows)
    assert torch.equal(found.losses, again.losses)
    assert torch.equal(found.gradients, again.gradients)
    assert found.gradients.isfinite().all()
    assert found.gradients.abs().sum(1).min() > 0
