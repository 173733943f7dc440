"""Checkpoints as training scripts and wrappers leave them, read as ``load_state_dict`` would read them."""

import copy
import re
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from weightstring.errors import InvalidCheckpoint, InvalidModel
from weightstring.problem import ModuleProblem

X = torch.linspace(-1, 2, 20).view(5, 4)
Y = torch.linspace(0, 1, 15).view(5, 3)


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def problem_of(net: nn.Module, **settings: object) -> ModuleProblem:
    return ModuleProblem(net, functional.mse_loss, (X, Y), engine="loop", **settings)


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def reads(source: object, own: nn.Module | None = None) -> bool:
    """Whether a source is read as the net that it came from, bit for bit, by a problem of another net."""
    problem = problem_of(mlp(1))
    return torch.equal(problem.flatten(source), problem.flatten(own or mlp(2)))


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "backbone.", "a.b.c.", "_forward_module."],
)
def test_any_prefix_that_all_keys_share_is_stripped(prefix):
    assert reads(under(prefix, mlp(2).state_dict()))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(4)}}}},
        lambda state: {"model": state, "optimizer": {"state": {"0.weight": {"exp_avg": torch.ones(6, 4)}}}},
        lambda state: {"model_state_dict": under("module.", state), "loss": torch.tensor(0.5)},
        lambda state: {"state_dict": under("model.", state), "hyper_parameters": {"lr": 0.1}, "loops": {}},
        lambda state: {"state_dict": {**under("model.", state), "criterion.weight": torch.ones(3)}},
        lambda state: {"net": state},
        lambda state: {"params": state},
        lambda state: {"ema": {"module": state}, "decay": 0.999},
        lambda state: {"model": state, "ema": copy.deepcopy(state)},
        lambda state: {**under("module.", state), "n_averaged": torch.tensor(3)},
    ],
)
def test_state_dicts_are_found_where_training_scripts_put_them(wrap):
    assert reads(wrap(mlp(2).state_dict()))


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_wrapped_modules_are_sources():
    net = mlp(2)
    averaged = AveragedModel(net)
    averaged.update_parameters(net)
    sources = [
        averaged,
        averaged.state_dict(),
        nn.DataParallel(net),
        torch.compile(net),
        {"model": net},
        torch.jit.script(net),
    ]
    holder = nn.Module()
    holder.net, holder.criterion = net, nn.CrossEntropyLoss(weight=torch.ones(3))
    for source in (*sources, holder):
        assert reads(source)


def test_prefixes_of_the_modules_own_are_added():
    averaged = AveragedModel(mlp(1))
    problem = problem_of(averaged)
    assert torch.equal(problem.flatten(mlp(2)), problem.flatten(AveragedModel(mlp(2))))
    averaged.load_state_dict(problem.unflatten(problem.flatten(mlp(2))))
    assert torch.equal(averaged.module[0].weight, mlp(2)[0].weight)


def test_two_that_fit_are_refused_with_their_names():
    state, other = mlp(2).state_dict(), mlp(3).state_dict()
    with pytest.raises(
        InvalidCheckpoint, match=r"twice, .*: at checkpoint\['model'\] and at checkpoint\['ema'\]: pass"
    ):
        problem_of(mlp()).flatten({"model": state, "ema": other})
    with pytest.raises(InvalidCheckpoint, match=r"twice, .*: under 'model.' and under 'net.': pass the state dict"):
        problem_of(mlp()).flatten({**under("model.", state), **under("net.", other)})


def test_a_part_under_a_name_that_is_no_wrappers_is_named_and_not_taken():
    state = {**under("encoder.", mlp(2).state_dict()), "head.weight": torch.ones(2), "head.bias": torch.ones(2)}
    with pytest.raises(
        InvalidCheckpoint, match=r"under the prefix 'encoder.', but 'head.weight', 'head.bias' are"
    ) as e:
        problem_of(mlp()).flatten(state)
    assert str(e.value).endswith("in checkpoint.items() if key.startswith('encoder.')}")
    assert reads({key.removeprefix("encoder."): tensor for key, tensor in state.items() if key.startswith("encoder.")})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda s: [s.pop(f"1.{name}") for name in ("weight", "bias", "running_mean", "running_var")],
            r"^'1.weight', '1.bias', '1.running_mean' and 1 more are missing from the checkpoint \(4 of the module's",
        ),
        (
            lambda s: s.update({f"4.{i}": torch.ones(1) for i in range(6)}),
            r"^'4.0', '4.1', '4.2' and 3 more are in the checkpoint but not in the module: pass a checkpoint of",
        ),
        (
            lambda s: s.update({"0.weight": torch.ones(6, 5), "3.bias": torch.ones(4)}),
            r"^'0.weight' is \(6, 5\) float32 but the module's is \(6, 4\) float32 \(and 1 more\): pass a check",
        ),
    ],
)
@pytest.mark.parametrize("around", [lambda s: s, lambda s: {"state_dict": under("model.", s), "epoch": 1}])
def test_what_does_not_fit_is_said_by_key(spoil, message, around):
    state = mlp(2).state_dict()
    spoil(state)
    nested = around(state) is not state
    with pytest.raises(InvalidCheckpoint) as caught:
        problem_of(mlp()).flatten(around(state))
    said = str(caught.value)
    place = " at checkpoint['state_dict'] under 'model.'"
    assert (place in said) == nested or "but the module's is" in said
    assert re.search(message, said.replace(place, ""))
    assert "\n" not in said


def test_old_keys_are_renamed_by_torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3))
    new = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3))
    problem = problem_of(new)
    theta = problem.flatten(under("module.", old.state_dict()))
    new.load_state_dict(old.state_dict())
    assert torch.equal(theta, problem.flatten(new))
    with torch.no_grad():
        expected = functional.mse_loss(old(X), Y)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("versions", [True, False])
def test_counters_that_old_checkpoints_lack_are_not_missed(versions):
    state = mlp(2).state_dict()
    del state["1.num_batches_tracked"]
    assert reads(state if versions else dict(state))


class Converting(nn.Module):
    """A layer that turned its weight round in its second version, and a wrapper's hooks around its keys."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))
        self._register_state_dict_hook(self._rename)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight.T

    @staticmethod
    def _rename(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, metadata: object) -> None:
        state[f"{prefix}kernel"] = state.pop(f"{prefix}weight")

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        kernel = state.pop(f"{prefix}kernel", None)
        if kernel is not None:
            state[f"{prefix}weight"] = kernel.T if metadata.get("version") == 1 else kernel
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_versions_reach_the_module_that_converts_them(prefix):
    net, other = nn.Sequential(Converting()), nn.Sequential(Converting())
    problem = problem_of(net)
    new = other.state_dict()
    assert list(new) == ["0.kernel"]
    old = OrderedDict({f"{prefix}0.kernel": new["0.kernel"].T.contiguous()})
    old._metadata = {f"{prefix}0": {"version": 1}}
    assert torch.equal(problem.flatten(new), other[0].weight.detach().flatten())
    assert torch.equal(problem.flatten(old), other[0].weight.detach().flatten())
    written = problem.unflatten(problem.flatten(new))
    assert list(written) == ["0.kernel"]
    assert written._metadata["0"]["version"] == 2
    net.load_state_dict(written)
    assert torch.equal(net[0].weight, other[0].weight)


def test_wrappers_of_layers_come_and_go():
    def wrapped(seed: int) -> nn.Module:
        net = mlp(seed)
        net[0] = checkpoint_wrapper(net[0])
        return net

    problem = problem_of(wrapped(1))
    assert problem.layout.entries[0].name == "0._checkpoint_wrapped_module.weight"
    plain = mlp(2)
    inside = {name.replace("3.", "3._orig_mod."): tensor for name, tensor in plain.state_dict().items()}
    for source in (plain, plain.state_dict(), wrapped(2), inside):
        assert torch.equal(problem.flatten(source), problem_of(plain).flatten(plain))
    written = problem.unflatten(problem.flatten(plain))
    for own in (wrapped(3), mlp(3)):
        own.load_state_dict(written)
        assert torch.equal(own[3].weight, plain[3].weight)


class Picky(nn.Linear):
    """A module of a user's own that loads what it finds and says nothing of the rest."""

    def load_state_dict(self, state, strict=True, assign=False):
        return super().load_state_dict({k: v for k, v in state.items() if k in ("weight", "bias")}, strict=False)


def test_a_module_that_loads_only_what_it_likes_does_not_pass_for_loaded():
    net, other = Picky(4, 3), nn.Linear(4, 3)
    problem = problem_of(net)
    assert torch.equal(problem.flatten(other), problem_of(other).flatten(other))
    with pytest.raises(InvalidCheckpoint, match=r"^'weight', 'bias' are missing from the checkpoint \(2 of the"):
        problem.flatten({"kernel": torch.ones(3, 4)})


class Raising(nn.Linear):
    armed = False

    def _load_from_state_dict(self, *args):
        if self.armed:
            raise KeyError("two\nlines")
        super()._load_from_state_dict(*args)


def test_what_a_users_own_loading_raises_ends_in_one_line(monkeypatch):
    problem = problem_of(Raising(4, 3))
    monkeypatch.setattr(Raising, "armed", True)
    with pytest.raises(InvalidCheckpoint, match=r"^torch cannot load it \('two\\nlines'\): pass a checkpoint") as e:
        problem.flatten(nn.Linear(4, 3))
    assert "\n" not in str(e.value)
    with pytest.raises(InvalidModel, match=r"^net cannot load what it saves itself \('two\\nlines'\): mend its") as e:
        problem_of(Raising(4, 3))
    assert "\n" not in str(e.value)


def test_sources_and_nets_stay_as_they_are():
    net, other = mlp(1), mlp(2)
    kept = [copy.deepcopy(m.state_dict()) for m in (net, other)]
    state = other.state_dict()
    problem = problem_of(net)
    problem.flatten(other)
    problem.flatten({"model": state})
    problem.as_saved(other)
    problem.unflatten(problem.flatten(other))
    for module, before in zip((net, other), kept, strict=True):
        assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
        assert module.training
    assert list(state) == list(other.state_dict())


def test_ambient_modes_do_not_matter():
    problem, expected = problem_of(mlp(1)), problem_of(mlp(1)).flatten(mlp(2))
    with torch.inference_mode():
        theta = problem.flatten(mlp(2).state_dict())
    assert torch.equal(theta, expected)
    assert not theta.is_inference()
    problem.gradient(theta[None], None)


def test_the_same_parameters_in_another_function_are_refused():
    def of(slope: float) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(slope), nn.Linear(6, 3))

    with pytest.raises(
        InvalidCheckpoint, match=r"^the Sequential has the parameters of the problem's module but computes"
    ):
        problem_of(of(0.01)).flatten(of(0.5))
    assert problem_of(of(0.01)).flatten(of(0.5).state_dict()).shape == (51,)


def test_what_is_not_saved_belongs_to_a_module_all_the_same():
    def of(scale: float) -> nn.Module:
        net = nn.Linear(4, 3)
        net.register_buffer("scale", torch.tensor(scale), persistent=False)
        net.register_forward_hook(lambda module, args, output: output * module.scale)
        return net

    problem = problem_of(of(2.0))
    assert problem.flatten(of(2.0)).shape == (15,)
    with pytest.raises(InvalidCheckpoint, match=r"^'scale', a buffer, differs from the module's own by up to 1, and"):
        problem.flatten(of(3.0))
    assert problem.flatten({**of(2.0).state_dict(), "scale": torch.tensor(2.0)}).shape == (15,)  # saved long ago
    with pytest.raises(InvalidCheckpoint, match=r"^'scale', a buffer, differs"):
        problem.flatten({**of(2.0).state_dict(), "scale": torch.tensor(3.0)})


class Stateful(nn.Linear):
    """A layer whose factor is saved as state that is no tensor."""

    def __init__(self, factor: float = 1.0) -> None:
        torch.manual_seed(0)
        super().__init__(4, 3)
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.factor * super().forward(inputs)

    def get_extra_state(self) -> dict[str, float]:
        return {"factor": self.factor}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.factor = state["factor"]


def test_extra_state_that_changes_the_function_is_refused():
    problem = problem_of(Stateful())
    for same in (Stateful(), Stateful().state_dict(), nn.Linear(4, 3)):
        assert problem.flatten(same).shape == (15,)
    for other in (Stateful(2.0), Stateful(2.0).state_dict()):
        with pytest.raises(
            InvalidCheckpoint, match=r"^the Stateful has the parameters .* computes something else: its"
        ):
            problem.flatten(other)
    state = problem.unflatten(problem.flatten(Stateful()))
    assert state["_extra_state"] == {"factor": 1.0}


def test_mappings_within_mappings_are_names_with_dots():
    def nested(net: nn.Module) -> dict[str, object]:
        own = {name: parameter.detach() for name, parameter in net.named_parameters(recurse=False)}
        own |= dict(net.named_buffers(recurse=False))
        return own | {name: nested(child) for name, child in net.named_children() if nested(child)}

    assert reads(nested(mlp(2)))
    assert reads({"params": nested(mlp(2)), "step": 3})


def test_lightnings_state_dict_is_the_model_whatever_lies_beside_it():
    state, current = under("net.", mlp(2).state_dict()), under("net.", mlp(3).state_dict())
    file = {"pytorch-lightning_version": "2.5.0", "state_dict": state, "current_model_state": current}
    assert reads(file)
    assert reads(file["current_model_state"], own=mlp(3))
