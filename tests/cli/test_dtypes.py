"""Checkpoints of another dtype on the command line: a line names the file, both dtypes, and what that changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from weightstring.cli.models import end_of
from weightstring.problem import ModuleProblem


@pytest.mark.parametrize(
    ("computed", "given", "word"),
    [
        (torch.float32, torch.bfloat16, "the checkpoint is bfloat16, computed as float32\n"),
        (
            torch.bfloat16,
            torch.float32,
            "the checkpoint is float32, computed as bfloat16: rounding moves its numbers by 0.19 % of their length\n",
        ),
        (torch.float32, torch.float32, ""),
    ],
)
def test_the_word_names_the_file(
    computed: torch.dtype, given: torch.dtype, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = nn.Linear(2, 1).to(computed)
    problem = ModuleProblem(net, functional.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)))
    file = tmp_path / "a.safetensors"
    save_file({"weight": torch.full((1, 2), 1 + 2**-9).to(given), "bias": torch.zeros(1, dtype=given)}, file)
    theta = end_of(problem, str(file))
    assert theta.dtype == torch.float32
    assert capsys.readouterr().err == (f"weightstring: {file}: {word}" if word else "")
    told: set[str] = set()
    for _ in range(3):  # a matrix loads each model once for every row
        end_of(problem, str(file), (), told)
    assert capsys.readouterr().err == (f"weightstring: {file}: {word}" if word else "")
