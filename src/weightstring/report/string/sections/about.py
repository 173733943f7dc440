"""By what a string, or lines, were measured, and between which models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from weightstring.report.html import template
from weightstring.report.section import Section


class _About(Protocol):
    @property
    def about(self) -> Mapping[str, str]:
        """Digests and versions, by what they are of."""


def about(data: _About) -> Section:
    return Section("Measured by", template("string/sections/about.html", data=data))
