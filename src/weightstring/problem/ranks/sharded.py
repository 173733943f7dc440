"""A loss whose data are divided over ranks: one runs a search, the others compute their parts of what it asks.

The search, with its clock, its store and its decisions, is rank 0's alone, so that no two can differ. Each measurement
and each gradient is a request: rank 0 sends it with the model, every rank computes what its own examples add, and the
sums of all are the value. What fails on one rank is raised in rank 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from weightstring.ambient import as_made
from weightstring.arrays import Positions, Rows, Theta, Thetas, Values
from weightstring.errors import InvalidSetting, WeightstringError, WorkerFailed
from weightstring.memory import Activations
from weightstring.problem.engines.base import REFERENCE
from weightstring.problem.flat import Layout
from weightstring.problem.ranks.group import Ranks
from weightstring.problem.ranks.requests import Request, added
from weightstring.problem.ranks.shard import Shard, Totals
from weightstring.protocol import EngineChoice, Gradient, LossProblem
from weightstring.recipe import Recipe


@runtime_checkable
class Shardable(LossProblem, Protocol):
    """Can be divided over ranks: its values over all data come from sums over parts of them."""

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the module without its parameters' numbers, and of each data set, by name."""

    def examples(self, quantity: str) -> int:
        """On how many units a quantity is measured."""

    def shard(self, number: int, of: int) -> Shard:
        """The part of one of several ranks."""


class Sharded:
    """A problem's loss, computed by all ranks; the object of rank 0. See :func:`sharded`.

    It measures and differentiates. What else a problem may offer, certificates, alignment and symmetries, reads the
    module and all its data: one process does that with the finished string.

    Args:
        problem: whose loss it is; it is not kept.
        ranks: all processes.

    Raises:
        Unsupported: its values are no sums over parts of the data.
    """

    def __init__(self, problem: Shardable, ranks: Ranks) -> None:
        self._ranks = ranks
        self._defaults = getattr(problem, "_defaults", None)
        self.size, self.dtype, self.device = problem.size, problem.dtype, problem.device
        self.quantities, self.evaluation, self.recipe = problem.quantities, problem.evaluation, problem.recipe
        self.train_size, self.batch_size = problem.train_size, problem.batch_size
        self.digests = dict(problem.digests)
        self._fingerprint = problem.fingerprint()
        self._examples = {name: problem.examples(name) for name in problem.quantities}
        self._shard = problem.shard(ranks.place.rank, ranks.place.of)
        self._threads = torch.get_num_threads()
        self._in_step = True
        """Whether every rank waits for a request."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._ranks.place.of} ranks: {self._shard.parts}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidSetting(
            "a loss that is divided over ranks cannot be sent to other processes: leave out executor= or --workers"
        )

    size: int
    dtype: torch.dtype
    device: torch.device
    quantities: tuple[str, ...]
    evaluation: str
    recipe: Recipe
    train_size: int
    batch_size: int | None
    digests: Mapping[str, str]

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self._shard.parts.layout

    def fingerprint(self) -> str:
        """The problem's own: a run can go on with any number of ranks, up to rounding."""
        return self._fingerprint

    # -- what it measures

    @as_made
    def measure(self, thetas: Thetas, quantities: Sequence[str] = ("loss",)) -> dict[str, Values]:
        """Measure B models (B, P): float64 values (B,) on the CPU, by name."""
        self._shard.parts.check(thetas, 2)
        names = tuple(self._shard.parts.quantities.select(quantities)[0])
        asked = Request(1, self._threads, names)
        found = [self._asked(asked, theta)[0] for theta in thetas] if names else []
        return self._values(quantities, names, torch.stack(found) if found else torch.empty(len(thetas), 0, 2))

    @property
    def shares_along(self) -> bool:
        """Always: the ends of a segment are sent once."""
        return True

    @as_made
    def measure_along(
        self, a: Theta, b: Theta, ts: Positions, quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """Measure the models (1 − t) a + t b at positions ``ts`` (T,): float64 values (T,) on the CPU, by name."""
        for theta in (a, b):
            self._shard.parts.check(theta, 1)
        names, places = tuple(self._shard.parts.quantities.select(quantities)[0]), tuple(ts.to(a).tolist())
        if not names or not places:
            return {name: torch.empty(len(ts), dtype=torch.float64) for name in quantities}
        return self._values(quantities, names, self._asked(Request(2, self._threads, names, places), a, b)[0])

    def _values(self, quantities: Sequence[str], names: Sequence[str], totals: Tensor) -> dict[str, Values]:
        means = dict(zip(names, self._shard.means(names), strict=True)) if totals.numel() else {}
        columns = {name: means[name].total(*totals[:, names.index(name)].unbind(-1)) for name in means}
        return {name: columns[name] if name in columns else torch.empty(len(totals)).double() for name in quantities}

    @as_made
    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Training losses (B,) of B models (B, P) on their own rows (B, n), and gradients (B, P)."""
        self._shard.parts.check(thetas, 2)
        losses, gradients = torch.empty_like(thetas[:, 0]), torch.empty_like(thetas)
        for number, theta in enumerate(thetas):
            asked = Request(1, self._threads, rows=None if rows is None else rows[number].cpu())
            totals, slope = self._asked(asked, theta)
            assert slope is not None
            losses[number], gradients[number] = self._shard.slope_of(totals, slope)
        return Gradient(losses, gradients)

    def _asked(self, request: Request, *thetas: Theta) -> tuple[Totals, Theta | None]:
        if not self._in_step:
            raise WorkerFailed("the ranks were interrupted amid a call: start torchrun again")
        self._in_step = False
        self._ranks.told(request)
        sent = [self._ranks.sent(theta.detach().contiguous()) for theta in thetas]
        try:
            found = added(self._ranks, self._shard, request, sent)
        except WorkerFailed:
            raise
        except WeightstringError:
            self._in_step = True
            raise
        self._in_step = True
        return found

    # -- how

    @property
    def independent(self) -> bool:
        """Models are computed one by one."""
        return True

    def engine_choice(self) -> EngineChoice:
        """One model after the other; nothing is tried, and no clock decides."""
        reason = f"{REFERENCE}: the data are divided over {self._ranks.place.of} ranks"
        return EngineChoice(
            REFERENCE, reason, threads=self._threads, flops=self._shard.parts.dispatcher.selection.choice.flops
        )

    def use_engine(self, name: str) -> None:
        """Refuse every other engine.

        Raises:
            InvalidSetting: another is named.
        """
        if name not in (REFERENCE, "auto"):
            raise InvalidSetting(f"engine={name!r}: over several ranks models are computed one by one, by 'loop'")

    @contextmanager
    def computing_by(self, name: str, threads: int | None = None) -> Iterator[None]:
        """Compute on so many threads a rank; by which engine a run began makes a difference of rounding only."""
        before, self._threads = self._threads, threads or self._threads
        try:
            yield
        finally:
            self._threads = before

    # -- what it takes

    @property
    def units(self) -> str:
        """What data are counted in."""
        return self._shard.parts.train.units

    def beside(self, quantities: Sequence[str]) -> tuple[str, ...]:
        """These quantities and all others that the passes over the data which they take tell too."""
        return self._shard.parts.quantities.beside(quantities)

    def examples(self, quantity: str) -> int:
        """On how many units, those of all ranks, a quantity is measured."""
        return self._examples[quantity]

    @property
    def curve_quantities(self) -> tuple[str, ...]:
        """The quantities measured along a finished string besides the one the threshold binds."""
        return self._shard.parts.curve_quantities

    @property
    def spared(self) -> tuple[str, ...]:
        """Those of them that are left out where measuring them would take longer than the search did."""
        return self._shard.parts.spared

    @as_made
    def activations(self) -> Activations:
        """Bytes that one call keeps beside its models, on rank 0."""
        return self._shard.parts.dispatcher.activations()

    # -- the other ranks

    def close(self) -> None:
        """Let the other ranks go, if all wait for a request.

        Raises:
            WorkerFailed: one is gone.
        """
        if self._in_step:
            self._in_step = False
            self._ranks.told(None)
