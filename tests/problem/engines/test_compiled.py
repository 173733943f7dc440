"""Compiled code computes what the loop does, and where it cannot be made it is said so. In processes of their own:
the annotations that tests check are in the way of torch.compile, and so is a cache of earlier code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import json
import torch
from torch import nn
from torch.nn import functional
from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.testing.engines import check_engine

torch.set_num_threads(1)
torch.manual_seed(0)
chain = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
classes = nn.Sequential(nn.Linear(2, 5), nn.Sigmoid(), nn.Linear(5, 3))
x = 0.3 + torch.randn(50, 2)
PROBLEMS = {
    "chain": (chain, nn.MSELoss(), (x[:, :1], x[:, 1:]), 8),
    "classes": (classes, functional.cross_entropy, (x, torch.arange(50) % 3), 8),
    "whole set": (classes, functional.cross_entropy, (x, torch.arange(50) % 3), None),
}

def problem_of(name, engine):
    net, loss_fn, train, batch_size = PROBLEMS[name]
    return ModuleProblem(net, loss_fn, train, batch_size=batch_size, engine=engine)
"""

AGREES = """
def off(one, other):
    scale = other.abs().amax(dim=1, keepdim=True).clamp_min(1e-2)
    return float(((one - other).abs() / scale).max())

found = {}
check_engine(problem_of("classes", "loop"), "compiled")
for name, counts in {"chain": (3, 300), "classes": (64,), "whole set": (3,)}.items():
    problem = problem_of(name, "compiled")
    for count in counts:
        thetas = torch.stack([problem.initial(seed) for seed in range(count)])
        rows = None if problem.batch_size is None else torch.stack([torch.randperm(50)[:8] for _ in thetas])
        compiled, measured = problem.gradient(thetas, rows), problem.measure(thetas)["loss"]
        ill = thetas.clone()
        ill[1] = torch.nan
        beside = problem.gradient(ill, rows)
        well = torch.arange(count) != 1
        with problem.computing_by("loop"):
            loop, plain = problem.gradient(thetas, rows), problem.measure(thetas)["loss"]
        found[f"{name} {count}"] = [
            off(compiled.losses[:, None], loop.losses[:, None]),
            off(compiled.gradients, loop.gradients),
            off(measured[:, None], plain[:, None]),
            off(beside.gradients[well], loop.gradients[well]),
            float(beside.gradients[1].isfinite().any()),
        ]
        assert compiled.gradients.shape == thetas.shape
        for part in (slice(1), slice(1, 3)):  # the same bits, whatever is beside them
            alone = problem.gradient(thetas[part], None if rows is None else rows[part])
            assert torch.equal(alone.gradients, compiled.gradients[part]), (name, count)
print(json.dumps(found))
"""

MANY_NETWORKS = """
torch._dynamo.config.recompile_limit = 2
torch._dynamo.config.fail_on_recompile_limit_hit = True
for width in (2, 3, 4):
    net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
    problem = ModuleProblem(net, nn.MSELoss(), (x, x[:, :1]), batch_size=8, engine="compiled")
    for count in (1, 2, 3, 40):
        problem.gradient(torch.zeros(count, problem.size), torch.arange(8).expand(count, 8))
print(json.dumps("made"))
"""

CANNOT = """
choice = problem_of("classes", "fastest").engine_choice()
try:
    problem_of("classes", "compiled")
    refusal = None
except InvalidModel as error:
    refusal = str(error)
print(json.dumps([choice.name, choice.reason, refusal]))
"""


def output_of(script: str, cache: Path, **variables: str) -> object:
    """What a script prints in a process whose compiler starts from nothing."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-W", "error::UserWarning:weightstring", "-c", PRELUDE + script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_compiled_code_agrees_with_the_loop_for_any_number_of_models(tmp_path):
    found = output_of(AGREES, tmp_path)
    assert len(found) == 4
    for case, (*differences, finite) in found.items():
        assert max(differences) <= 1e-5, case
        assert finite == 0, case


@pytest.mark.slow
def test_each_network_has_code_of_its_own_made_once(tmp_path):
    assert output_of(MANY_NETWORKS, tmp_path) == "made"


@pytest.mark.slow
def test_without_a_compiler_another_engine_is_taken_and_compiled_is_refused(tmp_path):
    name, reason, refusal = output_of(CANNOT, tmp_path, CXX="/nonexistent")
    assert name in ("loop", "vmap", "stack")
    assert "; not compiled: " in reason
    assert "\n" not in reason
    assert refusal.startswith("engine='compiled' cannot run this module (")
    assert refusal.endswith("): pass engine='auto' or 'loop'")
    assert "\n" not in refusal
