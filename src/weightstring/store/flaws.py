"""What no search writes, though every field has its type."""

from __future__ import annotations

from weightstring.codec import none_as_infinity
from weightstring.path import BARRIERS
from weightstring.store.records import ResultRecord, by_depth


def flaw(result: ResultRecord) -> str | None:
    """What makes a result one that no search writes, though every field has its type; None for a sound one."""
    string, curve = result.string, result.string.curve
    if not curve.values.keys() >= {"loss", *result.names} or not result.names:
        return "its curve does not hold the loss and what the threshold binds"
    if not all(map(str.isidentifier, curve.values)):
        return "its curve holds quantities by names that none can have"
    if not all(curve.values.keys() == end.keys() for end in result.ends) or string.barriers.keys() != set(BARRIERS):
        return "its ends or barriers are not those of its curve"
    if len({len(column) for column in (curve.s, curve.segment, curve.t, *curve.values.values())}) != 1:
        return "the columns of its curve differ in length"
    if result.by_depth and tuple(map(none_as_infinity, result.by_depth)) != by_depth(result.rounds):
        return "its maxima by depth are not those of its rounds"
    if (line := result.line) is not None:
        columns = (line.curve.s, line.curve.segment, line.curve.t, *line.curve.values.values())
        straight = {len(column) for column in columns} == {len(line.curve.t)} and {*line.curve.segment} == {0}
        if not straight or "loss" not in line.curve.values or line.barriers.keys() != set(BARRIERS):
            return "its straight line is not one that was measured"
    segments = sorted(set(curve.segment))
    if segments != list(range(len(segments))) or not len(segments) == len(string.segments) == string.beads - 1:
        return f"its curve is not one over {string.beads - 1} segments"
    return None
