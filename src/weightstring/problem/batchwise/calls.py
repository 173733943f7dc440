"""What a loss of (net, batch) calls the module with, and what it makes of the output.

Such a loss is read as a criterion of the module's output by running it with a stand-in for the module: one that notes
how it is called, or one that returns a given output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from weightstring.errors import Unsupported, WeightstringError
from weightstring.problem.batchwise.per_batch import PerBatch, Sums
from weightstring.problem.datasets.batches import batch_digest
from weightstring.problem.datasets.data import Examples
from weightstring.problem.functional import Functional
from weightstring.problem.losses.folded import Folded, value_of
from weightstring.problem.losses.means import number
from weightstring.problem.outputs import leaves_of, rebuilt, tensors_of
from weightstring.text import first_line

ONE_CALL = "only a loss that takes what one net(...) returns, and nothing else of net, can be read as one of its output"

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""By position and by name."""


@dataclass(frozen=True, eq=False)
class OneCall(Examples):
    """The tensors of one call of a module, in arguments of any form: one unit, of which no part can be taken.

    Args:
        given: the arguments by position and by name.

    >>> call = OneCall((torch.ones(2, 1),), torch.empty(1, 0), given=((torch.ones(2, 1), 3), {}))
    >>> call.with_leaves([torch.zeros(2, 1)]).arguments
    ((tensor([[0.],
            [0.]]), 3), {})
    """

    given: Arguments = field(default_factory=lambda: ((), {}))

    def __len__(self) -> int:
        return 1

    @property
    def arguments(self) -> Arguments:
        """The arguments with the leaves for their tensors."""
        leaves = iter(self.leaves)
        filled = [next(leaves) if isinstance(leaf, Tensor) else leaf for leaf in leaves_of(self.given)]
        return rebuilt(self.given, filled)  # type: ignore[return-value]

    def take(self, rows: slice | Tensor) -> OneCall:
        """The call itself."""
        return self

    def to(
        self,
        device: torch.device,
        dtype: torch.dtype | None,
        targets: torch.dtype | None = None,
        copy: bool = False,
    ) -> OneCall:
        """The same elsewhere."""
        return replace(self, leaves=super().to(device, dtype, targets, copy).leaves)

    def cloned(self) -> OneCall:
        """The same with copies of the leaves."""
        return replace(self, leaves=tuple(leaf.clone() for leaf in self.leaves))


class StandIn:
    """What a loss gets for a module: it answers calls, and shows settings of the module but none of its parts."""

    def __init__(self, net: nn.Module, answer: Callable[[tuple[Any, ...], dict[str, Any]], object]) -> None:
        self._net, self._answer = net, answer

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        """The answer."""
        return self._answer(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._net, name)
        if isinstance(value, nn.Module) and not value.state_dict():
            return value  # such as a criterion: it holds nothing of θ
        if isinstance(value, Tensor) or callable(value):
            raise Unsupported(f"the loss or a metric uses net.{name}: {ONE_CALL}")
        return value


class Seen(NamedTuple):
    """One call of the module: its arguments, what it returned, and the sum and weight that came of that."""

    given: Arguments
    output: object
    sums: Sums


@dataclass(frozen=True, eq=False)
class ReadCall:
    """One batch as a call of the module, and criteria of the output.

    Args:
        function: the module, and its call by a loss of batches.
        batch: gives the batch anew.
    """

    function: Functional
    batch: Callable[[], object]

    def seen(self, name: str) -> Seen:
        """How one of the criteria calls the module, with whatever parameters that holds.

        Raises:
            Unsupported: it does not call it once, or takes more of it.
        """
        calls: list[tuple[Arguments, object]] = []

        def answer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
            output = self.function.module(*args, **kwargs)
            calls.append(((args, kwargs), output))
            return output

        with torch.no_grad():
            sums = self._run(name, answer)
        if len(calls) != 1:
            raise Unsupported(f"{name!r} calls net {len(calls)} times for a batch: {ONE_CALL}")
        return Seen(*calls[0], sums)

    def examples(self, name: str) -> OneCall:
        """The call that one of the criteria makes.

        Raises:
            Unsupported: see :meth:`seen`.
        """
        given = self.seen(name).given
        return OneCall(tuple(tensors_of(given)), torch.empty(1, 0), given=given)

    def criterion(self, name: str, call: OneCall) -> Callable[[object, Tensor], Tensor]:
        """A quantity of the batch as a function of the module's output.

        Raises:
            Unsupported: it calls the module in another way than ``call``.
        """
        if batch_digest(self.examples(name).arguments) != batch_digest(call.arguments):
            raise Unsupported(f"{name!r} calls net with other arguments than the loss: {ONE_CALL}")

        def of(output: object, targets: Tensor) -> Tensor:
            amount, _ = self._run(name, lambda args, kwargs: output)
            if isinstance(amount, Folded):
                return value_of(amount, targets)
            return amount if isinstance(amount, Tensor) else number(amount, targets)

        return of

    def _run(self, name: str, answer: Callable[[tuple[Any, ...], dict[str, Any]], object]) -> Sums:
        assert isinstance(self.function.call, PerBatch)
        stand_in = StandIn(self.function.module, answer)
        try:
            return self.function.call.sums(stand_in, self.batch(), name)
        except WeightstringError:
            raise
        except Exception as error:  # whatever a stranger's loss does with a module
            raise Unsupported(f"{name!r} cannot take a stand-in for net ({first_line(error)}): {ONE_CALL}") from error
