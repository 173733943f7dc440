"""Segments of a string that was found, searched again: where a proof is loose, or a sample over the threshold was met.

Such a sample is a new t*, and the search goes on from it (Section II.B, step 3). A segment that is only loose is
searched under a lower level, half-way between its ends and the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from weightstring.arrays import Theta, Thetas
from weightstring.path import MAX_PEAKS, Connected, Maximum, SearchSamples, WeightString, clearly_over
from weightstring.protocol import LossProblem
from weightstring.runs.computing import arithmetic
from weightstring.runs.preparing import prepare
from weightstring.runs.progress import display
from weightstring.runs.result import Result
from weightstring.runs.run import SearchedRun, interrupted
from weightstring.runs.searching import conclude, search
from weightstring.runs.settings import Pair, Settings
from weightstring.runs.verdict import judged
from weightstring.search import Greedy, MaxBeads, Progress, Query, StopRule, String
from weightstring.search.chain import Link
from weightstring.search.jobs import Measured
from weightstring.store import RoundRecord

BEADS = 16
"""Beads at most, ends counted, in place of a segment."""


@dataclass(frozen=True)
class _From(Greedy):
    """A greedy search of a segment on which samples over the threshold are known already: its first step is done."""

    known: tuple[Maximum, ...] = ()

    def start(self, query: Query) -> String:
        """The segment, measured."""
        return self.onward(query, (Link(*query.ends, measured=Measured(False, self.known, 0)),))


@dataclass
class Opened:
    """A string whose segments can be replaced one by one.

    Args:
        run: whose string it is.
        models: its beads.
        heights: of each segment the heights known of what the threshold binds, by t.
        spent: how far its search has come, the searches of its segments included.
        searches: of its segments, so far.
    """

    run: SearchedRun
    models: list[Theta]
    heights: list[dict[float, float]]
    spent: Progress
    searches: list[Result] = field(default_factory=list)

    @classmethod
    def of(cls, run: SearchedRun) -> Opened:
        """The string of a run."""
        result = run.result
        models, heights = list(result.string), list(result.string.heights(result.names))
        spent = Progress(beads=len(models), pending=1, steps=result.steps, seconds=result.seconds)
        return cls(run, models, heights, spent)

    def __len__(self) -> int:
        return len(self.heights)

    @property
    def beads(self) -> Thetas:
        """Its models (n, P)."""
        return torch.stack(self.models)

    @property
    def highest(self) -> float:
        """The largest sample known."""
        return max(max(known.values()) for known in self.heights)

    def learn(self, samples: Mapping[tuple[int, float], float]) -> None:
        """Take in heights by segment and t; what was known of a place before stands."""
        for (segment, t), value in samples.items():
            self.heights[segment].setdefault(t, value)

    def peaks(self, segment: int) -> tuple[Maximum, ...]:
        """The highest known samples of a segment that are over the threshold, the highest first."""
        over = [
            Maximum(t, value)
            for t, value in self.heights[segment].items()
            if 0 < t < 1 and clearly_over(value, self.run.threshold, self.models[0].dtype)
        ]
        return tuple(sorted(over, key=lambda peak: -peak.value)[:MAX_PEAKS])

    def searched(self, segments: Sequence[int], limits: StopRule) -> dict[int, Result]:
        """Strings with more beads in the place of segments, by segment, where the search's own limits allow them."""
        levels = {i: self._level(i) for i in segments}
        wanted = {i: level for i, level in levels.items() if level is not None}
        plain = {i: level for i, level in wanted.items() if not self.peaks(i)}
        results: dict[int, Result] = {}
        if len(plain) > 1 and (stop := self._room(limits, len(plain))) is not None:
            results = self._searches(plain, Greedy(), stop)
        for i, level in wanted.items():
            if i in results or (stop := self._room(limits)) is None:
                continue
            peaks = self.peaks(i)
            strategy = _From(known=peaks) if peaks else Greedy()
            results |= self._searches({i: level}, strategy, stop)
        return {i: result for i, result in results.items() if result.connected and len(result.string) > 2}

    def splice(self, results: Mapping[int, Result]) -> dict[int, int]:
        """Put strings in the place of their segments; where the segments that stay are now."""
        models, heights, moved = self.models[:1], list[dict[float, float]](), dict[int, int]()
        for i, known in enumerate(self.heights):
            if i in results:
                models += list(results[i].string)[1:]
                heights += results[i].string.heights(self.run.result.names)
            else:
                moved[i] = len(heights)
                models.append(self.models[i + 1])
                heights.append(known)
        self.models, self.heights = models, heights
        return moved

    def result(self) -> Result:
        """The run's result with this string, and with the verdict that the samples known allow."""
        before = self.run.result
        refined = len(self.models) > len(before.string)
        string = WeightString(self.run.problem, self.models) if refined else before.string
        seen = SearchSamples(before.names, tuple(self.heights), self.run.threshold)
        history = (*before.history, self._round()) if self.searches else before.history
        outcome = replace(before, outcome=Connected(), string=string.also_seen(seen), history=history)
        return judged(outcome)

    def _level(self, segment: int) -> float | None:
        """What a segment is held to when it is searched again; None: there is no level under the threshold."""
        if self.peaks(segment):
            return self.run.threshold
        ends = max(self.heights[segment][0.0], self.heights[segment][1.0])
        return (ends + self.run.threshold) / 2 if ends < self.run.threshold else None

    def _room(self, stop: StopRule, searches: int = 1) -> StopRule | None:
        """What the search's limits leave for so many more at once, each with all its beads; None: not enough."""
        if searches == 1:
            left = stop.left(self.spent)
        else:
            most = replace(self.spent, beads=self.spent.beads + searches * (BEADS - 2) - 1)
            left = stop.left(most) if stop.steps_left(self.spent) is None else None
        return None if left is None else left | MaxBeads(BEADS)

    def _searches(self, levels: Mapping[int, float], strategy: Greedy, stop: StopRule) -> dict[int, Result]:
        pairs = [Pair(a=self.models[i], b=self.models[i + 1], threshold=level) for i, level in levels.items()]
        settings = replace(self.run.settings, strategy=strategy, stop=stop, executor=None, task=None, disprove=False)
        results = dict(zip(levels, _search(self.run.problem, pairs, settings), strict=True))
        if any(map(interrupted, results.values())):
            raise KeyboardInterrupt
        more = sum(len(result.string) - 2 for result in results.values() if result.connected)
        self.spent = replace(
            self.spent,
            beads=self.spent.beads + more,
            steps=self.spent.steps + sum(result.steps for result in results.values()),
            seconds=self.spent.seconds + max(result.seconds for result in results.values()),
        )
        self.searches += results.values()
        return results

    def _round(self) -> RoundRecord:
        """What all these searches took, as one round of the history."""
        rounds = [each for result in self.searches for each in result.history]
        return RoundRecord(
            depth=max((each.depth for each in rounds), default=0),
            descents=sum(each.descents for each in rounds),
            measured=sum(each.measured for each in rounds),
            open=sum(bool(self.peaks(i)) for i in range(len(self))),
            level=self.run.threshold,
            highest=None,
            beads=len(self.models),
            steps=sum(each.steps for each in rounds),
            evaluations=sum(each.evaluations for each in rounds),
            max=None,
            seconds=sum(result.seconds for result in self.searches),
        )


def _search(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> list[Result]:
    """The stages of a run that segments of a string go through, in memory."""
    with arithmetic(problem, pairs), display(settings.progress) as show:
        runs = search(prepare(problem, pairs, settings), show)
        return [conclude(run, show).answer for run in runs]
