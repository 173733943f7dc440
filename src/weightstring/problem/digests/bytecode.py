"""What the instructions of a function name, and a digest of them that is the same in every process."""

from __future__ import annotations

import dis
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import CodeType

from weightstring.problem.digests.digest import text_digest, without_addresses

CALLED = frozenset({"__call__", "forward"})
"""What calling an object runs."""

SILENT = ("NOP", "RESUME", "CACHE", "PRECALL")
"""Instructions that compute nothing."""


@dataclass(frozen=True)
class Reading:
    """What the instructions of a function name, those of the functions inside it included.

    Args:
        digest: of the instructions.
        globals: names that are looked up in its module.
        asked: the attributes that are asked of these and of closures; None among them: it is called or handed on.
        attributes: of anything.
        imports: modules that it imports itself.
    """

    digest: str
    globals: frozenset[str]
    asked: Mapping[str, frozenset[str | None]]
    attributes: frozenset[str]
    imports: frozenset[str]

    def used(self, name: str) -> frozenset[str] | None:
        """The attributes that are asked of what has a name; None: all of it counts."""
        asked = self.asked.get(name, frozenset({None}))
        return None if None in asked else frozenset(each for each in asked if each is not None)


@cache
def reading_of(code: CodeType) -> Reading:
    """Read a function's instructions, and those of the functions inside it.

    >>> reading_of(compile("a.b + c", "", "eval")).used("a")
    frozenset({'b'})
    """
    instructions = [each for each in dis.get_instructions(code) if each.opname not in SILENT]
    first = code.co_varnames[0] if code.co_argcount else None
    asked: dict[str, set[str | None]] = {}
    attributes: set[str] = set()
    imports: set[str] = set()
    globals_: set[str] = set()
    # dis does not look up the names of keyword arguments in every version.
    values = [code.co_consts[each.arg or 0] if each.opcode in dis.hasconst else each.argval for each in instructions]
    inside = [reading_of(value) for value in values if isinstance(value, CodeType)]
    for each, after in zip(instructions, [*instructions[1:], None], strict=True):
        by_attribute = after is not None and after.opname in ("LOAD_ATTR", "LOAD_METHOD")
        if each.opname.startswith("LOAD_FAST") and not by_attribute and each.argval == first:
            attributes |= CALLED  # self, called or handed on
        if each.opname == "IMPORT_NAME":
            imports.add(each.argval)
        elif each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
            asked.setdefault(each.argval, set()).add(after.argval if by_attribute and after is not None else None)
            if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                globals_.add(each.argval)
        elif each.opcode in dis.hasname:
            attributes.add(each.argval)
    for reading in inside:
        for name, found in reading.asked.items():
            asked.setdefault(name, set()).update(found)
        attributes |= reading.attributes
        imports |= reading.imports
        globals_ |= reading.globals
    takes = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    lines = [f"{each.opname} {_constant(value)}" for each, value in zip(instructions, values, strict=True)]
    return Reading(
        digest=text_digest(repr(takes), code.co_exceptiontable.hex(), *lines),
        globals=frozenset(globals_),
        asked={name: frozenset(found) for name, found in asked.items()},
        attributes=frozenset(attributes),
        imports=frozenset(imports),
    )


def _constant(value: object) -> str:
    """A constant's text, which has no order of its own and no address."""
    if isinstance(value, CodeType):
        return f"{value.co_name} {reading_of(value).digest}"
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_constant, value)))}}}"
    return without_addresses(repr(value))
