"""Results as they are looked at: HTML in a notebook, plots, tables."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.notebook import VIEWS, view_of
from weightstring.problem.surfaces import Ring
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
        "Components": ws.Components(torch.zeros(3, dtype=torch.float64), rise, rise, "exact"),
        "Repaired": ws.repair(problem, models),
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


def test_what_is_printed_fits_a_screen(shown):
    for value in shown.values():
        for text in (str(value), repr(value)):
            assert text.count("\n") < 40
            assert len(text) < 4000
