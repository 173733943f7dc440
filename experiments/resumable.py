"""Trainings of minutes that are kept every fifty steps, and go on where they were interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHECKED = 50
"""Steps between two files of a training."""


def trained(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
    batch_loss: Callable[[torch.Generator], Tensor],
    seed: int,
    steps: int,
    done: Path,
) -> dict[str, Tensor]:
    """The state of a network after so many steps, from a file if they are done.

    Args:
        net: with its first weights.
        optimizer: of its parameters.
        rate: of the optimizer, stepped with it.
        batch_loss: the loss of a minibatch that it draws.
        seed: of these draws.
        steps: how many.
        done: the file, .safetensors; what is not yet done lies beside it.
    """
    if done.exists():
        return load_file(done)
    draw, step, path = torch.Generator().manual_seed(seed), 0, done.with_suffix(".part")
    if path.exists():
        step, weights, state, rates, drawn = torch.load(path, weights_only=True)
        net.load_state_dict(weights), optimizer.load_state_dict(state), rate.load_state_dict(rates)
        draw.set_state(drawn)
    while step < steps:
        value = batch_loss(draw)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        step += 1
        if step % CHECKED == 0:
            part = (step, net.state_dict(), optimizer.state_dict(), rate.state_dict(), draw.get_state())
            torch.save(part, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
            print(f"seed {seed}, step {step}: {value.item():.4f}", flush=True)
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    save_file(weights, done)
    path.unlink(missing_ok=True)
    return weights


def barrier(losses: list[float]) -> float:
    """The largest height over the straight line between the ends' losses, of losses at even distances."""
    ends = torch.linspace(losses[0], losses[-1], len(losses)).tolist()
    return max(loss - level for loss, level in zip(losses, ends, strict=True))
