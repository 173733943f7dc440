"""The navigation is what the README.md of a folder lists: a page named in one of its lists or tables comes below it.

So a code host and the site show the same order, and a page that no list names fails the strict build.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADING = re.compile(r"^## (.+)$")
ENTRY = re.compile(r"^(?:- |\|.*?)\[(?P<title>[^]]+)\]\((?P<page>[^):#]+)\.(?:md|ipynb)\)")


def toctrees(text: str, titled: bool) -> str:
    r"""The hidden trees of contents of a README: one for each heading under which pages are listed.

    >>> print(toctrees("## Begin\n- [Install](install.md): by pip\n", titled=True).strip())
    ```{toctree}
    :hidden:
    :caption: Begin
    Install <install>
    ```
    """
    groups: dict[str, dict[str, str]] = {}
    heading, seen = "", set[str]()
    for line in text.splitlines():
        if found := HEADING.match(line):
            heading = found[1]
        elif (found := ENTRY.match(line)) and found["page"] not in seen:
            seen.add(found["page"])
            groups.setdefault(heading, {})[found["page"]] = found["title"]
    trees = []
    for heading, pages in groups.items():
        caption = [f":caption: {heading}"] if titled else []
        entries = [f"{title} <{page}>" if titled else page for page, title in pages.items()]
        trees.append("\n".join(["", "```{toctree}", ":hidden:", *caption, *entries, "```", ""]))
    return "".join(trees)


def _add(app: Sphinx, name: str, source: list[str]) -> None:
    if name.endswith("/README"):
        source[0] += "\n" + toctrees(source[0], titled=name == app.config.root_doc)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _add)
    return {"parallel_read_safe": True}
