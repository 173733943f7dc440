"""A quantity's name tells its data set and its metric, however these are called."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.path.quantities import holdout_prefixes, set_prefixes, split_quantity
from weightstring.report.run.data import read_run
from weightstring.report.run.page import RUN_SECTIONS
from weightstring.report.section import drawings

NAMES = st.sampled_from(["error", "top5", "val_loss", "loss_x", "f1", "a_b", "rate"])
SETS = st.sampled_from(["holdout", "shifted", "a", "b_c", "x_loss", "error_set"])


@given(st.sets(NAMES, max_size=3), st.sets(SETS, max_size=3), st.booleans())
def test_names_are_taken_apart_as_they_were_put_together(metrics: set[str], sets: set[str], train: bool) -> None:
    bare = ["loss", *sorted(metrics)]
    prefixes = ["", *(["train_"] if train else []), *(f"{name}_" for name in sorted(sets))]
    known = [prefix + metric for prefix in prefixes for metric in bare]
    if len(set(known)) < len(known) or (bare[:2] == ["loss", "val_loss"] and len(bare) == 2):
        return  # refused, or a metric that is called as a set's loss beside no other metric
    assert list(set_prefixes(known)) == prefixes
    for prefix in prefixes:
        for metric in bare:
            assert split_quantity(prefix + metric, known) == (prefix, metric)
    assert list(holdout_prefixes(known)) == [own for own in prefixes if own not in ("", "train_")]


def test_a_train_loss_alone_is_the_training_sets() -> None:
    # Bound, while the other curves of the training set were left out.
    known = ("loss", "error", "train_loss")
    assert split_quantity("train_loss", known) == ("train_", "loss")


def _error(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((output - targets).abs() > 0.3).double().mean()


def _line(slope: float, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1.0, 1.3, count).unsqueeze(1)
    return x, torch.tanh(slope * x)


def _problem(**settings: object) -> ws.ModuleProblem:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    recipe = ws.Recipe("adam", {"lr": 0.02})
    settings = {"metrics": {"error": _error}, "batch_size": None, "recipe": recipe, "engine": "stack", **settings}
    return ws.ModuleProblem(net, nn.functional.mse_loss, _line(2.0, 11), _line(2.0, 7), **settings)


def test_named_sets_are_measured_bound_kept_and_drawn(tmp_path) -> None:
    problem = _problem(holdout={"steep": _line(2.5, 9), "flat": _line(1.5, 5)})
    assert problem.quantities[-4:] == ("steep_loss", "steep_error", "flat_loss", "flat_error")
    a, b = (problem.fit(seed, until=0.05, quantity="steep_loss") for seed in (1, 2))
    for name, data in (("steep", _line(2.5, 9)), ("flat", _line(1.5, 5))):
        x, y = data
        net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
        net.load_state_dict(problem.unflatten(a))
        with torch.no_grad():
            expected = [float(nn.functional.mse_loss(net(x), y)), float(_error(net(x), y))]
        measured = problem.measure(a[None], (f"{name}_loss", f"{name}_error"))
        assert [float(value) for value in measured.values()] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    result = ws.connect(problem, a, b, 0.051, bind="steep_loss", store=tmp_path, progress=False)
    assert result.names == ("steep_loss",)
    assert result.largest == result.string.barrier("max", "steep_loss")
    assert ws.load(tmp_path).largest == result.largest
    along = {drawing.name: drawing.figure for drawing in drawings(RUN_SECTIONS, read_run(tmp_path))}
    names = ["evaluation", "training", "steep", "flat"]
    assert [line.name for line in along["along-error"].data][:4] == [f"{name} error" for name in names]
    colours = {line.line.color for line in along["along-loss"].data if line.name in [f"{name} loss" for name in names]}
    assert len(colours) == 4
    told = ws.merge(problem, result.string).held_out
    assert told is not None
    assert [line.split(":")[0] for line in told.splitlines()] == ["steep loss", "flat loss"]


def test_one_set_by_itself_is_called_holdout_as_ever() -> None:
    plain, named = _problem(holdout=_line(2.5, 9)), _problem(holdout={"holdout": _line(2.5, 9)})
    assert plain.quantities == named.quantities
    assert plain.fingerprint() == named.fingerprint() != _problem(holdout={"steep": _line(2.5, 9)}).fingerprint()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"holdout": {"top 5": _line(1.0, 3)}}, "holdout set 'top 5': name it by an identifier"),
        ({"holdout": {"train": _line(1.0, 3)}}, "holdout set 'train'"),
        ({"holdout": {"train_2": _line(1.0, 3)}}, "does not begin with 'train_'"),
        ({"holdout": {3: _line(1.0, 3)}}, "holdout set 3"),
        ({"holdout": {"a": _line(1.0, 3), "a_b": _line(1.0, 4)}}, "holdout sets 'a' and 'a_b'"),
        (
            {"holdout": {"steep": _line(1.0, 3)}, "metrics": {"steep_error": _error}},
            "begin with 'train_' or 'holdout_' or",
        ),
        ({"holdout": {"steep": _line(1.0, 3)}, "metrics": {"steep": _error}}, "metric name 'steep'"),
    ],
)
def test_names_that_could_be_taken_for_others_are_refused(settings, said) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        _problem(**settings)
    assert "\n" not in str(caught.value)
