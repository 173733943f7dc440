"""The page and the files of a sweep say what its table says, count every pair, and ask the network for nothing."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import weightstring as ws
from weightstring.cli.main import build_parser, main
from weightstring.cli.options.strategy import OPTIONS
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.report.draw.chart import Chart, ticks
from weightstring.report.draw.chart_figure import chart_figure
from weightstring.report.draw.static import drawn as by_matplotlib
from weightstring.report.sweep import means
from weightstring.report.sweep.command import FLAGS, repeating
from weightstring.report.sweep.data import SweepData, read_sweep, summary_csv
from weightstring.report.sweep.page import SWEEP_SECTIONS, export_figures, render_sweep, write_sweep_report
from weightstring.report.sweep.sections import barrier, beads, length, share, string
from weightstring.report.sweep.sections import line as straight
from weightstring.search import BreadthFirst, Greedy, MaxBeads, MaxSteps, Shortened
from weightstring.search.strategies import plain
from weightstring.store.records import TaskRef
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.plan import variants
from weightstring.study.sweep.records import SweepRecord, VariantRecord
from weightstring.study.sweep.summary import beads_law, summarised
from weightstring.study.sweep.table import Row, as_csv
from weightstring.tasks import load_task
from weightstring.testing import check_section

LEVELS = (0.1, 0.03, 0.004)


def row(variant: str = "width=4", threshold: float = 0.1, pair: int = 0, **changes: Any) -> Row:
    k = pair + 1
    own = Row(
        variant=variant, parameters=33 if variant == "width=4" else 97, threshold=threshold, bind="loss", pair=pair,
        seed_a=2 * pair, seed_b=2 * pair + 1, outcome="connected", reason="", beads=2 + k * round(0.3 / threshold),
        beads_before_pruning=9, length=3.5 * k, distance=3.25, normalized_length=1 + 0.03125 * k / threshold**0.2,
        normalized_length_weights=1 + 0.0273 * k, end_a=0.9 * threshold, end_b=0.8 * threshold,
        largest=0.97 * threshold, largest_low=0.91 * threshold, largest_high=1.07 * threshold,
        barrier_max=0.97 * threshold, barrier_over_ends=0.07 * threshold * k, barrier_over_mean=0.12 * threshold * k,
        barrier_over_linear=0.1 * threshold * k, line_over_mean=0.04 * k, gradients=1000 * k + 7, evaluations=345,
        seconds=0.625,
    )  # fmt: skip
    return replace(own, **changes)


def record(
    names: Sequence[str] = ("width=4", "width=16"), levels: Sequence[float] = LEVELS, **changes: Any
) -> SweepRecord:
    own = SweepRecord(
        format=1, versions={"weightstring": "0.1.0", "torch": "2.13.0"}, thresholds=tuple(levels), pairs=4, bind="loss",
        ends="carried", seed=5, tries=20, strategy=plain(Greedy()), stop=[{"rule": "MaxBeads", "count": 256}],
        variants=tuple(VariantRecord(name=name, options={}, task=None, problem="5f0c" * 16) for name in names),
    )  # fmt: skip
    return msgspec.structs.replace(own, **changes)


def swept(rows: Sequence[Row] | None = None, **changes: Any) -> SweepData:
    """A sweep of two variants, two of whose pairs are not connected, unless told otherwise."""
    if rows is None:
        names = changes["record"].variants if "record" in changes else record().variants
        rows = [row(own.name, level, pair) for own in names for level in LEVELS for pair in range(4)]
        rows[9] = replace(rows[9], outcome="unresolved", reason="max_beads", normalized_length=7.5)
        rows[-1] = replace(rows[-1], outcome="disconnected")
    known: dict[str, Any] = {"record": record(), "failed": {}, "trivial": {}}
    return SweepData(rows=tuple(rows), **(known | changes))


def words(html: str) -> str:
    visible = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", visible).split()))


def drawn(html: str) -> dict[str, list[dict[str, Any]]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    panels: dict[str, list[dict[str, Any]]] = json.loads(found[1])["drawn"]
    return panels


def charts(own: SweepData) -> dict[str, Chart]:
    sections = length, beads, share, straight, barrier, string
    return {chart.name: chart for section in sections for chart in section.charts(own)}


def downloads(html: str) -> dict[str, str]:
    links = re.findall(r'download="(\S+)" href="data:text/csv;charset=utf-8;base64,([^"]*)"', html)
    return {name: base64.b64decode(content).decode() for name, content in links}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was computed: one variant of the polynomial task, two thresholds, two pairs."""
    path = tmp_path_factory.mktemp("sweep") / "swept"
    task = TaskRef(name="polynomial", options={"target": "quadratic"})
    forms = variants(task, {"width": ["4"]})
    ws.sweep({forms[0].name: load_task("polynomial", {"target": "quadratic", "width": "4"})}, [0.1, 0.05], pairs=2,
             store=path, progress=False, variants=forms)  # fmt: skip
    return path


def test_every_number_of_the_tables_is_the_summarys_and_the_rows() -> None:
    own = swept()
    html = render_sweep(own)
    for one in summarised(own.rows, {}, 5):
        assert one in own.summary
        for interval in (one.connected, *one.means.values(), one.line_over_mean):
            for number in interval:
                assert f'<data value="{number!r}"' in html
    for each in own.rows:
        for name in ("normalized_length", "normalized_length_weights", "largest_high", "line_over_mean", "gradients"):
            assert f'<data value="{getattr(each, name)!r}"' in html


def test_the_figures_draw_the_means_of_connected_pairs_and_the_points_of_all() -> None:
    own = swept()
    for name, column in (("length-all", "normalized_length"), ("length-weights", "normalized_length_weights")):
        chart = charts(own)[name]
        for look, variant in enumerate(("width=4", "width=16")):
            mean = next(one for one in chart.series if one.kind == "mean" and one.name == variant)
            rows = [each for each in own.rows if each.variant == variant and each.connected]
            expected = [
                np.mean([getattr(each, column) for each in rows if each.threshold == level]) for level in LEVELS
            ]
            assert mean.x == LEVELS
            assert mean.y == pytest.approx(expected, rel=1e-14)
            assert all(low <= y <= high for low, y, high in zip(mean.low, mean.y, mean.high, strict=True))
            points = next(one for one in chart.series if one.kind == "pairs" and one.look == look)
            assert points.y == tuple(getattr(each, column) for each in rows)
        crosses = [one for one in chart.series if one.kind == "open"]
        assert [y for one in crosses for y in one.y] == [getattr(own.rows[9], column), getattr(own.rows[-1], column)]
        assert [one.name for one in crosses] == ["not connected", ""]
        assert "crosses: the 2 not connected" in chart.sentence
    lowest = own.of("width=16")[-1].means["normalized_length"]
    assert f"width=16: {lowest.value:.4g} [{lowest.low:.4g}, {lowest.high:.4g}] at 0.004 (3 pairs)" in charts(own)[
        "length-all"
    ].sentence  # fmt: skip


def test_the_power_law_is_the_tables() -> None:
    own = swept()
    chart = charts(own)["beads"]
    assert chart.x_log
    assert chart.y_log
    fits = [one for one in chart.series if one.kind == "fit"]
    for fit, variant in zip(fits, ("width=4", "width=16"), strict=True):
        law = beads_law([each for each in own.rows if each.variant == variant], 5)
        assert law is not None
        assert fit.x == (0.004, 0.1)
        slope = math.log(fit.y[1] / fit.y[0]) / math.log(fit.x[1] / fit.x[0])
        assert slope == pytest.approx(law.exponent.value, rel=1e-12)
        told = f"{variant}: −{-law.exponent.value:.4g} [−{-law.exponent.low:.4g}, −{-law.exponent.high:.4g}], 11 pairs"
        assert told in chart.sentence


def test_pairs_that_are_not_connected_are_counted_everywhere() -> None:
    own = swept()
    html = render_sweep(own)
    text = words(html)
    places = [text.index(f"{variant} 0.1 0 connected") for variant in ("width=4", "width=16")]
    assert places == sorted(places)  # in the order that was asked for, not the alphabet's
    assert "24 pairs of networks of 2 variants at 3 thresholds, 0.1 to 0.004: 22 of 24 pairs connected (91.7 %" in text
    assert text.count("1 unresolved, 1 disconnected by proof") == 2  # in the headline and below the figure of shares
    assert '<section class="verdict open"' in html
    assert "unresolved (max beads)" in text
    chart = charts(own)["connected"]
    shares = {(one.kind, one.look): one for one in chart.series}
    assert shares["mean", 0].y == (1.0, 1.0, 0.75)
    assert shares["unresolved", 0].y == (0.0, 0.0, 0.25)
    assert shares["disconnected", 1].y == (0.0, 0.0, 0.25)
    assert len(shares) == 4  # and no line of zeros
    wilson = own.of("width=4")[-1].connected
    assert (shares["mean", 0].low[-1], shares["mean", 0].high[-1]) == (wilson.low, wilson.high)
    assert shares["mean", 0].texts[-1] == "width=4, threshold 0.004\n3 of 4 pairs connected, 1 unresolved"


def test_the_straight_line_is_drawn_against_width_over_all_pairs() -> None:
    own = swept()
    chart = charts(own)["line"]
    assert chart.x_title == "width"
    assert [one.x for one in chart.series] == [(4.0, 16.0)] * 3
    assert chart.series[-1].y == pytest.approx((0.1, 0.1))
    assert chart.x_ticks == (4.0, 16.0)
    renamed = swept(record=record(("small", "large")))
    assert charts(renamed)["line"].x_title == "variant"  # of one size: their names are all that tells them apart
    assert charts(renamed)["line"].categories == ("small", "large")
    sized = swept([replace(each, parameters=10 if each.variant == "small" else 20) for each in renamed.rows],
                  record=renamed.record)  # fmt: skip
    assert charts(sized)["line"].x_title == "parameters"
    assert charts(sized)["line"].series[0].x == (10.0, 20.0)


def test_links_hold_the_whole_table_and_the_summary() -> None:
    own = swept()
    files = downloads(render_sweep(own))
    assert files["table.csv"] == as_csv(own.rows)
    assert files["summary.csv"] == summary_csv(own.summary)
    told = list(csv.DictReader(io.StringIO(files["summary.csv"])))
    assert len(told) == 6
    for line, one in zip(told, own.summary, strict=True):
        assert (line["variant"], float(line["threshold"])) == (one.variant, one.threshold)
        assert float(line["beads_high"]) == one.means["beads"].high
        assert float(line["connected_low"]) == one.connected.low
        assert int(line["unresolved"]) == one.unresolved


def test_the_page_is_one_file_and_a_pure_function() -> None:
    html = render_sweep(swept())
    assert html == render_sweep(swept())
    links = re.findall(
        r'\b(?:src|href|srcset|action)="([^"]*)"', re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    )
    assert all(link.startswith("data:") for link in links)
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html
    ours = [
        script
        for script in re.findall(r"<script\b[^>]*>(.*?)</script>", html, re.DOTALL)
        if "plotly.js v" not in script
    ]
    assert not any(re.search(r"https?://|@import|url\(", script) for script in ours)
    for name, figures in drawn(html).items():
        assert f'id="figure-{name}"' in html
        assert html.count(f'name="{name}"') == (len(figures) if len(figures) > 1 else 0)
    assert {name: len(figures) for name, figures in drawn(html).items()} == {
        "length": 2, "beads": 1, "share": 1, "line": 1, "barrier": 4
    }  # fmt: skip


def test_hostile_names_stay_text() -> None:
    hostile = "</script><img src=x onerror=alert(1)>$\\frac$"
    names = (hostile, "b")
    own = swept(record=record(names), trivial={hostile: {"best <b>": 0.05}, "b": {"best <b>": 0.06}},
                failed={(hostile, 0.004): (8, 9)})  # fmt: skip
    html = render_sweep(own)
    assert "<img" not in re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    assert hostile in words(html.replace("&lt;", "\0")).replace("\0", "<")
    for figures in drawn(html).values():
        for figure in figures:
            for trace in figure["data"]:
                assert "<img" not in json.dumps(trace)
            assert "<b>" not in json.dumps(figure["layout"])
    assert "&lt;/script&gt;&lt;img" in json.dumps(drawn(html)["length"][0]["data"])


def test_one_threshold_and_one_variant() -> None:
    own = swept([row("all", 0.03, pair) for pair in range(3)], record=record(("all",), (0.03,), pairs=3))
    text = words(render_sweep(own))
    assert "3 pairs of networks at threshold 0.03: 3 of 3 pairs connected" in text
    assert "No power law is fitted: that takes connected pairs at two thresholds." in text
    assert "all:" not in text
    assert "line" not in charts(own)
    assert "are missing" not in text
    for chart in charts(own).values():
        low, high = chart.x_ends
        assert low < 0.03 < high
        assert all(one.y for one in chart.series)


def test_all_unresolved() -> None:
    own = swept([row(pair=pair, outcome="unresolved", reason="depth") for pair in range(4)])
    html = render_sweep(own)
    text = words(html)
    assert "0 of 4 pairs connected (0 %, 95 % interval 0 to 49 %), 4 unresolved" in text
    assert "No pair is connected, so there is no mean length." in text
    assert "no pair is connected, so there is none" in charts(own)["length-all"].sentence
    assert "nan" not in text.lower().replace("finance", "")
    assert len(charts(own)["length-all"].series[0].y) == 4
    assert charts(own)["connected"].series[0].y == (0.0,)
    assert "would be 24: 20 are missing" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # NumPy's, of a quantile between numbers and infinity
def test_what_is_not_finite_is_named_and_not_drawn() -> None:
    rows = list(swept().rows)
    rows[0] = replace(rows[0], normalized_length=math.inf, barrier_max=math.nan, line_over_mean=math.nan)
    own = swept(rows)
    html = render_sweep(own)
    text = words(html)
    assert "not finite" in text
    assert not re.search(r"\b(nan|inf)\b", text)
    length, line, barrier = (charts(own)[name] for name in ("length-all", "line", "barrier-max"))
    assert "1 pair without a finite value cannot be drawn." in length.sentence
    assert "1 pair without a finite barrier leave their means out." in line.sentence
    assert "1 pair without a finite value cannot be drawn." in barrier.sentence
    mean = next(one for one in length.series if one.kind == "mean")
    assert mean.x == LEVELS[1:]  # a mean with an infinite number is none
    for chart in charts(own).values():
        assert all(math.isfinite(y) for one in chart.series for y in (*one.y, *one.low, *one.high))
        assert "NaN" not in chart_figure(chart).to_json()


def test_ends_that_failed_are_told_where_they_failed() -> None:
    failed = {("width=4", 0.004): (8, 11), ("width=16", 0.001): (3, 4, 5), ("width=16", 0.1): ()}
    own = swept(record=record(levels=(*LEVELS, 0.001)), failed=failed)
    text = words(render_sweep(own))
    assert "each replaced by the next seed while tries last: 5." in text
    assert "failed ends width=16, threshold 0.001: seeds 3, 4, 5" in text
    assert "threshold 0.1: seeds" not in text
    assert "would be 32: 8 are missing" in text
    assert "width=16 – 0.001 0 – 0 0 3" in text  # a threshold that no pair reached has its line
    assert "2 ends failed" in charts(own)["connected"].series[0].texts[-1]


@pytest.mark.parametrize("name", [name for name in SWEEP_SECTIONS if name != "string"])
def test_every_section_of_a_sweeps_page_holds(name: str) -> None:
    check_section(SWEEP_SECTIONS[name], swept(trivial={"width=4": {"best constant": 0.08}}))


@pytest.mark.slow
def test_trivial_predictors_are_drawn_upright_once() -> None:
    same = {"best constant": 0.0834, "best linear": 1e-12}
    own = swept(trivial={"width=4": same, "width=16": {**same, "best linear": None}})
    for name in ("length-all", "length-weights", "beads", "connected", "barrier-max"):
        chart = charts(own)[name]
        assert [(level.name, level.value) for level in chart.levels] == [("best constant", 0.0834)]
        told = "what trivial predictors reach, best constant 0.0834; best linear 1e−12 (not drawn: too far away)."
        assert told in chart.sentence
    shapes = drawn(render_sweep(own))["length"][0]["layout"]["shapes"]
    assert [(shape["x0"], shape["x1"]) for shape in shapes] == [(0.0834, 0.0834)]
    each = swept(trivial={"width=4": {"best constant": 0.08}, "width=16": {"best constant": 0.2}})
    levels = charts(each)["beads"].levels
    assert [level.name for level in levels] == ["best constant, width=4", "best constant, width=16"]
    assert charts(each)["beads"].x_ends[1] > 0.2
    assert [after for _, after in charts(each)["beads"].named_levels] == [False, False]
    near = swept(trivial={"width=4": {"best constant": 0.05, "best linear": 0.045}})
    assert [(own.name, after) for own, after in charts(near)["beads"].named_levels] == [
        ("best linear", False), ("best constant", True)  # its name would lie on the other line
    ]  # fmt: skip


def test_a_long_table_is_shortened_in_the_page_and_whole_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("all", 0.1, pair) for pair in range(505)]
    own = swept(rows, record=record(("all",), (0.1,), pairs=505))
    monkeypatch.setattr(means, "POINTS", 100)
    html = render_sweep(own)
    assert "The first 500 of 505 pairs; the file has all." in words(html)
    assert "Download as CSV" in html
    monkeypatch.setattr("weightstring.report.sweep.sections.pairs.EMBEDDED", 504)
    assert "table.csv in the sweep's directory: too large for a page" in words(render_sweep(own))
    assert downloads(html)["table.csv"].count("\n") == 506
    assert len(charts(own)["beads"].series[0].y) == 85
    assert "Faint points: the pairs, 420 of them left out." in charts(own)["beads"].sentence


@pytest.mark.slow
def test_strings_of_example_pairs_come_from_their_runs(real: Path) -> None:
    own = read_sweep(real)
    assert own.names == ("width=4",)
    assert [each.threshold for each, _ in own.examples] == [0.05, 0.1]
    for (each, result), chart in zip(own.examples, string.charts(own), strict=True):
        values = dict(zip((one.kind for one in chart.series), chart.series, strict=True))
        assert values["curve"].x == result.string.curve.s
        assert values["curve"].y == result.string.curve.values["loss"]
        assert len(values["beads"].x) == each.beads
        assert values["threshold"].y == (each.threshold, each.threshold)
        largest = values["mean"]
        assert (largest.low, largest.y, largest.high) == ((each.largest_low,), (each.largest,), (each.largest_high,))
        assert f"is {each.largest:.4g}; drawn anew" in chart.sentence
    assert "L₀ = 0.05, pair" in string.charts(own)[0].label


@pytest.mark.slow
def test_a_long_string_keeps_its_beads_its_peaks_and_its_gaps(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = read_sweep(real)
    each, result = own.examples[0]
    values = list(result.string.curve.values["loss"])
    values[3] = None
    curve = msgspec.structs.replace(result.string.curve, values={"loss": tuple(values)})
    broken = msgspec.structs.replace(result, string=msgspec.structs.replace(result.string, curve=curve))
    monkeypatch.setattr(string, "SAMPLES", 10)
    chart = string.charts(replace(own, examples=((each, broken),)))[0]
    line, beads = chart.series[0], chart.series[2]
    assert len(line.x) < len(values)
    assert set(beads.x) <= set(line.x)
    assert max(y for y in line.y if not math.isnan(y)) == max(value for value in values if value is not None)
    assert math.isnan(line.y[line.x.index(curve.s[3])])
    assert "lower than those beside them are not drawn. 1 sample not finite: gaps." in chart.sentence


@pytest.mark.slow
def test_the_page_is_written_and_a_table_may_travel_alone(real: Path, tmp_path: Path) -> None:
    page = write_sweep_report(real)
    assert page == real / "report.html"
    assert page.read_text() == render_sweep(read_sweep(real))
    for name in ("sweep.json", "table.csv"):
        (tmp_path / name).write_bytes((real / name).read_bytes())
    alone = write_sweep_report(tmp_path, tmp_path / "deep" / "page.html").read_text()
    assert 'id="figure-length"' in alone
    assert 'id="figure-string"' not in alone
    with pytest.raises(InvalidRun, match="no sweep here"):
        write_sweep_report(tmp_path / "deep")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRun, match="cannot be written"):
        write_sweep_report(real, tmp_path / "file" / "page.html")
    (tmp_path / "table.csv").unlink()
    with pytest.raises(InvalidRun, match="not one pair is finished yet"):
        write_sweep_report(tmp_path)


@pytest.mark.slow
def test_figures_as_files(real: Path, tmp_path: Path) -> None:
    files = export_figures(real, tmp_path / "figures")
    names = {"length-all", "length-weights", "beads", "connected", "string-1", "string-2"}
    names |= {f"barrier-{name}" for name in ("max", "over-ends", "over-mean", "over-linear")}
    assert {file.name for file in files} == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf", "png")}
    assert all(file.stat().st_size > 1000 for file in files)
    again = export_figures(real, tmp_path / "again")
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]


@pytest.mark.slow
def test_every_kind_of_chart_can_be_drawn_in_both_ways() -> None:
    trivial = {"width=4": {"best constant": 0.05}}
    renamed = record(("_a$b$", "c"))
    for own in (swept(trivial=trivial), swept(record=renamed), swept([row(outcome="unresolved")])):
        for chart in charts(own).values():
            figure = by_matplotlib(chart_figure(chart))
            axes = figure.axes[0]
            figure.savefig(io.BytesIO(), format="png")
            low, high = chart.x_ends
            assert axes.get_xlim() == pytest.approx((low, high))
            if not chart.categories:
                horizontal = chart_figure(chart).layout.xaxis
                expected = (math.log10(low), math.log10(high)) if chart.x_log else (low, high)
                assert horizontal.range == pytest.approx(expected)
            means = [one for one in chart.series if one.kind == "mean" and one.y and one.shown]
            heights = [list(container[0].get_ydata()) for container in axes.containers]
            assert [list(one.y) for one in means] == heights


def test_without_matplotlib_the_remedy_is_named(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidSetting, match=r'need matplotlib.*pip install "weightstring\[figures\]"$'):
        export_figures(real, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


@pytest.mark.slow
def test_the_command_line_writes_a_sweeps_page_and_figures(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(real), "--out", str(tmp_path / "page.html"), "--figures", str(tmp_path / "figures")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "page.html")
    assert all(Path(line).exists() for line in lines)
    assert len(lines) == 31
    run = next(real.glob("runs/*/*/pair-0000"))
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(run), "--out", str(tmp_path / "run.html")])
    assert "Largest sampled loss" in (tmp_path / "run.html").read_text()


def asked(**changes: Any) -> SweepRecord:
    forms = variants(
        TaskRef(name="polynomial", options={"target": "cu bic"}), {"width": ["4", "8"], "depth": ["1", "2"]}
    )
    own = tuple(VariantRecord(name=f.name, options=dict(f.options), task=f.task, problem="0" * 64) for f in forms)
    return record(variants=own, **changes)


def parsed(line: str) -> Any:
    return build_parser().parse_args(shlex.split(line)[1:])


def test_the_command_that_repeats_a_sweep_asks_for_the_same() -> None:
    assert set(FLAGS) == {name for taken in OPTIONS.values() for name in taken}
    whole = asked(strategy=plain(Shortened(Greedy(alpha=0.9))), stop=list((MaxBeads(99) | MaxSteps(7)).plain()))
    (line,) = repeating(whole)
    options = parsed(line)
    assert (options.command, options.task, options.options) == ("sweep", "polynomial", [("target", "cu bic")])
    assert options.over == [("width", ["4", "8"]), ("depth", ["1", "2"])]
    assert (options.thresholds, options.pairs, options.bind) == (list(LEVELS), 4, "loss")
    assert (options.train_ends, options.tries, options.seed) == ("carried", 20, 5)
    assert (options.strategy, options.alpha, options.shorten) == ("greedy", 0.9, "thoroughly")
    assert (options.max_beads, options.max_steps, options.seconds) == (99, 7, None)
    ragged = asked()
    ragged = msgspec.structs.replace(ragged, variants=ragged.variants[:3])
    lines = repeating(ragged)  # not all combinations: one after the other, into one directory
    assert [parsed(one).over for one in lines] == [
        [("width", [w]), ("depth", [d])] for w, d in (("4", "1"), ("4", "2"), ("8", "1"))
    ]
    (line,) = repeating(asked(strategy=plain(BreadthFirst(respace=True))))
    assert parsed(line).respace is True


@pytest.mark.parametrize(
    "own",
    [
        record(),
        asked(strategy=plain(BreadthFirst(inserts=9))),
        asked(strategy={"name": "mine"}),
        asked(stop=[{"rule": "Mine"}]),
    ],
)
def test_what_no_command_can_say_is_told_as_a_call(own: SweepRecord) -> None:
    (line,) = repeating(own)
    assert line.startswith("ws.sweep({'width=4")
    assert "[0.1, 0.03, 0.004], pairs=4, bind='loss', ends='carried', seed=5, tries=20" in line


def test_labels_of_logarithmic_axes_lie_on_them() -> None:
    for low, high in ((0.0009, 0.14), (1.9, 42.0), (0.01, 0.011), (1e-9, 3.0)):
        places = ticks(low, high)
        assert all(low <= place <= high for place in places)
        assert places == tuple(sorted(places))
        assert len(places) <= 12


def test_a_damaged_run_is_named(real: Path, tmp_path: Path) -> None:
    for name in ("sweep.json", "table.csv"):
        (tmp_path / name).write_bytes((real / name).read_bytes())
    for each in SweepDirectory(tmp_path).known():
        (tmp_path / each.run).mkdir(parents=True)
        (tmp_path / each.run / "result.json").write_text("{")
    with pytest.raises(InvalidRun, match=r"result\.json"):
        read_sweep(tmp_path)
