"""A page as a program: its blocks of code, in order.

What a reader of the page has already stands in a comment, ``<!-- python`` and code until ``-->``. A block that cannot
run here has ``<!-- not run: the reason -->`` above it, a page that needs an optional package ``<!-- needs: it -->``.
Code that begins with a comment of the form ``# task.py`` is that file.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from weightstring.cli.main import build_parser

ROOT = Path(__file__).parents[2]
NO_CODE = {"text", "{names}", "{commands}", "{pages}"}
TOPS = "README.md", "CONTRIBUTING.md", "llms.txt"
VERDICTS = {0, 3, 4, 5}
"""Exit codes that tell what was found: misuse and bugs have others."""
PIECE = re.compile(
    r"^<!-- python\n(?P<hidden>.*?)\n-->$"
    r"|(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
Run = Callable[[list[str]], int]


@dataclass(frozen=True)
class Block:
    """A block of code, and why it is not run, if so."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """The lines of a shell's block, and their words."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield line, words

    @property
    def runs(self) -> bool:
        """Whether it is code that is run."""
        return self.language in ("python", "sh") and not self.reason

    def check(self) -> None:
        """Without running it: code compiles, and of what is not run the commands and options exist."""
        match self.language:
            case "python":
                self.compiled()
            case "sh" if self.runs:
                pass
            case "sh":
                for _, words in self.commands:
                    if "weightstring" in words[:-1]:
                        build_parser().parse_args(words[words.index("weightstring") + 1 :])
            case "toml":
                tomllib.loads(self.text)
            case "yaml":
                yaml.safe_load(self.text)
            case language:
                assert language in NO_CODE, f"{self}: say what language it is, or text"

    def compiled(self) -> object:
        """Python, with the lines of the page."""
        return compile("\n" * self.line + self.text, str(self.page), "exec")

    def run(self, names: dict[str, object], command: Run) -> None:
        """Run it in the working directory."""
        if named := re.match(r"# (\w+\.py)\n", self.text):
            Path(named[1]).write_text(self.text)
        elif self.language == "python":
            exec(self.compiled(), names)  # type: ignore[arg-type]
        elif self.language == "sh":
            for line, words in self.commands:
                code = command(words[1:]) if words[0] == "weightstring" else _by_shell(line)
                assert code in VERDICTS, f"{self}: exit code {code}: {line}"


def _by_shell(line: str) -> int:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(["bash", "-c", line], env={**os.environ, "PATH": path}, check=False).returncode


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def needs(self) -> list[str]:
        """Optional packages without which its code does not run."""
        found = re.search(r"^<!-- needs: (.+) -->$", self.text, re.MULTILINE)
        return found[1].split(", ") if found else []

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(piece) for piece in PIECE.finditer(self.text)]

    def _block(self, piece: re.Match[str]) -> Block:
        hidden = piece["hidden"]
        text, language = (piece["text"], piece["language"]) if hidden is None else (hidden, "python")
        line = self.text.count("\n", 0, piece.start("text" if hidden is None else "hidden"))
        return Block(self.path, line, language, text, piece["reason"])


PAGES = [Page(path) for path in (*map(ROOT.joinpath, TOPS), *sorted((ROOT / "docs").rglob("*.md")))]
