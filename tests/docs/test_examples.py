"""The examples of pages about theorems and symmetries run as they stand, each page in a namespace of its own."""

import re
from pathlib import Path

import pytest

from weightstring.problem.engines import ENGINES
from weightstring.proof.enclose.rules import RULES as CERTIFICATE_RULES
from weightstring.proof.verify.operations import OPERATIONS
from weightstring.report import RUN_SECTIONS
from weightstring.symmetry.rules import RULES as SYMMETRY_RULES
from weightstring.tasks import TASKS

FOLDER = Path(__file__).parents[2] / "docs"
PAGES = [
    *sorted(page for page in FOLDER.glob("theory/*.md") if page.stem != "README"),
    *sorted(FOLDER.glob("symmetry*.md")),
    *sorted(page for page in FOLDER.glob("extending/*.md") if page.stem != "README"),
    FOLDER / "many-models.md",
    FOLDER / "sweeps.md",
    FOLDER / "batches.md",
    FOLDER / "dask.md",
    FOLDER / "choosing-a-threshold.md",
    FOLDER / "notebooks.md",
    pytest.param(FOLDER / "hugging-face.md", marks=pytest.mark.slow),
]
TEXTS = [*sorted(FOLDER.parent.glob("*.md")), *sorted(FOLDER.rglob("*.md"))]


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_holds(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if page.stem == "hugging-face":
        pytest.importorskip("transformers")
    for registry in (
        CERTIFICATE_RULES,
        ENGINES,
        OPERATIONS,
        RUN_SECTIONS,
        SYMMETRY_RULES,
        TASKS,
    ):  # others do without what the page adds
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert any("assert" in block for block in blocks)
    context: dict[str, object] = {}
    for block in blocks:
        exec(block, context)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(FOLDER.parent)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    roots = FOLDER.parent, FOLDER.parent / "src", FOLDER.parent / "src/weightstring"
    named = re.findall(r"`([\w-]+/[\w/-]+\.py)`", page.read_text())
    linked = re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text())
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
    assert [name for name in linked if not (page.parent / name).exists()] == []
