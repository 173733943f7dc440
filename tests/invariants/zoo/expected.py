"""What a problem must answer at several θ, to within the precision in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .plain import Plain

if TYPE_CHECKING:
    from .test_zoo import Scene

TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
ROUNDING = 4
"""What float32 costs the plain copy itself, times this, may be missing from the product's answer too."""


@dataclass(frozen=True)
class Answer:
    """Values (B, n) of one quantity at B models, and how far (B,) a right answer may be from them, in norm."""

    name: str
    values: Tensor
    allowed: Tensor

    def check(self, found: Tensor, where: str) -> None:
        errors = (found - self.values).norm(dim=1)
        worst = (errors - self.allowed).argmax()
        if not (errors <= self.allowed).all():
            size = self.values[worst].norm()
            raise AssertionError(
                f"{where} at θ {worst}: {shown(found[worst])} instead of {shown(self.values[worst])}: "
                f"off by {errors[worst] / size:.2g}, allowed {self.allowed[worst] / size:.2g}"
            )

    def check_one(self, index: int, found: float, where: str) -> None:
        one = Answer(self.name, self.values[index : index + 1], self.allowed[index : index + 1])
        one.check(torch.tensor([[found]], dtype=torch.float64), where)


def shown(values: Tensor) -> str:
    return f"{values.item():.9g}" if values.numel() == 1 else f"a vector of norm {values.norm():.9g}"


class Expected:
    """Losses, metrics and gradients by hand, in an entry's precision and, for float32's rounding, in float64."""

    def __init__(self, scene: Scene, thetas: Tensor, rows: Tensor) -> None:
        entry, self.dtype = scene.entry, scene.dtype
        chunk = scene.options["chunk"]
        self.plain = Plain(entry, scene.train, self.dtype, chunk)
        best = max(entry.dtypes, key=lambda dtype: dtype.itemsize)
        self.exact = self.plain if best == self.dtype else Plain(entry, scene.train, best, chunk)
        self.thetas, self.rows = thetas, rows
        names = [prefix + name for prefix in ("", "train_") for name in ("loss", *entry.metrics)]
        here, exact = (
            torch.tensor([plain.measure(theta, (scene.evaluate, scene.train)) for theta in thetas], dtype=torch.float64)
            for plain in (self.plain, self.exact)
        )
        self.values = {
            name: self._allowing(name, here[:, [column]], exact[:, [column]]) for column, name in enumerate(names)
        }
        self._gradients: dict[bool, tuple[Answer, Answer]] = {}

    def gradients(self, rows: Tensor | None) -> tuple[Answer, Answer]:
        """Losses and gradients, each model on its own rows or on all."""
        if (rows is None) not in self._gradients:
            self._gradients[rows is None] = self._differentiate(rows)
        return self._gradients[rows is None]

    def _differentiate(self, rows: Tensor | None) -> tuple[Answer, Answer]:
        def together(plain: Plain, index: int) -> Tensor:
            loss, slope = plain.gradient(self.thetas[index], None if rows is None else rows[index])
            return torch.cat([torch.tensor([loss], dtype=torch.float64), slope.double()])

        values, best = (
            torch.stack([together(plain, i) for i in range(len(self.thetas))]) for plain in (self.plain, self.exact)
        )
        of = "the full batch" if rows is None else "a minibatch"
        parts = (f"loss of {of}", slice(1)), (f"gradient of {of}", slice(1, None))
        loss, slope = (self._allowing(name, values[:, part], best[:, part]) for name, part in parts)
        return loss, slope

    def _allowing(self, name: str, values: Tensor, exact: Tensor) -> Answer:
        allowed = TOLERANCES[self.dtype] * values.norm(dim=1) + ROUNDING * (values - exact).norm(dim=1)
        return Answer(name, values, allowed)
