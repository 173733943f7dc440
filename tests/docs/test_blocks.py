"""Every block of code of README and of the docs runs, each page as one program, in a folder as a reader has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightstring.problem.engines import ENGINES
from weightstring.proof.enclose.rules import RULES as CERTIFICATE_RULES
from weightstring.proof.verify.operations import OPERATIONS
from weightstring.report import RUN_SECTIONS
from weightstring.search import STRATEGIES
from weightstring.symmetry.rules import RULES as SYMMETRY_RULES
from weightstring.tasks import TASKS
from weightstring.trackers import TRACKERS

from .blocks import PAGES, Block, Page
from .conftest import command

PROGRAMS = [page for page in PAGES if any(block.runs for block in page.blocks)]
LEFT_OUT = [block for page in PAGES for block in page.blocks if block.reason]
REGISTRIES = CERTIFICATE_RULES, ENGINES, OPERATIONS, RUN_SECTIONS, STRATEGIES, SYMMETRY_RULES, TASKS, TRACKERS


@pytest.mark.filterwarnings("default")  # what other libraries warn of is no fault of a page
@pytest.mark.many(quick=3)
@pytest.mark.parametrize("page", PROGRAMS, ids=str)
def test_a_page_runs_from_its_first_block_to_its_last(
    page: Page, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in page.needs:
        pytest.importorskip(package)
    for registry in REGISTRIES:  # others do without what the page adds
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    names: dict[str, object] = {}
    for block in page.blocks:
        if block.runs:
            block.run(names, command)


@pytest.mark.parametrize("block", LEFT_OUT, ids=str)
def test_a_block_that_cannot_run_here_says_why(block: Block) -> None:
    block.check()  # it compiles; its commands and options exist
    pytest.skip(block.reason)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_says_what_it_is(page: Page) -> None:
    for block in page.blocks:
        block.check()
