"""A task of your own: a function that returns the loss over the weights of your model.

    weightstring doctor task.py:problem                          what works, what is refused, how long it takes
    weightstring threshold task.py:problem a.pt b.pt             a level for two checkpoints
    weightstring connect task.py:problem a.pt b.pt --threshold L0

Checkpoints may be of torch.save, safetensors, Lightning or Hugging Face. What stands here runs as it is: a small
network that learns in which of two rings a point lies.
"""

import torch
from torch import nn

import weightstring as ws


def problem(width: int = 32) -> ws.ModuleProblem:
    """Parameters of this function become options: ``--set width=64``."""
    # 1. Your model, as you build it before its weights are loaded. It is copied, and never changed.
    net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    # 2. Your data: (inputs, targets), a Dataset, or a DataLoader. Without augmentation: the loss must be the same in
    #    every pass. The evaluation set is what the threshold binds; without one it is the training set.
    train, evaluate = rings(1024, seed=0), rings(512, seed=1)

    # 3. Your loss: a mean over examples, loss(outputs, targets). For batches of any other form:
    #    ws.ModuleProblem.from_batches(net, train_loader, evaluation_loader, loss=lambda net, batch: (sum, weight))
    loss = nn.functional.cross_entropy

    return ws.ModuleProblem(
        net,
        loss,
        train=train,
        evaluate=evaluate,
        metrics={"error": error},  # measured along every path beside the loss; --bind error makes it the threshold's
    )


def error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The share of wrong answers."""
    return (outputs.argmax(1) != targets).double().mean()


def rings(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of two rings, one inside the other, with some noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=draw)
    angles = 2 * torch.pi * torch.rand(count, generator=draw)
    points = torch.stack([angles.cos(), angles.sin()], dim=1) * (1.0 + labels[:, None])
    return points + 0.3 * torch.randn(count, 2, generator=draw), labels
