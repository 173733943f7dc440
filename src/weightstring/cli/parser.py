"""The parser: one line for each mistake, and the word that was probably meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from weightstring.cli.ending import MISUSE
from weightstring.text import meant, shown


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        print(f"{self.prog}: {shown(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(MISUSE)


class CommandParser(OneLineParser):
    """A parser of commands, which knows those and their options well enough to tell what was meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = self.add_subparsers(
            dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Read the words of a command; one that it does not know is its own mistake."""
        words = sys.argv[1:] if args is None else list(args)
        if words and not words[0].startswith("-") and words[0] not in self.commands.choices:
            self.error(f"unknown command {words[0]!r}{meant(words[0], self.commands.choices)}")
        parsed: argparse.Namespace
        parsed, rest = self.parse_known_args(words, namespace)
        if rest:
            command = self.commands.choices[parsed.command]
            word = rest[0].partition("=")[0]
            options = command._option_string_actions if word.startswith("-") else ()
            command.error(f"unknown argument {word!r}{meant(word, options)}")
        return parsed
