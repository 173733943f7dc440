"""Ends whose running statistics are re-estimated, from files as training scripts leave them."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import weightstring as ws
from weightstring.tasks import load_task

TASK = """
import torch
from torch import nn

import weightstring as ws


def data():
    generator = torch.Generator().manual_seed(3)
    inputs = 2 + 3 * torch.randn(50, 4, generator=generator)
    return inputs, inputs.sum(1, keepdim=True).sin()


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def problem():
    return ws.ModuleProblem(net(0), nn.functional.mse_loss, data(), engine="loop")
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Path], list[nn.Module]]:
    root = tmp_path_factory.mktemp("statistics")
    (root / "task.py").write_text(TASK)
    names: dict[str, object] = {}
    exec(TASK, names)
    nets, paths = [], []
    for seed, name in ((1, "lightning.ckpt"), (2, "folder")):
        net = names["net"](seed)
        for _ in range(3):
            net(names["data"]()[0] + seed)
        nets.append(net.eval())
        paths.append(root / name)
    state = {f"model.{name}": tensor for name, tensor in nets[0].state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, paths[0])
    paths[1].mkdir()
    torch.save(nets[1].state_dict(), paths[1] / "pytorch_model.bin")
    return f"{root}/task.py:problem", paths, nets


def test_the_command_line_tells_how_far_statistics_move_the_ends(cli, ends, tmp_path):
    task, paths, nets = ends
    problem = load_task(task)
    inputs, targets = problem.fitted()[0].inputs, problem.fitted()[0].targets
    with torch.no_grad():
        saved = [float(functional.mse_loss(net(inputs), targets)) for net in nets]
    estimated = problem.measure(torch.stack([problem.flatten(net) for net in nets]))["loss"].tolist()
    done = cli("connect", task, *paths, "--threshold", 20, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    page = (tmp_path / "run" / "report.html").read_text()
    for which, one, other in zip(("first", "last"), saved, estimated, strict=True):
        told = f"{which} end {one:.6g} as saved, {other:.6g} with its statistics re-estimated"
        assert abs(one - other) > 0.01
        assert told in said
        assert told in page
    assert json.loads(cli("show", tmp_path / "run", "--json").out)["as_saved"] == pytest.approx(saved, rel=1e-6)
    assert ws.load(tmp_path / "run").as_saved == pytest.approx(saved, rel=1e-6)


def test_python_tells_it_with_and_without_a_run_directory(ends, tmp_path):
    task, _, nets = ends
    problem = load_task(task)
    saved = (problem.as_saved(nets[0])["loss"], None)
    thetas = [problem.flatten(net) for net in nets]
    for store in (None, tmp_path / "run"):
        assert ws.connect(problem, *thetas, 20.0, store=store, as_saved=saved).as_saved == saved
    assert ws.connect(problem, *thetas, 20.0).as_saved == (None, None)


@pytest.mark.parametrize("command", ["connect", "align"])
def test_a_name_that_no_file_can_have_ends_in_one_line(cli, ends, tmp_path, command):
    task, paths, _ = ends
    done = cli(command, task, paths[0], 300 * "n" + ".pt", "--out", tmp_path / "out.safetensors")
    assert done.code == 2
    assert done.err.count("\n") == 1
    done = cli("train", task, "--until", 1, "--out", tmp_path / f"{300 * 'n'}.safetensors")
    assert done.code == 2
    assert done.err.count("\n") == 1
