"""The engine that computes a problem, as its user sees and sets it."""

from __future__ import annotations

from contextlib import AbstractContextManager

from weightstring.ambient import as_made
from weightstring.problem.parts import Parts
from weightstring.protocol import EngineChoice


class ByEngine:
    """The part of a :class:`ModuleProblem` that chooses its engine."""

    _parts: Parts

    @as_made
    def engine_choice(self) -> EngineChoice:
        """Which engine and how many threads compute, and why; a trial of about a second the first time."""
        return self._parts.dispatcher.selection.choice

    @as_made
    def use_engine(self, name: str) -> None:
        """Compute several models by an engine: see ``engine`` of :class:`ModuleProblem`.

        Raises:
            InvalidSetting: no engine has this name.
            InvalidModel: that engine cannot run the module.
        """
        self._parts.dispatcher.selection.use(name)

    def computing_by(self, name: str, threads: int | None = None) -> AbstractContextManager[None]:
        """Compute by this engine within the context, as a resumed run repeats its choice; see :meth:`use_engine`.

        Args:
            name: of the engine.
            threads: CPU threads for large calls; None: as many as the choice says.
        """
        return self._parts.dispatcher.selection.using(name, threads)

    @property
    def independent(self) -> bool:
        """Whether a model's numbers are the same, bit for bit, whichever models are computed beside it.

        Determined by a trial. If so, searches may share batches and be interrupted without any difference.
        """
        return self._parts.dispatcher.selection.independent
