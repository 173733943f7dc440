"""What a loss reads of an output, seen while it runs: which of its tensors, and by which of torch's functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

As = Literal["classes", "sides", "logarithms", "numbers", "gaussian"]
"""What a function of torch's takes its input for: logits of classes, logits of yes and no, logarithms of probabilities,
numbers as they are, or the mean of a Gaussian."""

LOSSES: Mapping[object, As] = {
    functional.cross_entropy: "classes",
    functional.binary_cross_entropy_with_logits: "sides",
    functional.multilabel_soft_margin_loss: "sides",
    functional.nll_loss: "logarithms",
    functional.kl_div: "logarithms",
    functional.binary_cross_entropy: "numbers",
    functional.huber_loss: "numbers",
    functional.l1_loss: "numbers",
    functional.mse_loss: "numbers",
    functional.smooth_l1_loss: "numbers",
}
"""What torch's loss functions take their first argument for."""

TAKEN: Mapping[object, As] = {
    **LOSSES,
    functional.gaussian_nll_loss: "gaussian",
    functional.log_softmax: "classes",
    functional.softmax: "classes",
    torch.log_softmax: "classes",
    torch.softmax: "classes",
    torch.logsumexp: "classes",
    Tensor.log_softmax: "classes",
    Tensor.softmax: "classes",
    Tensor.logsumexp: "classes",
    functional.logsigmoid: "sides",
    functional.sigmoid: "sides",
    torch.sigmoid: "sides",
    Tensor.sigmoid: "sides",
}
"""The same of other functions too."""

ATTRIBUTES = ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_cuda")

FORM = {
    *(getattr(Tensor, name).__get__ for name in ATTRIBUTES),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__, Tensor.is_floating_point, Tensor.is_complex),
}
"""What asks for a tensor's form, not for its numbers."""


class Watch(TorchFunctionMode):
    """While it lasts, notes what reads some tensors.

    Args:
        leaves: the tensors.

    Attributes:
        read: places of those that any function of torch's was given.
        taken: what functions took an input for, the input, and what they returned.

    >>> logits, hidden = torch.randn(2, 3), torch.randn(2, 4)
    >>> with Watch([logits, hidden]) as watch:
    ...     _ = functional.cross_entropy(logits.view(2, 3), torch.tensor([0, 2])), hidden.shape
    >>> watch.read, [kind for kind, _, _ in watch.taken]
    ({0}, ['classes'])
    """

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()
        self._places = {id(leaf): place for place, leaf in enumerate(leaves)}
        self.read: set[int] = set()
        self.taken: list[tuple[As, Tensor, object]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, and note what it was given."""
        given = [*args, *(kwargs or {}).values()]
        result = func(*args, **(kwargs or {}))
        if func not in FORM:
            within = [part for each in given for part in (each if isinstance(each, tuple | list) else [each])]
            self.read |= {self._places[id(part)] for part in within if id(part) in self._places}
        kind = TAKEN.get(func)
        inputs = [each for each in given if isinstance(each, Tensor)]
        if kind is not None and inputs:
            self.taken.append((kind, (kwargs or {}).get("input", inputs[0]), result))
        return result
