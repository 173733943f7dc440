"""Graph networks in the flat form of a batch: nodes of all graphs in a row, edges as indices, sums along them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.symmetry.finding import find
from weightstring.testing.rules import check_symmetry_rule

from .test_finding import scaled
from .zoo import Net, count, problem_of

NODES, EDGES = 5, 6


def zeros(rows: int, like: Tensor) -> Tensor:
    return like.new_zeros(rows, like.shape[1])


def along(target: Tensor, messages: Tensor) -> Tensor:
    return target.view(-1, 1).expand_as(messages)


def written(messages: Tensor, target: Tensor, rows: int) -> Tensor:
    result = zeros(rows, messages)
    result[target] = messages
    return result


def attended(messages: Tensor, target: Tensor, rows: int) -> Tensor:
    """A softmax over the edges that end in one node."""
    scores = messages.sum(1, keepdim=True)
    least = torch.full((rows, 1), -1e30, dtype=scores.dtype)
    weights = (scores - least.scatter_reduce(0, target.view(-1, 1), scores, "amax")[target]).exp()
    whole = zeros(rows, weights).index_add_(0, target, weights)
    return zeros(rows, messages).index_add_(0, target, weights / whole[target] * messages)


def normalised(messages: Tensor, target: Tensor, rows: int) -> Tensor:
    """Divided by the root of the degree, as in a graph convolution; the degrees are data."""
    degree = torch.zeros(rows, dtype=messages.dtype).scatter_add_(0, target, torch.ones_like(target).to(messages))
    factor = degree.pow(-0.5)
    factor = factor.masked_fill_(factor == torch.inf, 0.0)
    return torch.zeros_like(zeros(rows, messages)).index_add(0, target, factor[target].unsqueeze(1) * messages)


def dense(messages: Tensor, target: Tensor, rows: int) -> Tensor:
    """By a matrix of ones and zeros, made of the indices."""
    return nn.functional.one_hot(target, rows).to(messages).T @ messages


AGGREGATED = {
    "index_add": lambda m, to, rows: zeros(rows, m).index_add(0, to, m),
    "scatter_add_": lambda m, to, rows: zeros(rows, m).scatter_add_(0, along(to, m), m),
    "mean": lambda m, to, rows: zeros(rows, m).scatter_reduce(0, along(to, m), m, "mean", include_self=False),
    "amax": lambda m, to, rows: zeros(rows, m).scatter_reduce(0, along(to, m), m, "amax"),
    "index_put": lambda m, to, rows: zeros(rows, m).index_put((to,), m, accumulate=True),
    "written": written,
    "gather": lambda m, to, rows: m.gather(0, along(to, m)).mean(0, keepdim=True).expand(rows, -1),
    "attended": attended,
    "normalised": normalised,
    "dense": dense,
}
"""Messages of edges as sums, means, maxima of the nodes where they end."""


class Graphs(nn.Module):
    """Two layers: messages along edges, then sums over the nodes of each graph."""

    def __init__(self, aggregated) -> None:
        super().__init__()
        self.enter, self.message, self.update = nn.Linear(4, 5), nn.Linear(10, 6), nn.Linear(11, 7)
        self.head, self.aggregated = nn.Linear(7, 2), aggregated

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        graphs = len(x)
        h = torch.relu(self.enter(x.flatten(0, 1)))
        edges = edges + NODES * torch.arange(graphs).view(-1, 1, 1)
        source, target = edges.transpose(0, 1).flatten(1)
        messages = torch.relu(self.message(torch.cat([h[source], h[target]], 1)))
        h = torch.relu(self.update(torch.cat([h, self.aggregated(messages, target, len(h))], 1)))
        which = torch.arange(graphs).repeat_interleave(NODES)
        return self.head(zeros(graphs, h).index_add_(0, which, h))


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("how", AGGREGATED)
def test_units_are_free_where_edges_say_which_node_is_which(how):
    torch.manual_seed(0)
    inputs = torch.randn(9, NODES, 4, dtype=torch.float64), torch.randint(NODES, (9, 2, EDGES))
    problem = problem_of(Graphs(AGGREGATED[how]), inputs)
    check_symmetry_rule(problem, copies=1)
    assert find(problem).log10_permutations == pytest.approx(count(5, 6, 7), abs=1e-9)
    assert scaled(find(problem)) == ((12 if how == "attended" else 18), 0)


def test_what_data_alone_determine_ties_nothing_and_needs_no_rule():
    def forward(self: Net, x: Tensor) -> Tensor:
        order = x[..., 0].argsort(-1)
        turned = x.gather(1, order.unsqueeze(-1).expand_as(x)).diff(dim=1, prepend=x[:, :1]).cumsum(1)
        places = nn.functional.one_hot(order, 4).to(x) @ torch.linalg.pinv(torch.eye(3, 4, dtype=x.dtype))
        free = torch.zeros(1, 6, dtype=x.dtype) + 0 * turned.std(unbiased=False)
        first = torch.relu(self.first(turned + places)) + free
        return self.last((torch.relu(self.second(first)) + free).mean(1))

    torch.manual_seed(0)
    net = Net(forward, first=nn.Linear(3, 6), second=nn.Linear(6, 6), last=nn.Linear(6, 2))
    problem = problem_of(net, torch.randn(9, 4, 3, dtype=torch.float64))
    check_symmetry_rule(problem, copies=1)
    assert find(problem).log10_permutations == pytest.approx(count(6, 6), abs=1e-9)


def pooled(self: Net, h: Tensor, graph: Tensor) -> Tensor:
    return h.new_zeros(int(graph.max()) + 1, h.shape[1]).index_add(0, graph, h)


def apart(self: Net, h: Tensor, graph: Tensor) -> Tensor:
    return torch.stack([part.mean(0) for part in h.split(torch.bincount(graph).tolist())])


def beside_their_graph(self: Net, h: Tensor, graph: Tensor) -> Tensor:
    h = h + pooled(self, h, graph).repeat_interleave(torch.bincount(graph), 0)
    first = graph.diff(prepend=graph.new_tensor([-1])) > 0
    return h[first] + h[first.nonzero().squeeze(1)]


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("pool", [pooled, apart, beside_their_graph])
def test_numbers_read_off_a_batch_of_graphs_are_those_of_its_data(pool):
    def forward(self: Net, nodes: Tensor, graph: Tensor) -> Tensor:
        return self.last(pool(self, torch.relu(self.first(nodes)), graph))

    torch.manual_seed(0)
    problem = of_flat_graphs(forward)
    theta = problem.initial(0)
    assert ws.align(problem, theta, ws.permuted_copy(problem, theta, 1)).distance == 0
    assert find(problem).log10_permutations == pytest.approx(count(6), abs=1e-9)


def written(h: Tensor) -> Tensor:
    held = torch.zeros_like(h)
    held[0] = h[0]
    return held


@pytest.mark.parametrize("read", [lambda h: int((h > 1).sum()), lambda h: float(written(h).max()), lambda h: h[h > 9]])
def test_numbers_read_off_activations_are_refused(read):
    def forward(self: Net, nodes: Tensor, graph: Tensor) -> Tensor:
        h = torch.relu(self.first(nodes))
        return self.last(pooled(self, h, graph)) + torch.as_tensor(read(h)).sum()

    with pytest.raises(ws.Unsupported, match=r"Net cannot be traced .* \(it reads numbers off its activations\)"):
        find(of_flat_graphs(forward))


def of_flat_graphs(forward) -> ws.ModuleProblem:
    def loss(net, batch):
        nodes, graph, y = batch
        return (net(nodes, graph) - y).square().sum(), len(y)

    batches = [(torch.randn(7, 3), torch.tensor([0, 0, 0, 1, 1, 2, 2]), torch.randn(3, 2)) for _ in range(2)]
    return ws.ModuleProblem.from_batches(Net(forward, first=nn.Linear(3, 6), last=nn.Linear(6, 2)), batches, loss=loss)


def test_data_to_which_activations_are_written_are_data_no_more():
    def forward(self: Net, x: Tensor) -> Tensor:
        held = torch.zeros(len(x), 12, dtype=x.dtype)
        part = held[:, 3:9]
        part.copy_(torch.relu(self.first(x)))
        return self.last(held)

    torch.manual_seed(0)
    problem = problem_of(Net(forward, first=nn.Linear(3, 6), last=nn.Linear(12, 2)), torch.randn(9, 3).double())
    check_symmetry_rule(problem, copies=1)
    # The columns of the last layer beside the six are those of zeros: 3 before and 3 behind.
    assert find(problem).log10_permutations == pytest.approx(count(6, 3, 3), abs=1e-9)


def test_a_permuted_copy_of_a_graph_network_is_brought_back():
    torch.manual_seed(0)
    inputs = torch.randn(9, NODES, 4, dtype=torch.float64), torch.randint(NODES, (9, 2, EDGES))
    problem = problem_of(Graphs(AGGREGATED["mean"]), inputs)
    theta = problem.initial(0)
    copy = ws.permuted_copy(problem, theta, 1)
    assert [ws.align(problem, theta, copy, methods=[how]).distance for how in ("weights", "activations")] == [0, 0]
