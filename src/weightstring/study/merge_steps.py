"""What to do after a verdict on merging, as commands to be pasted, the most useful first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from weightstring.runs.next_steps import NextStep
from weightstring.study.mergeability import Mergeability

STEPS = 2000
"""Gradient steps that a first search is given."""


def steps_of(found: Mergeability) -> list[NextStep]:
    """What to do next.

    Args:
        found: the verdict; its commands are for a shell where it was asked there, else for Python.

    >>> import torch
    >>> from torch import nn
    >>> from weightstring.problem import ModuleProblem
    >>> from weightstring.study.mergeable import mergeable
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x))
    >>> found = mergeable(problem, [torch.tensor([1.9, 0.0]), torch.tensor([2.1, 0.0])])
    >>> steps_of(found)[0]
    NextStep(why='the merged model: average', command='net.load_state_dict(problem.unflatten(found.best.theta))')
    """
    ask, best = _Ask(found), found.best
    two, tried = len(found.models) == 2, {way.name for way in found.ways}
    strung = "best on the string" in tried
    steps: list[NextStep] = []
    if found.merges and best.theta is not None:
        steps.append(ask.write())
    if two and not strung and (not found.merges or best.loss > min(v["loss"] for v in found.models.values())):
        steps.append(ask.search())
    if two and not found.merges and "learned average" not in tried:
        steps.append(ask.learn())
    if found.merges and best.theta is None:
        steps.append(ask.string())
    if not two and not found.merges and (pair := found.nearest) is not None:
        steps.append(ask.pair(pair))
    if found.blame is None and not found.merges:
        steps.append(ask.blame())
    return steps or [ask.write()]


class _Ask:
    """Commands about one verdict."""

    def __init__(self, found: Mergeability) -> None:
        self.found, self.names, self.words = found, list(found.models), found.words

    def write(self) -> NextStep:
        """Have the merged model."""
        searched = ["--search", str(self.found.search)] if self.found.best.name.endswith("the string") else []
        learned = ["--learn", str(self.found.learn)] if self.found.best.name.startswith("learned") else []
        return self._step(
            f"the merged model: {self.found.best.name}",
            ["mergeable", *self.words, *self.names, *learned, *searched, "--out", "merged.safetensors"],
            "net.load_state_dict(problem.unflatten(found.best.theta))",
        )

    def search(self) -> NextStep:
        """Look for a string."""
        return self._step(
            "is there a path between the two, and a better model on it?",
            ["mergeable", *self.words, *self.names, "--search", str(STEPS)],
            f"ws.mergeable(problem, models, search={STEPS})",
        )

    def learn(self) -> NextStep:
        """Learn the alignment."""
        a, b = self.names
        return self._step(
            "align by gradients of the loss on the line too, then ask again",
            ["align", *self.words, a, b, "--learn", "200", "--out", "aligned.safetensors"],
            'ws.align(problem, *models, methods=["weights", "activations", "learned"], steps=200)',
        )

    def string(self) -> NextStep:
        """Keep a string whose models are averaged."""
        a, b = self.names
        level = max(values["loss"] for values in self.found.models.values())
        return self._step(
            "a string whose models' predictions are averaged; weightstring merge RUN then says what they are worth",
            ["connect", *self.words, a, b, "--threshold", f"{1.02 * level:.4g}", "--align", "--out", "runs/merged"],
            f"ws.connect(problem, *models, {1.02 * level:.4g}, align=True)",
        )

    def pair(self, names: tuple[str, str]) -> NextStep:
        """Merge fewer of them."""
        return self._step(
            "these two merge most easily",
            ["mergeable", *self.words, *names],
            f"ws.mergeable(problem, [models[name] for name in {list(names)!r}])",
        )

    def blame(self) -> NextStep:
        """Find the layer."""
        a, b = self.names[:2]
        aligned = self.found.better_aligned
        return self._step(
            "which layer raises the line between the two?",
            ["blame", *self.words, a, b, *(["--align"] if aligned else [])],
            "ws.mergeable(problem, models, blame=True).blame",
        )

    def _step(self, why: str, shell: Sequence[str], python: str) -> NextStep:
        return NextStep(why, f"weightstring {shlex.join(shell)}" if self.words else python)
