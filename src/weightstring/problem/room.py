"""Whether what is to be computed fits into memory, said before it is tried."""

from __future__ import annotations

from weightstring.descent.loop import COPIES
from weightstring.errors import InvalidSetting
from weightstring.memory import allowed_bytes, bytes_in_use, gigabytes
from weightstring.problem.capabilities import Accounted
from weightstring.protocol import LossProblem

AT_WORK = 2
"""Copies of θ made to measure one model: the model itself, and its parameters where the module needs them."""
SMALL = 1 / 16
"""Share of the memory up to which θ's copies are believed to fit without looking at activations."""


def measuring_bytes(problem: LossProblem) -> int:
    """What measuring a model takes beyond what is in use."""
    activations = problem.activations().measuring if isinstance(problem, Accounted) else 0
    return AT_WORK * problem.size * problem.dtype.itemsize + activations


def descending_bytes(problem: LossProblem, models: int) -> int:
    """What so many models that descend side by side take beyond what is in use."""
    activations = problem.activations().descending if isinstance(problem, Accounted) else 0
    return COPIES * models * problem.size * problem.dtype.itemsize + activations


def require_room(problem: LossProblem, models: int) -> None:
    """Refuse a descent of so many models that would not fit into memory.

    Raises:
        InvalidSetting: what is in use and what they need are more than this process may use.
    """
    allowed = allowed_bytes(problem.device)
    if COPIES * models * problem.size * problem.dtype.itemsize < SMALL * allowed:
        return
    used, needed = bytes_in_use(problem.device), descending_bytes(problem, models)
    if used + needed > allowed:
        copies = COPIES * models * problem.size * problem.dtype.itemsize
        raise InvalidSetting(
            f"descending needs {gigabytes(needed)} beside the {gigabytes(used)} in use, of {gigabytes(allowed)}: "
            f"{gigabytes(copies)} for {COPIES} copies of {models} model{'s'[: models > 1]}, "
            f"{gigabytes(needed - copies)} for activations: pass the problem a smaller batch_size=, or free memory"
        )
