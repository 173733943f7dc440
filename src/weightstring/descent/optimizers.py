"""Optimizers from torch.optim, any number of models in one step.

Models that begin together are the rows of one leaf and share its step count; those that begin later
are another leaf, so that each gets the right bias correction. A model that leaves takes its rows of
the state with it. The fused and foreach implementations update all leaves in one call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from weightstring.descent.stepping import Update
from weightstring.devices import sent
from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe
from weightstring.text import meant

CPU = torch.device("cpu")

# LBFGS evaluates the loss inside its step, SparseAdam wants sparse gradients, Muon matrices.
_UNSUITABLE = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): value
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, Optimizer) and name not in _UNSUITABLE
}


class Optimizers:
    """One optimizer a model, stepped together.

    Args:
        recipe: name and options of the optimizer.
        device: where the models are.

    Raises:
        InvalidSetting: the optimizer or one of its options is unknown or out of range.
    """

    def __init__(self, recipe: Recipe, device: torch.device = CPU) -> None:
        self._recipe = recipe = recipe.untuned
        self._scheduled = recipe.schedule != "constant" or recipe.warmup > 0
        self._base_rate = _rate(recipe)
        self._optimizer = _build(recipe, device)
        self._stepped: Callable[[Optimizer], object] = inspect.unwrap(type(self._optimizer).step)
        self._with_graph = bool(self._optimizer.defaults.get("differentiable", False))
        self._optimizer.param_groups.clear()
        self._groups: dict[float, int] = {}
        self._of: dict[Tensor, dict[str, Any]] = {}

    def add(self, theta: Tensor, rate: float = 1.0) -> None:
        """Take in a leaf: a model (P,), or several that begin together (k, P) if the optimizer :attr:`stacks`.

        Its learning rate is ``rate`` times the recipe's, and follows the recipe's schedule.
        """
        group = self._groups.get(rate)
        if group is None or self._scheduled:
            group = len(self._optimizer.param_groups)
            self._groups[rate] = group
            self._optimizer.add_param_group({"params": [theta], "lr": rate * self._base_rate, "step": 0, "rate": rate})
        else:
            self._optimizer.param_groups[group]["params"].append(theta)
        self._of[theta] = self._optimizer.param_groups[group]
        if isinstance(self._optimizer, torch.optim.Adagrad) and "sum" not in self._optimizer.state[theta]:
            # Older torch makes this for those alone that are there when the optimizer is built.
            settings = self._optimizer.defaults
            zero = torch.zeros((), dtype=torch.float32, device=theta.device) if settings["fused"] else torch.tensor(0.0)
            self._optimizer.state[theta] |= {
                "step": zero,
                "sum": torch.full_like(theta.detach(), settings["initial_accumulator_value"]),
            }

    @property
    def stacks(self) -> bool:
        """Whether it treats each number by itself, so that several models can be the rows of one leaf."""
        return isinstance(self._optimizer, _ELEMENTWISE)

    def keep(self, theta: Tensor, rows: Sequence[int]) -> Tensor:
        """Let all models of a leaf (k, P) go but those at ``rows``: the leaf that takes its place."""
        index = sent(torch.tensor(rows, device=CPU), theta.device)
        theta.grad = None
        leaf = theta.detach()[index].requires_grad_()
        state = self._optimizer.state.pop(theta, None)
        if state is not None:
            kept = self._optimizer.state[leaf]
            while state:  # one by one: the old ones must not take memory beside the new ones
                name, value = state.popitem()
                stacked = isinstance(value, Tensor) and value.shape == theta.shape
                kept[name] = value[index] if stacked else value
        self._of[leaf] = group = self._of.pop(theta)
        group["params"] = [leaf if other is theta else other for other in group["params"]]
        return leaf

    def remove(self, theta: Tensor) -> None:
        """Let a model go, and its optimizer state with it."""
        group = self._of.pop(theta)
        group["params"] = [other for other in group["params"] if other is not theta]
        self._optimizer.state.pop(theta, None)
        if self._scheduled:  # every leaf has a group of its own there
            self._optimizer.param_groups[:] = [group for group in self._optimizer.param_groups if group["params"]]

    def update(self, theta: Tensor, size: int, steps: int) -> Update | None:
        """The next steps of a leaf (k, W) whose models have ``size`` numbers, and count them; None: only in torch.

        What has a ``.grad`` moves by :meth:`step`; this one has none afterwards.
        """
        kind, group = type(self._optimizer).__name__, self._of[theta]
        if kind not in _IN_NUMBERS or any(group.get(name) for name in _UNUSUAL):
            return None
        theta.grad = None
        before = group["step"] if self._scheduled else 0
        shares = [self._recipe.rate(before + i) for i in range(steps)] if self._scheduled else [1.0] * steps
        rates = [group["rate"] * self._base_rate * share for share in shares]
        group["step"] += steps if self._scheduled else 0
        state = self._optimizer.state[theta]
        decay, clip = float(group["weight_decay"]), self._recipe.clip
        if kind == "SGD":
            momentum, moments = float(group["momentum"]), state.get("momentum_buffer")
            if momentum and moments is None:  # torch's first is the gradient itself, as from 0 without dampening
                moments = state["momentum_buffer"] = torch.zeros_like(theta.detach())
            return Update(
                "sgd", size, 0, rates, momentum, decay=decay, nesterov=group["nesterov"], clip=clip, moments=moments
            )
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=CPU)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(theta.detach()) for _ in range(2))
        taken = int(state["step"])
        state["step"] += steps
        return Update(
            "adam",
            size,
            taken,
            rates,
            momentum=float(group["betas"][0]),
            second=float(group["betas"][1]),
            epsilon=float(group["eps"]),
            decay=decay,
            decoupled=kind == "AdamW" or bool(group.get("decoupled_weight_decay")),
            clip=clip,
            moments=state["exp_avg"],
            squares=state["exp_avg_sq"],
        )

    def step(self) -> None:
        """One step of every model along its own ``.grad``; one that has none stays."""
        for group in self._optimizer.param_groups if self._scheduled else ():
            if group["params"][0].grad is None:
                continue
            group["lr"] = group["rate"] * self._base_rate * self._recipe.rate(group["step"])
            group["step"] += 1
        with torch.set_grad_enabled(self._with_graph):
            self._stepped(self._optimizer)


def kind_of(name: object) -> type[Optimizer]:
    """The class of torch.optim that a name stands for, case ignored.

    Raises:
        InvalidSetting: none that is known.

    >>> kind_of("AdamW").__name__
    'AdamW'
    """
    kind = OPTIMIZERS.get(name.lower()) if isinstance(name, str) else None
    if kind is None:
        near = meant(str(name), OPTIMIZERS)
        raise InvalidSetting(f"unknown optimizer {name!r:.80}{near}: choose one of {', '.join(sorted(OPTIMIZERS))}")
    return kind


def _rate(recipe: Recipe) -> float:
    if "lr" not in recipe.options:
        raise InvalidSetting(f"optimizer {recipe.optimizer!r} needs a learning rate: options={{'lr': ...}}")
    rate = recipe.options["lr"]
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise InvalidSetting(f"optimizer {recipe.optimizer!r}: lr={rate!r} is not a learning rate: give a number")
    return float(rate)


def _build(recipe: Recipe, device: torch.device) -> Optimizer:
    kind = kind_of(recipe.optimizer)
    accepted = _parameters(kind)  # type: ignore[arg-type]  # a class has the hash of every object
    options: dict[str, Any] = dict(recipe.options)
    unknown = [name for name in options if name not in accepted]
    if unknown:
        raise InvalidSetting(
            f"optimizer {recipe.optimizer!r} has no option {unknown[0]!r}: it takes {', '.join(list(accepted)[1:])}"
        )
    # One call for all models: fused where torch has it for this optimizer on this device, else foreach.
    if not {"fused", "foreach"} & options.keys():
        if kind in (_FUSED_ON_CPU if device.type == "cpu" else _FUSED):
            options["fused"] = True
        elif "foreach" in accepted:
            options["foreach"] = True
    # torch.optim refuses an empty list, so the first parameter is a placeholder that is dropped at once.
    try:
        made = _uncompiled(kind)  # type: ignore[arg-type]
        return made([torch.zeros(1, requires_grad=True, device=device)], **options)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise InvalidSetting(f"optimizer {recipe.optimizer!r} refuses its options: {problem}") from None


@cache
def _parameters(kind: type[Optimizer]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind).parameters


@cache
def _uncompiled(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer without what torch.compile needs around its methods: torch._dynamo, 1.5 seconds of importing."""
    return type(kind.__name__, (kind,), {"add_param_group": inspect.unwrap(Optimizer.add_param_group)})


# Not SGD: fused, with momentum, it fails when a model joins others that are under way.
_FUSED = (torch.optim.Adam, torch.optim.AdamW)
_FUSED_ON_CPU = (*_FUSED, torch.optim.Adagrad)
_IN_NUMBERS = ("SGD", "Adam", "AdamW")
"""Those that :class:`Update` describes, without their further options."""
_UNUSUAL = ("amsgrad", "maximize", "differentiable", "dampening")
_ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.ASGD,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
)
