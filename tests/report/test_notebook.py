"""Results as they are looked at: HTML in a notebook, plots, tables."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.notebook import VIEWS, view_of
from weightstring.problem.surfaces import Ring
from weightstring.runs.facts import facts
from weightstring.study.lines import Line, Lines
from weightstring.study.merging import Ensemble, Merging, Point
from weightstring.tasks import load_task

RING = Ring()
A, B = RING.ends


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """One result of each kind."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 2, generator=generator)
    net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    problem = ws.ModuleProblem(net, torch.nn.functional.mse_loss, (x, x[:, :1]), engine="loop")
    models = [problem.initial(seed) for seed in range(3)]
    line = ws.WeightString(problem, torch.stack(models[:2]))
    rise = torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]], dtype=torch.float64)
    first, last, middle = (Point(s, {"loss": loss}) for s, loss in ((0.0, 0.1), (1.0, 0.2), (0.5, 0.15)))
    mean = Ensemble("probabilities", "predictions", {"loss": 0.1}, (first, last))
    return {
        "Result": ws.connect(RING, A, B, 0.2, progress=False),
        "Minimax": ws.minimax(RING, A, B, progress=False, stop=ws.MaxSteps(200)),
        "WeightString": line,
        "Certificate": ws.certify(problem, line),
        "Aligned": ws.align(problem, *models[:2]),
        "Merging": Merging((first, last), middle, middle, mean, None, "evaluate", None),
        "Blame": ws.blame(problem, *models[:2]),
        "Matrix": ws.matrix(problem, models, align=True),
        "Atlas": ws.atlas(RING, [A, B, A * 0.99], searches=0, progress=False),
        "Components": ws.Components(torch.zeros(3, dtype=torch.float64), rise, rise, "exact"),
        "Repaired": ws.repair(problem, models),
        "Mergeability": ws.mergeable(problem, models, align=False),
        "Suggestion": ws.suggest_threshold(problem, *models[:2]),
        "Sweep": ws.sweep(load_task("polynomial"), [0.1], pairs=2, progress=False),
    }


@pytest.mark.parametrize("name", VIEWS)
def test_every_result_shows_itself(name, shown):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="plots need matplotlib")
    value = shown[name]
    ElementTree.fromstring(value._repr_html_())  # whole, and well-formed
    assert "http" not in value._repr_html_().replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    for figure in view_of(value).figures:
        axes = value.plot(figure)
        assert axes.has_data()
        pyplot.close(axes.figure)


@pytest.mark.parametrize("name", VIEWS)
def test_every_result_becomes_a_table(name, shown):
    pytest.importorskip("pandas", reason="tables need pandas")
    table = shown[name].to_pandas()
    assert len(table) > 0


def test_a_table_of_a_string_holds_its_samples(shown):
    pytest.importorskip("pandas", reason="tables need pandas")
    string = shown["WeightString"]
    assert tuple(string.to_pandas()["loss"]) == tuple(string.curve.values["loss"])


def test_a_plot_is_drawn_on_axes_that_are_given(shown):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="plots need matplotlib")
    figure, axes = pyplot.subplots()
    assert shown["Result"].plot("loss", axes=axes) is axes
    assert shown["Result"].plot("loss", axes=axes) is axes  # a second one beside it
    pyplot.close(figure)


def test_an_unknown_figure_is_answered_by_those_there_are(shown):
    with pytest.raises(InvalidSetting, match=r"no figure 'los' here: choose one of loss, .*string"):
        shown["Result"].plot("los")


@pytest.fixture(scope="module")
def all_printed(shown: dict[str, object]) -> dict[str, object]:
    """One of every kind of result that the public calls return, large where size could show."""
    line, certificate = shown["WeightString"], shown["Certificate"]
    problem, heights = line.problem, torch.rand(60, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    models = [problem.initial(seed) for seed in range(3)]
    names, straight = (
        tuple(f"model-{k:02}" for k in range(40)),
        Line(length=1.0, t=(0.0, 1.0), values={"loss": (0.1, 0.2)}),
    )
    pairs = {(i, j): Lines(given=straight) for i in range(40) for j in range(i + 1, 40)}
    many = ws.Matrix(names, ({"loss": 0.1},) * 40, pairs)
    heights = (heights + heights.T + 1).fill_diagonal_(0.0)
    stuck = ws.connect(RING, A, B, 1e-9, stop=ws.MaxBeads(8), progress=False)
    return shown | {
        "stuck": stuck,
        "outcome": stuck.outcome,
        "curve": stuck.string.curve,
        "line": ws.connect(problem, models[0], models[0] + 0.01, 9.0, progress=False),
        "many models": many,
        "many joins": ws.Components(torch.zeros(60, dtype=torch.float64), heights, heights, "exact"),
        "Verification": ws.verify(problem, line, certificate),
        "Symmetry": shown["Aligned"].move.symmetry,
        "Plane": ws.plane(problem, line, 5, through=models[:3]),
        "Maximum": ws.locate_maximum(problem, *models[:2]),
        "Estimate": ws.estimate(problem, *models[:2]),
        "Diagnosis": ws.diagnose(problem),
        "compared": ws.compare(
            RING, A, B, 0.2, strategies={f"greedy {k}": ws.Greedy() for k in range(12)}, shorten=False
        ),
        "problem": problem,
        "strategy": ws.Persistent(),
    }


def test_what_is_printed_fits_a_screen_of_24_lines_and_80_columns(all_printed):
    for name, value in all_printed.items():
        for text in (str(value), repr(value)):
            assert sum(max(1, -(-len(row) // 80)) for row in text.splitlines()) <= 24, name


def test_a_printed_result_gives_the_advice_that_the_command_line_gives(all_printed):
    stuck = all_printed["stuck"]
    assert stuck.remedy
    assert f"what to try: {stuck.remedy}" in str(stuck)
    assert dict(facts(stuck))["what to try"] == stuck.remedy
