"""Checks of problems: what a loss promises, and each capability that it offers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weightstring.arrays import Rows, Thetas
from weightstring.problem.capabilities import PerExample, Traceable
from weightstring.problem.engines.agreement import relative, tolerance_of
from weightstring.protocol import Along, Curved, Enclosed, Engined, Independent, LossProblem, Screened, lacking
from weightstring.randomness import generator
from weightstring.recipe import Recipe

MODELS = 4
PLACES = 33
"""Samples on an interval whose bound is tried."""
SLOPES = 30.0
"""Cube roots of the unit of rounding by which a finite difference may miss a derivative."""


def check_problem(problem: LossProblem, thetas: Thetas | None = None, *, seed: int = 0) -> tuple[str, ...]:
    """Try a loss of your own: shapes, purity, its gradient by finite differences, and what else it offers.

    Args:
        problem: any :class:`~weightstring.protocol.LossProblem`.
        thetas: at least two models (B, P) where the loss is finite and smooth; None: random ones of size 1.
        seed: of models, minibatches and directions.

    Returns:
        The capabilities that it offers, which were tried too.

    Raises:
        AssertionError: what is wrong, with the numbers.

    >>> from weightstring.problem.surfaces import Ring
    >>> check_problem(Ring())
    ('Curved', 'Enclosed')
    """
    _require(isinstance(problem, LossProblem), lacking(problem, LossProblem))
    draw = generator(seed, "check of a problem")
    if thetas is None:
        noise = torch.randn(MODELS, problem.size, generator=draw, dtype=torch.float64)
        thetas = noise.to(problem.device, problem.dtype)
    _check_settings(problem)
    _check_measure(problem, thetas)
    size = min(problem.batch_size or problem.train_size, problem.train_size)
    each = [torch.randperm(problem.train_size, generator=draw)[:size] for _ in thetas]
    for rows in (None, torch.stack(each).to(problem.device)):
        _check_gradient(problem, thetas, rows, draw)
    offered = [(kind, check) for kind, check in CAPABILITIES.items() if isinstance(problem, kind)]
    for _, check in offered:
        check(problem, thetas)
    return tuple(kind.__name__ for kind, _ in offered)


def _check_settings(problem: LossProblem) -> None:
    quantities = problem.quantities
    _require(quantities[:1] == ("loss",), f"quantities {quantities}: the first must be 'loss'")
    _require(len(set(quantities)) == len(quantities), f"quantities {quantities}: each name must be there once")
    _require(problem.evaluation in ("evaluate", "train"), f"evaluation {problem.evaluation!r}: 'evaluate' or 'train'")
    _require(isinstance(problem.recipe, Recipe), f"recipe is a {type(problem.recipe).__name__}, not a ws.Recipe")
    batch, train = problem.batch_size, problem.train_size
    _require(batch is None or 1 <= batch <= train, f"batch_size {batch} of {train} training examples")
    once, again = problem.fingerprint(), problem.fingerprint()
    _require(once == again, f"fingerprint() changes from {once!r} to {again!r}")


def _check_measure(problem: LossProblem, thetas: Thetas) -> None:
    before = thetas.clone()
    found = problem.measure(thetas, problem.quantities)
    _require(tuple(found) == tuple(problem.quantities), f"measure returns {tuple(found)} for {problem.quantities}")
    for name, values in found.items():
        form = values.dtype, tuple(values.shape), values.device.type
        expected = torch.float64, (len(thetas),), "cpu"
        _require(form == expected, f"measure returns {name} as {form}, not as {expected}")
    again = problem.measure(thetas, problem.quantities[::-1])
    for name, values in found.items():
        _same(again[name], values, 0.0, f"{name} of the same models when measured again")
        alone = torch.cat([problem.measure(theta[None], [name])[name] for theta in thetas])
        _same(alone, values, _company(problem), f"{name} of models measured one by one")
    _require(torch.equal(thetas, before), "measure writes to theta")


def _check_gradient(problem: LossProblem, thetas: Thetas, rows: Rows | None, draw: torch.Generator) -> None:
    where = "on the whole training set" if rows is None else f"on minibatches of {rows.shape[1]}"
    before = thetas.clone()
    found = problem.gradient(thetas, rows)
    shapes = tuple(found.losses.shape), tuple(found.gradients.shape)
    _require(shapes == ((len(thetas),), tuple(thetas.shape)), f"gradient returns shapes {shapes} {where}")
    _require(found.gradients.dtype == problem.dtype, f"gradient returns {found.gradients.dtype} {where}")
    again = problem.gradient(thetas, rows)
    _same(again.gradients, found.gradients, 0.0, f"gradients asked for again {where}")
    alone = [problem.gradient(thetas[i : i + 1], None if rows is None else rows[i : i + 1]) for i in range(len(thetas))]
    one_by_one = torch.cat([each.gradients for each in alone])
    _same(one_by_one, found.gradients, _company(problem), f"gradients taken one by one {where}")
    _require(torch.equal(thetas, before), f"gradient writes to theta {where}")
    direction = torch.randn(thetas.shape, generator=draw, dtype=torch.float64).to(thetas)
    step = _step(thetas.dtype)
    ahead, behind = (problem.gradient(thetas + sign * step * direction, rows).losses.double() for sign in (1, -1))
    slopes = (ahead - behind) / (2 * step)
    expected = (found.gradients * direction).sum(1).double()
    scale = found.gradients.norm(dim=1).double() * direction.norm(dim=1).double()
    _close(slopes, expected, scale, problem, f"slopes of the training loss {where}")


def _check_along(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Along)
    a, b, ts = thetas[0], thetas[1], torch.linspace(0, 1, 5, dtype=torch.float64)
    expected = problem.measure(torch.lerp(a, b, ts.to(a).unsqueeze(1)), problem.quantities)
    found = problem.measure_along(a, b, ts, problem.quantities)
    for name, values in expected.items():
        _same(found[name], values, tolerance_of(problem.dtype), f"{name} by measure_along")


def _check_screened(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Screened)
    part = problem.screening
    if part is not None:
        forms = (part.size, part.dtype, part.quantities), (problem.size, problem.dtype, problem.quantities)
        _require(forms[0] == forms[1], f"screening has {forms[0]}, the problem {forms[1]}")


def _check_curved(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Curved)
    theta, vectors = thetas[0], thetas[1:3] - thetas[0]
    products = problem.hessian_products(theta, vectors, None).double()
    step = _step(thetas.dtype)
    ahead, behind = (problem.gradient(theta + sign * step * vectors, None).gradients.double() for sign in (1, -1))
    scale = products.norm(dim=1, keepdim=True)
    _close((ahead - behind) / (2 * step), products, scale, problem, "differences of gradients, by hessian_products,")


def _check_enclosed(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Enclosed)
    a, b = thetas[0], thetas[1]
    edges = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64, device=problem.device)
    bounds = problem.upper_bounds(a, b, edges[:-1], edges[1:])
    for low, high, bound in zip(edges[:-1].tolist(), edges[1:].tolist(), bounds.tolist(), strict=True):
        ts = torch.linspace(low, high, PLACES, dtype=torch.float64, device=problem.device).unsqueeze(1)
        highest = float(problem.loss(torch.lerp(a.double(), b.double(), ts)).max())
        _require(highest <= bound, f"the loss is {highest!r}, over its bound {bound!r}, for t from {low} to {high}")


def _check_engined(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Engined)
    choice, expected = problem.engine_choice(), problem.measure(thetas)["loss"]
    with problem.computing_by(choice.name, choice.threads):
        _same(problem.measure(thetas)["loss"], expected, tolerance_of(problem.dtype), "loss by computing_by")
    after = problem.engine_choice()
    _require(after == choice, f"computing_by leaves engine {after.name!r} where {choice.name!r} was")


def _check_per_example(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, PerExample)
    for name in filter(problem.adds, problem.quantities):
        mean = torch.stack([problem.measure_each(theta, name).mean() for theta in thetas])
        _same(mean, problem.measure(thetas, [name])[name], tolerance_of(problem.dtype), f"{name} by measure_each")


def _check_traceable(problem: LossProblem, thetas: Thetas) -> None:
    assert isinstance(problem, Traceable)
    names = [name for entry in problem.layout.entries for name in entry.names]
    _require(problem.layout.size == problem.size, f"layout has {problem.layout.size} numbers, theta {problem.size}")
    source = problem.traceable("loss")
    held = dict(source.module.named_parameters(remove_duplicate=False))
    missing = [name for name in names if name not in held]
    _require(not missing, f"layout names {missing[:3]}, which the traceable module has not")
    expected = problem.measure(thetas[:1])["loss"]
    examples, total = source.examples, 0.0
    with torch.no_grad():
        for part in examples.chunks(source.block):
            given = ((), dict(part.inputs)) if examples.keys is not None else (part.leaves, {})  # type: ignore[arg-type]
            output = torch.func.functional_call(source.module, problem.layout.views(thetas[0]), *given)
            total += float(source.criterion(output, part.targets)) * len(part)
    found = torch.tensor([total / len(examples)], dtype=torch.float64)
    _same(found, expected, tolerance_of(problem.dtype), "loss of the traceable module")


CAPABILITIES: dict[type, Callable[[LossProblem, Thetas], None]] = {
    Along: _check_along,
    Screened: _check_screened,
    Independent: lambda problem, thetas: None,  # by what models measure beside others
    Curved: _check_curved,
    Enclosed: _check_enclosed,
    Engined: _check_engined,
    PerExample: _check_per_example,
    Traceable: _check_traceable,
}


def _company(problem: LossProblem) -> float:
    """How far what a model measures may depend on the models beside it."""
    return 0.0 if isinstance(problem, Independent) and problem.independent else tolerance_of(problem.dtype)


def _step(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps ** (1 / 3))


def _close(found: Tensor, expected: Tensor, scale: Tensor, problem: LossProblem, what: str) -> None:
    apart = float(((found - expected).abs() / scale.clamp_min(1e-30)).max())
    limit = SLOPES * _step(problem.dtype)
    _require(apart <= limit, f"{what} differ from finite differences by {apart:.3g} of their size, over {limit:.3g}")


def _same(found: Tensor, expected: Tensor, limit: float, what: str) -> None:
    apart = relative(found.reshape(len(found), -1), expected.reshape(len(expected), -1))
    _require(apart <= limit, f"{what} differ by {apart:.3g}, over {limit:g}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
