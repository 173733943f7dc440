"""Checks of engines: the numbers of autograd, model by model, and nothing changed on the way."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from weightstring.arrays import Rows, Theta, Thetas
from weightstring.problem import ModuleProblem
from weightstring.problem.datasets.data import Examples, stacked
from weightstring.problem.engines.agreement import near, relative, tolerance_of
from weightstring.problem.engines.base import seeded_by
from weightstring.problem.initialise import generator_states
from weightstring.problem.live import pure
from weightstring.problem.losses.means import Criterion, number
from weightstring.problem.losses.sighted import applied
from weightstring.protocol import Gradient
from weightstring.randomness import generator

COUNTS = (1, 2, 5)
"""How many models are computed side by side."""
MINIBATCH = 7
"""Examples in a minibatch: few and uneven."""


def check_engine(problem: ModuleProblem, name: str, *, seed: int = 0) -> None:
    """Try an engine on a problem: on minibatches and the whole set, with one model and several.

    Losses, gradients and every quantity must be autograd's, up to rounding in the problem's dtype; draws (dropout)
    must be those of the model's own rows. The numbers of a model may depend on those beside it by rounding alone,
    and not at all where the problem is ``independent``. Arguments and torch's generators stay as they are.

    Args:
        problem: an engine may refuse a module with :class:`InvalidModel`; give one that it runs.
        name: of the engine, as it is registered.
        seed: of models and minibatches.

    Raises:
        AssertionError: what is wrong, with the numbers.
        InvalidModel: the engine cannot run the module, or already differs on the first models tried.
        InvalidSetting: no engine is registered by that name.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> x = torch.linspace(-1, 1, 22, dtype=torch.float64).view(11, 2)
    >>> check_engine(ModuleProblem(net, nn.MSELoss(), (x, x[:, :1]), dtype=torch.float64), "vmap")
    """
    draw = generator(seed, "check of an engine")
    thetas = near(problem.initial(seed), max(COUNTS), share=0.3)
    size = min(MINIBATCH, problem.train_size)
    each = [torch.randperm(problem.train_size, generator=draw)[:size] for _ in thetas]
    rows = torch.stack(each).to(problem.device)
    with problem.computing_by(name):
        for own in (rows, None):
            _check_gradients(problem, name, thetas, own)
            _check_company(problem, name, thetas, own)
        _check_measured(problem, name, thetas)


def _check_gradients(problem: ModuleProblem, name: str, thetas: Thetas, rows: Rows | None) -> None:
    where = f"engine {name!r} {'on the whole set' if rows is None else f'on minibatches of {rows.shape[1]}'}"
    before, states = thetas.clone(), generator_states(problem.device)
    found = {count: problem.gradient(thetas[:count], None if rows is None else rows[:count]) for count in COUNTS}
    _require(torch.equal(thetas, before), f"{where} writes to theta")
    _require(generator_states(problem.device) == states, f"{where} moves torch's generators")
    for count, own in found.items():
        shapes = tuple(own.losses.shape), tuple(own.gradients.shape)
        _require(shapes == ((count,), tuple(thetas[:count].shape)), f"{where} returns {shapes} for {count} models")
        kinds = {own.losses.dtype, own.gradients.dtype}
        _require(kinds == {problem.dtype}, f"{where} returns {kinds} for models of {problem.dtype}")
    again = problem.gradient(thetas, rows).gradients
    _require(torch.equal(again, found[len(thetas)].gradients), f"{where} gives other numbers when asked again")
    again.zero_()  # an optimizer's step may write to them
    _require(torch.equal(thetas, before), f"{where} returns gradients in theta's own memory")
    if rows is None and problem.computation.draws and problem.train_size > problem.computation.chunk:
        return  # by parts, each of which has draws of its own
    expected = _by_autograd(problem, thetas, rows)
    losses = {count: own.losses[:, None] for count, own in found.items()}
    _compare(problem, f"{where}: losses", losses, expected.losses[:, None])
    gradients = {count: own.gradients for count, own in found.items()}
    _compare(problem, f"{where}: gradients", gradients, expected.gradients)


def _check_company(problem: ModuleProblem, name: str, thetas: Thetas, rows: Rows | None) -> None:
    """A model that has diverged harms none beside it."""
    ill = thetas.clone()
    ill[1] = torch.nan
    well = [index for index in range(len(thetas)) if index != 1]
    for what, found, alone in (
        ("gradients", problem.gradient(ill, rows).gradients, problem.gradient(thetas, rows).gradients),
        ("losses", problem.measure(ill)["loss"][:, None], problem.measure(thetas)["loss"][:, None]),
    ):
        _require(not found[1].isfinite().any(), f"engine {name!r} finds finite {what} of a model that is not a number")
        apart = relative(found[well], alone[well])
        words = f"engine {name!r}: {what} change by {apart:.3g} beside a model that is not a number"
        _require(apart <= _allowed(problem), words)


def _check_measured(problem: ModuleProblem, name: str, thetas: Thetas) -> None:
    found = {count: problem.measure(thetas[:count], problem.quantities) for count in COUNTS}
    for quantity in problem.quantities:
        data, criterion = problem.measured(quantity)
        examples = stacked(data, "what is compared with autograd")
        values = {count: own[quantity][:, None] for count, own in found.items()}
        dtypes = {own.dtype for own in values.values()}
        _require(dtypes == {torch.float64}, f"engine {name!r} measures {quantity} as {dtypes}, not as float64")
        expected = [_evaluated(problem, theta, examples, criterion) for theta in thetas]
        _compare(problem, f"engine {name!r}: {quantity}", values, torch.stack(expected))


def _compare(problem: ModuleProblem, what: str, values: dict[int, Tensor], expected: Tensor) -> None:
    whole = values[len(expected)]
    for count, own in values.items():
        apart, company = relative(own, expected[:count]), relative(own, whole[:count])
        limit = tolerance_of(problem.dtype)
        _require(apart <= limit, f"{what} of {count} models differ from autograd's by {apart:.3g} > {limit:g}")
        words = f"{what} of {count} models differ by {company:.3g} from those beside others"
        _require(company <= _allowed(problem), words)


def _allowed(problem: ModuleProblem) -> float:
    """How far the numbers of a model may depend on the models beside it."""
    return 0.0 if problem.independent else tolerance_of(problem.dtype)


def _by_autograd(problem: ModuleProblem, thetas: Thetas, rows: Rows | None) -> Gradient:
    """Each model by itself, all its examples in one pass."""
    computation, (train, _) = pure(problem.computation), problem.fitted()
    losses, gradients = [], []
    for index, theta in enumerate(thetas):
        own = None if rows is None else rows[index]
        leaf = theta.clone().requires_grad_()
        with seeded_by(theta[None] if own is None else own[None], theta.device) if computation.draws else nullcontext():
            loss = computation.loss(leaf, own, train)
            gradients.append(torch.autograd.grad(loss, leaf)[0])
        losses.append(loss.detach().to(theta))
    return Gradient(torch.stack(losses), torch.stack(gradients))


def _evaluated(problem: ModuleProblem, theta: Theta, examples: Examples, criterion: Criterion) -> Tensor:
    """A quantity (1,) of a model by itself, on all outputs at once."""
    with torch.no_grad():
        output = problem.computation.evaluating(theta, examples, problem.statistics(theta))
        return number(applied(criterion, output, examples), theta).reshape(1).cpu()


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
