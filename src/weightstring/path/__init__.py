"""The paper's objects: segments and their loss curves, maxima, strings, outcomes."""

from weightstring.path.maximum import MAX_PEAKS, Maximum, Samples, accept, locate
from weightstring.path.objective import Objective, check_theta
from weightstring.path.outcome import Connected, Disconnected, Evidence, Outcome, Proof, Reason, Unresolved
from weightstring.path.screening import reject
from weightstring.path.segment import Segment, clearly_over, measure_models, measure_points, no_worse
from weightstring.path.string import WeightString
from weightstring.path.string_curve import BARRIERS, SearchSamples, StringCurve

__all__ = [
    "BARRIERS",
    "MAX_PEAKS",
    "Connected",
    "Disconnected",
    "Evidence",
    "Maximum",
    "Objective",
    "Outcome",
    "Proof",
    "Reason",
    "Samples",
    "SearchSamples",
    "Segment",
    "StringCurve",
    "Unresolved",
    "WeightString",
    "accept",
    "check_theta",
    "clearly_over",
    "locate",
    "measure_models",
    "measure_points",
    "no_worse",
    "reject",
]
