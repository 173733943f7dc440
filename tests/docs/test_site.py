"""The site builds without a warning, nothing in it leads nowhere, and it reads without a network."""

import doctest
import re
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import weightstring as ws

from .built import ROOT, build

DOCS = ROOT / "docs"
TEXTS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.slow
def test_the_site_builds_and_everything_that_it_refers_to_is_there(tmp_path: Path) -> None:
    for builder in ("sphinx", "furo", "myst_nb", "sphinx_copybutton"):
        pytest.importorskip(builder)
    site = build(tmp_path.resolve())
    assert len(site.pages) > 40
    pages = [(path.relative_to(site.folder), page) for path, page in site.pages.items()]
    assert [(path, link) for path, page in pages for link in page.links if site.misses(page, link)] == []
    assert [(path, link) for path, page in pages for link in page.loaded if site.misses(page, link)] == []
    assert [(path, link) for path, page in pages for link in page.loaded if urlsplit(link).netloc] == []  # no network
    assert [(path, image) for path, page in pages for image in page.without_words] == []
    styles = "".join(path.read_text() for path in site.folder.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)]*", styles) == []
    told = re.findall(r"\]\(([^)]+)\)", (site.folder / "llms.txt").read_text())
    assert [link for link in told if not (site.folder / link).exists()] == []
    assert len(told) > 30
    assert "Result" in (site.folder / "searchindex.js").read_text()


def test_the_reference_has_every_public_name_once() -> None:
    pages = [path.read_text() for path in (DOCS / "reference").glob("*.md")]
    blocks = [re.findall(r"^```\{names\}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) for page in pages]
    listed = Counter(name for page in blocks for block in page for name in block.split())
    assert listed == Counter(ws.__all__), "docs/reference/*.md list every name of weightstring once"
    assert [name for name in ws.__all__ if not getattr(ws, name).__doc__] == []


def test_the_list_of_pages_leads_to_every_page() -> None:
    lists = [DOCS / "README.md", *DOCS.glob("*/README.md")]
    linked = {
        (page.parent / link).resolve()
        for page in lists
        for link in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text())
    }
    left_out = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    left_out -= {str(page.relative_to(DOCS)) for page in linked if page.is_relative_to(DOCS)}
    assert left_out == set(), "docs/README.md, or the README.md of their folder, lists every page"


def test_the_page_on_installing_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "install.md").read_text(), re.MULTILINE)[1:]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(extras)


@pytest.mark.parametrize("name", ["navigation", "generated"])
def test_examples_of_what_builds_the_site(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(DOCS / "site")
    done = doctest.testmod(import_module(name))
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    roots = ROOT, ROOT / "src", ROOT / "src/weightstring"
    named = re.findall(r"`([\w-]+/[\w/-]+\.py)`", page.read_text())
    linked = re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text())
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
    assert [name for name in linked if not (page.parent / name).exists()] == []


def test_what_language_models_are_told_names_what_is_there() -> None:
    told = (ROOT / "llms.txt").read_text()
    assert [name for name in re.findall(r"\bws\.(\w+)", told) if name not in ws.__all__] == []
    assert told.splitlines()[-1] == "All pages: [docs/README.md](docs/README.md)."  # the site has the lists there
