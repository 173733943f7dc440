"""A problem from outside needs no class of ours: what it offers is taken, what it lacks is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.problem import Modular, PerExample, Predicting, Traceable
from weightstring.problem.surfaces import Spike
from weightstring.protocol import Along, Curved, Enclosed, Engined, Independent, LossProblem, Screened, lacking

LOSS = ("size", "dtype", "device", "quantities", "evaluation", "recipe", "train_size", "batch_size")


def showing(problem: LossProblem, *more: str) -> LossProblem:
    """A problem of no class of ours, with a loss's members, these and no others."""
    members = (*LOSS, "fingerprint", "measure", "gradient", *more)
    shown = {name: property(lambda _, name=name: getattr(problem, name)) for name in members}
    return type("Outsider", (), shown)()


@pytest.fixture
def module() -> ws.ModuleProblem:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    x = torch.randn(7, 2, dtype=torch.float64)
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, x.sum(1, keepdim=True)), engine="loop")


def test_a_module_offers_everything_but_an_enclosure_and_a_surface_that(module):
    offered = (LossProblem, Along, Screened, Independent, Curved, Engined, Traceable, Modular, PerExample, Predicting)
    assert all(isinstance(module, capability) for capability in offered)
    assert not isinstance(module, Enclosed)
    assert [capability for capability in (*offered, Enclosed) if isinstance(Spike(), capability)] == [
        LossProblem,
        Curved,
        Enclosed,
    ]


def test_what_shows_its_module_is_certified_and_verified_like_ours(module):
    ends = torch.stack([module.initial(1), module.initial(2)])
    ours, theirs = (ws.WeightString(own, ends) for own in (module, showing(module, "layout", "traceable")))
    certificate = ws.certify(theirs.problem, theirs, tol=0.1)
    assert certificate.upper_bound == ws.certify(module, ours, tol=0.1).upper_bound
    assert ws.verify(theirs.problem, theirs, certificate).ok


def test_what_bounds_itself_is_certified_and_verified():
    spike = Spike()
    problem = showing(spike, "upper_bounds", "loss")
    string = ws.WeightString(problem, torch.stack(spike.ends))
    certificate = ws.certify(problem, string, threshold=0.83)
    assert certificate.holds
    assert ws.verify(problem, string, certificate).ok


def test_what_shows_no_module_is_refused_by_the_members_it_lacks(module, refused):
    a, b = module.initial(1), module.initial(2)
    plain = showing(module, "layout", "traceable")
    with refused(
        ws.InvalidSetting,
        r"^align: no module to align: Outsider has no computation, .*, initial\(\), training_recipe: see .*Modular",
    ):
        ws.align(plain, a, b)
    with refused(ws.InvalidSetting, r"^align=True: no module to align: Outsider has no computation.*; leave align out"):
        ws.connect(plain, a, b, 9.0, align=True)
    string = ws.WeightString(showing(module), torch.stack([a, b]))
    with refused(
        ws.Unsupported, r"^Outsider has no traceable\(\), layout: see .*; nor upper_bounds\(\), loss\(\): see"
    ):
        ws.certify(string.problem, string)
    assert "no ensemble: this loss makes no predictions: Outsider has no measure_average()" in str(
        ws.merge(string.problem, string)
    )


def test_what_is_lacking_is_told_with_the_protocol_that_describes_it():
    assert lacking(3, Engined) == (
        "int has no engine_choice(), use_engine(), computing_by(): see weightstring.protocol.Engined"
    )
