"""Checkpoints read strictly: what a module would load silently wrong is refused, with its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.data import form
from weightstring.problem.flat import Layout, identical

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


@dataclass(frozen=True, eq=False)
class Template:
    """What a checkpoint of a problem's module looks like.

    Args:
        layout: of the trainable parameters.
        state: the module's state dict; names of a tied tensor hold the same object.
        statistics: names of the running statistics, which may differ from the module's.
        original: dtypes of the user's own module, by name.

    >>> net = nn.Linear(2, 1)
    >>> template = Template(Layout.of(net), net.state_dict(keep_vars=True), frozenset(), {})
    >>> template.read({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
    tensor([1., 1., 0.])
    """

    layout: Layout
    state: Mapping[str, object]
    statistics: frozenset[str]
    original: Mapping[str, torch.dtype]

    def read(self, source: nn.Module | Mapping[str, Tensor]) -> Theta:
        """θ of a checkpoint: a detached copy in the problem's dtype, where the checkpoint lies.

        Accepted besides the module's own state dict: every key prefixed by DataParallel or
        torch.compile, and a tied tensor under only some of its names (safetensors drops the rest).

        Raises:
            InvalidCheckpoint: it does not belong to the module, or holds numbers that are not finite.
        """
        given = self._unwrap(source)
        tensors = {name: tensor for name, tensor in self.state.items() if isinstance(tensor, Tensor)}
        complete: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            tied = [other for other in tensors if tensors[other] is tensor and other in given]
            if not tied:
                raise InvalidCheckpoint(
                    f"{name!r} is missing from the checkpoint: pass a checkpoint of the same module"
                )
            complete[name] = given[name if name in given else tied[0]]
            self._check(name, complete[name], tensor)
            if not identical(complete[name], given[tied[0]]):
                raise InvalidCheckpoint(
                    f"{tied[0]!r} and {name!r} are tied in the module but differ in the checkpoint: "
                    f"save it from a module in which they are tied"
                )
        return self.layout.flatten(complete).to(self.layout.dtype)

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict with the given tensors in place of the module's: detached copies, all names."""
        state = {**self.state, **{name: tensor for name, tensor in tensors.items() if name in self.state}}
        # Extra state that is no tensor is handed on, so that a strict load finds every key.
        return {
            name: value.detach().clone() if isinstance(value, Tensor) else value  # type: ignore[misc]
            for name, value in state.items()
        }

    def _unwrap(self, source: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not isinstance(source, nn.Module | Mapping):
            raise InvalidCheckpoint(
                f"the checkpoint is a {type(source).__name__}: pass an nn.Module or its state dict; "
                f"a θ that is flat already needs only torch.as_tensor"
            )
        given = dict(source.state_dict() if isinstance(source, nn.Module) else source)
        while given and not given.keys() <= self.state.keys():
            prefix = next((wrapper for wrapper in WRAPPERS if all(name.startswith(wrapper) for name in given)), None)
            if prefix is None:
                break
            given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
        unknown = next((name for name in given if name not in self.state), None)
        if unknown is not None:
            raise InvalidCheckpoint(
                f"{unknown!r} is in the checkpoint but not in the module: pass a checkpoint of the same module"
            )
        return given

    def _check(self, name: str, found: object, own: Tensor) -> None:
        if not isinstance(found, Tensor):
            raise InvalidCheckpoint(f"{name!r} is a {type(found).__name__}: a checkpoint must map names to tensors")
        if found.shape != own.shape:
            raise InvalidCheckpoint(
                f"{name!r} is {form(found)} but the module's is {form(own)}: pass a checkpoint of the same module"
            )
        dtypes = {own.dtype, self.original.get(name, own.dtype)}
        if found.dtype not in dtypes:
            expected = " or ".join(sorted(str(dtype) for dtype in dtypes))
            raise InvalidCheckpoint(
                f"{name!r} is {found.dtype} where {expected} is expected: "
                f"convert the checkpoint, or pass dtype= to the problem"
            )
        if name in self.layout.names:
            bad = int((~torch.isfinite(found)).sum())
            if bad:
                raise InvalidCheckpoint(
                    f"{name!r} holds {bad} of {found.numel()} numbers that are NaN or infinite: "
                    f"its training has diverged, pass another checkpoint"
                )
        elif name not in self.statistics and not identical(found.to(own), own):
            kind = "a frozen parameter" if isinstance(own, nn.Parameter) else "a buffer"
            raise InvalidCheckpoint(
                f"{name!r}, {kind}, differs from the module's own by up to {_distance(found, own):.3g}: "
                f"constants are never interpolated, so give net and both ends the same values, or make it trainable"
            )


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.detach().cpu().double() - other.detach().cpu().double()).abs().max())
