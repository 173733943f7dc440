"""A sweep as jobs of SLURM: an array whose tasks are its shards, and a job after them that makes the table.

No process of ours waits for others: shards meet in the sweep's directory. A minute before its time is over a shard gets
SIGTERM; it ends with what its journals hold, and its job puts itself into the queue again.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from weightstring.cli.ending import INTERRUPTED
from weightstring.cli.options.values import positive

FOLDER = "slurm"
"""Where scripts and logs lie in the sweep's directory."""
WARNING = 60
"""Seconds between SIGTERM and the end of a job's time; SLURM may be late by as many."""

SHARD = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{shards}
#SBATCH --time={time}
#SBATCH --cpus-per-task={cpus}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@{warning}
#SBATCH --chdir={here}
#SBATCH --output={logs}/shard-%a.log
{more}
export OMP_NUM_THREADS={cpus}
{command} --shard "$SLURM_ARRAY_TASK_ID/{shards}" &
worker=$!
trap 'kill -TERM "$worker"' TERM
wait "$worker"
code=$?
while kill -0 "$worker" 2>/dev/null; do  # the signal has ended the wait, not yet the worker
    wait "$worker"
    code=$?
done
if [ "$code" -eq {interrupted} ]; then
    exec scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
"""

COLLECT = """\
#!/bin/bash
#SBATCH --job-name={name}-collect
#SBATCH --time=00:30:00
#SBATCH --chdir={here}
#SBATCH --output={logs}/collect.log
{more}
exec {collect}
"""

SUBMIT = """\
#!/bin/sh
# Submits the shards, and what makes their table when all of them have ended, however that was.
set -e
shards=$(sbatch --parsable {folder}/shards.sbatch)
collect=$(sbatch --parsable --dependency="afterany:${{shards%%;*}}" {folder}/collect.sbatch)
echo "shards: job $shards; table: job $collect; see also: weightstring status {out}"
"""


def add_slurm(parser: ArgumentParser) -> None:
    """The options of a sweep's jobs."""
    slurm = parser.add_argument_group("SLURM", "write job scripts into the sweep's directory instead of sweeping")
    slurm.add_argument("--slurm", type=positive, metavar="N", help="an array of N shards, then a job for the table")
    slurm.add_argument(
        "--slurm-time",
        default="04:00:00",
        metavar="TIME",
        help="of a shard, which then queues again (default: %(default)s)",
    )
    slurm.add_argument(
        "--slurm-cpus", type=positive, default=1, metavar="N", help="CPUs and threads of a shard (default: %(default)s)"
    )
    slurm.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="a line of the scripts' own, such as --sbatch=--partition=long; may be repeated",
    )


def write_jobs(options: Namespace) -> Path:
    """Write the scripts of a sweep's jobs; which one submits them all.

    Raises:
        StoreFailed: the disk refuses.
    """
    from weightstring.store.files import replace_file, writing

    out = Path(options.out).absolute()
    folder = out / FOLDER
    program = [sys.executable, "-m", "weightstring"]
    settings = {
        "name": shlex.quote(f"weightstring-{out.name}"),
        "shards": options.slurm,
        "time": shlex.quote(options.slurm_time),
        "cpus": options.slurm_cpus,
        "warning": WARNING,
        "here": shlex.quote(os.getcwd()),
        "logs": shlex.quote(str(folder)),
        "folder": shlex.quote(str(folder)),
        "out": shlex.quote(str(out)),
        "more": "\n".join(f"#SBATCH {line}" for line in options.sbatch),
        "command": shlex.join([*program, *without_slurm(options.words[1:])]),
        "collect": shlex.join([*program, "collect", str(out)]),
        "interrupted": INTERRUPTED,
    }
    scripts = {"shards.sbatch": SHARD, "collect.sbatch": COLLECT, "submit.sh": SUBMIT}
    for name, script in scripts.items():
        with writing(folder / name, "the same command writes it"):
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / name, script.format(**settings).encode())
    return folder / "submit.sh"


def without_slurm(words: Sequence[str]) -> list[str]:
    """The words of a command but for the options of jobs.

    >>> without_slurm(["sweep", "polynomial", "--slurm", "8", "--sbatch=--partition=long", "--pairs", "4"])
    ['sweep', 'polynomial', '--pairs', '4']
    """
    parser = ArgumentParser(add_help=False)
    add_slurm(parser)
    kept, rest = [], list(words)
    while rest:
        name = rest[0].partition("=")[0]
        if name not in parser._option_string_actions:
            kept.append(rest.pop(0))
        else:
            del rest[: 1 if "=" in rest[0] else 2]
    return kept
