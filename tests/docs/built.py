"""The site as it was built: pages, the places in them that have a name, and what they refer to."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Site:
    """As ``make docs`` does, with every warning an error; notebooks are run by a test of their own."""
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs/site", "-D", "nb_execution_mode=off"]
    done = subprocess.run([sys.executable, *words, ".", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return Site(folder)


@dataclass
class Page(HTMLParser):
    """What a page names and what it refers to."""

    path: Path
    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    without_words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.names.update(told[name] for name in ("id", "name") if name in told)
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        elif tag in ("img", "script", "iframe") and "src" in told:
            self.loaded.append(told["src"])
        elif tag == "link" and told.get("rel") == "stylesheet":
            self.loaded.append(told["href"])
        if tag == "img" and not told.get("alt"):
            self.without_words.append(told["src"])


@dataclass(frozen=True)
class Site:
    """All pages under a folder."""

    folder: Path

    @cached_property
    def pages(self) -> dict[Path, Page]:
        return {path: Page(path) for path in sorted(self.folder.rglob("*.html")) if "_static" not in path.parts}

    def misses(self, page: Page, link: str) -> bool:
        """Whether a link leads nowhere; of one that leaves the site, whether it has no proper form."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return parts.scheme not in ("mailto", "data") and not (parts.scheme == "https" and "." in parts.netloc)
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
        if not target.exists():
            return True
        return bool(parts.fragment) and unquote(parts.fragment) not in self.pages[target].names
