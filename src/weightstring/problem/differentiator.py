"""Gradients and Hessian products of a problem's training loss."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from weightstring.ambient import as_made
from weightstring.arrays import Rows, Theta, Thetas
from weightstring.descent.stepping import Update
from weightstring.problem.hessian import threads_of, training_products
from weightstring.problem.parts import Parts
from weightstring.problem.settings import check_rows
from weightstring.protocol import Gradient


class Differentiator:
    """The part of a :class:`ModuleProblem` that differentiates."""

    _parts: Parts

    @as_made
    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Mean training losses (B,) of B models (B, P) on their own rows (B, n), and gradients (B, P).

        A pure function of its arguments: dropout draws from a seed derived from the rows (without
        rows from θ), BatchNorm changes no buffer. ``rows=None``: the whole training set.

        Raises:
            InvalidCheckpoint: models of another size or dtype.
            InvalidSetting: rows that are not (B, n) int64, or not even one model fits into memory.
        """
        self._parts.check(thetas, 2)
        if rows is not None:
            check_rows(rows, len(thetas))
        if not len(thetas):
            return Gradient(thetas.new_zeros(0), torch.zeros_like(thetas))
        return self._parts.dispatcher.gradient(thetas, rows)

    @property
    def strides(self) -> bool:
        """Whether the engine takes several steps of a descent in one call."""
        overridden = type(self).gradient is not Differentiator.gradient  # then each step is to go through that
        parts, train = self._parts, self._parts.train
        drawn = parts.batch_size is not None and parts.batch_size < len(train)
        # A gradient of more than a chunk is that of its chunks, wherever they are.
        return not overridden and (drawn or len(train) <= parts.computation.chunk) and parts.dispatcher.strides

    @property
    def ties(self) -> bool:
        """Whether it does so with models that are tied to each other, too."""
        return self._parts.dispatcher.engine.ties

    @as_made
    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, update: Update) -> None:
        """Take k steps with each of B models in place: see :class:`weightstring.descent.stepping.Stepping`."""
        self._parts.dispatcher.stride(thetas, rows, update)

    @as_made
    def hessian_products(self, theta: Theta, vectors: Thetas, rows: Int64[Tensor, " n"] | None) -> Thetas:
        """Products H v (k, P) of vectors (k, P) with the Hessian at θ (P,) of what :meth:`gradient` differentiates.

        Raises:
            InvalidCheckpoint: θ or vectors of another size or dtype.
            InvalidSetting: rows that are not (n,) int64, or the examples do not fit into memory.
            RuntimeError: autograd cannot differentiate one of the operations twice.
        """
        self._parts.check(theta, 1)
        self._parts.check(vectors, 2)
        if rows is not None:
            check_rows(rows[None], 1)
        train, dispatcher = self._parts.train, self._parts.dispatcher
        with threads_of(dispatcher.selection.choice, len(vectors), len(train) if rows is None else len(rows)):
            return training_products(self._parts.computation, train, theta, vectors, rows, dispatcher.couples)
