"""Which tensors of a module's output its loss and metrics read: only these constrain a symmetry.

Modules return more than a loss looks at: caches of keys and values, hidden states, attention. What is read is found by
watching every torch function that the loss and the metrics call on a few examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.problem import Modular
from weightstring.problem.datasets.data import Examples
from weightstring.problem.live import Live
from weightstring.problem.losses.sighted import applied
from weightstring.problem.once import once
from weightstring.problem.tensors import named_tensors

Path: TypeAlias = tuple[str, ...]
"""Keys, indices and attributes that lead from an output to one of its tensors."""

PROBE = 8
"""Examples on which the loss is watched."""

FORMS = {
    "__get__", "size", "dim", "ndimension", "numel", "nelement", "stride", "is_floating_point", "is_complex", "__len__",
    "get_device", "is_contiguous", "type", "__hash__", "storage_offset", "element_size",
}  # fmt: skip
"""Functions that tell a tensor's form, where they return no tensor."""


@dataclasses.dataclass(frozen=True)
class Read:
    """What is read of an output.

    Args:
        paths: to the tensors; of an output in which nothing is seen to be read, all.
        elsewhere: whether the loss also reads something that depends on θ but is not part of the output.
        numbers: how many numbers of one example it reads.
        largest: how many numbers the largest tensor that the module computes has of one example.
    """

    paths: tuple[Path, ...]
    elsewhere: bool = False
    numbers: int = 0
    largest: int = 0

    def __call__(self, output: object) -> list[Tensor]:
        """These tensors of an output.

        Raises:
            Unsupported: the output has another form than before.
        """
        tensors = tensors_in(output)
        missing = [path for path in self.paths if path not in tensors]
        if missing:
            raise Unsupported(
                f"symmetry: there are no {name_of(missing[0])} here, which the loss reads elsewhere: "
                "return the same form every time"
            )
        return [tensors[path] for path in self.paths]


@once
def what_is_read(problem: Modular) -> Read:
    """What a problem's loss and metrics read of its module's output on the evaluation set.

    >>> class Two(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden, self.last = nn.Linear(2, 3), nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         hidden = self.hidden(x)
    ...         return {"hidden": [hidden], "out": self.last(hidden)}
    >>> data = torch.ones(4, 2), torch.ones(4, 1)
    >>> from weightstring.problem import ModuleProblem
    >>> what_is_read(ModuleProblem(Two(), lambda output, y: (output["out"] - y).square().mean(), data)).paths
    (('out',),)
    """
    probe = problem.observed().take(slice(PROBE))
    theta = own_theta(problem).requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        statistics, sizes = problem.statistics(theta.detach()), _Sizes()
        with sizes:
            output = problem.computation.evaluating(theta, probe, statistics)
        tensors = tensors_in(output)
        touched: dict[int, Tensor] = {}
        for quantity in _quantities(problem):
            touched |= _touched(problem.measured(quantity)[1], output, probe)
    places = {id(tensor): path for path, tensor in reversed(tensors.items())}
    paths = {places[key] for key in touched if key in places}
    elsewhere = any(tensor.requires_grad and key not in places for key, tensor in touched.items())
    every = not paths and not elsewhere
    read = tuple(path for path in tensors if every or path in paths)
    numbers = sum(tensors[path].numel() for path in read)
    return Read(read, elsewhere, numbers // len(probe), sizes.largest // len(probe))


def own_theta(problem: Modular) -> Theta:
    """θ (P,) of the module that the problem was built with."""
    return problem.layout.flatten(named_tensors(problem.computation.evaluating.module))


@contextmanager
def as_built(problem: Modular) -> Iterator[Theta]:
    """What stands for :func:`own_theta` in calls of the module; a copy only where buffers are a function of it."""
    computing = problem.computation.evaluating
    if isinstance(computing, Live) and problem.computation.fixed:
        with computing.written(computing.parameters) as theta:
            yield theta
    else:
        yield own_theta(problem)


def tensors_in(output: object) -> dict[Path, Tensor]:
    """All tensors of an output, whatever holds them, by how to get there; each once, in a fixed order.

    >>> list(tensors_in({"logits": torch.ones(2), "more": (None, torch.ones(1))}))
    [('logits',), ('more', '1')]
    """
    return dict(_look((), output, {}))


def _look(path: Path, value: object, seen: dict[int, object]) -> Iterator[tuple[Path, Tensor]]:
    """Tensors and their paths; what was ``seen`` is kept, so that nothing else takes its id."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | type | nn.Module):
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        yield path, value
    elif not isinstance(value, Callable) or dataclasses.is_dataclass(value):  # type: ignore[arg-type]
        for name, part in _parts(value):
            yield from _look((*path, name), part, seen)


def name_of(path: Path) -> str:
    """A path in words.

    >>> name_of(("past_key_values", "0"))
    "outputs 'past_key_values.0'"
    """
    return f"outputs {'.'.join(path)!r}" if path else "outputs"


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in list(value.items()))
    elif isinstance(value, tuple | list):
        yield from ((str(index), part) for index, part in enumerate(value))
    else:
        yield from vars(value).items() if hasattr(value, "__dict__") else ()
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, name):
                    yield name, getattr(value, name)


def _quantities(problem: Modular) -> list[str]:
    """The loss and the metrics, each once."""
    return list(problem.criteria)


def _touched(criterion: Callable[..., object], output: object, examples: Examples) -> dict[int, Tensor]:
    """The tensors that a criterion is given or holds, by identity, as far as it looks at their numbers."""
    watch = _Watch(examples.targets)
    with watch:
        returned = applied(criterion, output, examples)
    watch.take(returned)  # a loss that the module has computed may be handed on as it is
    return watch.touched


class _Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size of the largest tensor that is computed; views of others are none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            sizes = (value.numel() for value in tree_leaves(result) if isinstance(value, Tensor))
            self.largest = max(self.largest, *sizes, 0)
        return result


class _Watch(TorchFunctionMode):
    """Notes what torch functions are given that they have not computed themselves."""

    def __init__(self, targets: Tensor) -> None:
        super().__init__()
        self.touched: dict[int, Tensor] = {}
        self._made = {id(targets): targets}

    def take(self, values: object) -> None:
        """Note the tensors among some values that were not made here."""
        taken = (value for value in tree_leaves(values) if isinstance(value, Tensor))
        self.touched |= {id(value): value for value in taken if id(value) not in self._made}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        if made or getattr(func, "__name__", "") not in FORMS:
            self.take((args, dict(kwargs)))
        # In-place functions return what they were given.
        self._made |= {id(value): value for value in made if id(value) not in self.touched}
        return result
