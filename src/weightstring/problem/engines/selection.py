"""Which engine computes a problem, and with how many threads: by a trial, or as the caller says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from weightstring.problem.engines.base import ENGINES, REFERENCE, engine_named
from weightstring.problem.engines.trial import Trial
from weightstring.protocol import EngineChoice

WHOLE_BYTES = 4
"""Bytes of a number from which on optimizers round it alike wherever it lies."""


class EngineSelection:
    """The engine and threads of a problem, chosen by a trial when first needed."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self._choice: EngineChoice | None = None
        self._named = False
        self._steady: dict[str, bool] = {}

    @property
    def choice(self) -> EngineChoice:
        """The engine, the threads and the reason; the first time this takes a trial of about a second."""
        if self._choice is None:
            self._choice = self.trial.choose()
        return self._choice

    def use(self, name: str) -> None:
        """Select an engine by name; ``auto`` leaves the choice to the trial.

        Raises:
            InvalidSetting: there is none of that name.
            InvalidModel: it cannot run the module.
        """
        by_trial = name == "auto"
        self._choice = None if by_trial else self.trial.require(engine_named(name))
        self._named = not by_trial

    @contextmanager
    def using(self, name: str, threads: int | None = None) -> Iterator[None]:
        """Select an engine within the context, with so many threads for large calls."""
        before = self._choice, self._named
        if before[0] is None or before[0].name != name:
            self.use(name)
        self._choice = replace(self.choice, threads=threads or self.choice.threads)
        try:
            yield
        finally:
            self._choice, self._named = before

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Within the context use an engine chosen without timing, hence the same in every process."""
        named = self._named and self._choice is not None
        with self.using(self.choice.name if named else "stack" if self.trial.runs("stack") else "loop"):
            yield

    @property
    def independent(self) -> bool:
        """Whether a model's numbers are the same, bit for bit, whichever models are beside it."""
        choice, own = self.choice, self.trial.own
        if choice.name == REFERENCE:
            return True
        divided = ENGINES[choice.name].joint and not own.on_gpu and (choice.threads or torch.get_num_threads()) > 1
        if divided or own.layout.dtype.itemsize < WHOLE_BYTES:
            return False
        if choice.name not in self._steady:
            self._steady[choice.name] = self.trial.steady(choice.name)
        return self._steady[choice.name]
