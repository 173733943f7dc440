"""Which quantities can be enclosed: each operation has a rule, and the data are numbers."""

from __future__ import annotations

import torch

from weightstring.errors import Unsupported
from weightstring.problem.capabilities import Traceable, certified_inputs
from weightstring.problem.datasets.data import Examples
from weightstring.proof.enclose.derived import EXACT
from weightstring.proof.enclose.rules import NORMS, require_rule
from weightstring.tracing.program import Program, moving_steps, program_of
from weightstring.tracing.steps import Ref


def require_numbers(examples: Examples) -> None:
    """Refuse data that are not real numbers in float64, and a processor that flushes small ones to 0.

    Raises:
        Unsupported: says what to do.
    """
    if not float(torch.tensor([2.0**-1030], dtype=torch.float64) * 2.0**20):
        raise Unsupported(
            "subnormal numbers are flushed to 0, so that nothing can be proved: call torch.set_flush_denormal(False)"
        )
    for what, tensor in [*(("inputs", leaf) for leaf in examples.leaves), ("targets", examples.targets)]:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Unsupported(f"the {what} hold nan or inf, about which nothing can be proved: drop those examples")
        if tensor.dtype == torch.int64 and bool((tensor.abs() > EXACT).any()):
            raise Unsupported(f"the {what} hold integers beyond 2^53, which float64 cannot represent: rescale them")


def enclosable(problem: Traceable, quantity: str) -> Program:
    """A quantity's operations, each of which has a rule if it depends on θ.

    Raises:
        Unsupported: one has none; the message names where it stands.
    """
    try:
        program = program_of(problem, quantity)
    except Unsupported:
        # A missing rule is the better reason, where there is one too.
        (net, criterion, examples, _), _ = certified_inputs(problem, quantity)
        for step in moving_steps(net, criterion, examples):
            require_rule(step)
        raise
    for step in program.steps:
        if step.name not in program.of_data:
            require_rule(step)
    return program


def require_estimable(program: Program) -> None:
    """Refuse running statistics, where they are functions of θ, that anything but BatchNorm reads.

    Raises:
        Unsupported: names the operation.
    """
    for step in program.steps:
        read = {name for name in step.takes if name in program.statistics}
        own = {part.name for part in step.args[3:5] if isinstance(part, Ref)} if step.op in NORMS else set[str]()
        if read - own:
            raise Unsupported(
                f"{step.where}: it reads running statistics that are estimated anew at every point of the string, "
                "which certificates know of BatchNorm alone: leave the string sampled"
            )
