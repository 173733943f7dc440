"""Where each parameter lies in θ: a module's trainable parameters as one flat vector.

θ is the concatenation of the trainable parameters in the order of ``net.parameters()``, each
tied one once, so that ``torch.nn.utils.vector_to_parameters`` understands it. Computation works
on named views of θ, never on copies.

θ has the widest of the parameters' dtypes, float32 at least, and each parameter is computed in its own, rounded from
θ. A module in half precision thus has its master copy in θ: what descends is float32, what is measured is the module
as it will be saved, and θ of a checkpoint holds its numbers exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint, InvalidModel
from weightstring.problem.tensors import named_tensors

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""What a parameter may be: numbers that need no scale beside them."""

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Entry:
    """One parameter's place in θ: ``theta[offset : offset + size].view(shape)``.

    Args:
        name: the first name under which the module holds it.
        shape: its shape.
        offset: where it starts in θ.
        aliases: the further names of a tied parameter.
        dtype: in which the module computes it, where that is not θ's.

    >>> Entry("weight", (3, 2), 0).size
    6
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    aliases: tuple[str, ...] = ()
    dtype: torch.dtype | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Numbers that the parameter takes in θ."""
        return prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name under which the module holds the parameter."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class Layout:
    """The order, shapes and dtypes of a module's trainable parameters in θ.

    Args:
        entries: where each lies.
        dtype: of θ.

    >>> layout = Layout.of(nn.Linear(2, 3))
    >>> [(entry.name, entry.shape, entry.offset) for entry in layout.entries], layout.size
    ([('weight', (3, 2), 0), ('bias', (3,), 6)], 9)
    """

    entries: tuple[Entry, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, net: nn.Module) -> Layout:
        """Lay out the trainable parameters of a module.

        Raises:
            InvalidModel: no trainable parameter, an uninitialised one or one without numbers, one that is
                not real floating, or two parameters that share memory without being tied.

        >>> layout = Layout.of(nn.Linear(2, 1).bfloat16())
        >>> layout.dtype, layout.computes, [entry.dtype for entry in layout.entries]
        (torch.float32, torch.bfloat16, [torch.bfloat16, torch.bfloat16])
        """
        names: dict[int, list[str]] = {}
        parameters: dict[int, nn.Parameter] = {}
        for name, parameter in net.named_parameters(remove_duplicate=False):
            if parameter.requires_grad:
                names.setdefault(id(parameter), []).append(name)
                parameters[id(parameter)] = parameter
        _check_parameters({names[key][0]: parameter for key, parameter in parameters.items()})
        dtype = reduce(torch.promote_types, (parameter.dtype for parameter in parameters.values()), torch.float32)
        entries = []
        offset = 0
        for key, parameter in parameters.items():
            first, *aliases = names[key]
            own = None if parameter.dtype == dtype else parameter.dtype
            entries.append(Entry(first, tuple(parameter.shape), offset, tuple(aliases), own))
            offset += parameter.numel()
        return cls(tuple(entries), dtype)

    @cached_property
    def size(self) -> int:
        """P, the numbers in θ."""
        return sum(entry.size for entry in self.entries)

    @property
    def names(self) -> frozenset[str]:
        """Every name of every trainable parameter, aliases included."""
        return frozenset(name for entry in self.entries for name in entry.names)

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """Those in which the module computes its parameters."""
        return frozenset(entry.dtype or self.dtype for entry in self.entries)

    @property
    def computes(self) -> torch.dtype | None:
        """The one dtype of all parameters; None where they have several."""
        return next(iter(self.dtypes)) if len(self.dtypes) == 1 else None

    @property
    def coarsest(self) -> torch.dtype:
        """The parameters' dtype with the largest unit roundoff."""
        return max(self.dtypes, key=lambda dtype: torch.finfo(dtype).eps)

    @property
    def rounds(self) -> bool:
        """Whether some parameter is computed in another dtype than θ's."""
        return self.dtypes != {self.dtype}

    @property
    def unrounded(self) -> Layout:
        """The same where each parameter is computed in θ's dtype, whichever that is."""
        return replace(self, entries=tuple(replace(entry, dtype=None) for entry in self.entries))

    def flatten(self, tensors: Mapping[str, Tensor]) -> Theta:
        """Concatenate the parameters found under their first names: a detached copy (P,).

        >>> Layout.of(nn.Linear(2, 1)).flatten({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
        tensor([1., 1., 0.])
        """
        device = tensors[self.entries[0].name].device
        return self.joined((tensors[entry.name].detach() for entry in self.entries), device)

    def joined(self, pieces: Iterable[Tensor], device: torch.device) -> Theta:
        """Pieces, one for each entry, one after the other as θ (P,); each is asked for once the last is copied."""
        theta = torch.empty(self.size, dtype=self.dtype, device=device)
        for entry, piece in zip(self.entries, pieces, strict=True):
            theta[entry.offset : entry.offset + entry.size] = piece.reshape(-1)
        return theta

    def pieces(self, theta: Theta) -> Iterator[Tensor]:
        """Views of θ, one for each entry, in its shape."""
        sizes = [entry.size for entry in self.entries]
        # One split for all: its derivative is one concatenation, not a padded θ for each parameter.
        for entry, piece in zip(self.entries, torch.split(theta, sizes), strict=True):
            yield piece.view(entry.shape)

    def computed(self, theta: Theta) -> Iterator[Tensor]:
        """The pieces that the module computes with, each in its own dtype; views of θ where that is θ's."""
        for entry, piece in zip(self.entries, self.pieces(theta), strict=True):
            yield piece if entry.dtype is None else piece.to(entry.dtype)

    def views(self, theta: Theta) -> dict[str, Tensor]:
        """Named views of θ; all names of a tied parameter hold the same view.

        >>> Layout.of(nn.Linear(2, 1)).views(torch.tensor([1.0, 2.0, 3.0]))["bias"]
        tensor([3.])
        """
        return self.named(self.pieces(theta))

    def named(self, pieces: Iterable[Tensor]) -> dict[str, Tensor]:
        """Pieces, one for each entry, under all names that the module has for them."""
        return {name: piece for entry, piece in zip(self.entries, pieces, strict=True) for name in entry.names}

    def check(self, theta: Tensor, ndim: int, device: torch.device) -> None:
        """Refuse what is not θ (``ndim`` 1) or a matrix of models (``ndim`` 2) of this layout.

        Raises:
            InvalidCheckpoint: another shape, dtype or device.
        """
        fits = theta.ndim == ndim and theta.shape[-1] == self.size and theta.dtype == self.dtype
        if not (fits and theta.device.type == device.type and (theta.device.index or 0) == (device.index or 0)):
            expected = f"{'(B, P)' if ndim == 2 else '(P,)'} {self.dtype} on {device} with P = {self.size}"
            raise InvalidCheckpoint(
                f"theta is {tuple(theta.shape)} {theta.dtype} on {theta.device} where the problem needs {expected}: "
                f"build it with problem.flatten(...) or convert it with .to(...)"
            )


def common_dtype(net: nn.Module) -> torch.dtype | None:
    """The one dtype of a module's real parameters, frozen ones included; None where they have several.

    >>> common_dtype(nn.Linear(1, 1)), common_dtype(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).half()))
    (torch.float32, None)
    """
    dtypes = {parameter.dtype for parameter in net.parameters() if parameter.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


@dataclass(frozen=True, eq=False)
class Own:
    """A module's own θ, put together whenever it is asked for: the module holds its numbers already.

    >>> Own(net := nn.Linear(1, 1), Layout.of(net)).theta.shape
    torch.Size([2])
    """

    net: nn.Module
    layout: Layout

    @property
    def theta(self) -> Theta:
        """θ (P,), a copy."""
        return self.layout.joined(self.pieces, self.device)

    @property
    def pieces(self) -> Iterator[Tensor]:
        """The module's parameters, one for each entry."""
        tensors = named_tensors(self.net)
        return (tensors[entry.name].detach() for entry in self.layout.entries)

    @cached_property
    def device(self) -> torch.device:
        """Where the module lies, and stays."""
        return next(self.net.parameters()).device

    @property
    def on_gpu(self) -> bool:
        """Whether that is a GPU or the like, on which threads count for nothing."""
        return self.device.type != "cpu"


def _check_parameters(parameters: Mapping[str, nn.Parameter]) -> None:
    if not parameters:
        raise InvalidModel("the module has no trainable parameter: set requires_grad=True on those to be explored")
    starts: dict[int, str] = {}
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise InvalidModel(f"parameter {name!r} is not initialised yet: run one forward pass of the net first")
        if parameter.is_meta:
            raise InvalidModel(f"parameter {name!r} is on the meta device, without numbers: build net on a real device")
        if parameter.dtype not in DTYPES:
            raise InvalidModel(
                f"parameter {name!r} is {parameter.dtype}: only real floating parameters can be explored, "
                f"{', '.join(str(dtype).removeprefix('torch.') for dtype in DTYPES)}"
            )
        if parameter.numel() and starts.setdefault(parameter.data_ptr(), name) != name:
            raise InvalidModel(
                f"parameters {starts[parameter.data_ptr()]!r} and {name!r} share memory but are not one nn.Parameter: "
                f"tie them by assigning the same nn.Parameter to both"
            )
