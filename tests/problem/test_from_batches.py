"""Batches of any form: what is measured and differentiated is that of the whole data, however they are cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import weightstring as ws
from weightstring.errors import InvalidData, InvalidModel, InvalidSetting, Unsupported


def points(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def classifier(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 2)).double()


def dicts(sizes: tuple[int, ...]) -> list[dict[str, object]]:
    x, y = points(sum(sizes))
    pairs = zip(x.split(sizes), y.split(sizes), strict=True)
    return [{"x": inputs, "labels": labels, "names": ["kept"], "scale": 2.0} for inputs, labels in pairs]


def entropy(net: nn.Module, batch: dict) -> dict:
    labels = batch.pop("labels")  # a loss may do with its batch what it likes
    output = net(batch["x"] * batch["scale"])
    hits = (output.argmax(1) == labels).sum()
    return {
        "loss": ws.MeanOf(functional.cross_entropy(output, labels), len(labels)),
        "accuracy": (hits, len(labels)),
    }


def of_dicts(sizes: tuple[int, ...] = (4, 7, 5), **settings: object) -> ws.ModuleProblem:
    return ws.ModuleProblem.from_batches(classifier(), dicts(sizes), loss=entropy, **settings)


def whole(theta: Tensor, sizes: tuple[int, ...] = (4, 7, 5)) -> tuple[Tensor, Tensor]:
    """Loss and accuracy over all points at once, differentiable in θ."""
    x, y = points(sum(sizes))
    w1, b1, w2, b2 = (
        piece.view(shape)
        for piece, shape in zip(theta.split([18, 6, 12, 2]), [(6, 3), (6,), (2, 6), (2,)], strict=True)
    )
    output = torch.tanh(2 * x @ w1.T + b1) @ w2.T + b2
    return functional.cross_entropy(output, y), (output.argmax(1) == y).double().mean()


def test_dicts_with_labels_have_the_loss_and_the_metric_of_all_examples_at_once():
    problem = of_dicts()
    thetas = torch.stack([problem.initial(seed) for seed in (0, 1)])
    found = problem.measure(thetas, ["loss", "accuracy"])
    for i, theta in enumerate(thetas):
        loss, accuracy = whole(theta)
        assert found["loss"][i] == pytest.approx(loss.item(), abs=1e-12)
        assert found["accuracy"][i] == pytest.approx(accuracy.item(), abs=1e-12)
    assert (problem.train_size, problem.batch_size) == (3, 1)


def test_the_full_gradient_is_that_of_the_mean_over_all_examples():
    problem = of_dicts()
    theta = problem.initial(3)
    leaf = theta.clone().requires_grad_()
    (expected,) = torch.autograd.grad(whole(leaf)[0], leaf)
    found = problem.gradient(theta[None], None)
    assert torch.allclose(found.gradients[0], expected, rtol=0, atol=1e-13)
    rows = torch.tensor([[0, 1, 2]])
    assert torch.equal(problem.gradient(theta[None], rows).gradients, found.gradients)
    v = torch.randn(1, len(theta), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (product,) = torch.autograd.grad(torch.autograd.grad(whole(leaf)[0], leaf, create_graph=True)[0] @ v[0], leaf)
    assert torch.allclose(problem.hessian_products(theta, v, None)[0], product, rtol=0, atol=1e-12)


def test_two_ways_to_cut_the_same_data_give_the_same_loss_and_gradient():
    one, other = of_dicts((4, 7, 5)), of_dicts((9, 1, 6))
    theta = one.initial(0)[None]
    assert one.measure(theta)["loss"].item() == pytest.approx(other.measure(theta)["loss"].item(), rel=1e-14)
    assert torch.allclose(one.gradient(theta, None).gradients, other.gradient(theta, None).gradients, atol=1e-14)
    assert one.fingerprint() != other.fingerprint()


def test_batches_of_stacked_examples_give_the_ordinary_problems_numbers():
    x, y = points(23)
    net = classifier(dropout=0.5)
    ordinary = ws.ModuleProblem(net, nn.CrossEntropyLoss(), (x, y), engine="loop", batch_size=None)
    loader = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True, drop_last=True)

    def loss(net: nn.Module, batch: list[Tensor]) -> ws.MeanOf:
        return ws.MeanOf(functional.cross_entropy(net(batch[0]), batch[1]), len(batch[1]))

    batched = ws.ModuleProblem.from_batches(net, loader, loss=loss)
    theta = ordinary.initial(0)
    assert torch.equal(theta, batched.initial(0))
    assert batched.train_size == 5  # the last three examples too, whatever drop_last says
    expected = ordinary.measure(theta[None])["loss"].item()
    assert batched.measure(theta[None])["loss"].item() == pytest.approx(expected, rel=1e-14)
    assert batched.measure_each(theta).mean().item() == pytest.approx(expected, rel=1e-14)
    assert torch.equal(batched.flatten(net), ordinary.flatten(net))


class Messages(nn.Module):
    """One round of messages along the edges of a flat batch of graphs, summed into one number a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.readout = nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, nodes: Tensor, edges: Tensor, graph: Tensor, graphs: int) -> Tensor:
        sent = torch.tanh(self.message(nodes))
        received = torch.zeros_like(sent).index_add(0, edges[1], sent[edges[0]])
        return torch.zeros(graphs, 1, dtype=nodes.dtype).index_add(0, graph, self.readout(received)).squeeze(1)


def graphs(groups: list[list[int]]) -> list[dict[str, object]]:
    """Rings of the given numbers of nodes, each group as one flat batch."""
    draw, batches = torch.Generator().manual_seed(4), []
    for group in groups:
        nodes, edges, index, start = [], [], [], 0
        for graph, size in enumerate(group):
            ring = torch.arange(size)
            nodes.append(torch.randn(size, 2, generator=draw, dtype=torch.float64))
            edges.append(start + torch.stack([ring, ring.roll(1)]))
            index.append(torch.full((size,), graph))
            start += size
        target = torch.tensor([float(size) for size in group], dtype=torch.float64)
        batches.append(
            {"nodes": torch.cat(nodes), "edges": torch.cat(edges, 1), "graph": torch.cat(index), "y": target}
        )
    return batches


def ring_loss(net: nn.Module, batch: dict) -> tuple[Tensor, int]:
    output = net(batch["nodes"], batch["edges"], batch["graph"], len(batch["y"]))
    return (output - batch["y"]).square().sum(), len(batch["y"])


def of_graphs(groups: list[list[int]]) -> ws.ModuleProblem:
    torch.manual_seed(0)
    return ws.ModuleProblem.from_batches(Messages().double(), graphs(groups), loss=ring_loss)


def test_flat_batches_of_graphs_give_the_mean_over_graphs():
    groups = [[3, 5], [4, 3, 6], [7]]
    problem = of_graphs(groups)
    theta = problem.initial(0)
    net = Messages().double()
    net.load_state_dict(problem.unflatten(theta))
    with torch.no_grad():
        total = sum(ring_loss(net, batch)[0] for batch in graphs(groups))
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(total.item() / 6, abs=1e-12)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn, self.head = nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(tokens))[0])


def sentences(lengths: list[list[int]]) -> list[dict[str, Tensor]]:
    """Padded by token 0 and tag −1, each batch to its own longest."""
    draw, batches = torch.Generator().manual_seed(5), []
    for group in lengths:
        tokens = [torch.randint(1, 9, (n,), generator=draw) for n in group]
        pad = nn.utils.rnn.pad_sequence
        tags = [t % 3 for t in tokens]
        batches.append({"tokens": pad(tokens, batch_first=True), "tags": pad(tags, batch_first=True, padding_value=-1)})
    return batches


def tag_loss(net: nn.Module, batch: dict) -> tuple[Tensor, Tensor]:
    logits, tags = net(batch["tokens"]), batch["tags"]
    return functional.cross_entropy(logits.flatten(0, 1), tags.flatten(), ignore_index=-1, reduction="sum"), (
        tags != -1
    ).sum()


def test_padded_sequences_of_any_length_give_the_mean_over_the_sets_tokens():
    lengths = [[2, 6, 3], [1, 1], [9, 4]]
    problem = ws.ModuleProblem.from_batches(Tagger().double(), sentences(lengths), loss=tag_loss)
    theta = problem.initial(0)
    net = Tagger().double()
    net.load_state_dict(problem.unflatten(theta))
    each = []
    for batch in sentences(lengths):
        for tokens, tags in zip(batch["tokens"], batch["tags"], strict=True):
            n = int((tags != -1).sum())
            with torch.no_grad():
                each.append(functional.cross_entropy(net(tokens[None, :n])[0], tags[:n], reduction="none"))
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(torch.cat(each).mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda loss, mean, tags: (mean, (tags != -1).sum()), "loss: the sum of a train batch of 3 is"),
        (lambda loss, mean, tags: ws.MeanOf(loss, (tags != -1).sum()), "loss: the sum of a train batch of 3 is"),
        (lambda loss, mean, tags: ws.MeanOf(mean, len(tags)), "loss: the sum of a train batch of 3 is"),
        (lambda loss, mean, tags: (loss, (tags != -1).double().mean()), "loss: the weight of a train batch of 3 is"),
        (lambda loss, mean, tags: mean, r"loss returned \(\) float64 of a batch: it must return \(sum, weight\)"),
        (lambda loss, mean, tags: {"token": (loss, 1)}, "loss returned a dict of token: one must be called 'loss'"),
        (lambda loss, mean, tags: (loss.item(), 3), "loss returned a float for a sum of a train batch"),
        (lambda loss, mean, tags: (loss, 1 + loss.detach().square()), "loss's weight depends on the outputs"),
        (lambda loss, mean, tags: {"loss": (loss, 1), "train": (loss, 1)}, "metric name 'train'"),
    ],
)
def test_what_does_not_add_up_over_batches_is_refused(returned, said):
    def loss(net: nn.Module, batch: dict) -> object:
        total, count = tag_loss(net, batch)
        return returned(total, total / count, batch["tags"])

    with pytest.raises(InvalidSetting, match=said):
        ws.ModuleProblem.from_batches(Tagger().double(), sentences([[2, 6, 3], [4, 1]]), loss=loss)


def test_batches_of_single_sequences_are_tried_in_pairs():
    words = torch.randint(1, 9, (4, 1, 6), generator=torch.Generator().manual_seed(1))
    alike = [{"tokens": each, "tags": each % 3} for each in words]

    def wrong(net: nn.Module, batch: dict) -> ws.MeanOf:
        total, count = tag_loss(net, batch)
        return ws.MeanOf(total, count)

    with pytest.raises(InvalidSetting, match="the sum of a train batch of 2 is"):
        ws.ModuleProblem.from_batches(Tagger().double(), alike, loss=wrong)
    assert ws.ModuleProblem.from_batches(Tagger().double(), alike, loss=tag_loss).train_size == 4


def test_half_precision_is_rounded_but_adds_up():
    net = classifier().bfloat16()
    narrow = [batch | {"x": batch["x"].bfloat16()} for batch in dicts((40, 70, 50))]
    problem = ws.ModuleProblem.from_batches(net, narrow, loss=entropy)
    wide = ws.ModuleProblem.from_batches(net, narrow, loss=entropy, dtype=torch.float64)
    theta = problem.flatten(net)
    assert theta.dtype == torch.float32
    expected = wide.measure(theta[None].double())["loss"].item()
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(expected, rel=2e-2)


def test_a_contrastive_loss_is_a_function_of_its_batches_if_one_says_so():
    def contrast(net: nn.Module, batch: Tensor) -> ws.MeanOf:
        z = functional.normalize(net(batch), dim=1)
        return ws.MeanOf(functional.cross_entropy(z @ z.roll(1, 0).T, torch.arange(len(z))), len(z))

    batches = [points(4)[0], points(6, seed=1)[0]]
    with pytest.raises(InvalidSetting, match="divisible=False"):
        ws.ModuleProblem.from_batches(classifier(), batches, loss=contrast)
    problem = ws.ModuleProblem.from_batches(classifier(), batches, loss=contrast, divisible=False)
    theta = problem.initial(0)
    each = problem.shares(theta)
    assert each.weights.tolist() == [4, 6]
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(each.sums.sum().item() / 10, rel=1e-14)


def test_targets_may_be_ragged_and_there_may_be_none():
    x, _ = points(9)
    sets = [torch.arange(float(n)).double() for n in range(1, 10)]
    ragged = [(x[:4], sets[:4]), (x[4:], sets[4:])]

    def chamfer(net: nn.Module, batch: tuple) -> tuple[Tensor, int]:
        output = net(batch[0])
        near = [
            (out[None] - target[:, None]).square().amin(1).sum() for out, target in zip(output, batch[1], strict=True)
        ]
        return torch.stack(near).sum(), sum(map(len, batch[1]))

    torch.manual_seed(0)
    net = nn.Linear(3, 2).double()
    problem = ws.ModuleProblem.from_batches(net, ragged, loss=chamfer)
    alone, points_in_all = chamfer(net, (x, sets))
    assert problem.measure(problem.flatten(net)[None])["loss"].item() == pytest.approx(alone.item() / points_in_all)

    def reconstruct(net: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
        return (net(batch) - batch).square().sum(), batch.numel()

    coder = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 3)).double()
    problem = ws.ModuleProblem.from_batches(coder, [x[:2], x[2:]], loss=reconstruct)
    found = problem.measure(problem.flatten(coder)[None])["loss"].item()
    assert found == pytest.approx((coder(x) - x).square().mean().item(), rel=1e-13)


class Stream(IterableDataset):
    """Numbers without end; noisy ones if asked."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def __iter__(self):
        n = 0
        while True:
            n += 1
            yield torch.tensor([float(n)]) + self.noise * torch.randn(1)


def size(net: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
    return (net(batch) - 1).square().sum(), len(batch)


def test_a_stream_has_the_epoch_that_is_declared():
    problem = ws.ModuleProblem.from_batches(
        nn.Linear(1, 1), ws.epoch(DataLoader(Stream(), batch_size=2), batches=3), loss=size, dtype=torch.float64
    )
    assert problem.train_size == 3
    theta = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert problem.measure(theta)["loss"].item() == pytest.approx((0 + 1 + 4 + 9 + 16 + 25) / 6, rel=1e-14)
    noisy = ws.epoch(DataLoader(Stream(noise=1.0), batch_size=2), batches=3)
    with pytest.raises(InvalidData, match="train changes from one pass to the next"):
        ws.ModuleProblem.from_batches(nn.Linear(1, 1), noisy, loss=size)
    with pytest.raises(InvalidData, match="a stream that ends after 2 batches"):
        ws.ModuleProblem.from_batches(nn.Linear(1, 1), ws.epoch([torch.ones(1, 1)] * 2, batches=3), loss=size)


class Counting(torch.utils.data.Dataset):
    """Numbers, and how often one was read."""

    read = 0

    def __len__(self) -> int:
        return 7

    def __getitem__(self, place: int) -> Tensor:
        self.read += 1
        return torch.tensor([float(place)])


def test_a_streamed_loader_is_read_anew_and_keeps_nothing():
    data, kept = Counting(), Counting()
    settings = {"loss": size, "dtype": torch.float64}
    loader = DataLoader(data, batch_size=3, shuffle=True, drop_last=True)
    problem = ws.ModuleProblem.from_batches(nn.Linear(1, 1), ws.streamed(loader), **settings)
    held = ws.ModuleProblem.from_batches(nn.Linear(1, 1), DataLoader(kept, batch_size=3), **settings)
    assert problem.fingerprint() == held.fingerprint()
    problem.engine_choice()
    built, before = data.read, kept.read
    theta = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert torch.equal(problem.measure(theta)["loss"], held.measure(theta)["loss"])
    rows = torch.tensor([[2, 0]])
    assert torch.equal(problem.gradient(theta, rows).gradients, held.gradient(theta, rows).gradients)
    assert data.read - built == 7 + 4  # a measurement of all, and two batches
    assert kept.read == before
    named = ws.streamed(DataLoader(Counting(), batch_size=3), digest="numbers, version 1")
    assert ws.ModuleProblem.from_batches(nn.Linear(1, 1), named, **settings).measure(theta) == problem.measure(theta)
    with pytest.raises(InvalidData, match="train: streamed\\(\\) takes a DataLoader of a Dataset"):
        ws.ModuleProblem.from_batches(nn.Linear(1, 1), ws.streamed(DataLoader(Stream(), batch_size=3)), **settings)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ((torch.ones(2, 1), torch.ones(2, 1)), "train is a tuple: pass a list of batches"),
        ({"x": torch.ones(2, 1)}, "train is a dict: pass a list of batches"),
        (TensorDataset(torch.ones(2, 1)), "train is a TensorDataset: pass a list of batches, or a DataLoader"),
        (3, "train is a int: pass a list of batches, or a DataLoader"),
        ([], "train has no batches"),
        ([["a"]], "train: a batch is a list without tensors"),
        ([torch.nested.nested_tensor([torch.ones(1, 1)], layout=torch.jagged)], "train: a batch holds a nested tensor"),
        (iter([torch.ones(2, 1)]), "train changes from one pass to the next"),
        ([torch.ones(2, 3)], r"the loss fails on a train batch, \(2, 3\) float32: RuntimeError"),
    ],
)
def test_what_is_no_set_of_batches_is_refused(train, said):
    with pytest.raises(InvalidData, match=said):
        ws.ModuleProblem.from_batches(nn.Linear(1, 1), train, loss=size)


@pytest.mark.parametrize("problem", [of_dicts, lambda: of_graphs([[3, 5], [4, 3, 6]])], ids=["dicts", "graphs"])
def test_permuted_copies_are_aligned_by_the_call_that_the_loss_makes(problem):
    problem = problem()
    theta = problem.initial(0)
    copy = ws.permuted_copy(problem, theta, seed=1)
    assert (copy - theta).norm() > 0.1
    losses = problem.measure_each(theta), problem.measure_each(copy)
    assert torch.allclose(*losses, rtol=1e-12)
    for methods in (["weights"], ["activations"]):
        aligned = ws.align(problem, theta, copy, methods=methods)
        assert torch.allclose(aligned.theta, theta, rtol=0, atol=1e-9), methods


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda net, b: (net(b).sum() + net(2 * b).sum(), len(b)), "'loss' calls net 2 times for a batch"),
        (lambda net, b: (net[0](b).square().sum(), len(b)), "'loss' cannot take a stand-in for net"),
        (lambda net, b: (net(b).sum() + net.get_parameter("0.bias").sum() * len(b), len(b)), "uses net.get_parameter"),
    ],
)
def test_a_loss_that_is_no_function_of_one_output_is_not_aligned(loss, said):
    problem = ws.ModuleProblem.from_batches(classifier(), [points(4)[0], points(3)[0]], loss=loss)
    with pytest.raises(Unsupported, match=said):
        ws.permuted_copy(problem, problem.initial(0), seed=0)


def test_what_needs_single_examples_says_so_in_a_line():
    problem = of_dicts()
    assert problem.engine_choice().name == "loop"
    with pytest.raises(InvalidModel, match="engine='vmap' computes several models in one call"):
        problem.use_engine("vmap")
    with pytest.raises(Unsupported, match="read single examples, which these batches do not show: net must be called"):
        problem.traceable("loss")
    assert problem.measure_each(problem.initial(0)).shape == (3,)


@pytest.mark.slow
def test_batches_of_examples_are_certified_as_the_ordinary_problem_is():
    x, _ = points(12)
    y = x[:, :1] - x[:, 1:2]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    ordinary = ws.ModuleProblem(
        net, nn.functional.mse_loss, (x, y), engine="loop", recipe=ws.Recipe("adam", {"lr": 0.05})
    )
    parts = [{"x": a, "y": b} for a, b in zip(x.split([5, 3, 4]), y.split([5, 3, 4]), strict=True)]

    def squares(net: nn.Module, batch: dict) -> ws.MeanOf:
        return ws.MeanOf(functional.mse_loss(net(batch["x"]), batch["y"]), len(batch["y"]))

    batched = ws.ModuleProblem.from_batches(net, parts, loss=squares)
    a, b = (ordinary.fit(seed=seed, until=0.3) for seed in (0, 1))
    strings = [ws.WeightString(problem, torch.stack([a, b])) for problem in (ordinary, batched)]
    expected, found = (ws.certify(string.problem, string) for string in strings)
    assert found.upper_bound == pytest.approx(expected.upper_bound, rel=1e-9)
    assert ws.verify(batched, strings[1], found).failures == ()


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda net, b: (net(b["x"]).square().sum() + b["x"].sum() * 0, 5), "'loss' looks at more than an output"),
        (lambda net, b: ((net(b["x"]) - b["y"]).square().sum(), 10.0), "a batch of 5 rows has the weight 10"),
        (lambda net, b: ((net(b["x"]) - b["y"]).square().sum(), b["count"]), "two parts have .* on average, but"),
    ],
)
def test_batches_that_are_no_examples_are_not_certified(loss, said):
    x, _ = points(10)
    batches = [{"x": part, "y": part[:, :1], "count": 5} for part in x.split(5)]
    net = nn.Linear(3, 1).double()
    problem = ws.ModuleProblem.from_batches(net, batches, loss=loss, divisible=False)
    with pytest.raises(Unsupported, match=said):
        problem.traceable("loss")


class Killed:
    """A loss during one of whose calls the process is told to stop."""

    def __init__(self, left: int = 10**9) -> None:
        self.left = left  # what a call changes is no part of a problem's identity

    def __call__(self, net: nn.Module, batch: dict) -> dict:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return entropy(net, batch)


def of_killed(loss: Killed) -> ws.ModuleProblem:
    recipe = ws.Recipe("adam", {"lr": 0.05}, check_every=5, patience=4, max_steps=40)
    batches = dicts((4, 7, 5, 3))
    return ws.ModuleProblem.from_batches(classifier(dropout=0.1), batches, loss=loss, recipe=recipe, batch_size=2)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits_and_has_a_page(tmp_path):
    problem = of_killed(Killed())
    a, b = (problem.fit(seed=seed, until=0.45) for seed in (0, 2))
    limits = {"threshold": 0.455, "stop": ws.MaxBeads(3)}
    counted, killed = Killed(), Killed()
    search, victim = of_killed(counted), of_killed(killed)
    counted.left = 10**9  # building takes as many calls as its clock says
    whole = ws.connect(search, a, b, **limits, store=tmp_path / "whole")
    killed.left = (10**9 - counted.left) // 2
    assert len(whole.string.beads) > 2  # beads descended
    stopped = ws.connect(victim, a, b, **limits, store=tmp_path / "killed")
    assert stopped.outcome.reason == "interrupted"
    resumed = ws.connect(of_killed(Killed()), a, b, **limits, store=tmp_path / "killed")
    assert torch.equal(resumed.string.beads, whole.string.beads)
    assert str(resumed.outcome) == str(whole.outcome)
    ws.write_report(tmp_path / "killed")
    assert "accuracy" in (tmp_path / "killed" / "report.html").read_text()
