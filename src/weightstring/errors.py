"""What misuse raises. Outcomes of a search are values, never exceptions (path/outcome.py).

Every message is one line: what is wrong, with the values, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class WeightstringError(Exception):
    """Base of everything that weightstring raises on purpose."""


class InvalidModel(WeightstringError, ValueError):
    """The module cannot be used as it is: no trainable parameter, no way to initialise."""


class InvalidCheckpoint(WeightstringError, ValueError):
    """A checkpoint or θ does not belong to the problem's module, or cannot be read safely."""


class InvalidData(WeightstringError, ValueError):
    """The data are empty, malformed, or change from one pass to the next."""


class Converted(UserWarning):
    """A checkpoint is in another dtype than the module computes in: from which to which, and what that changes."""


class NotDeterministic(WeightstringError, RuntimeError):
    """Two evaluations of the same θ differ, so the loss is not a function of θ."""


class InvalidSetting(WeightstringError, ValueError):
    """A setting is unknown or out of range."""


class EndAboveThreshold(WeightstringError, ValueError):
    """An end of the path already exceeds the threshold, so no path can stay under it."""

    def __init__(self, message: str, losses: tuple[float, float], threshold: float) -> None:
        super().__init__(message)
        self.losses = losses
        self.threshold = threshold

    def __reduce__(self) -> tuple[type[EndAboveThreshold], tuple[str, tuple[float, float], float]]:
        return type(self), (str(self), self.losses, self.threshold)  # to come from another process


class LevelNotReached(WeightstringError, RuntimeError):
    """Training stopped above the requested level; ``theta`` is the best model seen, ``value`` its loss."""

    def __init__(self, message: str, theta: Tensor, value: float) -> None:
        super().__init__(message)
        self.theta = theta
        self.value = value

    def __reduce__(self) -> tuple[type[LevelNotReached], tuple[str, Tensor, float]]:
        return type(self), (str(self), self.theta, self.value)  # likewise


class InvalidRun(WeightstringError, ValueError):
    """A run directory is missing, damaged, forged, or belongs to another problem."""


class RunLocked(WeightstringError, RuntimeError):
    """Another process is writing to the run directory."""


class StoreFailed(WeightstringError, RuntimeError):
    """The disk refuses what a run must write: it is full, broken, read-only, or not ours any more."""


class Unsupported(WeightstringError, ValueError):
    """A module or loss holds an operation for which there is no rule: of certificates, or of symmetries."""


class ProofContradicted(WeightstringError, RuntimeError):
    """A path lies under a bound that was proved for every path: a fault of weightstring, so that nothing is claimed."""


class NotEquivalent(WeightstringError, RuntimeError):
    """A model that should compute the same function as another does not."""


class TaskError(WeightstringError, ValueError):
    """A task cannot be found or does not return a ModuleProblem."""


class UserCodeFailed(WeightstringError, RuntimeError):
    """The user's own code raised while a loss was computed: a module, loss, metric or rule; ``__cause__`` is what."""


class WorkerFailed(WeightstringError, RuntimeError):
    """The worker of a job died again and again, or an executor takes no more jobs."""
