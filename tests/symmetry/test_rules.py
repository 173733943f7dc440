"""Each operation's rule, attacked by itself; unification of axes, with answers known by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from weightstring.symmetry.axes import Axis, Cell, Label, factors, find, root, size_of
from weightstring.symmetry.finding import find as find_symmetry
from weightstring.symmetry.ties import Ties
from weightstring.testing.rules import check_symmetry_rule

from .test_finding import scaled
from .zoo import EXAMPLES, Case, Net, count, numbers, param, problem_of

HIDDEN = 6


def between(
    function: Callable[[Net, Tensor], Tensor],
    permutations: float | None,
    scales: tuple[int, int] | None = None,
    *,
    shape: tuple[int, ...] = (3,),
    first: nn.Module | None = None,
    last: nn.Module | None = None,
    **held: Any,
) -> Case:
    """A function of hidden units, 6 unless told otherwise, between two linear layers."""
    given = {"first": first or nn.Linear(3, HIDDEN), "last": last or nn.Linear(HIDDEN, 2)}
    return Case(
        lambda: Net(lambda self, x: self.last(function(self, self.first(x))), **given, **held),
        numbers(*shape),
        permutations,
        scales,
    )


def grid(function: Callable[[Tensor], Tensor], permutations: float | None, width: int = 12, rows: int = 4) -> Case:
    """A function of 12 hidden units as a matrix, each row permuted by itself until something mixes rows."""
    return between(
        lambda self, h: function(h.view(len(h), rows, -1)).flatten(1), permutations,
        first=nn.Linear(3, 12), last=nn.Linear(width, 2),
    )  # fmt: skip


def pictures(
    function: Callable[[Net, Tensor], Tensor], permutations: float | None, last: nn.Module, **held: Any
) -> Case:
    """A function of 4 channels of 4 × 4 numbers."""
    scales = held.pop("scales", None)
    return between(function, permutations, scales, shape=(2, 4, 4), first=nn.Conv2d(2, 4, 1), last=last, **held)


def tokens(function: Callable[[Net, Tensor], Tensor], permutations: float | None, *args: Any, **held: Any) -> Case:
    """A function of 6 hidden units at each of 4 places."""
    return between(function, permutations, *args, shape=(4, 3), **held)


def assigned(self: Net, h: Tensor) -> Tensor:
    whole = torch.ones(len(h), 9, dtype=h.dtype)
    whole[:, 1:7] = torch.relu(h)
    return whole


def features(*names: str) -> Callable[[Net, Tensor], Tensor]:
    """Several linear functions of the inputs, side by side."""
    return lambda self, x: torch.stack([getattr(self, name)(x) for name in names], 1)


def interactions(self: Net, x: Tensor) -> Tensor:
    side_by_side = features("one", "two", "three")(self, x)
    return self.last(torch.bmm(side_by_side, side_by_side.transpose(1, 2)).flatten(1))


def experts(self: Net, x: Tensor) -> Tensor:
    return (features("one", "two")(self, x) * self.gate(x).softmax(-1)[..., None]).sum(1)


def one_expert() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def table_of_places(self: Net, h: Tensor) -> Tensor:
    """Scores of two heads of width 3, with a table of relative places."""
    q = h.view(len(h), 4, 2, 3).transpose(1, 2)
    bias = self.table[torch.arange(16) % 7].view(4, 4, 2).permute(2, 0, 1)
    return (q @ self.keys.transpose(-1, -2) + bias).softmax(-1).flatten(2).sum(1)


def block(norm: nn.Module) -> Case:
    """One residual block, whose one weight has the groups of a normalisation on both axes."""
    return between(
        lambda self, h: h + self.inner(F.relu(self.norm(h))), count(2, (3, 2)), norm=norm, inner=nn.Linear(6, 6)
    )


def written_to_a_view(self: Net, h: Tensor) -> Tensor:
    """The first half, through a view, times the other half."""
    whole = h.relu() + 0.0  # what relu returned itself, its derivative needs unwritten
    whole[:, :3].mul_(h[:, 3:])
    return whole


def fused_outermost(self: Net, h: Tensor) -> Tensor:
    """Two heads of width 3, told apart by how far they look back."""
    q, k, v = self.qkv(h).view(len(h), 4, 2, 3, 3).permute(3, 0, 2, 1, 4)
    back = self.slopes.to(h.dtype)[:, None, None] * torch.arange(4)
    return ((q @ k.transpose(-1, -2) + back).softmax(-1) @ v).transpose(1, 2).reshape(len(h), 4, 6).sum(1)


def one_head_picked(self: Net, h: Tensor) -> Tensor:
    """Two heads of queries of width 3 share one of keys and one of values, picked from one product by lists."""
    fused = self.qkv(h).view(len(h), 4, 4, 3)
    q, k, v = (part.transpose(1, 2) for part in (fused[:, :, :2], fused[:, :, [-2]], fused[:, :, [-1]]))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(h), 4, 6).sum(1)


def folded(self: Net, h: Tensor) -> Tensor:
    """Each hidden unit's course over places as a picture of its own."""
    return self.conv(h.transpose(1, 2).reshape(-1, 1, 4)).mean((1, 2)).view(-1, HIDDEN)


def courses(self: Net, h: Tensor) -> Tensor:
    return self.cells(h.transpose(1, 2).reshape(-1, 4, 1))[0].mean((1, 2)).view(-1, HIDDEN)


SOUND: dict[str, Case] = {
    # A number that is broadcast along an axis lets no scale of that axis pass.
    "one number added": between(lambda self, h: torch.relu(h + self.shift), count(6), (0, 0), shift=param(1)),
    "a constant added": between(lambda self, h: torch.relu(h + torch.tensor(0.5)), count(6), (0, 0)),
    "a constant chosen": between(lambda self, h: torch.where(h > 9.0, h, h.new_tensor(1.0)), count(6), (0, 0)),
    "where a constant is": tokens(
        lambda self, h: torch.where(torch.ones(4, 1) > 0, h, h.new_tensor(1.0)), count(6), (0, 0)
    ),
    "the larger of it and a constant": between(lambda self, h: torch.maximum(h, h.new_tensor(0.3)), count(6), (0, 0)),
    "places mixed, with bias": tokens(
        lambda self, h: self.over(h.transpose(1, 2)).transpose(1, 2), count(6), (0, 0), over=nn.Linear(4, 5)
    ),
    "places mixed, without bias": tokens(
        lambda self, h: self.over(h.transpose(1, 2)).transpose(1, 2), count(6), (6, 6), over=nn.Linear(4, 5, bias=False)
    ),
    "a convolution of each unit": tokens(folded, count(6, 2), (0, 0), conv=nn.Conv1d(1, 2, 3)),
    "one gate for all units": between(
        lambda self, h: torch.relu(h) * torch.sigmoid(h.sum(1, keepdim=True)), count(6)
    ),
    # What is only nearly linear.
    "division, rounded": between(lambda self, h: torch.div(h, 2, rounding_mode="floor"), count(6), (0, 0)),
    "rounded to integers": between(lambda self, h: (2 * h).long().to(h.dtype), count(6), (0, 0)),
    "products along places": tokens(lambda self, h: h.cumprod(1), count(6), (0, 0)),
    "sums along places": tokens(lambda self, h: h.cumsum(1), count(6), (6, 6)),
    "sorted places": tokens(lambda self, h: h.sort(dim=1)[0], count(6)),
    "sorted units": between(lambda self, h: h.sort(dim=1)[0], 0.0),
    "prelu": between(lambda self, h: self.act(h), count(6), (6, 0), act=nn.PReLU(6)),
    # Recurrence along an axis: its order means something.
    "units as a course of time": between(
        lambda self, h: self.cells(h[..., None])[1][0][-1], count(4), (0, 0),
        cells=nn.LSTM(1, 4, batch_first=True), last=nn.Linear(4, 2),
    ),
    "units as a course of time, outputs": between(
        lambda self, h: self.cells(h[..., None])[0].mean(1), count(4), (0, 0),
        cells=nn.GRU(1, 4, batch_first=True), last=nn.Linear(4, 2),
    ),
    "units as a batch": tokens(courses, count(6, 4), (0, 0), cells=nn.RNN(1, 4, batch_first=True)),
    # Permutations that depend on a row, where rows are mixed.
    "rows rolled": grid(lambda h: h + h.roll(1, 1), count(3)),
    "rows flipped": grid(lambda h: h + h.flip(1), None),
    "rows summed up": grid(lambda h: h.cumsum(1).relu(), count(3)),
    "rows shifted": grid(lambda h: h + F.pad(h, (0, 0, 1, -1)), count(3)),
    "rows subtracted": grid(lambda h: h[:, 1:] - h[:, :-1], count(3), width=9),
    "rows sorted": grid(lambda h: h.sort(dim=1)[0], count(3)),
    "rows normalised each by itself": grid(lambda h: F.layer_norm(h, (3,)), count(4, (3, 4))),
    "columns normalised": grid(lambda h: F.instance_norm(h.transpose(1, 2)), count(3, (4, 3))),
    "groups of columns normalised": grid(lambda h: F.group_norm(h.view(-1, 3, 4).transpose(1, 2), 2), None),
    "softmax of columns": grid(lambda h: h.softmax(1), count(4, 3)),
    "softmax of rows": grid(lambda h: h.softmax(2), count(4, (3, 4))),
    "products of rows": grid(lambda h: h @ h.transpose(1, 2), count(4, 3), width=16),
    "products of rows, einsum": grid(lambda h: torch.einsum("nid,njd->nij", h, h), count(4, 3), width=16),
    "attention of rows": grid(lambda h: F.scaled_dot_product_attention(h, h, h), count(4, 3)),
    "differences of rows": grid(lambda h: (h[:, None] - h[:, :, None]).abs(), count(4, 3), width=48),
    "distances of rows": grid(lambda h: (h[:, None] - h[:, :, None]).square().sum(-1), count(4, 3), width=16),
    "transposed": grid(lambda h: h.relu().transpose(1, 2), None),
    "units shifted": between(lambda self, h: F.pad(h, (1, -1)), 0.0),
    "units padded": between(lambda self, h: F.pad(h, (1, 2)), None, last=nn.Linear(9, 2)),
    "products of units": between(
        lambda self, h: (h[:, None] * h[:, :, None]).flatten(1), count(6), last=nn.Linear(36, 2)
    ),
    # The same groups twice in one weight.
    "block, group norm": block(nn.GroupNorm(2, 6)),
    "block, grouped convolution": between(
        lambda self, h: self.conv((h + torch.tanh(self.inner(h)))[..., None])[..., 0], count(2, (3, 2), (3, 2)),
        inner=nn.Linear(6, 6), conv=nn.Conv1d(6, 6, 1, groups=2),
    ),
    "one weight twice": between(
        lambda self, h: F.relu(self.inner(F.relu(self.inner(h)))), count(6), (6, 0), inner=nn.Linear(6, 6)
    ),
    "a weight and its transpose": between(
        lambda self, h: F.linear(F.relu(F.linear(F.relu(h), self.w)), self.w.t()), count(6, 5), w=param(5, 6)
    ),
    # Stacks and concatenations.
    "stacked": Case(
        lambda: Net(lambda self, x: self.last(features("one", "two")(self, x).flatten(1)), one=nn.Linear(3, 4),
                    two=nn.Linear(3, 4), last=nn.Linear(8, 2)),
        numbers(3), count(4, 4), (8, 8),
    ),
    "stacked, then summed": Case(
        lambda: Net(lambda self, x: self.last(features("one", "two")(self, x).relu().sum(1)), one=nn.Linear(3, 4),
                    two=nn.Linear(3, 4), last=nn.Linear(4, 2)),
        numbers(3), count(4), (4, 0),
    ),
    "stacked with itself": between(lambda self, h: torch.stack([h, h], 2).flatten(1), count(6), last=nn.Linear(12, 2)),
    "interactions of features": Case(
        lambda: Net(interactions, one=nn.Linear(3, 5), two=nn.Linear(3, 5), three=nn.Linear(3, 5),
                    last=nn.Linear(9, 2)),
        numbers(3), count(5),
    ),
    "experts": Case(
        lambda: Net(experts, one=one_expert(), two=one_expert(), gate=nn.Linear(3, 2)), numbers(3), count(5, 5)
    ),
    "twice, as two heads": between(
        lambda self, h: self.inner(torch.cat([h, h], 1).view(-1, 2, 6)).flatten(1), count(6, 3),
        inner=nn.Linear(6, 3), last=nn.Linear(6, 2),
    ),
    "heads, twice, transposed": between(
        lambda self, h: torch.cat([h, h], 1).view(-1, 2, 6).transpose(1, 2).flatten(1), count(6), last=nn.Linear(12, 2)
    ),
    "halves exchanged after groups": between(
        lambda self, h: torch.cat(self.conv(h[..., None])[..., 0].chunk(2, 1)[::-1], 1), None,
        conv=nn.Conv1d(6, 6, 1, groups=2),
    ),
    # Symmetries that need a rule of their own.
    "the larger of two": between(
        lambda self, h: torch.max(h, self.other(h)), count(6), (6, 0), other=nn.Linear(6, 6)
    ),
    "a matrix times a vector": between(
        lambda self, h: torch.mv(h, self.v)[:, None], count(6), (6, 6), v=param(6), last=nn.Linear(1, 2)
    ),
    "a mask made in forward": tokens(
        lambda self, h: (h @ h.transpose(1, 2)).masked_fill(torch.tril(torch.ones(4, 4)) == 0, -1e9).softmax(-1) @ h,
        count(6),
    ),
    "a mask of infinities": tokens(
        lambda self, h: F.scaled_dot_product_attention(h, h, h, torch.full((4, 4), -torch.inf, dtype=h.dtype).triu(1)),
        count(6),
    ),
    "a place picked for each example": tokens(
        lambda self, h: h.relu()[torch.arange(len(h)), torch.arange(len(h)) % 4], count(6), (6, 0)
    ),
    "places picked": tokens(lambda self, h: h.relu()[:, [0, 2]].mean(1), count(6), (6, 0)),
    "every second place": tokens(lambda self, h: h.relu()[:, ::2].mean(1), count(6), (6, 0)),
    "a table of places": tokens(
        table_of_places, count(2, (3, 2)), table=param(7, 2), keys=param(2, 4, 3), last=nn.Linear(16, 2)
    ),
    "maxout": between(
        lambda self, h: h.view(-1, 3, 2).max(2)[0], count(3, (2, 3)), (3, 0), last=nn.Linear(3, 2)
    ),
    "channels made flat": pictures(
        lambda self, h: h.relu().flatten(1), count(4), nn.Linear(64, 2), scales=(4, 0)
    ),
    "channels enlarged": pictures(
        lambda self, h: F.interpolate(h, scale_factor=2, mode="bilinear").relu(), count(4), nn.Conv2d(4, 2, 2),
        scales=(4, 0),
    ),
    "gated by its other half": between(
        lambda self, h: F.glu(h), count(6), (6, 6), first=nn.Linear(3, 12)
    ),
    "weights of a batch of networks": Case(
        lambda: Net(
            lambda self, x: torch.bmm(torch.relu(torch.bmm(x.expand(2, -1, -1), self.first)), self.last).sum(0),
            first=param(2, 3, 5), last=param(2, 5, 2),
        ),
        numbers(3), count(2, (5, 2)),
    ),
    "weight norm": between(
        lambda self, h: self.inner(h.relu()), count(6, 6), inner=nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
    ),
    # Operations number by number, and those that are none in evaluation.
    **{
        f"number by number, {name}": between(lambda self, h, f=f: f(h), count(6), scales)
        for name, f, scales in (
            ("hardswish", F.hardswish, (0, 0)), ("log sigmoid", F.logsigmoid, (0, 0)), ("mish", F.mish, (0, 0)),
            ("softsign", F.softsign, (0, 0)), ("celu", F.celu, (0, 0)), ("square", torch.square, (0, 0)),
            ("reciprocal", torch.reciprocal, (0, 0)), ("abs", torch.abs, (6, 0)),
            ("root", lambda h: h.abs().sqrt(), (0, 0)), ("cube", lambda h: h**3, (0, 0)),
            ("clamp", lambda h: h.clamp(-1, 1), (0, 0)), ("alpha dropout", lambda h: F.alpha_dropout(h), (6, 6)),
            ("dropout of features", lambda h: F.feature_alpha_dropout(h[..., None])[..., 0], (6, 6)),
            ("dropout of channels", lambda h: F.dropout2d(h[..., None, None], training=False)[..., 0, 0], (6, 6)),
            ("dropout of volumes", lambda h: F.dropout3d(h[(..., *(None,) * 3)], training=False).flatten(1), (6, 6)),
            ("dropout of courses", lambda h: F.dropout1d(h[..., None], training=False)[..., 0], (6, 6)),
        )
    },
    # Functions of all units, whatever their order.
    **{
        f"of all units, {name}": between(lambda self, h, f=f: torch.relu(h) * f(h), count(6), (0, 0))
        for name, f in (
            ("cosine similarity", lambda h: F.cosine_similarity(h, h.roll(1, 0))[:, None]),
            ("pairwise distance", lambda h: F.pairwise_distance(h, h.roll(1, 0), keepdim=True)),
            ("median", lambda h: h.median(1, keepdim=True)[0]),
            ("kth value", lambda h: h.kthvalue(2, 1, keepdim=True)[0]),
            ("smallest and largest", lambda h: torch.aminmax(h, dim=1, keepdim=True)[1]),
            ("variance and mean", lambda h: torch.var_mean(h, 1, keepdim=True)[1]),
            ("logsumexp", lambda h: h.logsumexp(1, keepdim=True)),
        )
    },
    "differences of places": tokens(lambda self, h: h.diff(dim=1).relu(), count(6), (6, 0)),
    "differences of units": between(lambda self, h: h.diff(dim=1, prepend=h[:, :1]), 0.0),
    "sums along places, logarithmic": tokens(lambda self, h: h.logcumsumexp(1), count(6), (0, 0)),
    "axes exchanged": tokens(lambda self, h: h.swapaxes(1, 2).swapdims(1, 2).relu(), count(6), (6, 0)),
    "bilinear": between(
        lambda self, h: self.both(torch.tanh(h), torch.relu(self.other(h))), count(6, 5, 4), (9, 10),
        other=nn.Linear(6, 5), both=nn.Bilinear(6, 5, 4), last=nn.Linear(4, 2),
    ),
    "bilinear of one": between(
        lambda self, h: self.both(h, h), count(6, 4), (10, 10), both=nn.Bilinear(6, 6, 4), last=nn.Linear(4, 2)
    ),
    "pixels unshuffled": pictures(
        lambda self, h: F.pixel_unshuffle(h.relu(), 2), count(4), nn.Conv2d(16, 2, 2), scales=(4, 0)
    ),
    "spectral norm": between(
        lambda self, h: self.inner(h.relu()), count(6, 6), (0, 0),
        inner=nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
        last=nn.utils.parametrizations.spectral_norm(nn.Linear(6, 2)),
    ),
    "written to a view": between(written_to_a_view, None),
    # Heads outermost in one product for queries, keys and values.
    "fused heads outermost, each with its own place": tokens(
        fused_outermost,
        None,
        qkv=nn.Linear(6, 18),
        slopes=torch.tensor([0.5, 0.25]),
        last=nn.Linear(6, 2),
    ),
    "one head of keys, picked": tokens(one_head_picked, None, qkv=nn.Linear(6, 12), last=nn.Linear(6, 2)),
    "numbers assigned": between(assigned, count(6, 2), last=nn.Linear(9, 2)),
}  # fmt: skip


@pytest.fixture(scope="module", params=SOUND)
def case(request) -> Case:
    return SOUND[request.param]


@pytest.fixture(scope="module")
def problem(case):
    return case.problem()


@pytest.mark.many(quick=10)
def test_the_symmetry_is_right_and_nothing_of_it_is_lost(case, problem):
    check_symmetry_rule(problem)
    symmetry = find_symmetry(problem)
    if case.permutations is not None:
        assert symmetry.log10_permutations == pytest.approx(case.permutations, abs=1e-9)
    if case.scaled is not None:
        assert scaled(symmetry) == case.scaled


def test_max_of_a_bag_keeps_no_signs():
    net = nn.Sequential(nn.EmbeddingBag(11, 4, mode="max"), nn.Linear(4, 2))
    problem = problem_of(net, torch.randint(11, (EXAMPLES, 3)))
    assert [group.negative for group in find_symmetry(problem).scales.groups.values()] == [False]


# Unification of axes


@pytest.fixture
def ties() -> Ties:
    return Ties()


@pytest.fixture
def scales() -> Ties:
    return Ties(rescaling=True)


def sizes(axis: Axis) -> list[int]:
    return [cell.size for cell, _ in factors(axis)]


def roots(axis: Axis) -> list:
    return [root(cell) for cell, _ in factors(axis)]


def frozen(axis: Axis) -> bool:
    return all(cell.fixed for cell, _ in factors(axis))


def parts(axis: Axis) -> list[int]:
    ((cell, _),) = factors(axis)
    return [part.size for part, _ in cell.parts or ()]


def leaves(axis: Axis) -> list[int]:
    """The lengths of what is cut no further."""
    found = [cell for cell, _ in factors(axis)] or [Cell(1)]
    cut = [[size for part in cell.parts or () for size in leaves((part,))] or [cell.size] for cell in found]
    return [size for sizes_of_one in cut for size in sizes_of_one]


def test_axes_that_are_the_same_share_a_root(ties):
    one, two, three = (ties.fresh(6) for _ in range(3))
    ties.same(one, two)
    ties.same(two, three)
    assert roots(one) == roots(three)
    assert not frozen(one)


def test_what_is_tied_to_a_fixed_axis_is_fixed(ties):
    one, two = ties.fresh(6), ties.fresh(6)
    ties.same(one, two)
    ties.same(two, ties.fixed(6))
    assert frozen(one)


def test_a_view_makes_a_product_of_an_axis(ties):
    whole = ties.fresh(12)
    heads, width = ties.regroup([whole], [3, 4])
    assert (sizes(whole), sizes(heads), sizes(width)) == ([3, 4], [3], [4])
    assert roots(whole) == roots(heads) + roots(width)
    assert root(heads[0][0]) in {root(outer) for outer in root(width[0][0]).outers}


def test_a_view_and_back_is_the_same_axis(ties):
    whole = ties.fresh(24)
    (again,) = ties.regroup(ties.regroup([whole], [2, 3, 4]), [24])
    assert roots(again) == roots(whole)
    assert sizes(again) == [2, 3, 4]


def test_views_that_nest_refine_each_other(ties):
    whole = ties.fresh(12)
    ties.regroup([whole], [2, 6])
    ties.regroup([whole], [6, 2])
    assert sizes(whole) == [2, 3, 2]
    assert not frozen(whole)


def test_views_that_do_not_nest_fix_the_axis(ties):
    whole = ties.fresh(6)
    ties.regroup([whole], [2, 3])
    found = ties.regroup([whole], [3, 2])
    assert frozen(whole)
    assert [frozen(axis) for axis in found] == [True, True]


def test_axes_of_length_one_are_no_factors(ties):
    first, second, third = ties.regroup([ties.fresh(6)], [1, 6, 1])
    assert (sizes(first), sizes(second), sizes(third)) == ([], [6], [])
    assert [size_of(axis) for axis in (first, second, third)] == [1, 6, 1]


def test_products_are_tied_factor_by_factor(ties):
    one, two = ties.fresh(12), ties.fresh(12)
    heads, width = ties.split(one, 3)
    ties.same(one, two)
    assert roots(two) == roots(heads) + roots(width)


def test_products_that_do_not_fit_are_fixed(ties):
    one, two = ties.fresh(6), ties.fresh(6)
    ties.split(one, 2)
    ties.split(two, 3)
    ties.same(one, two)
    assert frozen(one)
    assert frozen(two)


def test_a_slice_cuts_an_axis_in_parts(ties):
    whole = ties.fresh(7)
    one, two = (label.axes[0] for label in ties.sliced(Label((whole,)), 0, [0, 3, 7]))
    assert parts(whole) == [3, 4]
    assert (sizes(one), sizes(two)) == ([3], [4])
    assert roots(one) != roots(two)


def test_slices_at_other_bounds_cut_the_parts_again(ties):
    whole = ties.fresh(7)
    ties.sliced(Label((whole,)), 0, [0, 3, 7])
    middle = ties.run(Label((whole,)), 0, 2, 5).axes[0]
    assert parts(whole) == [2, 1, 2, 2]
    assert parts(middle) == [1, 2]


def test_equal_slices_are_one_axis(ties):
    whole = ties.fresh(7)
    one, two = (ties.run(Label((whole,)), 0, 2, 5).axes[0] for _ in range(2))
    assert roots(one) == roots(two)


def test_a_concatenation_has_the_parts_that_were_joined(ties):
    one, two = ties.fresh(3), ties.fresh(4)
    whole = ties.joined([one, two])
    back = [label.axes[0] for label in ties.sliced(Label((whole,)), 0, [0, 3, 7])]
    assert (size_of(whole), parts(whole)) == (7, [3, 4])
    assert [roots(axis) for axis in back] == [roots(one), roots(two)]


def test_a_concatenation_of_one_is_itself(ties):
    one = ties.fresh(3)
    assert ties.joined([one]) == one


def test_concatenations_that_are_tied_are_cut_at_each_others_bounds(ties):
    one = ties.joined([ties.fresh(3), ties.fresh(4)])
    two = ties.joined([ties.fresh(5), ties.fresh(2)])
    ties.same(one, two)
    assert roots(one) == roots(two)
    assert parts(one) == [3, 2, 2]
    assert not frozen(one)


def test_halves_that_are_exchanged_are_tied(ties):
    whole = ties.fresh(8)
    one, two = (label.axes[0] for label in ties.sliced(Label((whole,)), 0, [0, 4, 8]))
    ties.same(whole, ties.joined([two, one]))
    assert roots(one) == roots(two)
    assert not frozen(one)


def test_a_slice_shifted_by_one_ties_all_units(ties):
    whole = ties.fresh(4)
    label = Label((whole,))
    ties.same(ties.run(label, 0, 1, 4).axes[0], ties.run(label, 0, 0, 3).axes[0])
    assert leaves(whole) == [1, 1, 1, 1]


def test_a_cut_through_the_middle_of_a_product_fixes_it(ties):
    whole = ties.fresh(6)
    ties.split(whole, 2)
    one, two = (label.axes[0] for label in ties.sliced(Label((whole,)), 0, [0, 2, 6]))
    assert frozen(whole)
    assert frozen(one)
    assert frozen(two)


def test_each_part_of_a_cut_outer_cell_has_a_member_of_its_own(ties):
    qkv = ties.fresh(12)
    three, width = ties.split(qkv, 3)
    pieces = ties.sliced(Label((three, width)), 0, [0, 1, 2, 3])
    members = [roots(label.axes[1]) for label in pieces]
    assert [len(member) for member in members] == [1, 1, 1]
    assert len({id(member[0]) for member in members}) == 3


def test_a_cut_before_and_after_a_view_gives_the_same_members(ties):
    qkv = ties.fresh(12)
    before = [label.axes[0] for label in ties.sliced(Label((qkv,)), 0, [0, 4, 8, 12])]
    three, width = ties.split(qkv, 3)
    after = [label.axes[1] for label in ties.sliced(Label((three, width)), 0, [0, 1, 2, 3])]
    assert [roots(axis) for axis in before] == [roots(axis) for axis in after]


def test_inverses_multiply(scales):
    one, two, three = (scales.fresh(5) for _ in range(3))
    scales.inverse(one, two)
    scales.inverse(two, three)
    base = find(*one[0])
    assert find(*three[0]) == base
    assert find(*two[0]) == (base[0], -base[1])
    assert (base[0].positive, base[0].negative) == (True, True)


def test_what_is_its_own_inverse_keeps_signs_alone(scales):
    one, two = scales.fresh(5), scales.fresh(5)
    scales.same(one, two)
    scales.inverse(one, two)
    cell = root(one[0][0])
    assert (cell.positive, cell.negative, cell.fixed) == (False, True, False)


def test_an_odd_cycle_of_inverses_keeps_signs_alone(scales):
    axes = [scales.fresh(5) for _ in range(3)]
    for one, two in ((0, 1), (1, 2), (2, 0)):
        scales.inverse(axes[one], axes[two])
    cell = root(axes[0][0][0])
    assert (cell.positive, cell.negative) == (False, True)


def test_the_inverse_of_a_product_is_the_product_of_inverses(scales):
    one, two = scales.fresh(6), scales.fresh(6)
    scales.split(one, 2)
    scales.inverse(one, two)
    ahead, behind = factors(one), factors(two)
    assert [cell for cell, _ in ahead] == [cell for cell, _ in behind]
    assert [exponent for _, exponent in ahead] == [-exponent for _, exponent in behind]


def test_restrictions_hold_for_all_that_is_tied_and_all_parts(scales):
    one, two = scales.fresh(6), scales.fresh(6)
    pieces = [label.axes[0] for label in scales.sliced(Label((one,)), 0, [0, 2, 6])]
    scales.restrict(two, positive=True)
    scales.same(one, two)
    assert [(root(axis[0][0]).positive, root(axis[0][0]).negative) for axis in pieces] == [(True, False)] * 2


def test_freezing_reaches_parts_and_members(ties):
    three, width = ties.split(ties.fresh(12), 3)
    pieces = ties.sliced(Label((three, width)), 0, [0, 1, 2, 3])
    ties.freeze(width)
    assert [frozen(label.axes[1]) for label in pieces] == [True] * 3


def test_tensors_side_by_side_are_a_family(ties):
    one, two = ties.fresh(5), ties.fresh(5)
    outer, inner = ties.family([one, two])
    pieces = ties.sliced(Label((outer, inner)), 0, [0, 1, 2])
    assert [roots(label.axes[1]) for label in pieces] == [roots(one), roots(two)]
