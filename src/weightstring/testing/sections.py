"""Check of a page's section: it stands by itself, asks no network, and every figure of it has its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import TypeVar

from weightstring.report.draw.static import drawn
from weightstring.report.section import Section

Data = TypeVar("Data")

VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "wbr", "col"})
"""Elements without an end tag."""
REQUESTS = frozenset({"src", "href", "srcset", "data", "action", "poster"})
"""Attributes by which a page asks for something."""
LOCAL = ("#", "data:")
"""What they may ask for: a place in the page, or what lies in the link itself."""


def check_section(make: Callable[[Data], Section | None], data: Data) -> None:
    """Try a section of a page on a run, or a sweep, that it has something to show of.

    Args:
        make: the function that is registered.
        data: what it is called with, such as ``read_run("runs/first")``.

    Raises:
        AssertionError: it shows nothing, differs from call to call, leaves a tag open, asks the network, or has a
            figure without a place, a place without a figure or a switch with too few choices.
        InvalidSetting: a figure has a kind of trace that cannot be drawn for files.

    >>> from markupsafe import Markup
    >>> check_section(lambda data: Section("Size", Markup("<p>{}</p>").format(data)), 3)
    >>> check_section(lambda data: Section("Size", Markup("<p>3")), 3)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    AssertionError: html: <p> is never closed
    """
    section, again = make(data), make(data)
    assert section is not None, "there is nothing to show: give data that the section shows something of"
    assert again is not None, "there is nothing to show at a second call with the same data"
    assert again.html == section.html, "html differs between two calls with the same data"
    for name, drawings in section.figures.items():
        same = [drawing.figure.to_json() for drawing in again.figures[name]]
        assert same == [drawing.figure.to_json() for drawing in drawings], f"figure {name!r} differs between two calls"
    reader = _Reader()
    reader.feed(section.html)
    reader.close()
    assert not reader.open, f"html: <{reader.open[-1]}> is never closed"
    places = [name.removeprefix("figure-") for name in reader.ids if name.startswith("figure-")]
    assert sorted(places) == sorted(section.figures), (
        f"figures {sorted(section.figures)}, but html has places for {sorted(places)}: give each an element with the "
        "id figure-NAME"
    )
    for name, drawings in section.figures.items():
        choices = reader.choices.count(name)
        assert len(drawings) == 1 or choices == len(drawings), (
            f"figure {name!r} is drawn in {len(drawings)} ways, but its switch has {choices} choices"
        )
        for drawing in drawings:
            drawn(drawing.figure)


class _Reader(HTMLParser):
    """Follows tags, and collects the ids and what switches offer."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.choices: list[str] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """An element begins."""
        values = {name: value or "" for name, value in attrs}
        asked = [value for name, value in values.items() if name in REQUESTS and not value.startswith(LOCAL)]
        assert not asked, f"html: <{tag}> asks for {asked[0]!r:.80}, but a page asks no network"
        self.ids += [values["id"]] if "id" in values else []
        self.open += [] if tag in VOID else [tag]
        if tag == "select":
            self._select = values.get("name", "")
        if tag == "option" or (tag == "input" and values.get("type") == "radio"):
            self.choices.append(self._select if tag == "option" else values.get("name", ""))

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self.open[-1:] == [tag], f"html: </{tag}> ends what is not open; open: {self.open}"
        self.open.pop()
