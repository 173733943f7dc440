"""``weightstring init``: a task file to begin with, which runs as it stands."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from weightstring.cli.ending import DONE

HELP = "write a commented task file for your own model"

TASK = Path(__file__).parents[1] / "task_template.py"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default="task.py", metavar="FILE", help="the file to write (default: %(default)s)"
    )


def run(options: Namespace) -> int:
    """Write the file, unless there is one."""
    from weightstring.errors import StoreFailed
    from weightstring.text import shown

    file = Path(options.file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as target:
            target.write(TASK.read_text("utf-8"))
    except FileExistsError:
        raise StoreFailed(f"{file}: there is one already; give another name: weightstring init FILE") from None
    except OSError as error:
        raise StoreFailed(f"{file}: cannot be written: {error.strerror}; give another place") from None
    name = shown(str(file))
    if options.quiet:
        return DONE
    print(f"wrote {name}: put your own model, data and loss into it; it runs as it stands\n")
    print(f"weightstring doctor {name}:problem")
    for letter, seed in (("a", 0), ("b", 1)):
        print(f"weightstring train {name}:problem --seed {seed} --until 0.3 --out {letter}.safetensors")
    for command in ("threshold", "connect"):
        print(f"weightstring {command} {name}:problem a.safetensors b.safetensors")
    return DONE
