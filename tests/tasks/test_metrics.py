"""What the built-in tasks measure beside their loss."""

from __future__ import annotations

import torch

from weightstring.tasks.metrics import error_rate


def test_error_rate():
    output = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.3, 0.5], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert error_rate(output, torch.tensor([1, 0, 0, 1])).item() == 0.5
