"""Operations of a call, counted as PyTorch computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of matrix products and convolutions while the block runs.

    By the formulas of :class:`torch.utils.flop_counter.FlopCounterMode`, which also follows the calls of modules: for
    that it has hooks, which fail in some, and imports torch._dynamo, 1.5 seconds.

    >>> with Operations() as operations:
    ...     product = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> operations.total
    48.0
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled: what keeps torch._dynamo out of a mode would import it."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        """Compute an operation, or what it is made of where only that is counted."""
        given = kwargs or {}
        count: Callable[..., int] | None = flop_registry.get(getattr(func, "_overloadpacket", None))
        if count is None:
            with self:
                made = func.decompose(*args, **given) if isinstance(func, torch._ops.OpOverload) else NotImplemented
            if made is not NotImplemented:
                return made
        result = func(*args, **given)
        if count is not None:
            self.total += count(*args, **given, out_val=result)
        return result
