"""How many components, and what each number rests on."""

from __future__ import annotations

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.html import template
from weightstring.report.section import Section


def verdict(page: AtlasPage) -> Section:
    atlas = page.atlas
    certified = sum(own.certified < float("inf") for own in atlas.searched.values())
    html = template("atlas/sections/verdict.html", atlas=atlas, certified=certified, proofs=len(atlas.proved))
    return Section("", html)
