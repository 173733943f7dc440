import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import nn
from torch.nn import functional

from weightstring.errors import InvalidCheckpoint
from weightstring.problem import ModuleProblem
from weightstring.problem.checkpoints.checkpoint import Template
from weightstring.problem.flat import Layout


class Everything(nn.Module):
    """Tied weights, a frozen parameter, a constant buffer, running statistics and extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.decoder = nn.Linear(3, 4)
        self.decoder.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("shift", torch.tensor([0.5, torch.nan, 1.0]))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.norm(self.embedding(tokens)) * self.scale + torch.nan_to_num(self.shift))

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 3}


TOKENS = torch.tensor([0, 3, 1, 2, 2, 0])


def build(**settings: object) -> tuple[Everything, ModuleProblem]:
    torch.manual_seed(0)
    net = Everything()
    return net, ModuleProblem(net, functional.cross_entropy, (TOKENS, TOKENS.flip(0)), **settings)


def changed(name: str, value: object) -> dict[str, object]:
    state = dict(Everything().state_dict())
    del state["_extra_state"]
    return {**state, name: value}


def test_flatten_and_unflatten_are_inverse():
    net, problem = build()
    theta = problem.initial(4)
    state = problem.unflatten(theta)
    net.load_state_dict(state, strict=True)
    assert torch.equal(problem.flatten(net), theta)
    assert torch.equal(problem.flatten(state), theta)
    assert list(state) == list(net.state_dict())
    assert state["decoder.weight"].data_ptr() != theta.data_ptr()


def test_a_dtype_of_the_net_or_of_the_problem_is_accepted():
    net, problem = build(dtype=torch.float64)
    single = problem.flatten(net)
    assert single.dtype == torch.float64
    assert torch.equal(problem.flatten(net.double()), single)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_stripped(prefix):
    net, problem = build()
    state = {prefix + name: tensor for name, tensor in net.state_dict().items()}
    assert torch.equal(problem.flatten(state), problem.flatten(net))


def test_a_module_of_that_name_keeps_it():
    net = nn.Sequential()
    net.module = nn.Linear(2, 1)
    problem = ModuleProblem(net, functional.mse_loss, (torch.ones(2, 2), torch.ones(2, 1)))
    assert torch.equal(problem.flatten(net.state_dict())[:2], net.module.weight[0])


def test_safetensors_drop_aliases(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    problem = ModuleProblem(net, functional.mse_loss, (torch.ones(2, 3), torch.ones(2, 3)))
    save_model(net, str(tmp_path / "net.safetensors"))
    state = load_file(tmp_path / "net.safetensors")
    assert len(state) == 3
    assert torch.equal(problem.flatten(state), problem.flatten(net))


def test_running_statistics_may_differ():
    net, problem = build()
    theta = problem.flatten(net)
    net.norm.running_mean.fill_(7.0)
    assert torch.equal(problem.flatten(net), theta)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"embedding.weight": torch.zeros(4, 3)},
            r"^'scale', 'shift', 'norm.weight' and 4 more are missing from the checkpoint \(7 of the module's 11",
        ),
        (changed("head.bias", torch.zeros(2)), r"^'head.bias' is in the checkpoint but not in the module: pass"),
        (
            changed("decoder.bias", torch.zeros(5)),
            r"^'decoder.bias' is \(5,\) float32 but the module's is \(4,\) float32",
        ),
        (
            changed("decoder.bias", torch.zeros(4, dtype=torch.int64)),
            r"^'decoder.bias' is torch.int64 where torch.float32 is expected: convert the checkpoint by its own rules$",
        ),
        (changed("decoder.bias", [0.0]), r"^'decoder.bias' is a list: a checkpoint must map names to tensors: pass"),
        (
            changed("decoder.bias", torch.tensor([0.0, torch.inf, torch.nan, 1.0])),
            r"^'decoder.bias' holds 2 of 4 numbers that are NaN or infinite: its training has diverged",
        ),
        (
            changed("decoder.weight", torch.zeros(4, 3)),
            r"^'embedding.weight' and 'decoder.weight' are tied in the module but differ in the checkpoint: save",
        ),
        (
            changed("scale", torch.full((3,), 1.25)),
            r"^'scale', a frozen parameter, differs from the module's own by up to 0.25, and every model on a path has "
            r"the module's: that takes this checkpoint's loss on 6 examples from [0-9.]+ to [0-9.]+; set requires_grad",
        ),
        (
            changed("shift", torch.zeros(3)),
            r"^'shift', a buffer, differs from .*; if no pass writes to it, make it an nn.Parameter, so",
        ),
    ],
)
def test_checkpoints_of_something_else_are_refused(state, message):
    _, problem = build()
    with pytest.raises(InvalidCheckpoint, match=message) as caught:
        problem.flatten(state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [torch.ones(3), torch.ones(3).numpy(), [1.0, 2.0], "a.safetensors", None])
def test_what_is_no_checkpoint_is_refused(refused, source):
    kind = type(source).__name__
    with refused(InvalidCheckpoint, rf"^the checkpoint is a {kind}: pass an nn.Module or its state dict; "):
        build()[1].flatten(source)


def test_a_checkpoint_is_read_into_theta_itself_and_nothing_writes_to_it_later():
    net, other = (nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)) for _ in range(2))
    saved = Template(net, Layout.of(net), {}).read(other.state_dict())
    assert saved.net[0].weight.data_ptr() == saved.theta.data_ptr()
    first = saved.theta.clone()
    Template(net, Layout.of(net), {}).read({name: 2 * value for name, value in other.state_dict().items()})
    assert torch.equal(saved.theta, first)
    assert torch.equal(first, torch.cat([parameter.detach().flatten() for parameter in other.parameters()]))
