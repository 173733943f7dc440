"""What a tracker is, and those there are by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Setting: TypeAlias = str | int | float | bool | None
"""A value that is logged once, beside a run's numbers."""

Ending: TypeAlias = Literal["finished", "interrupted", "failed"]
"""How a session ends; ``"interrupted"`` and ``"failed"`` runs may be gone on with."""


class Started(NamedTuple):
    """A tracked run that was begun, or is gone on with.

    Args:
        id: by which a later session finds it.
        step: the last step that it holds; 0: none, or nobody can tell, so that every one is logged again.
    """

    id: str
    step: int = 0


@runtime_checkable
class Tracker(Protocol):
    """Where the numbers of a run are sent. What its methods raise ends the tracking, and never the search.

    :func:`weightstring.testing.check_tracker` holds one of your own against all that is relied on.
    """

    def start(self, name: str, settings: Mapping[str, Setting], earlier: str | None) -> Started:
        """Begin a run, or go on with an earlier one.

        Args:
            name: for people; several runs may have the same.
            settings: what decides the run, by dotted names.
            earlier: the ``id`` that a former session's start returned; one that is no longer known begins a new run.
                None: begin.
        """

    def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
        """Keep finite numbers of a step, which never falls; without one, numbers and words about the whole run."""

    def figure(self, name: str, figure: Figure) -> None:
        """Keep a figure of matplotlib's."""

    def artifact(self, file: Path) -> None:
        """Keep a file, which stays where it is until :meth:`finish` has returned."""

    def finish(self, how: Ending) -> None:
        """Send what is not sent yet, and let go."""


TRACKERS: Registry[Callable[[str], Tracker]] = Registry("tracker", group="weightstring.trackers")
"""What makes a tracker of the text after its name and a colon, such as ``runs/tb`` of ``tensorboard:runs/tb``."""
for _name, _place in {
    "tensorboard": "tensorboard:TensorBoard",
    "mlflow": "mlflow:MLflow",
    "wandb": "wandb:WeightsAndBiases",
}.items():
    TRACKERS.add(_name, f"weightstring.trackers.{_place}")


def tracker_of(given: str | Tracker) -> Tracker:
    """The tracker of a name, ``"tensorboard:runs/tb"``, ``"mlflow"``, ``"wandb:my-project"``, or the one given.

    Raises:
        InvalidSetting: there is none of that name, its package is not installed, or it lacks a method.

    >>> tracker_of("paper")
    Traceback (most recent call last):
    weightstring.errors.InvalidSetting: unknown tracker 'paper': choose one of tensorboard, mlflow, wandb
    """
    if isinstance(given, str):
        name, _, place = given.partition(":")
        return TRACKERS[name](place)
    if isinstance(given, Tracker) and not isinstance(given, type):
        return given
    raise InvalidSetting(
        f"tracker={given!r:.80}: give a name, such as 'tensorboard:runs/tb', 'mlflow' or 'wandb', or an object with "
        "start, log, figure, artifact and finish"
    )


def needed(module: str, tracker: str) -> Any:
    """The module of a package that a tracker sends to.

    Raises:
        InvalidSetting: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as missing:
        raise InvalidSetting(
            f'tracker {tracker!r}: cannot be imported ({missing}): pip install "weightstring[{tracker}]"'
        ) from None
