"""Data that stay on disk: the same numbers as in memory, bit for bit, and refused once they change."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import weightstring as ws
from weightstring.descent import Start, descend
from weightstring.errors import InvalidData, InvalidRun, InvalidSetting
from weightstring.path import Objective
from weightstring.problem import ModuleProblem
from weightstring.problem.capabilities import Accounted
from weightstring.problem.datasets.stored import Stored
from weightstring.randomness import Order, generator

DRAW = torch.Generator().manual_seed(0)
INPUTS = torch.randn(301, 6, generator=DRAW)
TARGETS = INPUTS[:, :3].argmax(1)
QUICK = ws.Recipe("adam", {"lr": 0.02}, check_every=5)
HALF = (INPUTS[:120], TARGETS[:120])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digests are remembered where they are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("weightstring.problem.datasets.facts.SETTLED_SECONDS", 0.0)
    return tmp_path / "cache"


def memmap(folder: Path, tensor: torch.Tensor = INPUTS, name: str = "x") -> np.memmap:
    path = folder / f"{name}.npy"
    np.save(path, tensor.numpy())
    return np.load(path, mmap_mode="r")


def network(kind: str = "mlp") -> nn.Module:
    torch.manual_seed(0)
    middle = {"mlp": nn.Tanh(), "dropout": nn.Dropout(0.3), "batchnorm": nn.BatchNorm1d(8)}[kind]
    return nn.Sequential(nn.Linear(6, 8), middle, nn.Linear(8, 3))


def problem(train: object, kind: str = "mlp", evaluate: object = HALF, **settings: object) -> ModuleProblem:
    loss = nn.functional.cross_entropy
    return ModuleProblem(network(kind), loss, train, evaluate, **{"batch_size": 16, "chunk": 50, **settings})


def stored(found: ModuleProblem) -> Stored:
    assert isinstance(found._parts.train, Stored)
    return found._parts.train


@pytest.mark.parametrize("kind", ["mlp", "dropout", "batchnorm"])
@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_a_memmap_gives_the_numbers_of_the_same_data_in_memory_bit_for_bit(tmp_path, kind, engine):
    x = memmap(tmp_path)
    apart, inside = problem(ws.streamed((x, TARGETS)), kind, engine=engine), problem((INPUTS, TARGETS), kind)
    assert stored(apart).digest() == inside._parts.train.digest()
    assert apart.fingerprint() == inside.fingerprint()
    inside.use_engine(apart.engine_choice().name)
    thetas = torch.stack([inside.initial(seed) for seed in range(3)])
    rows = torch.stack([torch.randperm(301, generator=generator(i))[:16] for i in range(3)])
    for quantity in ("loss", "train_loss"):
        assert torch.equal(apart.measure(thetas, [quantity])[quantity], inside.measure(thetas, [quantity])[quantity])
    for given in (rows, None):
        one, other = apart.gradient(thetas, given), inside.gradient(thetas, given)
        assert torch.equal(one.losses, other.losses)
        assert torch.equal(one.gradients, other.gradients)
    along = [
        each.measure_along(*thetas[:2], torch.linspace(0, 1, 5).double(), ["train_loss"]) for each in (apart, inside)
    ]
    assert torch.equal(along[0]["train_loss"], along[1]["train_loss"])
    recipe = ws.Recipe("adam", {"lr": 0.01}, check_every=5, max_steps=10)  # several steps in one call, where there are
    start = Start(thetas[0], 0.0, 0.0, "a")
    ends = [descend(each, Objective(each), [start], seed=0, recipe=recipe)[0].theta for each in (apart, inside)]
    assert torch.equal(*ends)


def test_what_a_search_costs_is_told_of_data_on_disk_as_in_memory(tmp_path):
    mapped, held = problem((memmap(tmp_path), TARGETS)), problem((INPUTS, TARGETS))
    assert isinstance(mapped, Accounted)
    assert (mapped.units, mapped.examples("train_loss")) == (held.units, held.examples("train_loss"))
    assert mapped.beside(["loss"]) == held.beside(["loss"])


@pytest.mark.slow
def test_every_way_to_map_a_file_is_recognised(tmp_path, monkeypatch):
    monkeypatch.setattr("weightstring.problem.datasets.streaming.STREAMED_BYTES", 1)
    save_file({"x": INPUTS}, tmp_path / "x.safetensors")
    torch.save({"x": INPUTS}, tmp_path / "x.pt")
    INPUTS.numpy().tofile(tmp_path / "x.bin")
    digests = {
        stored(problem((x, TARGETS))).digest()
        for x in (
            memmap(tmp_path),
            torch.from_numpy(np.memmap(tmp_path / "x.bin", "float32", "r", shape=(301, 6))),
            torch.from_file(str(tmp_path / "x.bin"), size=INPUTS.numel()).view(301, 6),
            torch.load(tmp_path / "x.pt", mmap=True)["x"],
            load_file(tmp_path / "x.safetensors")["x"],
        )
    }
    assert digests == {problem((INPUTS, TARGETS))._parts.train.digest()}


def test_parts_and_other_precisions_of_a_mapped_tensor_are_read_as_they_are(tmp_path):
    x = memmap(tmp_path, INPUTS.double())
    found = stored(problem(ws.streamed((x[7:207:2, :6], TARGETS[7:207:2]))))
    assert found.form() == "(100, 6) float32"
    rows = torch.tensor([3, 0, 3, 99])
    assert torch.equal(found.take(rows).leaves[0], INPUTS[7:207:2][rows])
    assert torch.equal(found.targets_of(rows), TARGETS[7:207:2][rows])


def test_small_mapped_tensors_are_read_into_memory(tmp_path):
    assert not isinstance(problem((memmap(tmp_path), TARGETS))._parts.train, Stored)


def test_what_was_written_to_a_private_mapping_counts(tmp_path):
    memmap(tmp_path)
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x += 1
    with pytest.raises(InvalidData, match=r"streamed\(\) was given tensors that are in memory"):
        problem(ws.streamed((x, TARGETS)))
    assert torch.equal(problem((x, TARGETS))._parts.train.leaves[0], INPUTS + 1)


@pytest.mark.slow
def test_a_run_goes_on_with_data_that_moved_to_disk(tmp_path):
    x = memmap(tmp_path)
    inside, apart = (problem(train, engine="loop") for train in ((INPUTS, TARGETS), ws.streamed((x, TARGETS))))
    ends = [inside.fit(seed, until=0.3, recipe=QUICK) for seed in range(2)]
    assert all(torch.equal(end, apart.fit(seed, until=0.3, recipe=QUICK)) for seed, end in enumerate(ends))
    first = ws.connect(inside, *ends, 0.31, recipe=QUICK, stop=ws.MaxSteps(5), store=tmp_path / "run")
    whole = ws.connect(apart, *ends, 0.31, recipe=QUICK, store=tmp_path / "run")
    alone = ws.connect(inside, *ends, 0.31, recipe=QUICK)
    assert isinstance(first.outcome, ws.Unresolved)
    assert len(alone.string.beads) > 2
    assert torch.equal(whole.string.beads, alone.string.beads)


def test_a_file_that_is_written_to_is_refused(tmp_path):
    writable = np.memmap(tmp_path / "x.bin", "float32", "w+", shape=(301, 6))
    writable[:] = INPUTS.numpy()
    found = problem(ws.streamed((writable, TARGETS)))
    theta = found.initial(0)[None]
    found.measure(theta)
    writable[3, 3] = 0
    with pytest.raises(InvalidData, match=r"x\.bin was written to .* build the problem anew"):
        found.measure(theta, ["train_loss"])


def test_a_file_that_changed_between_two_sessions_does_not_resume_the_run(tmp_path):
    x = memmap(tmp_path)
    apart = problem(ws.streamed((x, TARGETS)), engine="loop")
    ends = [apart.initial(seed) for seed in range(2)]
    ws.connect(apart, *ends, 2.0, store=tmp_path / "run")
    y = memmap(tmp_path, INPUTS.roll(1, 0))
    with pytest.raises(InvalidRun, match=r"another problem|differs|data"):
        ws.connect(problem(ws.streamed((y, TARGETS)), engine="loop"), *ends, 2.0, store=tmp_path / "run")


def test_a_pass_over_a_file_is_remembered_until_it_changes(tmp_path, cache, monkeypatch):
    before = stored(problem(ws.streamed((memmap(tmp_path), TARGETS)))).facts
    assert len(list(cache.rglob("*.json"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("weightstring.problem.datasets.mapped.Survey", None)  # nobody looks again
        assert stored(problem(ws.streamed((np.load(tmp_path / "x.npy", mmap_mode="r"), TARGETS)))).facts == before
    after = stored(problem(ws.streamed((memmap(tmp_path, INPUTS + 1), TARGETS)))).facts
    assert after.digest != before.digest


def test_a_declared_digest_takes_the_place_of_a_pass(tmp_path):
    names = ["version 1", "version 1", "version 2"]
    problems = [problem(ws.streamed((memmap(tmp_path), TARGETS), digest=name)) for name in names]
    facts = [stored(each).facts for each in problems]
    assert facts[0] == facts[1] != facts[2]
    assert problems[0].digests["data: train"].startswith("declared ")  # as every manifest and certificate says
    with pytest.raises(InvalidSetting, match=r"digest='': give a text"):
        ws.streamed((INPUTS, TARGETS), digest="")


def test_numbers_that_are_none_are_found_where_they_are(tmp_path):
    with pytest.raises(InvalidData, match="train: 1 of 1806 numbers in the inputs are NaN"):
        problem(ws.streamed((memmap(tmp_path, INPUTS.where(INPUTS.max() > INPUTS, torch.nan)), TARGETS)))


class Decoded(Dataset):
    """Samples made when they are asked for."""

    def __init__(self) -> None:
        self.factor = 1.0

    def __len__(self) -> int:
        return 301

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.factor * INPUTS[index], TARGETS[index]


@pytest.mark.parametrize(
    "source", [Decoded(), DataLoader(Decoded(), batch_size=40, shuffle=True)], ids=["dataset", "loader"]
)
def test_a_streamed_dataset_gives_the_numbers_of_the_same_data_in_memory(source):
    apart, inside = problem(ws.streamed(source), engine="loop"), problem((INPUTS, TARGETS), engine="loop")
    assert apart.fingerprint() == inside.fingerprint()
    thetas = torch.stack([inside.initial(seed) for seed in range(2)])
    rows = torch.tensor([[5, 3, 300, 3], [0, 1, 2, 4]])
    assert torch.equal(apart.gradient(thetas, rows).gradients, inside.gradient(thetas, rows).gradients)
    assert torch.equal(
        apart.measure(thetas, ["train_loss"])["train_loss"], inside.measure(thetas, ["train_loss"])["train_loss"]
    )


def test_an_order_of_a_loader_is_kept():
    order = list(range(300, 0, -1))
    apart = problem(ws.streamed(DataLoader(Decoded(), batch_size=40, sampler=order)))
    assert torch.equal(stored(apart).take(slice(3)).leaves[0], INPUTS[[300, 299, 298]])


class Augmented(Decoded):
    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return INPUTS[index] + 0.1 * torch.rand(()), TARGETS[index]


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Augmented(), "train changes from one pass to the next"),
        (DataLoader(Endless()), r"a Dataset with __getitem__ and __len__"),
        ((INPUTS, TARGETS), "tensors that are in memory: pass them as they are"),
        ([(INPUTS, TARGETS)], "not a list"),
    ],
    ids=["augmented", "iterable", "in memory", "batches"],
)
def test_what_cannot_be_streamed_is_refused(source, message):
    with pytest.raises(InvalidData, match=message):
        problem(ws.streamed(source))


def test_stored_data_travel_by_their_path(tmp_path):
    found = stored(problem(ws.streamed((memmap(tmp_path), TARGETS))))
    sent = pickle.dumps(found)
    there = pickle.loads(sent)
    assert torch.equal(there.take(torch.tensor([9, 2])).leaves[0], INPUTS[[9, 2]])
    assert len(pickle.dumps(replace(found.rows, columns=found.rows.columns[:1]))) < 1000


def test_screening_is_on_a_part_that_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("weightstring.problem.module.SCREENING_EXAMPLES", 20)
    apart = problem(ws.streamed((memmap(tmp_path), TARGETS)), evaluate=None)
    assert apart.screening is not None
    assert [data.in_memory for data in apart.screening._parts.data.values()] == [True]


def test_what_needs_all_outputs_at_once_says_how_large_they_are(tmp_path, monkeypatch):
    apart = problem(ws.streamed((memmap(tmp_path), TARGETS)))
    monkeypatch.setattr("weightstring.problem.datasets.stored.most_bytes", lambda device: 1000)
    with pytest.raises(InvalidSetting, match=r"all 301 examples are wanted at once, which take 8.97e-06 GiB"):
        apart.traceable("train_loss")


def test_data_that_do_not_fit_into_memory_are_told_in_a_line():
    huge = torch.zeros(1, dtype=torch.float32).expand(2**48, 6)
    with pytest.raises(InvalidData, match=r"^train does not fit into memory \(another .* GiB\) of .* leave it on disk"):
        problem((huge, torch.zeros(1).expand(2**48)))


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 4097])
def test_an_order_that_is_never_written_down_holds_every_number_once(count):
    order = Order.drawn(count, generator(1))
    assert order.at(torch.arange(count)).sort().values.tolist() == list(range(count))


def test_an_order_that_is_never_written_down_looks_random():
    places = torch.arange(4000)
    values = Order.drawn(1_000_003, generator(2)).at(places).double()
    lots = torch.histc(values, 20, 0, 1_000_003)
    assert float((lots - 200).square().sum() / 200) < 45  # χ² with 19 degrees of freedom; above in 1 of 1,500
    assert abs(float(torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1])) < 0.05


class Watched:
    """The largest memory of this process that belongs to no file while the block runs, beyond what it had before."""

    def __enter__(self) -> Watched:
        self.bytes, self._before, self._over = 0, anonymous(), Event()
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, anonymous() - self._before)


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is told by Linux")
@pytest.mark.parametrize(
    ("size", "columns", "most"),
    [(8 * 10**8, 4096, 10**8), (4 * 10**9, 32, 200 * 10**6)],  # a number a row would take 250 MB
    ids=["images of 800 megabytes", "a table of 31 million rows"],
)
def test_data_on_disk_take_a_fraction_of_it_in_memory(tmp_path, monkeypatch, size, columns, most):
    monkeypatch.setattr("weightstring.problem.datasets.streaming.STREAMED_BYTES", 1)
    count = size // (4 * columns)
    for name, dtype, shape in (("x", "float32", (count, columns)), ("y", "int64", (count,))):
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)  # sparse
    x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    net = nn.Sequential(nn.Linear(columns, 8), nn.ReLU(), nn.Linear(8, 2))
    few = (torch.randn(64, columns, generator=DRAW), torch.arange(64) % 2)
    with Watched() as memory:
        large = ModuleProblem(net, nn.functional.cross_entropy, (x, y), few, train_curves=False)
        ends = [large.initial(seed) for seed in range(2)]
        level = max(large.measure(torch.stack(ends))["loss"].tolist()) + 1e-3
        for step in range(50):
            rows = torch.randint(count, (2, 128), generator=generator(step))
            large.gradient(torch.stack(ends), rows)
        result = ws.connect(large, *ends, level, stop=ws.MaxSteps(200), store=tmp_path / "run")
    assert len(large.fingerprint()) == 64
    assert result.outcome is not None
    assert memory.bytes < most
