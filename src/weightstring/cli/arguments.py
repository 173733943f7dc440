"""The options of each command. Nothing here imports PyTorch."""

from __future__ import annotations

import argparse

from weightstring.cli.recipe import add_recipe
from weightstring.cli.strategy import add_strategy
from weightstring.cli.values import (
    data_option,
    duration,
    key_value,
    names,
    number,
    numbers,
    place,
    positive,
    several,
    two_or_more,
    whole,
)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Options of ``sweep``."""
    add_task(parser)
    parser.add_argument(
        "--thresholds", type=numbers, required=True, metavar="L,L,...", help="L0, each by itself, joined by commas"
    )
    parser.add_argument(
        "--pairs", type=positive, metavar="N", help="at each (default: 32, or as many as the checkpoints make)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the sweep's directory; what is there is used")
    parser.add_argument(
        "--over",
        action="append",
        type=several,
        default=[],
        metavar="KEY=V,V,...",
        help="values of an option of the task to sweep too, such as width=4,8,16; may be repeated",
    )
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="what thresholds bind: evaluate, train, or a metric such as error (default: %(default)s)",
    )
    parser.add_argument(
        "--train-ends",
        choices=["carried", "afresh"],
        default="carried",
        help="networks for a lower threshold go on from those for a higher one, or start at random "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="MODEL",
        help="pairs of these instead of trained networks, the first two, the next two and so on of those that reach a "
        "threshold: files, folders of checkpoints, random:FIRST-LAST",
    )
    parser.add_argument("--align", action="store_true", help="bring each pair's second model to the first one's units")
    parser.add_argument(
        "--tries", type=positive, default=20, metavar="N", help="networks at most for each needed (default: 20)"
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="(default: %(default)s)")
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")
    add_strategy(parser)
    add_limits(parser, beads=256)
    add_recipe(parser, whose="how beads descend; networks are trained as the task has it")
    add_computing(parser)


def add_compared(parser: argparse.ArgumentParser) -> None:
    """Which strategies ``compare`` takes, and settings that several of them have."""
    group = parser.add_argument_group("strategies")
    group.add_argument(
        "--strategies", type=names, metavar="NAME,...", help="these, such as greedy,bezier (default: all of them)"
    )
    group.add_argument("--alpha", type=float, metavar="A", help="beads aim at A * L0, where a strategy has an aim")
    group.add_argument("--max-depth", type=int, metavar="D", help="splits in succession, where a strategy splits")
    group.add_argument("--retries", type=whole, metavar="N", help="of a failed descent, where a strategy retries")


def add_components(parser: argparse.ArgumentParser) -> None:
    """Options of ``components``."""
    add_task(parser)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a checkpoint, a folder of checkpoints, random:SEED or random:FIRST-LAST",
    )
    parser.add_argument(
        "--levels", type=numbers, metavar="L,L,...", help="where to count (default: where anything changes)"
    )
    parser.add_argument("--out", metavar="DIR", help="keep each pair's run, the numbers and the tree; goes on there")
    add_binding(parser)
    add_computing(parser)
    add_strategy(parser, default="sinking")


def add_random_pair(parser: argparse.ArgumentParser) -> None:
    """Options of ``random-pair``."""
    add_task(parser)
    parser.add_argument("--radius", type=number, metavar="K", help="largest distance; the second is moved nearer")
    parser.add_argument(
        "--within", type=number, metavar="D", help="largest difference of their losses; the second is drawn again"
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets a.safetensors and b.safetensors")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_sharpness(parser: argparse.ArgumentParser) -> None:
    """Options of ``sharpness``."""
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument(
        "--between", type=whole, default=1, metavar="N", help="places on each segment (default: %(default)s)"
    )
    parser.add_argument("--out", metavar="FILE", help="write the numbers there too, as JSON")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_theory(parser: argparse.ArgumentParser) -> None:
    """Options of ``theory``."""
    add_task(parser)
    add_models(parser)
    parser.add_argument(
        "--tolerance",
        type=number,
        default=1e-3,
        metavar="T",
        help="how far a string in a curved path may rise over its bound, as a share of the straight line's height "
        "(default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", help="write the paths' beads as checkpoints, and theory.json")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_align(parser: argparse.ArgumentParser) -> None:
    """Options of ``align``."""
    add_task(parser)
    add_models(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint of the aligned B, .safetensors")
    parser.add_argument(
        "--by",
        choices=["barrier", "distance"],
        default="barrier",
        help="which way to align is taken: the lowest barrier of the straight line, or the least distance "
        "(default: %(default)s)",
    )
    parser.add_argument("--no-rescale", action="store_true", help="permute only")
    parser.add_argument(
        "--restarts", type=positive, default=3, metavar="N", help="starts of weight matching (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of these (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_certify(parser: argparse.ArgumentParser) -> None:
    """Options of ``certify``."""
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument("--threshold", type=number, metavar="L0", help="what to prove (default: the run's own)")
    parser.add_argument("--quantity", metavar="NAME", help="what to bound, such as error (default: what the run bound)")
    parser.add_argument(
        "--tol",
        type=number,
        default=1e-3,
        metavar="T",
        help="how near to the largest sample where there is no threshold to reach, relative (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="(default: certificate.json in RUN, certificate-NAME.json where not the run's own)",
    )
    parser.add_argument("--seconds", type=duration, metavar="S", help="time at most (default: none)")
    parser.add_argument(
        "--max-bytes", type=positive, default=1 << 30, metavar="N", help="memory at most (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_export(parser: argparse.ArgumentParser) -> None:
    """Options of ``export``."""
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument(
        "--at",
        type=place,
        required=True,
        metavar="S",
        help="where: 0 to 1 along the arc length, midpoint, or best (least sampled evaluation loss)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write, .safetensors")
    parser.add_argument("--json", action="store_true", help="what was measured as JSON on standard output")


def add_merge(parser: argparse.ArgumentParser) -> None:
    """Options of ``merge``."""
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument(
        "--points",
        type=two_or_more,
        default=5,
        metavar="N",
        help="models whose predictions are averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--average",
        choices=["probabilities", "last_axis_probabilities", "log_probabilities", "binary_probabilities", "outputs"],
        metavar="WHAT",
        help="what of them: probabilities (softmax over axis 1), last_axis_probabilities, log_probabilities (exp), "
        "binary_probabilities (sigmoid) or outputs (default: as torch's own losses read them, else outputs)",
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_search(parser: argparse.ArgumentParser) -> None:
    """A search between two models that is kept in a directory."""
    add_pair(parser)
    parser.add_argument("--out", metavar="RUN", help="run directory (default: runs/<task>-<digest>)")
    add_computing(parser)


def add_pair(parser: argparse.ArgumentParser) -> None:
    """The two models, and what all searches between them have in common."""
    add_task(parser)
    add_models(parser)
    add_binding(parser)


def add_binding(parser: argparse.ArgumentParser) -> None:
    """What is bound, and how it is searched for and computed."""
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="what the threshold binds: evaluate, train, both, or a metric such as error (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="(default: %(default)s)")
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    add_limits(parser)
    add_recipe(parser)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """How several models are computed."""
    parser.add_argument(
        "--engine",
        choices=["auto", "fastest", "loop", "vmap", "stack", "compiled"],
        help="how several models are computed; fastest also tries compiled code (default: the task's own, mostly auto)",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Two models."""
    parser.add_argument("a", metavar="A", help="a checkpoint (.safetensors, .pt, a Hugging Face folder) or random:SEED")
    parser.add_argument("b", metavar="B", help="the other one")


def add_task(parser: argparse.ArgumentParser) -> None:
    """A task and its options."""
    parser.add_argument(
        "task", metavar="TASK", help="digits, polynomial, mnist, fashion-mnist, text, or path/to/file.py:function"
    )
    _add_task_options(parser)


def _add_task_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--set",
        dest="options",
        action="append",
        type=key_value,
        default=[],
        metavar="KEY=VALUE",
        help="an option of the task, such as target=cubic; may be repeated",
    )
    parser.add_argument(
        "--data",
        dest="options",
        action="append",
        type=data_option,
        metavar="DIR",
        help="directory of the task's data, its option data (default: $WEIGHTSTRING_DATA)",
    )


def add_problem(parser: argparse.ArgumentParser) -> None:
    """What builds a run's problem, where its manifest's word is not enough."""
    group = parser.add_argument_group(
        "problem", "a run builds its task again; a file that you have not named yourself is not executed"
    )
    group.add_argument(
        "--task", metavar="TASK", help="build this task, such as path/to/file.py:function, not what the run names"
    )
    _add_task_options(group)


def add_limits(parser: argparse.ArgumentParser, beads: int = 64) -> None:
    """When to stop."""
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-beads", type=positive, metavar="N", help=f"beads on the string (default: {beads})")
    limits.add_argument("--max-steps", type=positive, metavar="N", help="gradient steps in all (default: none)")
    limits.add_argument("--seconds", type=duration, metavar="S", help="time in all sessions (default: none)")


def add_computing(parser: argparse.ArgumentParser) -> None:
    """What computes."""
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--workers", type=positive, metavar="N", help="processes that share the work (default: one, which batches it)"
    )
