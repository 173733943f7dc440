"""A problem with one hidden layer, in its parts: the features, the outer weights, and the best of these."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.problem.means import Criterion
from weightstring.theory.squares import SQUARED

ENTROPIES = (
    *(nn.CrossEntropyLoss, functional.cross_entropy),
    *(nn.BCEWithLogitsLoss, functional.binary_cross_entropy_with_logits),
)

CONVEX = (
    *SQUARED,
    *ENTROPIES,
    *(nn.L1Loss, functional.l1_loss),
    *(nn.SmoothL1Loss, functional.smooth_l1_loss),
    *(nn.HuberLoss, functional.huber_loss),
)
"""Losses that are convex in the output, by class or function."""

ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Tanhshrink, nn.Identity),
)
"""Activations that act on each unit by itself and have nothing to train."""

FIT_STEPS = 300
"""Of L-BFGS, at most: the bound is measured, so that a fit need not be the best."""

TINY = torch.finfo(torch.float64).tiny

Inner = Float[Tensor, "m d1"]
"""W, one row a unit; its bias, where there is one, in the last column."""

Outer = Float[Tensor, "m1 c"]
"""β, one row a unit; the output's bias, where there is one, in the last row."""

Features = Float64[Tensor, "N m1"]
"""ρ(Wx) of each example; where the output has a bias, a column of ones comes last."""


@dataclass(frozen=True, eq=False)
class OneHidden:
    """A problem whose module is ``nn.Sequential(Linear, activation, Linear)``, in its parts, computed in float64.

    Args:
        problem: the loss.
        activation: ρ.
        criterion: the loss of outputs and targets.
        inputs: of the evaluation set, (N, d).
        targets: likewise, as the criterion takes them.
        inner_bias: whether the hidden layer has a bias.
        outer_bias: whether the output layer has one.
    """

    problem: ModuleProblem
    activation: nn.Module
    criterion: Criterion
    inputs: Float64[Tensor, "N d"]
    targets: Tensor
    inner_bias: bool
    outer_bias: bool

    @classmethod
    def of(cls, problem: ModuleProblem) -> OneHidden:
        """Take a problem apart.

        Raises:
            InvalidSetting: another module, a loss not known to be convex, or inputs that are not (N, d).
            Unsupported: see :meth:`ModuleProblem.traceable`.
        """
        net, criterion, examples, _ = problem.traceable("loss")
        _check_module(net, problem)
        kind = type(criterion) if isinstance(criterion, nn.Module) else criterion
        weights = [getattr(criterion, name, None) for name in ("weight", "pos_weight")]
        if kind not in CONVEX or any(weight is not None and bool((weight < 0).any()) for weight in weights):
            name = getattr(kind, "__name__", type(kind).__name__)
            raise InvalidSetting(
                f"loss_fn {name} is not known to be convex in the output: use nn.MSELoss(), nn.CrossEntropyLoss() "
                "without negative weights, or another of theory.one_hidden.CONVEX"
            )
        targets = examples.targets
        if kind in ENTROPIES and targets.is_floating_point() and bool(((targets < 0) | (targets > 1)).any()):
            raise InvalidSetting(
                f"targets from {targets.min():.6g} to {targets.max():.6g} are no probabilities, so loss_fn may not "
                "be convex in the output: give targets in [0, 1]"
            )
        if examples.keys is not None or len(examples.leaves) != 1 or examples.leaves[0].ndim != 2:
            raise InvalidSetting(f"inputs are {examples.form()}: a path by sub-networks needs one tensor (N, d)")
        assert isinstance(net, nn.Sequential)
        names = {entry.name for entry in problem.layout.entries}
        return cls(
            problem,
            copy.deepcopy(net[1]).cpu(),
            copy.deepcopy(criterion).cpu().double() if isinstance(criterion, nn.Module) else criterion,
            examples.leaves[0].cpu().double(),
            targets.cpu().double() if targets.is_floating_point() else targets.cpu(),
            "0.bias" in names,
            "2.bias" in names,
        )

    def parts(self, theta: Theta) -> tuple[Inner, Outer]:
        """W and β of a model (P,): copies."""
        tensors = self.problem.layout.views(theta)
        inner, outer = [tensors["0.weight"]], [tensors["2.weight"].T]
        inner += [tensors["0.bias"].unsqueeze(1)] if self.inner_bias else []
        outer += [tensors["2.bias"].unsqueeze(0)] if self.outer_bias else []
        return torch.cat(inner, 1), torch.cat(outer)

    def theta(self, inner: Inner, outer: Outer) -> Theta:
        """The model (P,) of W and β, the inverse of :meth:`parts`."""
        m, d = len(inner), self.inputs.shape[1]
        tensors = {"0.weight": inner[:, :d], "0.bias": inner[:, d:], "2.weight": outer[:m].T, "2.bias": outer[m:]}
        return self.problem.layout.flatten(tensors)

    def features(self, inner: Inner) -> Features:
        """ρ(Wx) of all examples."""
        d = self.inputs.shape[1]
        weights = inner.detach().cpu().double()
        with torch.no_grad():
            hidden: Tensor = self.activation(self.inputs @ weights[:, :d].T + weights[:, d:].sum(1))
        return torch.cat([hidden, torch.ones(len(hidden), int(self.outer_bias), dtype=torch.float64)], 1)

    def slope(self, features: Features, outer: Outer) -> tuple[float, Float64[Tensor, "N c"]]:
        """The loss, and its derivative by the outputs."""
        output = (features @ outer).requires_grad_()
        loss = self.criterion(output, self.targets)
        (gradient,) = torch.autograd.grad(loss, output)
        return loss.item(), gradient

    def fit(self, features: Features, units: Sequence[int], near: Outer) -> Outer:
        """The best β that is zero outside ``units``, in float64: least squares, or L-BFGS for other losses.

        L-BFGS starts from the outputs of β ``near`` as well as these units can give them, or from 0 if that is lower.
        """
        m = features.shape[1] - int(self.outer_bias)
        columns = [*units, m] if self.outer_bias else list(units)
        found = torch.zeros_like(near, dtype=torch.float64, device="cpu")
        if not columns:
            return found
        # Units that are nearly silent, or copies of others, would get weights that the problem's dtype cannot hold.
        tolerance = torch.finfo(self.problem.dtype).eps ** 0.75
        norms = features[:, columns].norm(dim=0) / math.sqrt(len(features))
        scale = norms.where(norms > tolerance * norms.max(), math.inf)
        used = features[:, columns] / scale
        kind = type(self.criterion) if isinstance(self.criterion, nn.Module) else self.criterion
        aim = self.targets if kind in SQUARED else features @ near.cpu().double()
        solved = torch.linalg.lstsq(used, aim, rcond=tolerance, driver="gelsd").solution
        if kind not in SQUARED:
            starts = (solved, torch.zeros_like(solved))
            solved = self._descend(used, min(starts, key=lambda start: self.slope(used, start)[0]))
        found[columns] = solved / scale[:, None]
        return found

    def _descend(self, used: Features, start: Outer) -> Outer:
        from scipy.optimize import minimize  # a tenth of a second that only fits of other losses need

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.slope(used, torch.from_numpy(flat).view(start.shape))
            return loss, (used.T @ gradient).flatten().numpy()

        options = {"maxiter": FIT_STEPS, "maxcor": 20, "gtol": 1e-9, "ftol": 1e-12}
        result = minimize(value, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
        return torch.from_numpy(np.asarray(result.x)).view(start.shape)


def _check_module(net: nn.Module, problem: ModuleProblem) -> None:
    kinds = [type(layer) for layer in net] if isinstance(net, nn.Sequential) and type(net) is nn.Sequential else []
    fits = len(kinds) == 3 and kinds[0] is kinds[2] is nn.Linear and kinds[1] in ACTIVATIONS
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
    trained = [entry.names for entry in problem.layout.entries]
    if (
        not fits
        or hooked
        or sorted(trained) != sorted((name,) for name, _ in net.named_parameters(remove_duplicate=False))
    ):
        found = ", ".join(kind.__name__ for kind in kinds) or type(net).__name__
        raise InvalidSetting(
            f"net is {found}: a path by sub-networks needs nn.Sequential(nn.Linear, activation, nn.Linear), all of it "
            "trained, nothing tied, no hooks, and an activation of each unit by itself such as nn.ReLU()"
        )
