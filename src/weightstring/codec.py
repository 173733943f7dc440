"""Values as they are written: JSON of the domain's own types, and nothing in between.

JSON has no infinity. A number that may be infinite is annotated :data:`Loss`: written as null where it is not finite,
and read as infinity, since a loss that is not finite is larger than every threshold. A tensor of models is written as
its form, [] for one θ and [k] for k of them; the numbers themselves go to a bead file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import inspect
from torch import Tensor

from weightstring.arrays import Thetas

Value = TypeVar("Value")

Take = Callable[[int], Thetas]
"""Gives the next models (k, P) of a bead file, for k."""

Loss = Annotated[float, msgspec.Meta(extra={"infinite": True})]
"""A float that may be infinite."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what is written as it is: immutable, and strict about its fields when read."""


def encode(value: object, models: list[Tensor] | None = None) -> object:
    """A value as dictionaries, lists, strings and numbers, which msgspec can write as JSON.

    Args:
        value: any that msgspec can write.
        models: takes the models (k, P) that are part of it, in order.
    """

    def form(tensor: Any) -> list[int]:
        if not isinstance(tensor, Tensor) or models is None:
            raise NotImplementedError(f"a {type(tensor).__name__} cannot be written")
        models.append(tensor.reshape(-1, tensor.shape[-1]))
        return list(tensor.shape[:-1])

    return msgspec.to_builtins(value, enc_hook=form)


def decode(encoded: object, kind: type[Value], take: Take | None = None) -> Value:
    """The inverse of :func:`encode`, after JSON or without.

    Args:
        encoded: what was written.
        kind: the type of the value.
        take: gives the models that are part of it.

    Raises:
        msgspec.MsgspecError: it is not such a value.

    >>> from weightstring.path import Maximum
    >>> decode(msgspec.json.decode(b"[0.5,null]"), Maximum)
    Maximum(t=0.5, value=inf)
    """

    def models(_: Any, form: Any) -> Tensor:
        match form:
            case [] if take is not None:
                return take(1)[0]
            case [int(count)] if take is not None and count > 0:
                return take(count)
        raise ValueError(f"expected the form of models, got {form!r:.80}")

    return msgspec.convert(_restored(encoded, _shape(kind)), kind, dec_hook=models)  # type: ignore[arg-type]


@cache
def _shape(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _restored(value: Any, shape: inspect.Type) -> Any:
    """What JSON holds, with infinity for each null that stands for a :data:`Loss`."""
    match shape:
        case inspect.Metadata(type=inner, extra=extra):
            return math.inf if value is None and extra and extra.get("infinite") else _restored(value, inner)
        case inspect.UnionType(types=types) if value is not None and len(types) == 2:
            return _restored(value, next(each for each in types if not isinstance(each, inspect.NoneType)))
    if isinstance(value, dict):
        match shape:
            case inspect.StructType(fields=fields) | inspect.DataclassType(fields=fields):
                shapes = {field.encode_name: field.type for field in fields}
                return {key: _restored(each, shapes[key]) if key in shapes else each for key, each in value.items()}
            case inspect.DictType(value_type=inner):
                return {key: _restored(each, inner) for key, each in value.items()}
    if isinstance(value, list | tuple):
        if None not in value and not any(isinstance(each, dict | list | tuple) for each in value):
            return list(value)
        match shape:
            case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
                return [_restored(each, inner) for each in value]
            case inspect.TupleType(item_types=inners) if len(inners) == len(value):
                return [_restored(each, inner) for each, inner in zip(value, inners, strict=True)]
            case inspect.NamedTupleType(fields=fields) if len(fields) == len(value):
                return [_restored(each, field.type) for each, field in zip(value, fields, strict=True)]
    return value


def finite_or_none(value: float) -> float | None:
    """The form of a number in JSON, which has no infinity: None where it is not finite.

    >>> finite_or_none(0.5), finite_or_none(math.inf)
    (0.5, None)
    """
    return value if math.isfinite(value) else None


def for_json(value: Any) -> Any:
    """Numbers, mappings and sequences with None for every number that JSON does not have.

    >>> for_json({"mean": (0.5, math.nan), "pairs": 2})
    {'mean': [0.5, None], 'pairs': 2}
    """
    if isinstance(value, float):
        return finite_or_none(value)
    if isinstance(value, Mapping):
        return {str(key): for_json(own) for key, own in value.items()}
    return [for_json(own) for own in value] if isinstance(value, list | tuple) else value


def none_as_infinity(value: float | None) -> float:
    """The inverse: a loss that is not finite is larger than every threshold.

    >>> none_as_infinity(0.5), none_as_infinity(None)
    (0.5, inf)
    """
    return math.inf if value is None else value
