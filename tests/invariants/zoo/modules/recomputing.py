"""Activations that are computed again during the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from ..entry import Entry


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter, self.leave, self.reentrant = nn.Linear(3, 5), nn.Linear(5, 2), reentrant
        self.middle = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 5))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.enter(inputs))
        return self.leave(torch.tanh(checkpoint(self.middle, hidden, use_reentrant=self.reentrant)))


class Segments(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.enter, self.leave, self.reentrant = nn.Linear(3, 5), nn.Linear(5, 2), reentrant
        self.middle = nn.Sequential(*[nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(4)])

    def forward(self, inputs: Tensor) -> Tensor:
        return self.leave(checkpoint_sequential(self.middle, 2, self.enter(inputs), use_reentrant=self.reentrant))


class WhileTraining(nn.Module):
    """Checkpoints in training mode only, a block that holds batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 5), nn.Linear(5, 2)
        self.middle = nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5), nn.Tanh())

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.enter(inputs)
        hidden = checkpoint(self.middle, hidden, use_reentrant=False) if self.training else self.middle(hidden)
        return self.leave(hidden)


class Offloaded(nn.Module):
    """Saved tensors are packed and unpacked by hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved.clone(), lambda packed: packed):
            return self.layers(inputs)


NO_GRADIENT = ("None of the inputs have requires_grad=True",)
"""Which torch says while evaluating."""

ENTRIES = [
    Entry(name="checkpointed block", net=lambda: Checkpointed(reentrant=False)),
    Entry(name="checkpointed block, reentrant", net=lambda: Checkpointed(reentrant=True), warns=NO_GRADIENT),
    Entry(name="checkpointed dropout", net=lambda: Checkpointed(reentrant=False, dropout=0.3), draws=True),
    Entry(name="checkpointed sequence", net=lambda: Segments(reentrant=False)),
    Entry(name="checkpointed sequence, reentrant", net=lambda: Segments(reentrant=True), warns=NO_GRADIENT),
    Entry(name="checkpointed while training", net=WhileTraining),
    Entry(name="saved tensors packed by hooks", net=Offloaded),
]
