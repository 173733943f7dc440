"""The paper's objects: segments and their loss curves, maxima, strings, outcomes."""

from weightstring.path.height import Bound, bound_names, check_theta, only_quantity
from weightstring.path.maximum import MAX_PEAKS, Maximum, Samples, accept, locate
from weightstring.path.outcome import Connected, Disconnected, Evidence, Outcome, Proof, Reason, Unresolved
from weightstring.path.screening import reject
from weightstring.path.segment import Segment, clearly_over, measure_models, measure_points, no_worse
from weightstring.path.string import BARRIERS, Seen, StringCurve, WeightString

__all__ = [
    "BARRIERS",
    "MAX_PEAKS",
    "Bound",
    "Connected",
    "Disconnected",
    "Evidence",
    "Maximum",
    "Outcome",
    "Proof",
    "Reason",
    "Samples",
    "Seen",
    "Segment",
    "StringCurve",
    "Unresolved",
    "WeightString",
    "accept",
    "bound_names",
    "check_theta",
    "clearly_over",
    "locate",
    "measure_models",
    "measure_points",
    "no_worse",
    "only_quantity",
    "reject",
]
