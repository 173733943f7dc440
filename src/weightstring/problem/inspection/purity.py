"""Whether a module is a function of its registered parameters, tried on a few examples instead of believed.

A loss over flat θ exists only if its value depends on θ, the data and nothing else. What breaks that is rarely seen
from outside: caches and merged adapters made from earlier weights, closures over another module, random numbers that
no seed reaches, layers that write to their inputs or weights. So the copy that computes is compared with the
user's own net as it is, and at another θ with a plain copy that has loaded it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from weightstring.arrays import Theta, is_finite
from weightstring.devices import on_cpu
from weightstring.errors import InvalidModel, InvalidSetting, NotDeterministic, WeightstringError
from weightstring.memory import is_out_of_memory
from weightstring.problem.computation import Computation
from weightstring.problem.copying import announces
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.agreement import near, tolerance_of
from weightstring.problem.engines.base import Workload, require_slope, seeded_by
from weightstring.problem.engines.loop import Loop
from weightstring.problem.flat import Layout, common_dtype
from weightstring.problem.functional import OfTheta
from weightstring.problem.graphs import leaves_of
from weightstring.problem.initialise import generator_states, seeded
from weightstring.problem.inspection.agreement import close
from weightstring.problem.inspection.originals import evaluating, poisoned
from weightstring.problem.inspection.subject import Subject
from weightstring.problem.live import Live, scaled_backward, taken_gradient, with_fresh_inputs
from weightstring.problem.outputs import widened
from weightstring.problem.tensors import identical, named_tensors
from weightstring.text import first_line

ASIDE = (0.1, 1e-3)
"""How far another θ lies from net's own, relative to its size; the second where a plain copy cannot take the first."""


def check_pure(subject: Subject, expected: Tensor) -> Computation:
    """Try a module; the computation returned knows whether it draws and whether it needs copies of its inputs.

    ``expected`` are :meth:`Subject.values` at net's own θ.

    Raises:
        InvalidModel: it is no function of its parameters, or cannot be trained.
        InvalidSetting: the loss depends on trainable numbers that are no part of θ, or writes to its targets.
        NotDeterministic: two gradients of one θ on the same examples differ.
    """
    _check_as_it_is(subject, expected)
    for share in ASIDE:
        theta = near(subject.theta, 1, share)[0]
        plain = _plain(subject, theta)
        if plain.values is not None:
            _check_loaded(subject, theta, plain.values)
            break
    return _check_training(subject, theta, plain)


def writes_inputs(used: DataSet, kept: DataSet) -> bool:
    """Whether a pass changed the inputs that it was given.

    Raises:
        InvalidSetting: it changed the targets.
    """
    if not identical(used.targets, kept.targets):
        raise InvalidSetting("loss_fn or a metric writes to its targets: let it work on a copy (targets.clone())")
    return not all(identical(first, second) for first, second in zip(used.tensors, kept.tensors, strict=True))


def _check_as_it_is(subject: Subject, values: Tensor) -> None:
    """Compare with the user's own net at its own θ."""
    try:
        with evaluating(subject.original), seeded(0, subject.device):
            wanted = _values_of(subject, subject.original)
    except Exception as error:  # for instance half precision that has no kernels here, beside dtype=torch.float32
        if is_out_of_memory(error):
            raise
        return
    allowed = max(
        tolerance_of(dtype)
        for dtype in (subject.computation.evaluating.layout.coarsest, Layout.of(subject.original).coarsest)
    )
    # Of the loss alone: in another precision a metric may jump.
    if not close(values[:1], wanted[:1], allowed):
        raise InvalidModel(
            f"net's loss on {len(subject.rows)} training examples is {float(wanted[0]):.6g}, but "
            f"{float(values[0]):.6g} by its copy: a hook or an attribute refers to another object than net's own "
            "modules, or dtype= changes more than rounding; keep what forward uses in net itself"
        )


class _Plain(NamedTuple):
    """What a plain copy that has loaded another θ gives, evaluated and then trained; None where it cannot be there."""

    values: Tensor | None
    gradient: list[Theta]


def _plain(subject: Subject, theta: Theta) -> _Plain:
    """Both by one copy, unless a change of mode does more than set a flag."""
    net = subject.plain(theta, training=False)
    try:
        values = _values_of(subject, net)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        values = None
    net = subject.plain(theta, training=True) if values is None or announces(net) else subject.trained(net)
    gradient = _plain_gradient(subject, net)
    return _Plain(values, [] if gradient is None else [gradient])


def _check_loaded(subject: Subject, theta: Theta, wanted: Tensor) -> None:
    """Compare with a plain copy at another θ."""
    values = _unless_it_reads(subject.original, lambda: subject.values(theta, subject.computation.vectors(theta)))
    _check_unwritten(subject.computation.evaluating, theta)
    tolerance = tolerance_of(subject.computation.evaluating.layout.coarsest)
    if not all(close(values[[i]], wanted[[i]], tolerance) for i in range(len(values))):
        raise InvalidModel(_stale(f"loss {float(values[0]):.6g}", f"{float(wanted[0]):.6g}"))


def _check_training(subject: Subject, theta: Theta, plain: _Plain) -> Computation:
    """Compare the gradient at another θ with a plain copy's and with itself."""
    batch, tolerance = subject.probe, tolerance_of(subject.computation.coarsest)
    try:
        with seeded_by(subject.rows[None], subject.device):
            before = generator_states(theta.device)
            gradient = _unless_it_reads(subject.original, lambda: _gradient(subject, theta, batch))
            draws = generator_states(theta.device) != before
    except WeightstringError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InvalidModel(
            f"net evaluates but cannot be trained on a minibatch of {len(batch)} examples: {first_line(error)}"
        ) from error
    _check_unwritten(subject.computation.training, theta)
    # Told of only if the gradient is the same again; let go before: a large one beside two others is one too many.
    stale = [_stale_gradient(gradient, wanted, tolerance) for wanted in plain.gradient]
    plain.gradient.clear()
    computation = replace(subject.computation, draws=True)
    again = Loop(Workload(computation, subject.train, elements=1)).gradient(theta[None], subject.rows[None])
    if not close(gradient, again.gradients[0], 0.0 if on_cpu(theta) else tolerance):
        raise NotDeterministic(
            f"two gradients of one theta on the same {len(batch)} examples differ by up to "
            f"{float((gradient - again.gradients[0]).abs().max()):.3g}: draw from torch's, Python's or NumPy's global "
            f"generators only, and keep no state between calls"
        )
    for message in filter(None, stale):
        raise InvalidModel(message)
    computation = replace(computation, draws=draws)
    return with_fresh_inputs(computation) if writes_inputs(batch, subject.probe) else computation


def _stale_gradient(gradient: Theta, wanted: Theta, tolerance: float) -> str:
    """How a gradient differs from a plain copy's; nothing where it does not."""
    if close(gradient, wanted, tolerance):
        return ""
    distance = float((gradient - wanted).norm() / wanted.norm().clamp_min(torch.finfo(wanted.dtype).tiny))
    return _stale("gradient", f"one that differs by {distance:.2g} of its norm")


def _values_of(subject: Subject, net: nn.Module) -> Tensor:
    """Loss and metrics of a plain module on the probe."""
    device, dtype, probe = subject.device, subject.own.layout.dtype, subject.probe
    call = subject.computation.evaluating.functional.call

    def back(leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device, dtype if leaf.is_floating_point() else leaf.dtype)

    with torch.no_grad():
        given = probe.to(next(net.parameters()).device, common_dtype(net))
        output = trees.tree_map(back, call(net, given))
        return subject.numbers(output, probe)


def _gradient(subject: Subject, theta: Theta, batch: DataSet) -> Tensor:
    """The training gradient (P,); all its leaves must be in θ."""
    training = subject.computation.training
    assert isinstance(training, Live)

    def checked() -> Tensor:
        loss = subject.computation.loss(theta, None, batch)
        require_slope(loss)
        if outside := _outside(loss, training.parameters):
            with seeded_by(subject.rows[None], subject.device):
                loss = subject.computation.loss(theta, None, subject.probe)
            again = _outside(loss, training.parameters)
            # What is made anew in each pass, such as inputs that are differentiated by, is no trainable number.
            _refuse_outside(subject, [leaf for leaf in outside if any(leaf is other for other in again)])
        return loss

    training.forget()
    with torch.enable_grad():
        return scaled_backward(subject.computation.dtypes, checked, training.gradient)


def _plain_gradient(subject: Subject, net: nn.Module) -> Theta | None:
    """The training gradient (P,) of a plain copy; None where that cannot be trained there."""
    batch, computation = subject.probe, subject.computation
    layout = computation.evaluating.layout
    tensors = named_tensors(net)
    parameters = [tensors[entry.name] for entry in layout.entries]

    def loss() -> Tensor:
        output = widened(computation.training.functional.call(net, batch), layout.dtype)
        return (computation.step or computation.loss_fn)(output, batch.targets)

    try:
        with seeded_by(subject.rows[None], subject.device), torch.enable_grad():
            return scaled_backward(computation.dtypes, loss, lambda: taken_gradient(parameters, layout))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None


def _unless_it_reads(original: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
    """The result of a computation, refused if it changes while the user's own net holds NaN.

    Raises:
        InvalidModel: it is.
    """
    with poisoned(original):
        try:
            result = compute()
        except WeightstringError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            result = None
    if result is not None and is_finite(result):
        return result
    result = compute()
    if is_finite(result):
        raise InvalidModel(
            "net, loss_fn or a metric reads the module that was passed, whose weights are the same for every theta: "
            "let it use what it is called with (self, the output, the targets)"
        )
    return result


def _outside(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The leaves of a loss that are none of the parameters."""
    ours = {id(parameter) for parameter in parameters}
    return [leaf for leaf in leaves_of(loss) if id(leaf) not in ours]


def _refuse_outside(subject: Subject, outside: Sequence[Tensor]) -> None:
    """Refuse a loss with trainable numbers that are no part of θ."""
    if not outside:
        return
    names = {
        id(tensor): f"{name!r} of the module that was passed"
        for name, tensor in named_tensors(subject.original).items()
    }
    if isinstance(loss_fn := subject.criteria[0], nn.Module):
        names |= {id(tensor): f"loss_fn's {name!r}" for name, tensor in named_tensors(loss_fn).items()}
    listed = ", ".join(names.get(id(leaf), f"a tensor {tuple(leaf.shape)}") for leaf in outside[:3])
    raise InvalidSetting(
        f"the training loss depends on trainable numbers that are no part of theta ({listed}): make them parameters of "
        f"net and read them from it in forward, or set requires_grad=False"
    )


def _check_unwritten(function: OfTheta, theta: Theta) -> None:
    """Refuse a forward pass that changes weights."""
    assert isinstance(function, Live)
    tensors = named_tensors(function.module)
    for entry, parameter, piece in zip(
        function.layout.entries, function.parameters, function.layout.computed(theta), strict=True
    ):
        if tensors.get(entry.name) is not parameter or not identical(parameter, piece):
            raise InvalidModel(
                f"forward writes to parameter {entry.name!r}, so that its loss is that of another theta: compute the "
                f"changed weights from it instead (self.weight.clamp(...), a parametrization)"
            )


def _stale(got: str, wanted: str) -> str:
    return (
        f"at another theta net gives the {got} where a plain copy that has loaded it gives {wanted}: net keeps "
        f"something made from earlier weights or calls; compute it anew in every forward pass"
    )
