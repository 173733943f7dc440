"""The command line. Thin: it reads arguments, calls the library and prints what it returns."""

from weightstring.cli.main import main

__all__ = ["main"]
