"""The page says what the records say, in words that blur nothing, and asks the network for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser

import msgspec
import pytest
import torch

from weightstring.errors import InvalidRun
from weightstring.path import Evidence, Unresolved
from weightstring.path.outcome import ADVICE
from weightstring.report.run import page
from weightstring.report.run.data import RunData
from weightstring.store.records import CurveRecord, LineRecord, Manifest, ResultRecord

Run = tuple[Manifest, ResultRecord, torch.Tensor]
Runs = dict[str, Run]
MakeRun = Callable[..., Run]
NAMES = ("connected", "long", "unresolved", "null", "linear", "identical", "surface")


class Reader(HTMLParser):
    """Collects the page's text, its tags and what each script or style holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.embedded: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.embedded.append((self.open[-1], data))
        else:
            self.words.append(data)


def readable(html: str) -> str:
    return Reader(html).text


@pytest.fixture(scope="module")
def pages(runs: Runs) -> dict[str, str]:
    return {name: page.render(RunData(*one)) for name, one in runs.items()}


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_asks_the_network_for_nothing(name: str, pages: dict[str, str]) -> None:
    reader = Reader(pages[name])
    assert reader.open == []
    links = [value for _, key, value in reader.attributes if key in {"src", "href", "srcset", "data", "action"}]
    assert links == ["data:,"]
    policy = [value for tag, key, value in reader.attributes if tag == "meta" and "default-src" in value]
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none';")
    assert "http" not in policy[0]
    ours = [data for _, data in reader.embedded if "plotly.js v" not in data]
    assert len(ours) == len(reader.embedded) - 1  # Plotly's JavaScript is embedded exactly once
    assert not any(re.search(r"https?://|@import|url\(", data) for data in ours)


@pytest.mark.parametrize("name", NAMES)
def test_a_maximum_is_always_called_sampled(name: str, pages: dict[str, str], runs: Runs) -> None:
    text, (_, result, _) = readable(pages[name]), runs[name]
    samples = len(result.string.curve.s)
    assert f"The largest of {samples:,} sampled losses is" in text
    assert "It is sampled, not certified" in text
    assert "the maximum" not in text.lower()


@pytest.mark.parametrize("name", NAMES)
def test_exact_numbers_of_every_kind_are_in_the_markup(name: str, pages: dict[str, str], runs: Runs) -> None:
    _, result, _ = runs[name]
    string = result.string
    numbers = [result.threshold, string.max_loss, string.length, string.distance, string.normalized_length]
    numbers += [*string.barriers.values(), *result.ends[0].values(), *result.ends[1].values()]
    numbers += [number for one in string.segments for number in (one.length, one.max, one.t)]
    numbers += [one.max for one in result.rounds]
    for number in numbers:
        assert number is None or f'<data value="{number!r}"' in pages[name]


def test_a_page_is_a_pure_function_of_the_run(pages: dict[str, str], runs: Runs) -> None:
    manifest, result, beads = runs["connected"]
    again = page.render(
        RunData(
            msgspec.convert(msgspec.to_builtins(manifest), Manifest), msgspec.structs.replace(result), beads.clone()
        )
    )
    assert again == pages["connected"]


def test_connected_says_how_long_and_how_many_beads(pages: dict[str, str]) -> None:
    text = readable(pages["connected"])
    assert "Connected at the threshold L₀ = 0.0625 . A string of 9 beads joins the two ends: a path of weights" in text
    assert "At none of the 137 points sampled along the string is the evaluation loss over the threshold." in text
    assert "ends counted; 13 before pruning" in text
    assert "The evaluation set is the training set" not in text


def test_a_string_over_the_threshold_is_never_passed_off_as_connected(pages: dict[str, str], runs: Runs) -> None:
    over = sum(value > 0.0501 for value in runs["long"][1].string.curve.values["loss"] if value is not None)
    text = readable(pages["long"])
    assert over > 0
    assert f"At {over} of the 1,072 points sampled along the string the evaluation loss is over the threshold." in text
    assert "do not rely on its verdict" in text


def test_unresolved_gives_reason_evidence_and_advice(pages: dict[str, str]) -> None:
    text = readable(pages["unresolved"])
    for words in (
        "Unresolved (depth)",
        "This does not show that there is none",
        "The search inserted beads down to its depth limit",
        "The stuck segment lies between beads 0 and 1",
        "0.03125 and 0.046875",
        "Descents were retried 3 times",
        "the lowest loss that a failed descent reached is 0.078125",
        "What to try.",
        "align the ends",
        "0 1 0.9375 1 2 0.75 2 1 not finite",
    ):
        assert words in text


@pytest.mark.parametrize("reason", ADVICE)
def test_every_reason_has_its_advice(reason: str, make_run: MakeRun) -> None:
    evidence = Evidence((0, 1), (0.1, 0.1), max_per_depth=(), open_per_depth=(), retries=0, lowest_loss=None)
    outcome = Unresolved(reason, evidence)
    text = readable(page.render(RunData(*make_run(3, outcome=outcome))))
    assert f"Unresolved ({reason.replace('_', ' ')})" in text
    assert ADVICE[reason].words(aligned=False) in text


def test_a_loss_that_is_not_finite_is_named_so(pages: dict[str, str]) -> None:
    text = readable(pages["null"])
    assert "The largest of 103 sampled losses is not finite (evaluation loss)." in text
    assert "At 3 of the 103 points" in text
    assert "None" not in text
    assert "nan" not in text.lower()


def test_linearly_connected_ends_need_no_bead(pages: dict[str, str]) -> None:
    text = readable(pages["linear"])
    assert "the ends are linearly connected" in text
    assert "The evaluation set is the training set" in text
    assert "binds the training loss" in text


def test_identical_ends_have_length_zero(pages: dict[str, str]) -> None:
    text = readable(pages["identical"])
    assert "The two ends are the same model: there is nothing to join." in text
    assert "Normalized length 1" in text


def test_a_loop_has_no_normalized_length(make_run: MakeRun) -> None:
    loop = torch.tensor([[0.5, 0.75], [0.25, 0.75], [0.5, 0.75]], dtype=torch.float32)
    manifest, result, beads = make_run(loop)
    string = msgspec.structs.replace(result.string, normalized_length=None)
    text = readable(page.render(RunData(manifest, msgspec.structs.replace(result, string=string), beads)))
    assert (
        "A string of 3 beads joins the two ends: a path of weights, straight from each of these models to the next."
        in text
    )
    assert "Normalized length undefined the ends coincide, the string does not" in text


def test_an_analytic_surface_speaks_of_no_data_set(pages: dict[str, str]) -> None:
    text = readable(pages["surface"])
    assert "A problem built in Python 1 parameter, float64" in text
    assert "binds the loss" in text
    assert "evaluation loss" not in text
    assert "training" not in text.replace("trained", "")


def test_the_settings_that_repeat_a_run_are_there(pages: dict[str, str]) -> None:
    text = readable(pages["connected"])
    for words in (
        "strategy: alpha 0.95", "strategy: name greedy", "strategy: retries [1, 2]", "threshold 0.0625, binds evaluate",
        "seed 7", "engine, threads vmap, 2", "version: torch 2.13.0", "problem " + "5f0c" * 16, "end A " + "ab" * 32,
        "end B " + "cd" * 32, "0.weight = 2.weight 4 × 5 0", "18,600 gradient steps", "4,321 models measured",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("train", "binds the training loss"),
        ("both", "binds the evaluation loss and the training loss"),
        ("error", "binds the evaluation error"),
    ],
)
def test_the_threshold_names_what_it_binds(bind: str, words: str, make_run: MakeRun) -> None:
    manifest, result, beads = make_run(4, bind=bind)
    text = readable(page.render(RunData(manifest, result, beads)))
    assert words in text
    assert "Largest sampled value bound" in text


def test_hostile_names_stay_text(make_run: MakeRun, runs: Runs) -> None:
    hostile = "</script><script>alert('θ')</script><img src=https://example.org/x onerror=alert(1)>"
    manifest, result, beads = make_run(3, name=hostile)
    curve = result.string.curve
    values = curve.values | {hostile: curve.values["loss"]}
    string = msgspec.structs.replace(result.string, curve=msgspec.structs.replace(curve, values=values))
    ends = tuple(end | {hostile: 0.5} for end in result.ends)
    html = page.render(RunData(manifest, msgspec.structs.replace(result, string=string, ends=ends), beads))
    reader = Reader(html)
    assert hostile in reader.text
    assert "<script>alert" not in html
    assert not any(tag == "img" for tag, _, _ in reader.attributes)
    shown = json.loads(next(data for _, data in reader.embedded if '"themes"' in data))
    assert shown["drawn"]["along"][2]["layout"]["yaxis"]["title"]["text"] == hostile


def changed_string(one: Run, **changes: object) -> Run:
    manifest, result, beads = one
    string = msgspec.structs.replace(result.string, **changes)
    return manifest, msgspec.structs.replace(result, string=string), beads


def test_what_does_not_belong_together_is_refused(runs: Runs) -> None:
    manifest, result, beads = runs["connected"]
    with pytest.raises(InvalidRun, match=r"has 9 beads of 23 parameters, but the beads given have shape \(8, 23\)"):
        page.render(RunData(manifest, result, beads[1:]))
    with pytest.raises(InvalidRun, match="the threshold binds 'accuracy', but the curve holds loss, error, train_loss"):
        page.render(RunData(manifest, msgspec.structs.replace(result, bind="accuracy", names=("accuracy",)), beads))
    with pytest.raises(InvalidRun, match="barriers over_ends, over_mean are missing from the result"):
        page.render(RunData(*changed_string(runs["connected"], barriers={"max": 0.1, "over_linear": 0.1})))
    curve = result.string.curve
    nameless = msgspec.structs.replace(curve, values={"error": curve.values["error"]})
    with pytest.raises(InvalidRun, match="the curve holds no loss; measure the string again"):
        page.render(RunData(*changed_string(runs["connected"], curve=nameless)))


def test_the_straight_line_stands_beside_the_string(runs: Runs) -> None:
    manifest, result, beads = runs["connected"]
    curve = CurveRecord(s=(0.0, 0.5, 1.0), segment=(0, 0, 0), t=(0.0, 0.5, 1.0), values={"loss": (0.04, 0.94, 0.05)})
    barriers = {"max": 0.94, "over_ends": 0.89, "over_mean": 0.895, "over_linear": 0.895}
    line = LineRecord(max_loss=0.94, barriers=barriers, curve=curve)
    html = page.render(RunData(manifest, msgspec.structs.replace(result, line=line), beads))
    text = readable(html)
    assert "On the straight line the evaluation loss climbs to 0.94" in text
    assert "a barrier of 0.895 over the interpolated losses of the ends (sampled at 3 points)" in text
    assert "Barrier of the straight line 0.895" in text
    assert "straight line: evaluation loss" in html  # in the first figure
    assert "numbers above the threshold here are no contradiction to the verdict" in text
    assert "climbs to" not in readable(page.render(RunData(manifest, result, beads)))  # an older run has no line


def test_a_page_says_what_to_do_next_and_where_the_run_comes_from(runs: Runs) -> None:
    manifest, result, beads = runs["connected"]
    text = readable(page.render(RunData(manifest, result, beads, place="runs/first")))
    for words in ("What to do next", "weightstring certify runs/first Copy", "A summary to paste", "end A"):
        assert words in text
