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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.data import Examples
from weightstring.problem.known import recognised, understood
from weightstring.problem.means import Given, Kind, Mean
from weightstring.problem.outputs import form_of, gathered, leaves_of, rebuilt, tensors_of
from weightstring.problem.sighted import applied, sees
from weightstring.randomness import generator

PROBE = 64
"""Examples on which a check runs."""

NOISES = 3
"""Outputs made of noise for the probe; one more has as many examples as the set."""

TRIED_BYTES = 2**25
"""What outputs made of noise may take; of a set with larger ones, fewer examples are tried."""

ROUNDING = 256
"""Units of rounding by which parts may miss the whole."""

PASSES = 1e-3
"""How far, relatively, a net's output for an example may depend on how many are beside it, as rounding goes."""


FAR = 3.0
"""Noise of so many times a model's own size."""

LEAST = 0.1
"""Noise of a model that is next to 0."""

CLEAR = 100.0
"""How many times the rounding two parts have to differ in the net's own passes, of which there are few."""


class Study(NamedTuple):
    """What was found out.

    Args:
        means: the criteria by name.
        one_piece: whether a whole set has to go through the net at once, as outputs depend on those beside them.
    """

    means: dict[str, Mean]
    one_piece: bool


class Seen(NamedTuple):
    """The net's output on a probe as a whole and in two parts.

    Args:
        probe: sorted by target.
        output: of all of it.
        parts: its two parts and their outputs.
        rows: how many rows each tensor of an output has for one example; 0: it does not grow with their number.
        elsewhere: the same at a θ far from there, where outputs have parts that are not those of single examples.
    """

    probe: Examples
    output: object
    parts: tuple[tuple[Examples, object], ...]
    rows: tuple[int, ...]
    elsewhere: Seen | None = None

    @property
    def mixes(self) -> bool:
        """Whether the output for an example depends on those beside it."""
        return not self._same_form or any(
            not _agree(*pair) for pair, count in zip(self._pairs(), self.rows, strict=True) if count
        )

    @property
    def separate(self) -> bool:
        """Whether outputs of parts, put together, are the output of the whole, at every θ that was tried."""
        own = not self.mixes and all(self._constant(i) for i, count in enumerate(self.rows) if not count)
        return own and (self.elsewhere is None or self.elsewhere.separate)

    @property
    def shares(self) -> bool:
        """Whether some numbers of an output are no single example's."""
        leaves = zip(leaves_of(self.output), self.rows, strict=True)
        return any(isinstance(leaf, Tensor) and leaf.is_floating_point() and not count for leaf, count in leaves)

    def _constant(self, place: int) -> bool:
        """Whether a leaf that has no rows for examples is the same in every pass."""
        first, *others = (leaves_of(output)[place] for output in (self.output, *(own for _, own in self.parts)))
        return all(_identical(first, other) for other in others)

    @property
    def _same_form(self) -> bool:
        return all(form_of(output) == form_of(self.output) for _, output in self.parts)

    def _pairs(self) -> list[tuple[object, object]]:
        together = gathered([output for _, output in self.parts], self.rows)
        return list(zip(leaves_of(self.output), leaves_of(together), strict=True))


Net: TypeAlias = Callable[[Examples], object]
"""A module in evaluation mode at some θ."""


def look(net: Net, probe: Examples, output: object, elsewhere: Net | None = None) -> Seen:
    """Take a probe in two unequal parts too.

    Args:
        net: the module.
        probe: examples that spread over a set's targets.
        output: the module's for all of the probe.
        elsewhere: the same module at a θ far away; tried only if an output has parts, such as a loss computed inside,
            that are no single example's, so that a net's passes alone tell what they mean.
    """
    cut = max(1, len(probe) // 3)
    pieces = [probe.take(slice(cut)), probe.take(slice(cut, None))] if len(probe) > 1 else [probe]
    outputs = [output, *(net(piece) for piece in pieces)]
    leaves = [leaves_of(output) for output in outputs]
    sizes = [len(piece) for piece in (probe, *pieces)]
    alike = len({len(own) for own in leaves}) == 1
    rows = tuple(_rows(column, sizes) for column in zip(*leaves, strict=True)) if alike else (0,) * len(leaves[0])
    seen = Seen(probe, outputs[0], tuple(zip(pieces, outputs[1:], strict=True)), rows)
    if elsewhere is None or seen.mixes or not seen.shares:
        return seen
    return seen._replace(elsewhere=look(elsewhere, probe, elsewhere(probe)))


def _rows(column: Sequence[object], sizes: Sequence[int]) -> int:
    counts = {
        len(leaf) / size if isinstance(leaf, Tensor) and leaf.ndim else 0.0
        for leaf, size in zip(column, sizes, strict=True)
    }
    return int(min(counts)) if len(counts) == 1 and float(min(counts)).is_integer() else 0


def far_from(theta: Theta) -> Theta:
    """A model far from another, of whose outputs no two are alike."""
    noise = torch.randn(theta.shape, generator=generator(0, "a model far away"), dtype=torch.float64)
    size = max(FAR * float(theta.double().square().mean().sqrt()), LEAST)
    return theta + (size * noise).to(theta)


def sorted_by_target(examples: Examples, most: int) -> Tensor:
    """Rows of at most so many examples, spread over the targets and sorted by them."""
    order = examples.targets.reshape(len(examples), -1).double().mean(dim=1).argsort(stable=True)
    count = min(most, len(examples))
    # The first and the last are among them: the largest class, and what is ignored by a negative number.
    return order[torch.linspace(0, len(order) - 1, count, dtype=torch.float64, device=order.device).round().long()]


def study(criteria: Mapping[str, Given], seen: Seen, data: Mapping[str, Examples]) -> Study:
    """Find out each criterion's kind.

    Args:
        criteria: by name, ``"loss"`` among them.
        seen: see :func:`look`.
        data: the sets by name.

    Raises:
        InvalidSetting: (sum, weight) that do not add up, or a loss's weight that depends on the outputs.
        InvalidData: a set in which nothing has a weight.
    """
    means = {name: _mean(name, given, seen, data) for name, given in criteria.items()}
    for name, examples in data.items():
        _check_weight(means["loss"], seen, examples, name)
    # Outputs of which a part is no single example's cannot be put together.
    return Study(means, seen.mixes or not (seen.separate or all(mean.adds for mean in means.values())))


def _mean(name: str, given: Given, seen: Seen, data: Mapping[str, Examples]) -> Mean:
    if sees(given):
        return _sighted(name, given, seen)
    loss = recognised(given)
    sets = [examples.targets for examples in data.values()]
    if loss is not None and (known := understood(loss, seen.output, sets, len(seen.probe))) is not None:
        return Mean(given, known, loss if known == "ratio" else None)
    with torch.no_grad():
        if isinstance(given(seen.output, seen.probe.targets), tuple | list):
            _check_sums(name, given, seen, data)
            return Mean(given, "ratio")
    kinds = {kind for examples in data.values() if (kind := _tried(given, seen, examples)) is not None}
    return Mean(given, kinds.pop() if len(kinds) == 1 else "whole", rows=seen.rows)


def _sighted(name: str, given: Given, seen: Seen) -> Mean:
    """A metric that sees inputs: noise has none, so what it returns of the net's own outputs alone says what it is."""
    with torch.no_grad():
        found = [applied(given, output, part) for part, output in ((seen.probe, seen.output), *seen.parts)]
    if not isinstance(found[0], tuple | list):
        return Mean(given, "whole", rows=seen.rows)
    for what, place in (("sum", 0), ("weight", 1)):
        results = [torch.as_tensor(pair[place]).detach().cpu() for pair in found]
        whole, *values = map(float, results)
        _check_sum(name, what, len(seen.probe), results, whole, values)
    return Mean(given, "ratio")


class _Trial(NamedTuple):
    """Outputs and targets, whole and in parts; and how many times the rounding parts must differ to tell what adds."""

    whole: tuple[object, Tensor]
    parts: list[tuple[object, Tensor]]
    clear: float = 1.0


def _trials(seen: Seen, examples: Examples) -> Iterator[_Trial]:
    """The net's own outputs on the probe, then noise, then noise for the whole set."""
    if seen.elsewhere is not None and not seen.separate:
        for one in (seen, seen.elsewhere):
            parts = [(output, part.targets) for part, output in one.parts]
            yield _Trial((one.output, one.probe.targets), parts, math.inf if one is seen else CLEAR)
        return
    targets = examples.targets[sorted_by_target(examples, len(seen.probe))]
    yield _cut(_taken(seen.output, slice(0, len(targets)), seen.rows), targets, seen.rows)
    for seed in range(NOISES):
        yield _cut(_noise(seen, len(targets), seed), targets, seen.rows)
    most = max(len(seen.probe), TRIED_BYTES // max(1, 8 * _numbers(seen)))
    targets = examples.targets[sorted_by_target(examples, most)]
    yield _cut(_noise(seen, len(targets), NOISES), targets, seen.rows)


def _numbers(seen: Seen) -> int:
    return sum(leaf.numel() for leaf in tensors_of(seen.output)) // len(seen.probe)


def _cut(output: object, targets: Tensor, rows: Sequence[int]) -> _Trial:
    cut = max(1, len(targets) // 3)
    places = [slice(0, cut), slice(cut, len(targets))] if len(targets) > 1 else [slice(0, 1)]
    return _Trial((output, targets), [(_taken(output, place, rows), targets[place]) for place in places])


def _taken(output: object, place: slice, rows: Sequence[int]) -> object:
    """The output for some of the examples."""
    own = [
        leaf[place.start * count : place.stop * count] if count and isinstance(leaf, Tensor) else leaf
        for leaf, count in zip(leaves_of(output), rows, strict=True)
    ]
    return rebuilt(output, own)


def _noise(seen: Seen, examples: int, seed: int) -> object:
    """An output as the net might give it for so many examples, drawn in the domain of its own."""
    draw = generator(seed, "outputs made of noise")
    order = torch.randint(len(seen.probe), (examples,), generator=draw, device="cpu")
    leaves = leaves_of(seen.output)

    def drawn(leaf: object, count: int) -> object:
        if not isinstance(leaf, Tensor) or not count:
            return leaf
        own = leaf.reshape(-1, count, *leaf.shape[1:])[order.to(leaf.device)].flatten(0, 1)
        return perturbed(own, draw) if own.is_floating_point() else own

    return rebuilt(seen.output, [drawn(leaf, count) for leaf, count in zip(leaves, seen.rows, strict=True)])


def perturbed(output: Tensor, draw: torch.Generator) -> Tensor:
    """Noise in place of an output, in the same domain: distributions, their logarithms, [0, 1], positive numbers.

    >>> found = perturbed(torch.full((2, 4), 0.25), torch.Generator().manual_seed(0))
    >>> found.sum(1), bool((found > 0).all())
    (tensor([1., 1.]), True)
    """
    noise = torch.randn(output.shape, generator=draw, dtype=torch.float32, device="cpu").to(
        output.device, torch.float64
    )
    own = output.detach().double()
    finite = own.isfinite()
    if not bool(finite.any()):
        return output
    low, high = float(own[finite].min()), float(own[finite].max())
    scale = max(1.0, float((own[finite] - own[finite].mean()).square().mean().sqrt()))
    made = own + scale * (noise + 0.3)
    if low >= 0:
        made = noise.sigmoid() if high <= 1 else (own + 0.1 * scale) * noise.exp()
    elif high <= 0:
        made = own * noise.exp()
    for axis in (1, -1) if own.ndim > 1 and bool(finite.all()) else ():
        if low >= 0 and bool(((own.sum(axis) - 1).abs() < PASSES).all()):
            made = (3 * noise).softmax(axis)
        elif high <= PASSES and bool((own.logsumexp(axis).abs() < PASSES).all()):
            made = (3 * noise).log_softmax(axis)
    return torch.where(finite, made, own).to(output.dtype)  # −∞ is a mask


def _evaluated(given: Given, output: object, targets: Tensor) -> tuple[Tensor, ...] | None:
    """A criterion's numbers, computed in float64 where it can be; None where it cannot take such outputs."""
    for convert in (_double, lambda x: x):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = given(rebuilt(output, map(convert, leaves_of(output))), convert(targets))
                values = found if isinstance(found, tuple | list) else (found,)
                return tuple(torch.as_tensor(value).detach().cpu() for value in values)
        except Exception:  # constants in float32, or whatever a stranger's loss raises of noise
            continue
    return None


def _double(leaf: object) -> object:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _tried(given: Given, seen: Seen, examples: Examples) -> Kind | None:
    """What a criterion is on a set; None where the trials do not say."""
    left: list[Kind] = ["mean", "sum"]
    told = False
    for trial in _trials(seen, examples):
        found = [_evaluated(given, *pair) for pair in (trial.whole, *trial.parts)]
        if any(one is None or len(one) != 1 for one in found):
            continue
        whole, *values = (float(one[0]) for one in found if one)
        if not math.isfinite(whole) and not all(map(math.isfinite, values)):
            continue
        slack = _slack([one[0] for one in found if one], [whole, *values])
        share = [len(targets) / len(trial.whole[1]) for _, targets in trial.parts]
        sums = {"mean": sum(s * value for s, value in zip(share, values, strict=True)), "sum": sum(values)}
        left = [kind for kind in left if abs(whole - sums[kind]) <= slack]
        # Where all are alike, as zeros are, nothing is learnt.
        told = told or max(values) - min(values) > slack * trial.clear
    if not left:
        return "whole"
    return left[0] if told and len(left) == 1 else None


def _slack(results: Sequence[Tensor], values: Sequence[float]) -> float:
    """The difference that rounding explains: a number that is no tensor may have been computed in float32."""
    coarse = max((torch.finfo(x.dtype).eps if x.is_floating_point() else 0.0) for x in results)
    scale = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(ROUNDING * max(coarse, torch.finfo(torch.float64).eps), 0.05) * scale


def _check_sums(name: str, given: Given, seen: Seen, data: Mapping[str, Examples]) -> None:
    """Refuse (sum, weight) that do not add up, or whose weight depends on a loss's outputs."""
    for examples in data.values():
        weights: dict[int, float] = {}
        for trial in _trials(seen, examples):
            found = [_evaluated(given, *pair) for pair in (trial.whole, *trial.parts)]
            if any(one is None for one in found):
                continue
            for what, place in (("sum", 0), ("weight", 1)):
                results = [one[place] for one in found if one]
                whole, *values = map(float, results)
                _check_sum(name, what, len(trial.whole[1]), results, whole, values)
            whole, count = float(found[0][1]), len(trial.whole[1])  # type: ignore[index]
            if name == "loss" and abs(weights.setdefault(count, whole) - whole) > 1e-6 * abs(whole):
                raise InvalidSetting(
                    f"loss_fn returned (sum, weight) with a weight that depends on the outputs ({weights[count]:.6g} "
                    f"and {whole:.6g} for the same targets): it must not depend on theta; compute it from the targets"
                )


def _check_sum(
    name: str, what: str, examples: int, results: Sequence[Tensor], whole: float, values: Sequence[float]
) -> None:
    """Refuse a sum or a weight of all that is not the sum of those of parts."""
    if math.isfinite(whole) and not abs(whole - sum(values)) <= _slack(results, [whole, *values]):
        label = "loss_fn" if name == "loss" else name
        raise InvalidSetting(
            f"{label} returned (sum, weight) whose {what} over {examples} examples is {whole:.6g}, but "
            f"{sum(values):.6g} over two parts of them together: return sums over examples, not means"
        )


def _check_weight(loss: Mean, seen: Seen, examples: Examples, name: str) -> None:
    """Refuse a set in which nothing has a weight, over which a loss is 0 / 0."""
    if loss.kind != "ratio":
        return
    for part in examples.chunks(max(PROBE, len(seen.probe))):
        own = seen.output if len(part) == len(seen.probe) else _noise(seen, len(part), 0)
        found = _evaluated(loss.sums, own, part.targets)
        if found is None or float(found[1]) != 0:
            return
    raise InvalidData(
        f"the {name} targets have no weight in loss_fn (all {len(examples)} examples are ignored, or weigh 0): its "
        "value would be 0 / 0; give examples that count"
    )


def _identical(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return one is other or (isinstance(one, int | float | str | bool | None) and one == other)


def _agree(one: object, other: object) -> bool:
    """Whether two tensors are the same up to the rounding of passes of other sizes."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return _identical(one, other)
    if one.shape != other.shape:
        return False
    if not one.is_floating_point() and not one.is_complex():
        return torch.equal(one, other)
    exact = torch.equal(one, other)
    finite = one[one.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    tolerance = max(PASSES, 10 * torch.finfo(one.dtype).eps) * scale
    return exact or bool(torch.isclose(one, other, rtol=0, atol=tolerance, equal_nan=True).all())
