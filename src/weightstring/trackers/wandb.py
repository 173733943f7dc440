"""Weights & Biases: a run of a project, online or offline as WANDB_MODE says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.trackers.tracker import Ending, Setting, Started, needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROJECT = "weightstring"
"""Of the runs, unless the tracker's name or WANDB_PROJECT names another."""


class WeightsAndBiases:
    """A tracker that sends to W&B by a run of its own, beside whatever run the program has under way.

    Args:
        project: of the runs; empty: that of WANDB_PROJECT.

    Raises:
        InvalidSetting: wandb is not installed.
    """

    def __init__(self, project: str = "") -> None:
        self._package, self._project = needed("wandb", "wandb"), project
        self._run: Any = None
        self._step: int | None = None

    def start(self, name: str, settings: Mapping[str, Setting], earlier: str | None) -> Started:
        """Begin a run, or go on with the earlier one; offline, what it holds is known once it is synchronised."""
        quiet = self._package.Settings(silent=True, console="off", disable_git=True, save_code=False)
        self._run = self._package.init(
            project=self._project or os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            id=earlier,
            resume="allow",
            reinit="create_new",
            config=dict(settings),
            settings=quiet,
        )
        # Its next step is one on from its last.
        return Started(str(self._run.id), max(0, self._run.step - 1))

    def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
        """A step of the history; without one the summary."""
        if step is None:
            self._run.summary.update({f"final/{name}": value for name, value in values.items()})
        else:
            self._run.log(dict(values), step=step)
            self._step = step

    def figure(self, name: str, figure: Figure) -> None:
        """A picture of the last step: one of its own would push the steps of a later session aside."""
        self._run.log({name: self._package.Image(figure)}, step=self._step)

    def artifact(self, file: Path) -> None:
        """An artifact of the run."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{self._run.id}-{file.stem}")
        artifact = self._package.Artifact(name, type="result")
        artifact.add_file(str(file))
        self._run.log_artifact(artifact)

    def finish(self, how: Ending) -> None:
        """Send the rest; an interrupted run counts as one that did not succeed."""
        self._run.finish(exit_code=0 if how == "finished" else 1)
