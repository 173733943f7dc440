"""A problem with one hidden layer, in its parts: the features, the outer weights, and the best of these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem import Traceable
from weightstring.theory.convex import Convex, read

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
    """A problem with one hidden layer and a convex loss, in its parts, computed in float64.

    Args:
        problem: the loss.
        convex: what it computes.
        inputs: of the evaluation set, (N, d).
        targets: likewise.
    """

    problem: Traceable
    convex: Convex
    inputs: Float64[Tensor, "N d"]
    targets: Tensor

    @classmethod
    def of(cls, problem: Traceable) -> OneHidden:
        """Take a problem apart.

        Raises:
            InvalidSetting: another module, a loss not known to be convex, or inputs that are not (N, d).
            Unsupported: see :meth:`ModuleProblem.traceable`, and what cannot be traced.
        """
        examples = problem.traceable("loss").examples
        if examples.keys is not None or len(examples.leaves) != 1 or examples.leaves[0].ndim != 2:
            raise InvalidSetting(f"inputs are {examples.form()}: a path by sub-networks needs one tensor (N, d)")
        targets = examples.targets.cpu()
        return cls(
            problem,
            read(problem),
            examples.leaves[0].cpu().double(),
            targets.double() if targets.is_floating_point() else targets,
        )

    @property
    def outer_bias(self) -> bool:
        """Whether the output layer has a bias."""
        return self.convex.outer[1] is not None

    def parts(self, theta: Theta) -> tuple[Inner, Outer]:
        """W and β of a model (P,): copies."""
        views = self.problem.layout.views(theta)
        (weight, bias), (outer_weight, outer_bias) = self.convex.inner, self.convex.outer
        inner, outer = [views[weight]], [views[outer_weight].T]
        inner += [] if bias is None else [views[bias].unsqueeze(1)]
        outer += [] if outer_bias is None else [views[outer_bias].unsqueeze(0)]
        return torch.cat(inner, 1), torch.cat(outer)

    def theta(self, inner: Inner, outer: Outer) -> Theta:
        """The model (P,) of W and β, the inverse of :meth:`parts`."""
        m, d = len(inner), self.inputs.shape[1]
        names = (*self.convex.inner, *self.convex.outer)
        parts = (inner[:, :d], inner[:, d:].squeeze(1), outer[:m].T, outer[m:].squeeze(0))
        tensors = {name: part for name, part in zip(names, parts, strict=True) if name is not None}
        return self.problem.layout.flatten(tensors)

    def features(self, inner: Inner) -> Features:
        """ρ(Wx) of all examples."""
        d = self.inputs.shape[1]
        weights = inner.detach().cpu().double()
        with torch.no_grad():
            hidden = self.convex.rho(self.inputs @ weights[:, :d].T + weights[:, d:].sum(1))
        return torch.cat([hidden, torch.ones(len(hidden), int(self.outer_bias), dtype=torch.float64)], 1)

    def slope(self, features: Features, outer: Outer) -> tuple[float, Float64[Tensor, "N c"]]:
        """The loss, and its derivative by the outputs."""
        output = (features @ outer).requires_grad_()
        loss = self.convex.of_outputs(output, self.targets)
        (gradient,) = torch.autograd.grad(loss, output)
        return loss.item(), gradient

    def agrees(self, theta: Theta, measured: float) -> bool:
        """Whether a measured loss is what the operations say, up to rounding: what was traced is what is computed."""
        inner, outer = (part.detach().cpu().double() for part in self.parts(theta))
        features = self.features(inner)
        loss, gradient = self.slope(features, outer)
        d = self.inputs.shape[1]
        spread = self.inputs.abs() @ inner[:, :d].T.abs() + inner[:, d:].abs().sum(1)
        widths = features.abs()
        widths[:, : len(inner)] += spread
        eps = torch.finfo(self.problem.dtype).eps
        share = (d + len(inner) + 8) * eps
        off = share * (widths @ outer.abs())
        outputs = features @ outer
        with torch.no_grad():
            around = [self.convex.of_outputs(outputs + sign * off, self.targets).item() - loss for sign in (1, -1)]
        error = (gradient.abs() * off).sum().item() + sum(map(abs, around))
        error += eps * (len(outputs) * abs(loss) + 8 * outputs.abs().max().item())
        return abs(measured - loss) <= 4 * error + TINY

    def fit(self, features: Features, units: Sequence[int], near: Outer) -> Outer:
        """The best β that is zero outside ``units``, in float64: least squares, or L-BFGS for other losses.

        L-BFGS starts from the outputs of β ``near`` as well as these units can give them, or from 0 if that is lower.
        """
        m = features.shape[1] - int(self.outer_bias)
        columns = [*units, m] if self.outer_bias else list(units)
        fitted = torch.zeros_like(near, dtype=torch.float64, device="cpu")
        if not columns:
            return fitted
        # Units that are nearly silent, or copies of others, would get weights that the problem's dtype cannot hold.
        tolerance = torch.finfo(self.problem.dtype).eps ** 0.75
        norms = features[:, columns].norm(dim=0) / math.sqrt(len(features))
        scale = norms.where(norms > tolerance * norms.max(), math.inf)
        used = features[:, columns] / scale
        aim = self.targets if self.convex.squared else features @ near.cpu().double()
        solved = torch.linalg.lstsq(used, aim, rcond=tolerance, driver="gelsd").solution
        if not self.convex.squared:
            starts = (solved, torch.zeros_like(solved))
            solved = self._descend(used, min(starts, key=lambda start: self.slope(used, start)[0]))
        fitted[columns] = solved / scale[:, None]
        return fitted

    def _descend(self, used: Features, start: Outer) -> Outer:
        from scipy.optimize import minimize  # a tenth of a second that only fits of other losses need

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.slope(used, torch.from_numpy(flat).view(start.shape))
            return loss, (used.T @ gradient).flatten().numpy()

        options = {"maxiter": FIT_STEPS, "maxcor": 20, "gtol": 1e-9, "ftol": 1e-12}
        result = minimize(value, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
        return torch.from_numpy(np.asarray(result.x)).view(start.shape)
