"""Problems that would surface later are refused at construction, by trying a few examples at net's own θ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidData, InvalidModel, InvalidSetting, NotDeterministic
from weightstring.memory import is_out_of_memory
from weightstring.problem.buffers import has_own_passes
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet, Examples, stacked
from weightstring.problem.engines.agreement import tolerance_of
from weightstring.problem.initialise import seeded
from weightstring.problem.inspection.additive import Study, study
from weightstring.problem.inspection.agreement import close
from weightstring.problem.inspection.passes import PROBE, far_from, look
from weightstring.problem.inspection.purity import check_pure, writes_inputs
from weightstring.problem.inspection.returned import check_returned, check_step, returned_by
from weightstring.problem.inspection.subject import Subject
from weightstring.problem.live import with_fresh_inputs
from weightstring.problem.losses.means import Given
from weightstring.problem.losses.sighted import sees
from weightstring.problem.precision import named
from weightstring.problem.tensors import identical
from weightstring.text import first_line

LIGHT = 4_000_000
"""Parameters up to which a module is tried on as many examples as :data:`PROBE`."""

FEWEST = 8
"""Examples on which a module of any size is tried."""

LEAST = 2
"""Examples on which the purity of a large module is tried, however few are evaluated."""

PURITY_PASSES = 12
"""Forward passes that trying it takes, a backward pass counted as two."""

LOW = ("not implemented for 'Half'", "not implemented for 'BFloat16'", "Low precision")
"""What torch says of an operation that it does not have in half precision."""


class Findings(NamedTuple):
    """What the checks found out about a problem.

    Args:
        elements: numbers that one example has on its way in or out, whichever are more.
        activations: numbers that one example has in the widest output of any submodule.
        study: what each criterion is, over a whole set.
        computation: which knows what its loss is, whether training draws at random, and whether net needs inputs of its
            own.
    """

    elements: int
    activations: int
    study: Study
    computation: Computation


class Output(NamedTuple):
    """A pass's output, and how many numbers of it belong to one example."""

    returned: object
    size: int


def check_estimates(computation: Computation, theta: Theta, train: DataSet) -> None:
    """Estimate running statistics on a few examples, where a layer collects them in a way of its own.

    Raises:
        InvalidModel: it fails while it collects them, or keeps none.
    """
    if computation.calibrating is None or not has_own_passes(computation.calibrating.module):
        return
    try:
        with torch.no_grad():
            statistics = computation.estimate(theta, train.take(slice(PROBE)))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InvalidModel(
            f"net cannot collect running statistics ({first_line(error)}): mend its layer, or pass buffers='frozen'"
        ) from error
    for name in computation.statistics:
        if not name.endswith("running_mean"):
            continue
        layer = name.removesuffix("running_mean")
        mean, variance, count = (
            statistics[layer + kind] for kind in ("running_mean", "running_var", "num_batches_tracked")
        )
        if int(count) and not bool(mean.any()) and bool((variance == 1).all()):
            raise InvalidModel(
                f"{layer.removesuffix('.') or 'net'} does not write to its running_mean and running_var, so that they "
                f"cannot be collected for each model: pass buffers='frozen'"
            )


def check_all(subject: Subject, data: Mapping[str, DataSet], metrics: Mapping[str, Given]) -> Findings:
    """Run every check that calls the module.

    Raises:
        InvalidData, InvalidModel, InvalidSetting, NotDeterministic: see each check below.
    """
    train, theta = data["train"], subject.theta
    elements = 1
    outputs: dict[str, object] = {}
    head = stacked(train.take(slice(1)), "what tries a module")
    for name, examples in data.items():
        rows = probe_rows(examples, len(theta))
        probe = stacked(examples.take(rows), "what tries a module")
        if probe.keys != head.keys or len(probe.leaves) != len(head.leaves):
            raise InvalidData(f"{name} inputs {examples.form()} differ in form from the train inputs {train.form()}")
        output = check_forward(subject.computation, theta, name, probe, metrics)
        if writes_inputs(probe, examples.take(rows)):
            subject = replace(subject, computation=with_fresh_inputs(subject.computation))
        outputs[name] = output.returned
        elements = max(elements, output.size, sum(leaf[0].numel() for leaf in probe.leaves))
    few = fewer_rows(subject.rows, len(data.get("evaluate", train)), len(theta))
    tried = subject if len(few) == len(subject.rows) else replace(subject, rows=few)
    seen = subject.numbers(outputs["train"], subject.probe) if tried is subject else tried.values(theta)
    first = check_deterministic(tried, theta, seen)
    kinds, activations = check_means(subject, theta, outputs["train"], data, metrics)
    step = check_step(subject.computation, theta, train, kinds.means["loss"])
    computation = replace(subject.computation, loss_fn=kinds.means["loss"], step=step)
    check_estimates(computation, theta, train)
    del theta
    computation = check_pure(replace(tried, computation=computation), first)
    return Findings(elements, activations, kinds, computation)


def check_forward(
    computation: Computation, theta: Theta, name: str, probe: Examples, metrics: Mapping[str, Given]
) -> Output:
    """Run the module, the loss and the metrics on a few examples.

    Raises:
        InvalidData: the module cannot take the inputs, or the loss cannot take the targets.
        InvalidSetting: the loss or a metric is not a scalar, or writes to its inputs.
    """
    with torch.no_grad():
        try:
            output = computation.evaluating(theta, probe)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            if any(kind in str(error) for kind in LOW):
                raise InvalidModel(
                    f"net does not run as {named(computation.coarsest)} on {theta.device} ({first_line(error)}): "
                    "pass dtype=torch.float32 to the problem"
                ) from error
            raise InvalidData(
                f"net cannot take the {name} inputs {probe.form()}{_ranges(probe)}: {first_line(error)}{_floats(probe)}"
            ) from error
        for label, criterion in {"loss_fn": computation.loss_fn.given, **metrics}.items():
            kept = probe.cloned()
            check_returned(label, returned_by(label, criterion, output, probe, name))
            if sees(criterion) and writes_inputs(probe, kept):
                raise InvalidSetting(f"{label} writes to its inputs: let it work on a copy (inputs.clone())")
    size = output[0].numel() if isinstance(output, Tensor) and output.ndim and len(output) else 1
    return Output(output, size)


@contextmanager
def _widest(net: nn.Module, examples: int) -> Iterator[list[int]]:
    """While the module runs, record the numbers per example in the widest output of any submodule."""
    widest = [1]

    def look(module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor):
            widest[0] = max(widest[0], output.numel() // examples)

    # Scripted parts take no hooks.
    parts = [module for module in net.modules() if not isinstance(module, torch.jit.ScriptModule)]
    handles = [module.register_forward_hook(look) for module in parts]
    try:
        yield widest
    finally:
        for handle in handles:
            handle.remove()


def check_deterministic(subject: Subject, theta: Theta, first: Tensor) -> Tensor:
    """Evaluate the probe at net's own θ again, and compare; returns :meth:`Subject.values`.

    Raises:
        NotDeterministic: the results differ, or the module changed one of its buffers.
    """
    constants = subject.computation.evaluating.constants
    before = {name: tensor.clone() for name, tensor in constants.items()}
    second = subject.values(theta)
    for name, tensor in before.items():
        if not identical(tensor, constants[name]):
            raise NotDeterministic(
                f"buffer {name!r} changes while net evaluates, so the loss is not a function of theta: "
                f"update it only if self.training"
            )
    if identical(first, second):
        return first
    # The first pass was watched by hooks, with which some layers of torch's compute in another order.
    if close(first, second, tolerance_of(subject.computation.evaluating.layout.coarsest)) and identical(
        second, subject.values(theta)
    ):
        return second
    with seeded(0, subject.device):
        first = subject.values(theta)
    with seeded(0, subject.device):
        second = subject.values(theta)
    cause = "net keeps a state from call to call: reset it in forward"
    if identical(first, second):
        cause = (
            "net or loss_fn draws at random in evaluation mode: pass training=self.training to F.dropout and the like"
        )
    raise NotDeterministic(f"two evaluations of one theta differ ({float(first[0]):.6g} under a fixed seed): {cause}")


def check_means(
    subject: Subject, theta: Theta, output: object, data: Mapping[str, DataSet], metrics: Mapping[str, Given]
) -> tuple[Study, int]:
    """Determine how each criterion adds up, by two passes over parts of the probe.

    Watched on the way: numbers of one example in the widest output of any submodule.

    Raises:
        InvalidSetting, InvalidData: see :func:`study`.
    """
    evaluating, widest = subject.computation.evaluating, 1

    def part(examples: DataSet) -> object:
        nonlocal widest
        with _widest(evaluating.module, len(examples)) as widths:
            returned = evaluating(theta, examples)
        widest = max(widest, *widths)
        return returned

    def elsewhere(examples: DataSet) -> object:
        return evaluating(far_from(theta), examples)

    with torch.no_grad():
        seen = look(part, subject.probe, output, elsewhere)
        return study({"loss": subject.computation.loss_fn.given, **metrics}, seen, data), widest


def probe_rows(data: DataSet, parameters: int) -> Tensor:
    """The rows of a set to try, each once: spread over its targets, and those with extreme integers.

    Args:
        data: the set.
        parameters: of the module; each pass over the rows of a large one takes seconds.
    """
    most = max(FEWEST, min(PROBE, PROBE * LIGHT // parameters))
    rows = torch.cat([data.spread(most), *data.extremes()])
    return rows.new_tensor(list(dict.fromkeys(rows.tolist())))


def fewer_rows(rows: Tensor, examples: int, parameters: int) -> Tensor:
    """Those of the rows tried on which a large module is called again and again: all that takes about an evaluation.

    Args:
        rows: on which all else is tried.
        examples: in one evaluation.
        parameters: of the module.
    """
    return rows if parameters <= LIGHT else rows[: max(LEAST, examples // PURITY_PASSES)]


def _floats(examples: Examples) -> str:
    """What to do about inputs that are integers, and not meant as such."""
    whole = not any(leaf.is_floating_point() or leaf.is_complex() for leaf in examples.leaves)
    return ": pass them as floats (x.float()) if they are no indices" if whole else ""


def _ranges(examples: Examples) -> str:
    ranges = [
        f"{int(leaf.min())}..{int(leaf.max())}"
        for leaf in examples.leaves
        if leaf.numel() and not leaf.is_floating_point() and not leaf.is_complex()
    ]
    return f" with integers {', '.join(ranges)}" if ranges else ""
