"""A loss read from the operations that a problem computes, never from classes.

A class promises nothing: a hook, an own ``forward`` or a subclass computes what it likes. Each operation is given a
meaning by a rule, from the meanings of what it takes; what has none is not recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

from weightstring.problem import Traceable
from weightstring.tracing.program import program_of
from weightstring.tracing.steps import Ref, Step

Meaning = TypeVar("Meaning")


class Unrecognised(Exception):
    """An operation that is not recognised where it stands."""


class Reader(Generic[Meaning]):
    """The meaning of each operation of a problem's loss, in their order.

    Args:
        problem: whose loss.
        rules: for each operator what a step means; None where it is not recognised.
        inputs: the meaning of the module's arguments.
        targets: the meaning of the targets.
    """

    def __init__(
        self,
        problem: Traceable,
        rules: Mapping[str, Callable[[Any, Step], Meaning | None]],
        inputs: Meaning,
        targets: Meaning,
    ) -> None:
        self.problem = problem
        self.examples = problem.traceable("loss").examples  # first: it refuses statistics that are functions of θ
        self.program = program_of(problem, "loss")
        self._rules = rules
        self._meanings = dict.fromkeys(self.program.leaves, inputs) | {self.program.targets: targets}

    def read(self) -> Meaning:
        """What the loss means.

        Raises:
            Exception: that of :meth:`refusal`, for the first operation that is not recognised.
            Unsupported: the problem cannot be traced.
        """
        for step in self.steps:
            # What depends on how many examples there are means nothing of each.
            rule = None if step.name in self.program.varying else self._rules.get(step.op)
            meaning = None if rule is None else rule(self, step)
            if meaning is None:
                raise self.refusal(step)
            self._meanings[step.name] = meaning
        return self._meanings[self.program.result]

    def refusal(self, step: Step) -> Exception:
        """What is raised where a step is not recognised."""
        return Unrecognised(step.where)

    def meaning(self, given: Any) -> Meaning | None:
        """What an argument means; None: it is a number, a parameter or a constant."""
        return self._meanings.get(given.name) if isinstance(given, Ref) else None

    def constant(self, given: Any) -> str | None:
        """The name of a parameter or constant; None: the argument is neither."""
        return given.name if isinstance(given, Ref) and given.name in self.program.constants else None

    @cached_property
    def steps(self) -> list[Step]:
        """The operations that the loss depends on, in order."""
        needed, steps = {self.program.result}, []
        for step in reversed(self.program.steps):
            if step.name in needed:
                needed.update(step.takes)
                steps.append(step)
        return steps[::-1]
