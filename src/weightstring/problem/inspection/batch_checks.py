"""What is tried of a loss that takes the module and a batch before it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import itemgetter

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidData, InvalidSetting, WeightstringError
from weightstring.memory import is_out_of_memory
from weightstring.problem.batchwise.per_batch import Outcome, Picked
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.batches import Batches, form_of_batch, mapped
from weightstring.problem.engines.agreement import tolerance_of
from weightstring.problem.initialise import seeded
from weightstring.problem.inspection.additive import Study
from weightstring.problem.inspection.checks import Findings, check_deterministic, check_estimates
from weightstring.problem.inspection.passes import far_from
from weightstring.problem.inspection.purity import check_pure, writes_inputs
from weightstring.problem.inspection.subject import Subject
from weightstring.problem.live import with_fresh_inputs
from weightstring.problem.losses.folded import Folded, FromSums, value_of
from weightstring.problem.losses.means import Mean, number
from weightstring.problem.outputs import leaves_of, tensors_of
from weightstring.problem.settings import check_metrics
from weightstring.text import first_line

APART = 1e-3
"""How far, relatively, a batch's value may be from that of its two parts, as rounding and kernels go."""

DIVIDED = 4
"""Batches that are tried in parts."""

LOOKED = 64
"""Batches among which these are looked for."""


def means_of(computation: Computation, theta: Tensor, train: Batches, metrics: Sequence[str]) -> dict[str, Mean]:
    """How quantities add up, by name: ``"loss"``, the others that it returns of the first batch, then the metrics.

    Raises:
        InvalidData, InvalidSetting: see :func:`outcome_of`; a metric is called like what the loss returns.
    """
    outcome = outcome_of(computation, theta, train.take(slice(1)), "train")
    found = [name for name in outcome.found if name != "loss"]
    check_metrics(dict.fromkeys(found), taken=metrics)
    with torch.no_grad():
        states = {name: outcome[name][0] for name in ("loss", *found, *metrics)}
    return {name: _mean_of(Picked(name), state) for name, state in states.items()}


def _mean_of(picked: Picked, state: object) -> Mean:
    if not isinstance(state, Folded):
        return Mean(picked, "ratio")
    pair = state.compute if isinstance(state, FromSums) and len(state.sums) == 2 else None
    return Mean(picked, "folded", pair=pair)


def outcome_of(computation: Computation, theta: Tensor, batch: Batches, name: str) -> Outcome:
    """Call the loss with one batch.

    Raises:
        InvalidData: it fails.
        InvalidSetting: it returns something else than sums and weights.
    """
    try:
        with torch.no_grad():
            outcome = computation.evaluating(theta, batch)
    except WeightstringError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InvalidData(
            f"the loss fails on a {name} batch, {batch.form()}: {type(error).__name__}: {first_line(error)}"
        ) from error
    assert isinstance(outcome, Outcome)
    return outcome


def check_batched(
    subject: Subject, data: Mapping[str, Batches], means: Mapping[str, Mean], divisible: bool
) -> Findings:
    """Run every check that calls the module.

    Args:
        subject: what is tried.
        data: the sets by name.
        means: the loss and metrics by name.
        divisible: whether a batch's sums must be those of its parts.

    Raises:
        InvalidData, InvalidModel, InvalidSetting, NotDeterministic: see each check.
    """
    theta = subject.theta
    for name, batches in data.items():
        for row in batches.spread(len(batches)).tolist():
            batch = batches.take(slice(row, row + 1)).cloned()
            kept = batch.cloned()
            _check_values(outcome_of(subject.computation, theta, batch, name), list(means), name)
            if writes_inputs(batch, kept):
                subject = replace(subject, computation=with_fresh_inputs(subject.computation))
    _check_weights(subject, theta, means)
    for name, batches in data.items() if divisible else ():
        _check_divisible(subject, theta, batches, name, means)
    first = check_deterministic(subject, theta, subject.values(theta))
    check_estimates(subject.computation, theta, subject.train)
    del theta
    computation = check_pure(subject, first)
    return Findings(1, 1, Study(dict(means), one_piece=False), computation)


def _check_values(outcome: Outcome, names: list[str], set_name: str) -> None:
    """Every quantity is there, and the loss is one that can be differentiated."""
    with torch.no_grad():
        sums = {name: outcome[name] for name in names}
    amount = sums["loss"][0]
    if not isinstance(amount, Tensor) or not amount.is_floating_point():
        raise InvalidSetting(
            f"loss returned a {type(amount).__name__} for a sum of a {set_name} batch: it must be one floating tensor "
            "without axes, which autograd can differentiate"
        )


def _check_weights(subject: Subject, own: Theta, means: Mapping[str, Mean]) -> None:
    """Refuse a loss whose weight depends on θ, tried far away."""
    weights = []
    for away in (False, True):
        theta = far_from(own) if away else own
        with torch.no_grad(), seeded(0, subject.device):
            outcome = subject.computation.evaluating(theta, subject.probe)
            weights.append(float(means["loss"].sums(outcome, subject.probe.targets)[1]))
    if weights[0] != weights[1]:
        raise InvalidSetting(
            f"loss's weight depends on the outputs ({weights[0]:.6g} and {weights[1]:.6g} for the same batch): it must "
            "not depend on theta; count the examples or labels of the batch"
        )


def _check_divisible(subject: Subject, theta: Theta, batches: Batches, name: str, means: Mapping[str, Mean]) -> None:
    """Refuse sums that are not those of a batch's parts, where a batch can be cut along its first axis.

    What is told so: a mean that was returned for a sum, a sum for a mean, and a weight that is not what a mean was
    taken over. Batches that cannot be cut, such as graphs with an index of nodes, tell nothing.
    """
    apart = max(APART, tolerance_of(subject.computation.coarsest))
    for whole, parts in islice(_divided(batches), DIVIDED):
        try:
            with torch.no_grad():
                outcomes = [subject.computation.evaluating(theta, each) for each in (whole, *parts)]
        except Exception:  # such as an index of nodes that are not in its part
            continue
        for label, mean in means.items():
            if mean.kind == "folded":
                _check_folded(label, mean, outcomes, subject.rows, apart)
                continue
            sums = [mean.sums(outcome, whole.targets) for outcome in outcomes]
            for place, what in enumerate(("sum", "weight")):
                all_of_it, *some = (float(number(pair[place], subject.rows)) for pair in sums)
                if not abs(sum(some) - all_of_it) <= apart * max(map(abs, (all_of_it, *some))):
                    raise InvalidSetting(
                        f"{label}: the {what} of a {name} batch of {_rows(whole)} is {all_of_it:.6g}, but those of its "
                        f"first {_rows(parts[0])} and the rest add up to {sum(some):.6g}: return (sum, weight) with "
                        "sums, or ws.MeanOf(mean, weight) with the number that the mean is taken over; "
                        "divisible=False if examples of one batch depend on each other, as in a contrastive loss"
                    )


def _check_folded(label: str, mean: Mean, outcomes: Sequence[object], like: Tensor, apart: float) -> None:
    """Refuse a state that is not what those of a batch's parts add up to."""
    whole, first, rest = (mean.state(outcome, like) for outcome in outcomes)
    value, added = float(value_of(whole, like)), float(value_of(first + rest, like))
    if not abs(value - added) <= apart * max(abs(value), abs(added)) and value == value:  # 0 / 0 says nothing
        raise InvalidSetting(
            f"{label}: {value:.6g} of a batch, but {added:.6g} from the states of its two parts added up: return one "
            "whose sum is that of both together, such as ws.FromSums(sums, compute)"
        )


def _rows(batch: Batches) -> int:
    return len(next(iter(batch.tensors)))


def _divided(batches: Batches) -> Iterator[tuple[Batches, list[Batches]]]:
    """Batches and their first third and rest; of batches with one row, two of one form as a batch and its parts."""
    single: object = None
    for row in range(min(len(batches), LOOKED)):
        (unit,) = batches.take(slice(row, row + 1))
        rows = {len(tensor) if tensor.ndim else 0 for tensor in tensors_of(unit)}
        # Lists beside tensors would have to be cut too.
        others = any(not isinstance(leaf, Tensor | bool | int | float | type(None)) for leaf in leaves_of(unit))
        if others or len(rows) > 1 or 0 in rows:
            continue
        count = rows.pop()
        if count > 1:
            cut = max(1, count // 3)
            first, rest = (mapped(unit, itemgetter(place)) for place in (slice(cut), slice(cut, None)))
            yield _alone(batches, unit), [_alone(batches, first), _alone(batches, rest)]
        elif single is not None and form_of_batch(single) == form_of_batch(unit):
            further = iter(tensors_of(unit))
            both = mapped(single, lambda tensor, further=further: torch.cat([tensor, next(further)]))  # type: ignore[misc]
            yield _alone(batches, both), [_alone(batches, single), _alone(batches, unit)]
            single = None
        else:
            single = unit


def _alone(batches: Batches, unit: object) -> Batches:
    return replace(batches, source=[unit], places=(0,))
