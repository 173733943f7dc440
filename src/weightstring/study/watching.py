"""What modules within a module return while it runs, looked at or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from weightstring.problem.outputs import leaves_of, rebuilt

See = Callable[[str, Tensor], Tensor | None]
"""Given a module's name and the first floating tensor that it returned; a tensor takes its place."""


@contextmanager
def watched(modules: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Within the context ``see`` is told what these modules return, at every call.

    >>> net = nn.Sequential(nn.Identity(), nn.ReLU())
    >>> with watched({"0": net[0]}, lambda name, output: -output):
    ...     net(Tensor([2.0, -3.0]))
    tensor([0., 3.])
    """

    def hook(name: str) -> Callable[..., object]:
        def run(module: nn.Module, args: object, output: object) -> object:
            leaves = leaves_of(output)
            for i, leaf in enumerate(leaves):
                if isinstance(leaf, Tensor) and leaf.is_floating_point():
                    other = see(name, leaf)
                    return None if other is None else rebuilt(output, [*leaves[:i], other, *leaves[i + 1 :]])
            return None

        return run

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
