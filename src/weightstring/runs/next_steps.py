"""What to do next with a run that is over, as commands to be pasted: from its verdict, and from how it was begun."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import NamedTuple

from weightstring.path import Disconnected, Reason, Unresolved
from weightstring.path.outcome import ADVICE
from weightstring.runs.result import Result
from weightstring.store import Manifest
from weightstring.text import shown

DETOUR = 1.02
"""Normalized length from which on a shorter string is worth a search."""
KEPT_ELSEWHERE = ("--out", "--log")
"""Options of the command that began a run which another run must not have."""
SAME_QUESTION = ("--set", "--data", "--bind", "--allow-global")
"""Options that say what is measured."""


class NextStep(NamedTuple):
    """One thing to do.

    Args:
        why: what it answers, in a few words.
        command: for a shell; or for Python, of a run that was begun there: ``problem``, ``a`` and ``b`` are its own.
    """

    why: str
    command: str

    @property
    def shell(self) -> bool:
        """Whether it is for a shell."""
        return self.command.startswith("weightstring ")

    def folded(self, width: int) -> list[str]:
        r"""The command in lines of so many columns, to be pasted as they are.

        >>> NextStep("", "weightstring merge runs/first --points 9").folded(30)
        ['weightstring merge \\', '    runs/first --points 9']
        """
        shell = self.shell
        words = shlex.split(self.command) if shell else self.command.split(" ")
        lines, end = [""], " \\" if shell else ""
        for word in map(shlex.quote, words) if shell else words:
            if lines[-1].strip() and len(lines[-1]) + 1 + len(word) + len(end) > width:
                lines[-1] += end
                lines.append("   ")
            lines[-1] += f" {word}" if lines[-1] else word
        return lines


def next_steps(result: Result, manifest: Manifest, run: str) -> list[NextStep]:
    """What to do next, the most useful first.

    Args:
        result: of the run.
        manifest: of the run.
        run: its directory, as it is to be given to commands.
    """
    ask = _Ask(result, manifest, run)
    if isinstance(result.outcome, Unresolved):
        return _remedies(ask, result.outcome)
    if isinstance(result.outcome, Disconnected):
        return [ask.higher(result.outcome.proof.bound), ask.minimax()]
    steps: list[NextStep] = []
    if (certificate := result.certificate) is not None and certificate.holds:
        steps.append(ask.verify())
    elif certificate is None and manifest.certifiable:
        steps.append(ask.certify())
    if result.length_before is None and result.string.normalized_length > DETOUR:
        steps.append(ask.again("look for a shorter string", ["--shorten"], "strategy=ws.Shortened()"))
    steps.append(ask.merge())
    return [*steps, ask.minimax()] if manifest.command != "minimax" else steps


def _remedies(ask: _Ask, outcome: Unresolved) -> list[NextStep]:
    """The remedy of :data:`weightstring.path.outcome.ADVICE`, as commands."""
    result, reason = ask.result, outcome.reason
    steps: list[NextStep] = []
    if reason in _LIMITS:
        rule, option, python, spent = _LIMITS[reason]
        limits = [stop["count"] if "count" in stop else stop.get("seconds", 0) for stop in ask.manifest.stop]
        rules = [stop.get("rule") for stop in ask.manifest.stop]
        most = 2 * max([spent(result), *(n for n, name in zip(limits, rules, strict=True) if name == rule)])
        number = math.ceil(most)
        steps.append(ask.resume("go on with more room", f"{option} {number}", f"{python}({number})"))
    elif reason == "interrupted":
        steps.append(ask.resume("go on where it was interrupted", "", ""))
    elif reason == "depth":
        deeper = 2 * max(record.depth for record in result.history) if result.history else 20
        steps.append(
            ask.again("allow a greater depth", ["--max-depth", str(deeper)], f"strategy=ws.Greedy(max_depth={deeper})")
        )
    if ADVICE[reason].aligns and result.alignment is None:
        steps.append(ask.again("align the ends first", ["--align"], "align=True"))
    if reason in ("depth", "stalled", "descent_failed", "higher_sample"):
        lowest = min([*result.by_depth, result.largest])
        if math.isfinite(lowest):
            steps.append(ask.higher(lowest))
    return [*steps, ask.minimax()] if ask.manifest.command != "minimax" else steps


_LIMITS: dict[Reason, tuple[str, str, str, Callable[[Result], float]]] = {
    "beads": ("MaxBeads", "--max-beads", "ws.MaxBeads", lambda result: len(result.string)),
    "steps": ("MaxSteps", "--max-steps", "ws.MaxSteps", lambda result: result.steps),
    "time": ("Budget", "--seconds", "ws.Budget", lambda result: result.seconds),
}
"""What each limit is called in a manifest, on the command line and in Python, and how much of it was used."""


class _Ask:
    """Commands about one run, for the shell where the run names its task, else for Python."""

    def __init__(self, result: Result, manifest: Manifest, run: str) -> None:
        self.result, self.manifest, self.run = result, manifest, run
        self._shell = manifest.task is not None

    def certify(self) -> NextStep:
        """Prove the bound."""
        why = "prove the bound on every point of the string"
        (bind,) = self.result.names if len(self.result.names) == 1 else ("",)
        quantity = "" if bind in ("", "loss") else f", quantity={bind!r}"
        call = f"ws.certify(problem, {self._string}, {self.result.threshold!r}{quantity})"
        return NextStep(why, f"weightstring certify {self._place}" if self._shell else call)

    def verify(self) -> NextStep:
        """Have the proof checked."""
        why = "check the proof by a second implementation"
        call = f"ws.verify(problem, {self._string}, ws.load({self.run!r}).certificate)"
        return NextStep(why, f"weightstring verify {self._place}" if self._shell else call)

    def merge(self) -> NextStep:
        """Look at the models on the string."""
        why = "is a model between the two any good? their ensemble?"
        call = f"print(ws.merge(problem, {self._string}))"
        return NextStep(why, f"weightstring merge {self._place}" if self._shell else call)

    def resume(self, why: str, option: str, call: str) -> NextStep:
        """Go on with the same search."""
        shell = " ".join(["weightstring resume", self._place, *([option] if option else [])])
        stop = f", stop={call}" if call else ""
        python = f"ws.connect(problem, a, b, {self.result.threshold!r}{stop}, store={self.run!r})"
        return NextStep(why, shell if self._shell else python)

    def minimax(self) -> NextStep:
        """Ask how high a path must climb at all."""
        why = "how high must a path climb at all? (no threshold)"
        words = self._pair
        shell = " ".join(["weightstring minimax", *words]) if words else ""
        return NextStep(why, shell or "print(ws.minimax(problem, a, b))")

    def higher(self, least: float) -> NextStep:
        """Search under a higher threshold."""
        level = float(f"{least + 0.02 * abs(least):.3g}")
        return self.again(f"a threshold of {level:.3g}", ["--threshold", repr(level)], "", level)

    def again(self, why: str, options: Sequence[str], setting: str, threshold: float | None = None) -> NextStep:
        """Search anew with other settings."""
        level = self.result.threshold if threshold is None else threshold
        python = ", ".join(["ws.connect(problem, a, b", repr(level), *([setting] if setting else [])]) + ")"
        words = list(self.manifest.provenance.command)
        if self._shell and "connect" in words[:3]:  # options may come before it
            kept = _without(words, [*KEPT_ELSEWHERE, *(["--threshold"] if threshold is not None else [])])
            return NextStep(why, shlex.join([*kept, *options]))
        if pair := self._pair:
            given = [] if "--threshold" in options else ["--threshold", repr(level)]
            return NextStep(why, " ".join(["weightstring connect", *pair, shlex.join([*given, *options])]))
        return NextStep(why, python)

    @property
    def _place(self) -> str:
        return shlex.quote(shown(self.run))

    @property
    def _string(self) -> str:
        return f"ws.load({self.run!r}, problem).string"

    @property
    def _pair(self) -> list[str]:
        """The words that name the task and the two models in the command that began the run, and how they are read."""
        begun, task = self.manifest.provenance, self.manifest.task
        if task is None:
            return []
        words = begun.command[2:]
        named = [word for word in words if task.name.endswith(word)][:1]
        files = [begun.files[end].name for end in ("a", "b") if end in begun.files]
        for name in files:
            named += [word for word in words if PurePath(word).name == name and word not in named][:1]
        return [shlex.quote(word) for word in [*named, *_only(words, SAME_QUESTION)]] if len(named) == 3 else []


def _only(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Some options of a command with their values."""
    kept = [list(pair) for pair in pairwise(words) if pair[0] in options]
    kept += [[word] for word in words if word.partition("=")[0] in options and "=" in word]
    return [word for pair in kept for word in pair]


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command's words without some options and their values."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not any(word.startswith(f"{option}=") for option in options):
            kept.append(word)
    return kept
