"""Adapters as ``peft`` saves them: in a net with an adapter of its own, and merged into a base model."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import InvalidCheckpoint
from weightstring.problem import ModuleProblem
from weightstring.store import read_checkpoint

pytestmark = [
    pytest.mark.skipif(find_spec("peft") is None, reason="adapters are read by peft"),  # importing it takes seconds
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

X = torch.linspace(-1, 2, 20).view(5, 4)
Y = torch.linspace(0, 1, 15).view(5, 3)


class Base(nn.Module):
    """Two layers and a head, as a model that adapters are put on."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(inputs)))))


def adapted(seed: int, rank: int = 2, **settings: object) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    net = Base()
    torch.manual_seed(seed)
    form = {"target_modules": ["first", "second"], "init_lora_weights": False, "lora_alpha": 3, **settings}
    return get_peft_model(net, LoraConfig(r=rank, **form)).eval()


def problem_of(net: nn.Module) -> ModuleProblem:
    return ModuleProblem(net, functional.mse_loss, (X, Y), engine="loop", batch_size=None)


def plain_loss(net: nn.Module) -> float:
    with torch.no_grad():
        return float(functional.mse_loss(net(X), Y))


@pytest.fixture
def saved(tmp_path: Path):
    def save(net: nn.Module, name: str = "adapter") -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


FORMS = [{}, {"use_rslora": True}, {"modules_to_save": ["head"]}, {"use_dora": True}, {"bias": "lora_only"}]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_is_read_into_a_net_with_an_adapter_of_the_same_form(saved, form):
    from peft import get_peft_model_state_dict

    net, other = adapted(1, **form), adapted(2, **form)
    problem = problem_of(net)
    theta = problem.flatten(read_checkpoint(saved(other)))
    assert torch.equal(theta, problem.flatten(other))
    assert torch.equal(theta, problem.flatten(get_peft_model_state_dict(other)))
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(plain_loss(other), rel=1e-6)
    net.load_state_dict(problem.unflatten(theta))
    assert plain_loss(net) == pytest.approx(plain_loss(other), rel=1e-6)


@pytest.mark.parametrize("form", [*FORMS, {"rank": 3}, {"alpha_pattern": {"first": 7}}])
def test_a_folder_is_merged_into_the_weights_of_a_base_model(saved, form):
    other = adapted(2, **form)
    folder = saved(other)
    problem = problem_of(Base())
    theta = problem.flatten(read_checkpoint(folder))
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(plain_loss(other), rel=1e-5)
    net = Base(1)
    net.load_state_dict(problem.unflatten(theta))
    assert plain_loss(net) == pytest.approx(plain_loss(other), rel=1e-5)
    assert problem.flatten(Base()).shape == theta.shape != problem_of(adapted(1)).flatten(adapted(1)).shape


def test_a_model_of_peft_itself_is_merged_into_a_base():
    other = adapted(2, rank=3)
    problem = problem_of(Base())
    theta = problem.flatten(other)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(plain_loss(other), rel=1e-5)


def test_a_merged_delta_by_hand(saved):
    other = adapted(2, rank=2)
    folder = saved(other)
    tensors = read_checkpoint(folder)["adapter_state_dict"]
    problem = problem_of(Base())
    read = problem.unflatten(problem.flatten(read_checkpoint(folder)))
    for layer in ("first", "second"):
        lower, raise_ = (tensors[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
        expected = getattr(Base(), layer).weight + 3 / 2 * raise_ @ lower
        torch.testing.assert_close(read[f"{layer}.weight"], expected)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"rank": 3}, r"^the adapter has r 3 where net's has 2, with which its weights compute something else: build"),
        ({"lora_alpha": 5}, r"^the adapter has lora_alpha 5 where net's has 3, "),
        ({"use_rslora": True}, r"^the adapter has use_rslora True where net's has False, "),
        (
            {"target_modules": ["first"]},
            r"second.lora_A.weight', 'base_.*second.lora_B.weight' are missing from the",
        ),
    ],
)
def test_adapters_of_another_form_are_refused(saved, form, message):
    folder = saved(adapted(2, **form))
    with pytest.raises(InvalidCheckpoint, match=message) as caught:
        problem_of(adapted(1)).flatten(read_checkpoint(folder))
    assert "give the base model as net: adapters of any form are then read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adapters_of_another_rank_without_a_configuration_are_refused():
    from peft import get_peft_model_state_dict

    with pytest.raises(InvalidCheckpoint, match=r"is \(3, 4\) where net's is \(2, 4\), an adapter of another rank or"):
        problem_of(adapted(1)).flatten(get_peft_model_state_dict(adapted(2, rank=3)))


def test_an_adapter_of_another_model_is_refused(saved):
    folder = saved(adapted(2))
    with pytest.raises(InvalidCheckpoint, match=r"^the adapter cannot be put on net, which is no model of its kind \("):
        problem_of(nn.Sequential(nn.Linear(4, 3))).flatten(read_checkpoint(folder))


def test_a_configuration_imports_nothing(saved, tmp_path, monkeypatch):
    folder = saved(adapted(2))
    config = json.loads((folder / "adapter_config.json").read_text())
    trap = tmp_path / "trap_module.py"
    trap.write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    config |= {"megatron_config": {"a": 1}, "megatron_core": "trap_module", "unknown_setting": 3}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert problem_of(Base()).flatten(read_checkpoint(folder)).shape == (problem_of(Base()).size,)
