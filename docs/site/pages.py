"""A block ``{pages}``: commands that are carried out when the site is built, and the pages that they write.

On a code host it shows the commands. The site has each page of theirs, one file, below the command that wrote it.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from weightstring.cli import main

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BLOCK = re.compile(r"^```\{pages\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def written(commands: str, folder: Path) -> str:
    """The commands, each with a link to the page that it wrote; the pages go into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    with tempfile.TemporaryDirectory() as place, chdir(place):
        lines = commands.splitlines()
        for line in lines:
            parts.append(f"    {line}")
            before = _pages()
            _carry_out(shlex.split(line, comments=True)[1:])
            for page in sorted(_pages() - before):
                name = f"{page.parent.name}.html"
                shutil.copy(page, folder / name)
                parts += ["", f'<p class="written"><a href="../pages/{name}">The page</a></p>', ""]
    return "\n".join(parts)


def _pages() -> set[Path]:
    return set(Path().rglob("report.html"))


def _carry_out(words: list[str]) -> None:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main(words)
        except SystemExit as left:
            if left.code:
                raise RuntimeError(f"{shlex.join(words)} ended with {left.code}: {said.getvalue()}") from left


def _write(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = BLOCK.sub(lambda block: written(block[1], Path(app.outdir) / "pages"), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _write)
    return {"parallel_read_safe": True}
