"""All benchmarks by one command.

    python -m benchmarks --list                    # their names, with a line each
    python -m benchmarks all --quick               # every one at a small size, in ten minutes; nothing is kept
    python -m benchmarks rivals                    # one, at its full size; kept in benchmarks/results
    python -m benchmarks rivals --tasks digits     # one, with options of its own; rivals --help lists them
    python -m benchmarks report                    # write BENCHMARKS.md from what was kept

$WEIGHTSTRING_DATA names the directory of the MNIST files. A benchmark that fails, for want of them too, is told of at
the end, with all others done.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """Names of the modules that have a ``main``, and the first lines of their docstrings; nothing is imported."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        tree = ast.parse(path.read_text())
        if path.stem != "__main__" and any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main(arguments: list[str]) -> int:
    """Run what is named, with its own options where it is one; "all" is all but the report."""
    known = benchmarks()
    names = [word for word in arguments if not word.startswith("-")]
    if not names:
        told = "\n".join(f"  {name:14} {line}" for name, line in known.items())
        print(f"{__doc__}\n{told}")
        return 0 if {"--list", "--help", "-h"} & {*arguments} else 2
    if arguments[0] in known and (len(names) == 1 or names[1] not in known):
        importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
        return 0
    if unknown := [name for name in names if name not in known and name != "all"]:
        print(f"benchmarks: no benchmark {unknown[0]!r}: choose of {', '.join(known)}, or all", file=sys.stderr)
        return 2
    options = [word for word in arguments if word.startswith("-")]
    if "all" in names:
        names = [name for name in known if name != "report"]
    return run(names, options)


def run(names: list[str], options: list[str]) -> int:
    """One after the other."""
    failed = []
    for name in names:
        started = time.perf_counter(), sum(os.times()[:4])  # of this process and of those it waited for
        print(f"=== {name}", flush=True)
        try:
            importlib.import_module(f"benchmarks.{name}").main(options)
        except (Exception, SystemExit) as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
            print(failed[-1], file=sys.stderr)
        wall, cpu = time.perf_counter() - started[0], sum(os.times()[:4]) - started[1]
        print(f"=== {name}: {wall:.0f} s, {cpu:.0f} CPU s", flush=True)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
