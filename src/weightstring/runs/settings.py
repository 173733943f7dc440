"""What a call asks for: the settings that all its pairs share, and each pair."""

from __future__ import annotations

from concurrent.futures import Executor as Pool
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.randomness import check_seed
from weightstring.recipe import Recipe
from weightstring.runs.showing import Display
from weightstring.search import Dask, Executor, Greedy, Persistent, Processes, StopRule, Strategy
from weightstring.search.running.dask import Client
from weightstring.search.stopping import default_stop
from weightstring.store import Store
from weightstring.store.alignment_record import AlignmentRecord
from weightstring.store.provenance import Provenance
from weightstring.store.records import AsSaved, CertifyRecord, Command, TaskRef
from weightstring.symmetry.spec import Symmetry

DEFAULT_STRATEGY = Persistent(Greedy())

SAMPLINGS = ("auto", "dense", "adaptive")
"""What ``connect(sampling=...)`` takes."""

ALIGN = (False, True, "both")
"""What ``connect(align=...)`` takes."""

Workers: TypeAlias = Executor | Pool | Processes | Dask | Client | None
"""What runs a search: its jobs one by one, or, on a dask cluster, all of it; None: this process."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to search, for all pairs of a call alike; see :func:`weightstring.connect` for each of them.

    Args:
        sampling: how densely segments are sampled: one of :data:`SAMPLINGS`.
        certify: what was asked of a certificate; None: there is to be none.
        command: whose settings they are, for ``weightstring resume``.

    Raises:
        InvalidSetting: a value of another kind, or out of range.
    """

    strategy: Strategy[Any] = DEFAULT_STRATEGY
    stop: StopRule | None = None
    bind: str = "evaluate"
    recipe: Recipe | None = None
    executor: Workers = None
    seed: int = 0
    progress: bool | Display | None = None
    task: TaskRef | None = None
    disprove: bool = True
    sampling: str = "auto"
    certify: CertifyRecord | None = None
    command: Command = "connect"

    def __post_init__(self) -> None:
        if not isinstance(self.strategy, Strategy) or isinstance(self.strategy, type):
            raise InvalidSetting(f"strategy={self.strategy!r}: pass one, such as ws.Greedy(alpha=0.95)")
        if not isinstance(self.stop, StopRule | None):
            raise InvalidSetting(f"stop={self.stop!r}: pass a rule, such as ws.MaxBeads(64) | ws.Budget(seconds=600)")
        if not isinstance(self.recipe, Recipe | None):
            raise InvalidSetting(f"recipe={self.recipe!r}: pass a ws.Recipe")
        if not isinstance(self.executor, Workers):
            raise InvalidSetting(
                f"executor={self.executor!r:.80}: pass None, weightstring.Processes(4), weightstring.Dask(), a dask "
                "Client, or a concurrent.futures.Executor"
            )
        if isinstance(self.executor, Client):
            object.__setattr__(self, "executor", Dask(self.executor))
        if self.sampling not in SAMPLINGS:
            raise InvalidSetting(f"sampling={self.sampling!r}: give 'auto', 'dense' or 'adaptive'")
        check_seed(self.seed)

    @property
    def limits(self) -> StopRule:
        """When to stop without a string; by default what suits the strategy."""
        return default_stop(self.strategy) if self.stop is None else self.stop

    @property
    def elsewhere(self) -> bool:
        """Whether other processes run each job by itself."""
        return isinstance(self.executor, Pool | Processes)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models to be connected.

    Args:
        a: one end θ (P,).
        b: the other.
        threshold: L0; None: the larger of the ends' own values.
        directory: where its run is kept; None: nowhere.
        name: what messages begin with, where there are several.
        align: whether ``b`` is to be brought to the symmetric copy of the lowest line from ``a``; ``"both"``: and a
            search without that is to be made beside it.
        symmetry: which units may move; None: found from the module.
        alignment: how ``b`` was aligned, where it was.
        as_saved: the ends' losses as they were saved, for the record.
        beside: searched for comparison with another: nothing is asked of it beyond the search.
        through: the models that the first string passes through (P,), in order, and
        originals: their digests as they were given, where they were aligned.
        provenance: where the models come from; None: not known.
    """

    a: Theta
    b: Theta
    threshold: float | None = None
    directory: Store | None = None
    name: str = ""
    align: bool | str = False
    symmetry: Symmetry | None = None
    alignment: AlignmentRecord | None = None
    as_saved: AsSaved = (None, None)
    beside: bool = False
    through: tuple[Theta, ...] = ()
    originals: tuple[str, ...] = ()
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.align, bool | str) or self.align not in ALIGN:
            raise InvalidSetting(f"align={self.align!r}: give True, False, or 'both' to search without alignment too")

    @property
    def as_given(self) -> Pair:
        """The same two models without alignment, in a run directory inside this one's."""
        directory = None if self.directory is None else self.directory.plain
        return replace(self, directory=directory, name="without alignment: ", align=False, beside=True)
