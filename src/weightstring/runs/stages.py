"""What one call does for its pairs, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from weightstring.protocol import LossProblem
from weightstring.runs.align_step import align_pair
from weightstring.runs.certify_step import certify
from weightstring.runs.computing import arithmetic
from weightstring.runs.estimate import worth_telling
from weightstring.runs.listening import Listeners, aside
from weightstring.runs.preparing import begin, check, prepare
from weightstring.runs.progress import display
from weightstring.runs.result import Result
from weightstring.runs.searching import conclude, disprove, search
from weightstring.runs.settings import Pair, Settings
from weightstring.runs.showing import Concluding
from weightstring.runs.told import begun_here, in_words


def connect_here(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> list[Result]:
    """Search for the strings of all pairs in this process, in their run directories where they have one.

    Nothing is written before every pair is checked; a verdict is on disk before it is certified.

    Args:
        problem: the loss.
        pairs: what is to be connected.
        settings: how.

    Raises:
        see :func:`weightstring.connect`.
    """
    check(problem, pairs, settings)
    with arithmetic(problem, pairs), ExitStack() as locks:
        show = locks.enter_context(display(settings.progress))
        settings = replace(settings, progress=aside(show))  # for searches of segments, too: a terminal has one bar
        show.stage("aligning the ends" if any(pair.align for pair in pairs) else "measuring the ends")
        aligned = [align_pair(problem, pair, settings) for pair in pairs]
        runs = begin(prepare(problem, aligned, settings), locks)
        if isinstance(show, Listeners):
            show.begun(lambda: begun_here(runs[0]))
        if told := worth_telling(runs):
            show.estimated(told)
        searched = search([disprove(run) for run in runs], show)
        concluded = [conclude(run, show) for run in searched]
        show.stage("certifying" if settings.certify else "writing")
        answers = [certify(run).answer for run in concluded]
        if isinstance(show, Concluding):
            show.answered(_words(pairs, answers))
        return answers


def _words(pairs: Sequence[Pair], answers: Sequence[Result]) -> str:
    """What was found, in one line."""
    main = [result for pair, result in zip(pairs, answers, strict=True) if not pair.beside]
    return in_words(main[0]) if len(main) == 1 else f"{sum(each.connected for each in main)} of {len(main)} connected"
