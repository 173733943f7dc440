"""LoRA adapters of one base, read and written without ``peft``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, Unsupported
from weightstring.problem.checkpoints.lora import PREFIX, Lora, Product, read_lora
from weightstring.study.adapters import average_of, lora_in, write_adapter, write_average

X = torch.linspace(-1, 2, 20).view(5, 4)
Y = torch.linspace(0, 1, 15).view(5, 3)


def base() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def drawn(seed: int, rank: int, layers: tuple[str, ...] = ("0", "2"), scale: float = 1.5) -> Lora:
    draw, sizes = torch.Generator().manual_seed(seed), {"0": (6, 4), "2": (3, 6)}
    return Lora(
        {
            layer: Product(
                0.3 * torch.randn(rank, sizes[layer][1], generator=draw),
                0.3 * torch.randn(sizes[layer][0], rank, generator=draw),
                scale,
            )
            for layer in layers
        },
        {},
    )


def problem_of(net: nn.Module) -> ws.ModuleProblem:
    return ws.ModuleProblem(net, nn.functional.mse_loss, (X, Y), engine="loop", batch_size=None)


def added(net: nn.Module, *loras: tuple[float, Lora]) -> nn.Module:
    """A copy of the base by hand."""
    twin = base()
    with torch.no_grad():
        for share, lora in loras:
            for layer, product in lora.products.items():
                twin.get_submodule(layer).weight += share * product.delta
    return twin


@pytest.fixture
def folders(tmp_path: Path) -> tuple[list[str], list[Lora]]:
    """Two adapters, of different ranks, on layers that are not the same."""
    loras = [drawn(1, 2), drawn(2, 3, ("0",))]
    for name, lora in zip("ab", loras, strict=True):
        write_adapter(tmp_path / name, lora, {"base_model_name_or_path": "base"})
    return [str(tmp_path / name) for name in "ab"], loras


def test_a_folder_is_merged_into_the_base_without_peft(folders, monkeypatch):
    monkeypatch.setattr("weightstring.problem.checkpoints.adapters._peft", lambda: pytest.fail("asked for peft"))
    problem = problem_of(base())
    for folder, lora in zip(*folders, strict=True):
        theta = problem.flatten(ws.read_checkpoint(folder))
        torch.testing.assert_close(theta, problem.flatten(added(base(), (1.0, lora))))


def test_only_what_adapters_change_is_in_theta(folders):
    names, loras = folders
    problem = problem_of(ws.adapters_only(base(), *names))
    assert problem.size == 6 * 4 + 3 * 6
    theta = problem.flatten(ws.read_checkpoint(names[0]))
    expected = problem_of(base()).measure(problem_of(base()).flatten(added(base(), (1.0, loras[0])))[None])["loss"]
    torch.testing.assert_close(problem.measure(theta[None])["loss"], expected)


def test_the_average_of_adapters_is_an_adapter(folders, tmp_path):
    names, loras = folders
    write_average(tmp_path / "mean", names, [0.25, 0.75])
    mean = lora_in(tmp_path / "mean")
    assert mean.products["0"].rank == 5
    problem = problem_of(base())
    theta = problem.flatten(ws.read_checkpoint(tmp_path / "mean"))
    by_hand = problem.flatten(added(base(), (0.25, loras[0]), (0.75, loras[1])))
    torch.testing.assert_close(theta, by_hand)
    assert json.loads((tmp_path / "mean" / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"


def test_scales_are_as_in_peft():
    weights = {
        f"{PREFIX}{layer}.lora_{side}.weight": torch.ones(*shape)
        for layer in ("h.0.fc", "h.1.fc")
        for side, shape in (("A", (4, 2)), ("B", (3, 4)))
    }
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"1.fc": 2}}
    assert [each.scale for each in read_lora(config, weights).products.values()] == [2.0, 0.5]
    assert [each.scale for each in read_lora({**config, "use_rslora": True}, weights).products.values()] == [4.0, 1.0]


@pytest.mark.parametrize(
    "form", [{"use_dora": True}, {"bias": "all"}, {"init_lora_weights": "pissa"}, {"peft_type": "IA3"}]
)
def test_other_forms_are_left_to_peft(form):
    weights = {f"{PREFIX}fc.lora_A.weight": torch.ones(1, 2), f"{PREFIX}fc.lora_B.weight": torch.ones(3, 1)}
    assert read_lora({"peft_type": "LORA", "r": 1, **form}, weights) is None


def test_modules_trained_whole_are_read_and_have_no_average():
    weights = {
        f"{PREFIX}0.lora_A.weight": torch.ones(1, 4),
        f"{PREFIX}0.lora_B.weight": torch.ones(6, 1),
        f"{PREFIX}2.weight": torch.full((3, 6), 2.0),
    }
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "modules_to_save": ["2"]}
    problem = problem_of(base())
    read = problem.unflatten(problem.flatten({"peft_config": config, "adapter_state_dict": weights}))
    assert torch.equal(read["2.weight"], torch.full((3, 6), 2.0))
    torch.testing.assert_close(read["0.weight"], base()[0].weight.detach() + 1)
    lora = read_lora(config, weights)
    with pytest.raises(Unsupported, match="trained whole"):
        average_of([lora, lora], [0.5, 0.5])


def test_adapters_of_another_model_or_damaged_are_refused(tmp_path):
    write_adapter(tmp_path / "other", Lora({"5.q": drawn(1, 2).products["0"]}, {}), {})
    with pytest.raises(InvalidCheckpoint, match=r"^the adapter cannot be put on net.*no layer '5.q'"):
        problem_of(base()).flatten(ws.read_checkpoint(tmp_path / "other"))
    write_adapter(tmp_path / "wide", Lora({"2": drawn(1, 2).products["0"]}, {}), {})
    with pytest.raises(InvalidCheckpoint, match=r"changes '2' by a \(6, 4\) where net's is \(3, 6\)"):
        problem_of(base()).flatten(ws.read_checkpoint(tmp_path / "wide"))
    with pytest.raises(InvalidCheckpoint, match="no lora_B for 'fc'"):
        read_lora({"peft_type": "LORA"}, {f"{PREFIX}fc.lora_A.weight": torch.ones(1, 2)})
    torch.save(base().state_dict(), tmp_path / "net.pt")
    with pytest.raises(InvalidCheckpoint, match="no adapter; name a folder"):
        lora_in(tmp_path / "net.pt")


TASK = """
import torch, weightstring as ws
from torch import nn

def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    ws.adapters_only(net, {names})
    x, y = torch.linspace(-1, 2, 20).view(5, 4), torch.linspace(0, 1, 15).view(5, 3)
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, y), engine="loop", batch_size=None)
"""


def test_the_command_merges_adapters_of_different_ranks_into_an_adapter(tmp_path, monkeypatch, capsys):
    from weightstring.cli import main

    near = drawn(1, 2)
    for name, lora in (("a", near), ("b", average_of([near], [0.98]))):
        write_adapter(tmp_path / name, lora, {"base_model_name_or_path": "base"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.py").write_text(TASK.format(names="'a', 'b'"))
    words = ["task.py:problem", "a", "b", "--no-align", "--json", "--out", "mean", "--mergekit", "merge.yml"]
    with pytest.raises(SystemExit) as ended:
        main(["mergeable", *words])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == (0 if told["merges"] else 3)
    if told["best"] == "average" and told["merges"]:
        assert told["out"] == "mean"
        mean = lora_in("mean").products["0"].delta
        torch.testing.assert_close(mean, 0.99 * near.products["0"].delta)
        assert 'model: "base+a"' in (tmp_path / "merge.yml").read_text()
