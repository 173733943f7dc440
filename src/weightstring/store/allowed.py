"""What a pickle may make besides tensors: inert values of the standard library and NumPy, and classes the user names.

A pickle calls what it names with arguments of its choice. So only classes can be allowed, and of the standard library,
where some run programs, only those below; what a library's class does with its arguments is for the user to know.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weightstring.errors import InvalidCheckpoint, InvalidSetting

FLAG = "--allow-global"

INERT = (
    "argparse.Namespace",
    "builtins.frozenset",
    "builtins.range",
    "builtins.slice",
    "collections.defaultdict",
    "collections.deque",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "types.SimpleNamespace",
    "uuid.UUID",
)
"""Of the standard library: settings and times that training scripts save beside their tensors."""

NUMBERS = ("scalar", "_reconstruct")
"""Functions of NumPy that make a number or an array of a pickle."""


def allowing(names: Collection[str]) -> AbstractContextManager[None]:
    """While it lasts, ``torch.load`` with ``weights_only=True`` makes values that are inert, and of the classes named.

    Raises:
        InvalidSetting: a name that is no class's, or one of the standard library's that could run code.

    >>> with allowing(["torch.nn.Linear"]):
    ...     (torch.nn.Linear, "torch.nn.Linear") in torch.serialization.get_safe_globals()
    True
    """
    for name in names:
        if (why := unfit(name)) is not None:
            raise InvalidSetting(f"{name!r} cannot be allowed: {why}")
    found = [(_found(name), name) for name in dict.fromkeys((*INERT, *names))]
    arrays = importlib.import_module("numpy.core.multiarray" if np.__version__ < "2" else "numpy._core.multiarray")
    # Under the module's name before NumPy 2 and since.
    numbers = [
        (vars(arrays)[name], f"numpy.{core}.multiarray.{name}") for name in NUMBERS for core in ("core", "_core")
    ]
    kinds = [(kind, f"numpy.dtypes.{name}") for name, kind in vars(np.dtypes).items() if isinstance(kind, type)]
    plain = [(np.dtype, "numpy.dtype"), (np.ndarray, "numpy.ndarray")]
    return torch.serialization.safe_globals([*found, *numbers, *kinds, *plain])


def unfit(name: str) -> str | None:
    """Why a name cannot be allowed; None where it can.

    >>> unfit("os.system"), unfit("pathlib.Path")
    ('the standard library can run code; only its settings and times are made', None)
    """
    if name in INERT:
        return None
    module = name.partition(".")[0]
    if module in sys.stdlib_module_names or module == "__builtin__":
        return "the standard library can run code; only its settings and times are made"
    try:
        found = _found(name)
    except Exception as error:  # whatever importing a module may raise
        return f"it cannot be imported ({type(error).__name__}: {error}); name a class as module.Class"
    return None if isinstance(found, type) else "it is no class; a function that is called could do anything"


def _found(name: str) -> Callable[..., Any]:
    """The class by its full name; the module is imported, which is why only the user may name it."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]
    raise InvalidSetting(f"{name!r} is no module.Class")


def refused(path: Path, named: Collection[str]) -> InvalidCheckpoint:
    """The refusal of a pickle that names more than may be made.

    Args:
        path: the file.
        named: what it names beyond; none where that is not known.
    """
    more = f" ({', '.join(sorted(named))})" if named else ", or damaged"
    said = f"{path}: a pickle with more than tensors in it{more}; loading it could run code"
    outside = [name for name in named if name.partition(".")[0] in sys.stdlib_module_names]
    if named and not outside:
        flags = " ".join(f"{FLAG} {name}" for name in sorted(named))
        return InvalidCheckpoint(
            f"{said}. Where you trust these classes, allow them: {flags} (in Python, ws.read_checkpoint(path, "
            "allow=[...])); or save net.state_dict() alone"
        )
    trusting = f"torch.load({str(path)!r}, weights_only=False)"
    return InvalidCheckpoint(
        f"{said}. Save net.state_dict() alone; where you trust the file, torch.save({trusting}['state_dict'], "
        "'net.pt') takes it out of a larger one"
    )
