"""The page of an aligned run: what was done to the second model, what it brought, and nothing of it elsewhere."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import msgspec
import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.path import Evidence, Unresolved
from weightstring.report.draw import correlation as drawing
from weightstring.report.draw.two_strings import two_strings_figure
from weightstring.report.run import page
from weightstring.report.run.data import RunData
from weightstring.report.run.replay import read_evolution
from weightstring.store import RunDirectory
from weightstring.store.alignment_record import AlignedGroup, AlignmentRecord, CandidateRecord
from weightstring.store.records import Manifest, ResultRecord
from weightstring.tasks import load_task

Run = tuple[Manifest, ResultRecord, torch.Tensor]
Runs = dict[str, Run]
MakeRun = Callable[..., Run]


def group(name: str, units: int, *, observed: bool = True, over: tuple[str, ...] = ()) -> AlignedGroup:
    return AlignedGroup(
        name=name,
        size=units,
        over=over,
        permutation=tuple(reversed(range(units))),
        moved=units - units % 2,
        correlation_before=tuple(0.5 * math.sin(3 * unit) for unit in range(units)) if observed else (),
        correlation=tuple(1 - 0.7 * (unit / units) ** 2 for unit in range(units)) if observed else (),
    )


def record(*groups: AlignedGroup, **changes: object) -> AlignmentRecord:
    one = AlignmentRecord(
        method="activations",
        by="barrier",
        rescaled=True,
        distance_before=17.0625,
        distance=12.03125,
        barrier_before=1.40625,
        barrier=0.09375,
        difference=1.6e-7,
        examples=253,
        log10_permutations=178.203125,
        seconds=0.34375,
        candidates=(
            CandidateRecord(method="none", rescaled=False, distance=17.0625, barrier=1.40625),
            CandidateRecord(method="weights", rescaled=False, distance=11.5, barrier=0.125),
            CandidateRecord(method="activations", rescaled=True, distance=12.03125, barrier=0.09375),
        ),
        groups=groups or (group("layers.0", 37), group("layers.2", 5)),
        factors={"layers.2": (0.5, 1.0, 1.0, 3.5, 1.0)},
        original="ef" * 32,
    )
    return msgspec.structs.replace(one, **changes)


def render(one: Run, alignment: AlignmentRecord | None = None, plain: ResultRecord | None = None) -> str:
    return page.render(RunData(*one, None, alignment, plain))


def words(html: str) -> str:
    visible = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", visible).split()))


def shown(html: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    figures: dict[str, list[dict[str, object]]] = json.loads(found[1])["drawn"]
    return figures


@pytest.mark.slow
def test_only_the_page_of_an_aligned_run_speaks_of_alignment(runs: Runs) -> None:
    without, html = render(runs["connected"]), render(runs["connected"], record())
    for mark in ('<section id="alignment">', 'id="figure-correlation"'):
        assert mark not in without
        assert html.count(mark) == 1
    assert shown(without).keys() == {"along", "string", "depth"}
    assert shown(html).keys() == {"along", "string", "depth", "correlation"}
    assert "aligned copy" not in words(without)
    assert render(runs["connected"], record()) == html


def test_it_says_where_the_string_ends(runs: Runs) -> None:
    text = words(render(runs["connected"], record()))
    assert "The string ends in the aligned copy of B, whose function is B's" in text
    assert "outputs of B and of the copy on 253 inputs is 1.6e-07 , relative to the largest output" in text
    assert "End A End B, aligned" in text
    assert "B as given " + "ef" * 32 in text
    stayed = words(render(runs["connected"], record(method="none", rescaled=False)))
    assert "The string ends in B as it was given: no aligned copy was better" in stayed
    assert "End B, aligned" not in stayed


def test_every_number_is_the_records(runs: Runs) -> None:
    alignment = record()
    html = render(runs["connected"], alignment)
    numbers = [alignment.distance_before, alignment.distance, alignment.barrier_before, alignment.barrier]
    numbers += [alignment.difference, alignment.log10_permutations, alignment.seconds, 0.5, 3.5]
    numbers += [value for each in alignment.candidates for value in (each.distance, each.barrier)]
    values = [value for one in alignment.groups for value in one.correlation]
    given = [value for one in alignment.groups for value in one.correlation_before]
    for own in (
        values,
        given,
        *(each for one in alignment.groups for each in (one.correlation, one.correlation_before)),
    ):
        numbers.append(math.fsum(own) / len(own))
    for number in numbers:
        assert f'<data value="{number!r}"' in html
    text = words(html)
    assert "matched by the correlations of their activations (Li et al. 2015) and rescaled; of 3 candidates" in text
    assert "the lowest barrier of the straight line at its ends and middle" in text
    assert "10 178.2 permutations of units" in text
    assert "activations, taken yes 12.0312 0.09375" in text
    assert text.count(", taken") == 1
    assert f"goes from {sum(given) / 42:.3f} to {sum(values) / 42:.3f} ; it rests on 42 units and 253 inputs" in text
    assert "layers.0 37 36" in text
    assert "thin strokes the units of groups of fewer than 10" in text


def test_a_barrier_of_few_points_and_a_tie_are_named_so(runs: Runs) -> None:
    same = tuple(msgspec.structs.replace(each, barrier=0.5) for each in record().candidates)
    assert [record(candidates=same).tied, record(candidates=same, by="distance").tied, record().tied] == [
        True,
        False,
        False,
    ]
    text = words(render(runs["connected"], record(candidates=same, points=4)))
    assert "evaluation loss at 4 points − the mean of the ends" in text
    assert "all have the same barrier, so the middle of the line decided" in text


def test_the_search_without_alignment_has_its_column(runs: Runs, make_run: MakeRun) -> None:
    outcome = Unresolved(
        reason="descent_failed",
        evidence=Evidence(
            segment=(0, 1), end_losses=(0.1, 0.1), max_per_depth=(), open_per_depth=(), retries=0, lowest_loss=None
        ),
    )
    plain = msgspec.structs.replace(make_run(13, outcome=outcome)[1], steps=77_031, seconds=9.5)
    html = render(runs["connected"], record(), plain)
    text = words(html)
    assert "Search: verdict unresolved (descent failed) connected" in text
    assert "Beads, ends counted 13 9" in text
    assert "Gradient steps 77,031 18,600" in text
    assert "Seconds of search 9.5 1.26" in text
    assert "not searched" not in text
    for one in (plain, runs["connected"][1]):
        assert f'<data value="{one.string.normalized_length!r}"' in html
    curves = {trace["name"]: trace for trace in shown(html)["both"][0]["data"]}
    assert set(curves) == {"as given", "aligned", "threshold 0.0625"}
    assert curves["as given"]["y"] == list(plain.string.curve.values["loss"])
    assert curves["aligned"]["y"] == list(runs["connected"][1].string.curve.values["loss"])
    assert curves["as given"]["line"]["dash"] == "dash"
    alone = render(runs["connected"], record())
    assert "Search: verdict not searched connected" in words(alone)
    assert 'id="figure-both"' not in alone


def test_both_strings_are_drawn_by_what_the_threshold_binds(runs: Runs, make_run: MakeRun) -> None:
    one, plain = make_run(5, bind="both"), runs["null"][1]
    with pytest.raises(InvalidRun, match="without alignment binds 'evaluate', the run binds 'both'; pass the two"):
        render(one, record(), plain)
    values = plain.string.curve.values
    figure = two_strings_figure(runs["connected"][1], plain, "evaluation loss")
    crosses = next(trace for trace in figure.data if trace.name == "as given: not finite")
    assert len(crosses.x) == values["loss"].count(None) == 3
    tops = two_strings_figure(one[1], one[1], "larger").data[0].y
    columns = one[1].string.curve.values
    assert tops == tuple(map(max, columns["loss"], columns["train_loss"]))
    assert "larger of evaluation loss and training loss" in render(one, record(), one[1])


def test_a_barrier_that_is_not_finite_is_named_so(runs: Runs) -> None:
    alignment = record(
        barrier_before=None, candidates=(CandidateRecord(method="none", rescaled=False, distance=1.0, barrier=None),)
    )
    text = words(render(runs["connected"], alignment))
    assert "− the mean of the ends not finite 0.09375" in text
    assert "left as given no 1 not finite" in text


@pytest.mark.parametrize("groups", [(), (group("0", 6, observed=False),)])
def test_without_correlations_a_sentence_stands_for_the_figure(groups: tuple[AlignedGroup, ...], runs: Runs) -> None:
    alignment = record(groups=groups, factors={})
    html = render(runs["connected"], alignment)
    assert drawing.correlation_figure(alignment.groups) is None
    assert "correlation" not in shown(html)
    assert 'id="figure-correlation"' not in html
    assert "No figure: the activations of units were not observed" in words(html)
    assert ("not observed" in words(html).split("so there are no correlations")[1]) == bool(groups)


def test_hostile_names_stay_text(runs: Runs) -> None:
    hostile = "<a href='https://example.org'>x</a></script><script>alert(1)</script>"
    html = render(runs["connected"], record(group(hostile, 12, over=(hostile,)), factors={hostile: (2.0,)}))
    assert "<script>alert" not in html
    assert "<a href='https://example" not in html
    traces = shown(html)["correlation"][0]
    assert "<a" not in str(traces)
    assert "&lt;a href='https://example.org'&gt;x&lt;/a&gt;" in str(traces)


@pytest.mark.slow
def test_the_figure_draws_every_group_on_its_side(runs: Runs) -> None:
    wide = group("wide", 1000)
    figure = drawing.correlation_figure(record(group("few", 3), wide, group("unseen", 4, observed=False)).groups)
    assert figure is not None
    assert figure.layout.yaxis.ticktext == ("few", "wide")
    halves = [trace for trace in figure.data if trace.type == "violin"]
    assert [(set(trace.y), trace.side) for trace in halves] == [({1}, "negative"), ({1}, "positive")]
    assert len({trace.scalegroup for trace in halves}) == 2
    for trace, own in zip(halves, (wide.correlation_before, wide.correlation), strict=True):
        assert len(trace.x) == drawing.SHOWN
        assert (min(trace.x), max(trace.x)) == (min(own), max(own))
        assert sum(trace.x) / len(trace.x) == pytest.approx(sum(own) / len(own), abs=0.01)
    strokes = [trace for trace in figure.data if trace.name == "units" and trace.type == "scatter"]
    assert [trace.x for trace in strokes] == [group("few", 3).correlation_before, group("few", 3).correlation]
    means = {trace.name: trace.x for trace in figure.data if trace.name.endswith("mean")}
    assert means["aligned: mean"] == pytest.approx([sum(own) / len(own) for own in (strokes[1].x, wide.correlation)])
    many = record(*(group(str(i), 2) for i in range(drawing.MOST + 7)))
    drawn = drawing.correlation_figure(many.groups)
    assert drawn is not None
    assert len(drawn.layout.yaxis.ticktext) == drawing.MOST
    assert f"only the first {drawing.MOST} groups are drawn" in words(render(runs["connected"], many))
    assert "only the first" not in words(render(runs["connected"], record()))


def test_long_names_keep_the_numbers_that_tell_them_apart() -> None:
    names = [f"encoder.layers.{i}.self_attention.{end}" for i in range(30) for end in ("heads", "out_projection")]
    figure = drawing.correlation_figure(record(*(group(name, 2) for name in names)).groups)
    assert figure is not None
    labels = figure.layout.yaxis.ticktext
    assert len(set(labels)) == len(names)
    assert max(map(len, labels)) <= drawing.NAME
    ends = ("attention.query_key_value", "attention.query_key_value#2", "attention.query_key_value#3")
    several = [f"gpt_neox.layers.{i}.{end}" for i in range(12) for end in ends]
    figure = drawing.correlation_figure(record(*(group(name, 2) for name in several)).groups)
    assert figure is not None
    assert len(set(figure.layout.yaxis.ticktext)) == len(several)
    endless = drawing.correlation_figure(record(group(".".join(["part"] * 20 + ["7"]), 2)).groups)
    assert endless is not None
    assert endless.layout.yaxis.ticktext[0].endswith(".7")
    assert len(endless.layout.yaxis.ticktext[0]) == drawing.NAME


@pytest.mark.slow
def test_a_report_is_written_from_the_run_directory(tmp_path: Path) -> None:
    problem = load_task("digits", {"width": "12", "depth": "1"})
    a, b = (problem.fit(seed=seed, until=0.9) for seed in (3, 4))
    run = RunDirectory(tmp_path / "run")
    found = ws.connect(problem, a, b, 1.0, align="both", store=run.path)
    assert found.alignment is not None
    html = ws.write_report(run.path).read_text()
    args = run.manifest(), run.result(), run.string(), None, run.alignment()
    evolution = read_evolution(run, *args[:3])
    assert html == page.render(RunData(*args, run.plain.result(), evolution, place="run"))
    assert f'<data value="{found.alignment.distance!r}"' in html
    assert 'id="figure-both"' in html
    plain = ws.write_report(run.plain.path).read_text()
    assert 'id="alignment"' not in plain
    (run.plain.path / "result.json").rename(run.plain.path / "kept.json")
    assert ws.write_report(run.path).read_text() == page.render(RunData(*args, evolution=evolution, place="run"))
    (run.plain.path / "kept.json").rename(run.plain.path / "result.json")
    other = msgspec.structs.replace(found.alignment, original="00" * 32)
    (run.path / "alignment.json").write_bytes(msgspec.json.encode(other))
    with pytest.raises(InvalidRun, match="plain: not a run between the models that were aligned; move it elsewhere"):
        ws.write_report(run.path)
