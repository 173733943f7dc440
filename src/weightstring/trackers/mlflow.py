"""MLflow: a run of an experiment, on a server, in a database or in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.trackers.tracker import Ending, Setting, Started, needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = "weightstring"
"""Of the runs, unless MLFLOW_EXPERIMENT_NAME names another."""
LONGEST = 500
"""Characters of a parameter that every version keeps."""
AT_ONCE = 100
"""Parameters of a call."""
STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow:
    """A tracker that sends to MLflow by its client, beside whatever run the program has under way.

    Args:
        uri: of the tracking server, a database or a folder; empty: as MLflow finds it, by MLFLOW_TRACKING_URI.

    Raises:
        InvalidSetting: mlflow is not installed.
    """

    def __init__(self, uri: str = "") -> None:
        self._package, self._uri = needed("mlflow", "mlflow"), uri or None
        self._entities = needed("mlflow.entities", "mlflow")
        self._client: Any = None
        self._run = ""

    def start(self, name: str, settings: Mapping[str, Setting], earlier: str | None) -> Started:
        """Begin a run of the experiment, or set the earlier one running again."""
        self._client = self._package.MlflowClient(tracking_uri=self._uri)
        known, step = self._earlier(earlier)
        if known is None:
            known = self._client.create_run(self._experiment(), tags={"mlflow.runName": name})
        self._run = known.info.run_id
        new = {name: value for name, value in settings.items() if name not in known.data.params and value is not None}
        params = [self._entities.Param(name, str(value)[:LONGEST]) for name, value in new.items()]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(self._run, params=params[first : first + AT_ONCE])
        return Started(self._run, step)

    def log(self, values: Mapping[str, float | str], step: int | None = None) -> None:
        """Metrics of a step; without one ``final/`` metrics, and words as tags."""
        now, prefix = int(time.time() * 1000), "final/" if step is None else ""
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        metrics = [self._entities.Metric(prefix + name, number, now, step or 0) for name, number in numbers.items()]
        tags = [self._entities.RunTag(name, words) for name, words in values.items() if isinstance(words, str)]
        self._client.log_batch(self._run, metrics=metrics, tags=tags)

    def figure(self, name: str, figure: Figure) -> None:
        """A picture among the artifacts."""
        self._client.log_figure(self._run, figure, f"{name}.png")

    def artifact(self, file: Path) -> None:
        """The same."""
        self._client.log_artifact(self._run, str(file))

    def finish(self, how: Ending) -> None:
        """Say how it ended."""
        self._client.set_terminated(self._run, status=STATUS[how])

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)

    def _earlier(self, run: str | None) -> tuple[Any, int]:
        """A run of a former session, and its last step; None where it is not known here, or was deleted."""
        if run is None:
            return None, 0
        try:
            known = self._client.get_run(run)
        except self._package.exceptions.MlflowException as unknown:
            if unknown.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None, 0
        if known.info.lifecycle_stage != "active":
            return None, 0
        self._client.set_terminated(run, status="RUNNING")
        steps = [point.step for name in known.data.metrics if not name.startswith("final/")
                 for point in self._client.get_metric_history(run, name)]  # fmt: skip
        return known, max(steps, default=0)
