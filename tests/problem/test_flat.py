import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from weightstring.errors import InvalidCheckpoint, InvalidModel
from weightstring.problem.datasets.data import Examples
from weightstring.problem.flat import Layout
from weightstring.problem.functional import Functional
from weightstring.problem.tensors import clone_tied, identical, named_tensors, slot_names


class Tied(nn.Module):
    """An embedding tied to its decoder, and one hidden layer registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.hidden = nn.Linear(3, 3)
        self.again = self.hidden
        self.decoder = nn.Linear(3, 5)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.tanh(self.again(torch.tanh(self.hidden(self.embedding(tokens))))))


def uneven() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))


def test_entries_follow_the_order_of_parameters():
    layout = Layout.of(uneven())
    assert [(entry.name, entry.shape, entry.offset) for entry in layout.entries] == [
        ("0.weight", (5, 3), 0),
        ("0.bias", (5,), 15),
        ("2.weight", (2, 5), 20),
    ]
    assert layout.size == 30


def test_torch_understands_theta():
    net, other = uneven(), uneven()
    layout = Layout.of(net)
    theta = layout.flatten(named_tensors(net))
    assert torch.equal(theta, parameters_to_vector(net.parameters()).detach())
    vector_to_parameters(theta, other.parameters())
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), other.parameters(), strict=True))


def test_flatten_copies_and_views_do_not():
    net = uneven()
    layout = Layout.of(net)
    theta = layout.flatten(named_tensors(net))
    net[0].weight.data.zero_()
    assert theta[0] != 0
    views = layout.views(theta)
    assert all(view.untyped_storage().data_ptr() == theta.untyped_storage().data_ptr() for view in views.values())


def test_tied_parameters_count_once_and_share_their_view():
    layout = Layout.of(Tied())
    assert [entry.names for entry in layout.entries] == [
        ("embedding.weight", "decoder.weight"),
        ("hidden.weight", "again.weight"),
        ("hidden.bias", "again.bias"),
        ("decoder.bias",),
    ]
    views = layout.views(torch.arange(float(layout.size)))
    assert views["embedding.weight"] is views["decoder.weight"]


def test_a_tied_module_is_called_with_theta_everywhere_and_left_as_it_was():
    torch.manual_seed(0)
    net, reference = Tied().double(), Tied().double()
    layout = Layout.of(net)
    before = {name: (tensor, tensor.clone()) for name, tensor in named_tensors(net).items()}
    theta = torch.randn(layout.size, dtype=torch.float64)
    tokens = torch.tensor([[0, 4], [2, 2], [1, 3]])
    output = Functional(net, layout, {})(theta, Examples((tokens,), tokens))
    vector_to_parameters(theta, reference.parameters())
    assert torch.allclose(output, reference(tokens), rtol=1e-12)
    for name, tensor in named_tensors(net).items():
        assert tensor is before[name][0]
        assert torch.equal(tensor, before[name][1])


def test_every_place_is_named_once():
    names = slot_names(Tied())
    assert {"embedding.weight", "decoder.weight"} <= names
    assert {"hidden.weight", "again.weight"} & names == {"hidden.weight"}


def test_a_functional_without_a_value_for_a_buffer_is_refused():
    net = nn.BatchNorm1d(2)
    with pytest.raises(InvalidModel, match=r"^no value for .*running_mean.*must not change after building$"):
        Functional(net, Layout.of(net), {})


def test_frozen_parameters_are_not_in_theta():
    net = uneven()
    net[0].weight.requires_grad_(False)
    assert [entry.name for entry in Layout.of(net).entries] == ["0.bias", "2.weight"]


def test_clones_keep_ties_and_nan_is_identical_to_nan():
    shared = torch.tensor([1.0, torch.nan])
    copies = clone_tied({"a": shared, "b": shared, "c": torch.ones(2)})
    assert copies["a"] is copies["b"]
    assert identical(copies["a"], shared)
    assert not identical(copies["a"], copies["c"])


def without_trainable() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


def complex_valued() -> nn.Module:
    return nn.Linear(2, 2, dtype=torch.complex64)


def sharing() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    net[1].weight = nn.Parameter(net[0].weight.data.t())
    return net


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (without_trainable, r"^the module has no trainable parameter: set requires_grad=True"),
        (complex_valued, r"^parameter 'weight' is torch.complex64: only real floating"),
        (sharing, r"^parameters '0.weight' and '1.weight' share memory but are not one nn.Parameter: tie them"),
        (
            lambda: nn.Linear(2, 2, device="meta"),
            r"^parameter 'weight' is on the meta device, without numbers: build net on a real device$",
        ),
        (lambda: nn.LazyLinear(3), r"^parameter 'weight' is not initialised yet: run one forward pass"),
    ],
)
def test_modules_without_a_flat_theta_are_refused(build, message):
    with pytest.raises(InvalidModel, match=message) as caught:
        Layout.of(build())
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(
    ("theta", "ndim"),
    [(torch.zeros(29), 1), (torch.zeros(30, dtype=torch.float64), 1), (torch.zeros(30), 2), (torch.zeros(2, 30), 1)],
)
def test_what_is_not_theta_is_refused(theta, ndim):
    with pytest.raises(
        InvalidCheckpoint, match=r"where the problem needs \((B, )?P,?\) torch.float32 on cpu with P = 30"
    ):
        Layout.of(uneven()).check(theta, ndim, torch.device("cpu"))
