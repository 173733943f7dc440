"""``diagnose``: what can be done with a problem, by what engine and how long it takes, before anything is searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidModel, InvalidSetting, Unsupported
from weightstring.problem import Modular
from weightstring.problem.capabilities import Accounted, Predicting
from weightstring.problem.tensors import named_tensors
from weightstring.protocol import Engined, LossProblem, lacking
from weightstring.runs.certify_step import require_certifiable
from weightstring.runs.costs import Estimate
from weightstring.runs.estimate import estimate
from weightstring.symmetry.finding import find
from weightstring.text import first_line


@dataclass(frozen=True)
class Diagnosis:
    """What a problem is, what can be done with it, and what a search takes.

    Args:
        facts: each with its label.
        possible: whether something can be done, by its name: ``"align"``, ``"certify"``, ``"ensemble"``.
        refusals: why not, by the same name.
        cost: what a search between two models takes.
    """

    facts: tuple[tuple[str, str], ...]
    possible: dict[str, bool]
    refusals: dict[str, str]
    cost: Estimate

    def __str__(self) -> str:
        width = 15
        can = [(name, "yes" if yes else f"no: {self.refusals[name]}") for name, yes in self.possible.items()]
        return "\n".join([*(f"{label:<{width}}{words}" for label, words in (*self.facts, *can)), str(self.cost)])


@undisturbed
def diagnose(problem: LossProblem, bind: str = "evaluate") -> Diagnosis:
    """Say what a problem is, what can be done with it and what is refused and why, and what a search takes.

    Two random models are measured, or the module as it stands where none can be drawn, and the module is traced.

    Args:
        problem: the loss.
        bind: what a threshold would bind; see :func:`weightstring.connect`.

    Raises:
        InvalidSetting: the problem does not measure what would be bound.
        Unsupported: it draws no random models.

    >>> from weightstring.tasks import load_task
    >>> diagnosis = diagnose(load_task("polynomial"))
    >>> diagnosis.possible
    {'align': True, 'certify': True, 'ensemble': True}
    """
    if not isinstance(problem, Modular):
        raise Unsupported(f"a {type(problem).__name__} draws no random models: ws.estimate(problem, a, b) takes yours")
    facts = [
        ("model", f"{problem.size:,} parameters, {str(problem.dtype).removeprefix('torch.')} on {problem.device}"),
        ("measured", ", ".join(problem.quantities)),
    ]
    if isinstance(problem, Accounted):
        seen = f"{problem.examples('loss'):,} {problem.units} to evaluate on, {problem.train_size:,} to train on"
        facts.insert(1, ("data", seen))
    if isinstance(problem, Engined):
        facts.append(("engine", problem.engine_choice().reason))
    models, undrawn = _models(problem)
    tried: dict[str, Callable[[], object]] = {
        "align": lambda: find(problem),
        "certify": lambda: require_certifiable(problem, bind),
        "ensemble": lambda: _averaged(problem, models),
    }
    refusals = {name: words for name, attempt in tried.items() if (words := _refusal(attempt))}
    if undrawn:
        facts.append(("random models", f"no, which train and sweep need: {undrawn}"))
    cost = estimate(problem, *models, bind=bind)
    return Diagnosis(tuple(facts), {name: name not in refusals for name in tried}, refusals, cost)


def _models(problem: Modular) -> tuple[tuple[Theta, Theta], str]:
    """Two random models; or the module as it stands, twice, and why it draws none."""
    try:
        return (problem.initial(0), problem.initial(1)), ""
    except InvalidModel as refusal:
        stands = problem.layout.flatten(named_tensors(problem.computation.evaluating.module)).to(problem.device)
        return (stands, stands), first_line(refusal)


def _averaged(problem: Modular, models: tuple[Theta, Theta]) -> object:
    """The average of two models' predictions."""
    if not isinstance(problem, Predicting):
        raise Unsupported(lacking(problem, Predicting))
    return problem.measure_average(list(models))


def _refusal(attempt: Callable[[], object]) -> str:
    """Why something cannot be done; empty where it can."""
    try:
        attempt()
    except (Unsupported, InvalidSetting) as refusal:
        return first_line(refusal)
    return ""
