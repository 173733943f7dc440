"""TensorBoard: a folder of events for each run, in a folder of runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.errors import InvalidSetting
from weightstring.trackers.tracker import Ending, Setting, Started, needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READER = "tensorboard.backend.event_processing.event_accumulator"
"""What reads events back; of its own it forgets all but some."""


class TensorBoard:
    """A tracker that writes what ``tensorboard --logdir FOLDER`` shows; files are copied beside the events.

    Args:
        folder: of the runs; each gets one of its name inside.

    Raises:
        InvalidSetting: there is no folder, or tensorboard is not installed.
    """

    def __init__(self, folder: str) -> None:
        if not folder:
            raise InvalidSetting("tracker 'tensorboard': give the folder of its runs, such as tensorboard:runs/tb")
        self._folder = Path(folder)
        self._kind = needed("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writer: Any = None
        self._place = self._folder
        self._settings: dict[str, str | int | float | bool] = {}

    def start(self, name: str, settings: Mapping[str, Setting], earlier: str | None) -> Started:
        """Begin a folder, or go on in the earlier one."""
        goes_on = earlier is not None and (self._folder / earlier).is_dir()
        self._place = self._folder / str(earlier) if goes_on else self._fresh(name)
        step = self._last_step() if goes_on else 0
        self._settings = {key: value for key, value in settings.items() if value is not None}
        self._writer = self._kind(str(self._place))
        self._writer.add_text("settings", _table(self._settings), step)
        return Started(str(self._place.relative_to(self._folder)), step)

    def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
        """Scalars of a step; without one, a row of the HPARAMS tab, and words as text."""
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        for name, words in values.items():
            if isinstance(words, str):
                self._writer.add_text(name, words, step)
        if step is None:
            self._writer.add_hparams(self._settings, {f"final/{name}": number for name, number in numbers.items()},
                                     run_name=".")  # fmt: skip
        else:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, step)
        self._writer.flush()

    def figure(self, name: str, figure: Figure) -> None:
        """An image."""
        self._writer.add_figure(name, figure, close=False)

    def artifact(self, file: Path) -> None:
        """A copy beside the events."""
        shutil.copyfile(file, self._place / file.name)

    def finish(self, how: Ending) -> None:
        """Close the file of events."""
        self._writer.add_text("session", how)
        self._writer.close()

    def _fresh(self, name: str) -> Path:
        """A folder that is not there yet, by the name or the name and a number."""
        plain = name.replace("/", "-")
        for number in count(1):
            place = self._folder / (plain if number == 1 else f"{plain}-{number}")
            try:
                place.mkdir(parents=True)
            except FileExistsError:
                continue
            return place
        raise AssertionError

    def _last_step(self) -> int:
        events = needed(READER, "tensorboard").EventAccumulator(str(self._place), {"scalars": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("final/")]
        return max((event.step for tag in tags for event in events.Scalars(tag)), default=0)


def _table(settings: Mapping[str, object]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    return f"| setting | value |\n|---|---|\n{rows}"
