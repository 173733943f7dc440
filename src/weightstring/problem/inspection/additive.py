"""Which kind of mean a criterion is: read off torch's own losses, tried out on any other.

A criterion that is not known is called with a whole and with its parts. The outputs of an untrained net are nearly the
same for every example, which hides class weights, so outputs made of noise are tried too: in the domain of the net's
own (probabilities stay probabilities), from fixed seeds, on targets sorted so that parts hold different classes, and on
as many examples as the set has. What was not seen to add up is measured whole, which is right for anything.

Nothing here depends on an engine or on what has been measured before, so that a resumed run decides as the first did.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.inspection.passes import PROBE, Seen
from weightstring.problem.inspection.trials import noise_like, trials
from weightstring.problem.losses.folded import Folded
from weightstring.problem.losses.known import recognised, understood
from weightstring.problem.losses.means import Given, Kind, Mean
from weightstring.problem.losses.metric_objects import NumberOf, OfMetric
from weightstring.problem.losses.sighted import applied, sees
from weightstring.problem.outputs import leaves_of, rebuilt

ROUNDING = 256
"""Units of rounding by which parts may miss the whole."""


class Study(NamedTuple):
    """How each criterion adds up over a set.

    Args:
        means: the criteria by name.
        one_piece: whether a whole set has to go through the net at once, as outputs depend on those beside them.
    """

    means: dict[str, Mean]
    one_piece: bool


def study(criteria: Mapping[str, Given], seen: Seen, data: Mapping[str, DataSet]) -> Study:
    """Determine each criterion's kind of mean.

    Raises:
        InvalidSetting: (sum, weight) that do not add up, or a loss's weight that depends on the outputs.
        InvalidData: a set in which nothing has a weight.
    """
    means = {name: _mean(name, given, seen, data) for name, given in criteria.items()}
    for name, examples in data.items():
        _check_weight(means["loss"], seen, examples, name)
    # Outputs of which a part is no single example's cannot be put together.
    return Study(means, seen.mixes or not (seen.separate or all(mean.adds for mean in means.values())))


def _mean(name: str, given: Given, seen: Seen, data: Mapping[str, DataSet]) -> Mean:
    if sees(given):
        return _sighted(name, given, seen)
    if isinstance(given, OfMetric):
        return _of_metric(given, seen, data)
    loss = recognised(given)
    sets = [examples.target_parts for examples in data.values()]
    if loss is not None and (known := understood(loss, seen.output, sets, len(seen.probe))) is not None:
        return Mean(given, known, loss if known == "ratio" else None)
    with torch.no_grad():
        returned = given(seen.output, seen.probe.targets)
    if isinstance(returned, Folded):
        return Mean(given, "folded")
    if isinstance(returned, tuple | list):
        _check_sums(name, given, seen, data)
        return Mean(given, "ratio")
    kinds = {kind for examples in data.values() if (kind := _tried(given, seen, examples)) is not None}
    return Mean(given, kinds.pop() if len(kinds) == 1 else "whole", rows=seen.rows)


def _of_metric(given: OfMetric, seen: Seen, data: Mapping[str, DataSet]) -> Mean:
    """A metric that is updated part by part, which is right for any; or a plain mean over examples, if it is one."""
    plain = NumberOf(given)
    kinds = {kind for examples in data.values() if (kind := _tried(plain, seen, examples)) is not None}
    return Mean(plain, "mean") if kinds == {"mean"} else Mean(cast(Given, given), "folded")


def _sighted(name: str, given: Given, seen: Seen) -> Mean:
    """The kind of a metric that sees inputs: noise has none, so only the net's outputs can tell."""
    with torch.no_grad():
        returned = [applied(given, output, part) for part, output in ((seen.probe, seen.output), *seen.parts)]
    if not isinstance(returned[0], tuple | list):
        return Mean(given, "whole", rows=seen.rows)
    for what, place in (("sum", 0), ("weight", 1)):
        results = [torch.as_tensor(pair[place]).detach().cpu() for pair in returned]
        whole, *values = map(float, results)
        _check_sum(name, what, len(seen.probe), results, whole, values)
    return Mean(given, "ratio")


def _evaluated(given: Given, output: object, targets: Tensor) -> tuple[Tensor, ...] | None:
    """A criterion's numbers, computed in float64 where it can be; None where it cannot take such outputs."""
    for convert in (_double, lambda x: x):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                returned = given(rebuilt(output, map(convert, leaves_of(output))), convert(targets))
                values = returned if isinstance(returned, tuple | list) else (returned,)
                return tuple(torch.as_tensor(value).detach().cpu() for value in values)
        except Exception:  # constants in float32, or whatever a stranger's loss raises of noise
            continue
    return None


def _double(leaf: object) -> object:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _tried(given: Given, seen: Seen, examples: DataSet) -> Kind | None:
    """A criterion's kind on a set; None if the trials cannot tell."""
    left: list[Kind] = ["mean", "sum"]
    told = False
    for trial in trials(seen, examples):
        results = [_evaluated(given, *pair) for pair in (trial.whole, *trial.parts)]
        if any(numbers is None or len(numbers) != 1 for numbers in results):
            continue
        whole, *values = (float(numbers[0]) for numbers in results if numbers)
        if not math.isfinite(whole) and not all(map(math.isfinite, values)):
            continue
        slack = _slack([numbers[0] for numbers in results if numbers], [whole, *values])
        share = [len(targets) / len(trial.whole[1]) for _, targets in trial.parts]
        sums = {"mean": sum(s * value for s, value in zip(share, values, strict=True)), "sum": sum(values)}
        left = [kind for kind in left if abs(whole - sums[kind]) <= slack]
        # Where all are alike, as zeros are, nothing is learnt.
        told = told or max(values) - min(values) > slack * trial.clear
    if not left:
        return "whole"
    return left[0] if told and len(left) == 1 else None


def _slack(results: Sequence[Tensor], values: Sequence[float]) -> float:
    """The difference that rounding can explain; a number that is no tensor may have been computed in float32."""
    coarse = max((torch.finfo(x.dtype).eps if x.is_floating_point() else 0.0) for x in results)
    scale = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(ROUNDING * max(coarse, torch.finfo(torch.float64).eps), 0.05) * scale


def _check_sums(name: str, given: Given, seen: Seen, data: Mapping[str, DataSet]) -> None:
    """Refuse (sum, weight) that do not add up, or whose weight depends on a loss's outputs."""
    for examples in data.values():
        weights: dict[int, float] = {}
        for trial in trials(seen, examples):
            trial_results = [_evaluated(given, *pair) for pair in (trial.whole, *trial.parts)]
            if any(numbers is None for numbers in trial_results):
                continue
            for what, place in (("sum", 0), ("weight", 1)):
                results = [numbers[place] for numbers in trial_results if numbers]
                whole, *values = map(float, results)
                _check_sum(name, what, len(trial.whole[1]), results, whole, values)
            whole, count = float(trial_results[0][1]), len(trial.whole[1])  # type: ignore[index]
            if name == "loss" and abs(weights.setdefault(count, whole) - whole) > 1e-6 * abs(whole):
                raise InvalidSetting(
                    f"loss_fn returned (sum, weight) with a weight that depends on the outputs ({weights[count]:.6g} "
                    f"and {whole:.6g} for the same targets): it must not depend on theta; compute it from the targets"
                )


def _check_sum(
    name: str, what: str, examples: int, results: Sequence[Tensor], whole: float, values: Sequence[float]
) -> None:
    """Refuse a sum or weight of the whole that is not the total over its parts."""
    if math.isfinite(whole) and not abs(whole - sum(values)) <= _slack(results, [whole, *values]):
        label = "loss_fn" if name == "loss" else name
        raise InvalidSetting(
            f"{label} returned (sum, weight) whose {what} over {examples} examples is {whole:.6g}, but "
            f"{sum(values):.6g} over two parts of them together: return sums over examples, not means"
        )


def _check_weight(loss: Mean, seen: Seen, examples: DataSet, name: str) -> None:
    """Refuse a set without any weight, whose loss would be 0 / 0."""
    if loss.kind != "ratio":
        return
    for part in examples.chunks(max(PROBE, len(seen.probe))):
        output = seen.output if len(part) == len(seen.probe) else noise_like(seen, len(part), 0)
        numbers = _evaluated(loss.sums, output, part.targets)
        if numbers is None or float(numbers[1]) != 0:
            return
    raise InvalidData(
        f"the {name} targets have no weight in loss_fn (all {len(examples)} examples are ignored, or weigh 0): its "
        "value would be 0 / 0; give examples that count"
    )
