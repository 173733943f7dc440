"""Where numbers of experiments are kept: TensorBoard, MLflow, W&B, or whatever a package registers.

None is needed, and each is imported when it is first named.
"""

from weightstring.trackers.tracker import TRACKERS, Ending, Setting, Started, Tracker, tracker_of

__all__ = ["TRACKERS", "Ending", "Setting", "Started", "Tracker", "tracker_of"]
