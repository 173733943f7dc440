"""The loss around a run's string, as it is written down."""

from __future__ import annotations

from weightstring.codec import Record


class PlaneRecord(Record, frozen=True, kw_only=True):
    """``plane.json``: the loss on a grid in the plane through three models, and the string projected on it."""

    names: tuple[str, ...]
    """The measured quantities whose largest it is."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float | None, ...], ...]
    """A row for each of ``y``, in it one for each of ``x``; null where it is not finite."""
    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    """Where the three models lie; the first two are the ends of the string."""
    beads: tuple[tuple[float, float], ...]
    distances: tuple[float, ...]
    """Of the beads from the plane."""
    beads_sha256: str
    """Of the bead file of the string: the plane of another string is not that of the run's own."""

    def flaw(self, beads: int) -> str | None:
        """What makes it one that is never written for so many beads; None for a sound one."""
        if len(self.y) < 2 or len(self.losses) != len(self.y):
            return "its grid has not a row of losses for each y"
        if len(self.x) < 2 or any(len(row) != len(self.x) for row in self.losses):
            return "its grid has not a loss for each x"
        return None if len(self.beads) == len(self.distances) == beads else f"it has not the string's {beads} beads"
