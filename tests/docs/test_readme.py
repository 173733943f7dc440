"""The README's ten lines run as they stand."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_ten_lines_with_ones_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, of_batches = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    x = torch.linspace(-1, 1, 32).unsqueeze(1)

    def trained(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        net = nn.Linear(1, 1)
        with torch.no_grad():
            net.weight.add_(2 - net.weight + 0.1 * seed)
            net.bias.zero_()
        return net

    context: dict[str, object] = {
        "net": nn.Linear(1, 1),
        "net_a": trained(0),
        "net_b": trained(1),
        "loss_fn": nn.functional.mse_loss,
        "error": nn.functional.l1_loss,
        "x": x,
        "y": 2 * x,
        "x_test": x + 0.01,
        "y_test": 2 * x + 0.02,
    }
    exec(code, context)
    result = context["result"]
    assert result.connected
    assert result.string.normalized_length == 1
    assert (tmp_path / "runs/first/report.html").stat().st_size > 1_000_000

    class Model(nn.Linear):
        """With labels it returns its loss, as those of Hugging Face do."""

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(loss=nn.functional.mse_loss(super().forward(inputs), labels))

    batches = [{"inputs": part, "labels": 2 * part} for part in x.split(10)]
    context |= {"model": Model(1, 1), "train_loader": batches, "test_loader": batches[:1]}
    exec(of_batches, context)
    assert context["problem"].quantities == ("loss", "train_loss")
