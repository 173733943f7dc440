"""Memory and time of each phase on GPT-2 layouts of a given size, beside a plain loop that does the same.

    python -m benchmarks scale 1M 10M 30M          # what results/scale.json lacks; --again measures anew
    python -m benchmarks scale 10M --phases "align,,connect, stuck"

Linux only. Every phase runs in a process of its own, on one thread. Its peak is of anonymous memory (RssAnon, every
2 ms), beyond what there was when it began: the user's net, the data and the two ends, whose files are mapped. What is
counted is the whole phase, its problem included. MALLOC_MMAP_THRESHOLD_ gives freed memory back to the system at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

import weightstring as ws
from benchmarks import plain
from benchmarks.gpt2 import EXAMPLES, GPT2, SIZES, Size, data, loss, net_of
from benchmarks.measuring import HERE, RESULTS, asked, machine, parser
from benchmarks.memory import anonymous
from benchmarks.phases import PHASES, Case, Told, prepare, problem_of
from weightstring.store.beads import read_beads

NOTES = [
    "Each phase runs in a process of its own. Its peak counts what its problem holds (two copies: the problem's own "
    "module and the one that computes), beads in flight and activations; of `problem` itself, the peak while it is "
    "built. Some 25 MB are there at any size.",
    "Plain is a loop (benchmarks/plain.py) over as many evaluations, gradient steps and products with the Hessian, all "
    "these by one graph, without a search, checks or a record; an alignment's plain loop has its evaluations, but no "
    "matching. CPU seconds are those of the phase; building is that of its problem, once for all that is done with it. "
    "Both sides by turns, medians. Sampled adaptively, a segment takes 9 evaluations or more; `plain grid` is the "
    "plain loop with 33 points on each segment: how one learns without that rule that nothing on it is higher. `stuck` "
    "writes its page too. An evaluation is of 4 sequences of 32 tokens, so that all that takes time with the "
    "parameters shows. Rows without `building` are older: of searches on grids, their problems' time left out.",
]


def measured(name: str, phase: str, folder: Path) -> Told:
    """One phase in this process."""
    torch.set_num_threads(1)
    warm_up()
    size = SIZES[name]
    net = net_of(size)
    theta = 4 * sum(parameter.numel() for parameter in net.parameters())
    case, before = Case(size, net, folder), anonymous()
    with case.peak:
        told = PHASES[phase](case)
    seconds = time.process_time() - case.started
    row = {"size": name, "phase": phase, "copies of θ": round((case.peak.bytes - before) / theta, 2)}
    if "held" in told:
        told["held"] = round((int(str(told["held"])) - before) / theta, 2)
    row |= {"MB": (case.peak.bytes - before) >> 20, "CPU seconds": round(seconds, 2)}
    if case.built is not None:
        row |= {"building": round(case.building, 2), "evaluations": round(GPT2.evaluated / EXAMPLES)}
        row |= {"gradients": case.built.gradients, "products": case.built.products}
    return {**row, **told}


def warm_up() -> None:
    """What is imported and allocated once is no part of a phase."""
    size = Size(8, 1, 1, 16)
    small = problem_of(net_of(size), size)
    a, b = small.initial(0), small.initial(1)
    with tempfile.TemporaryDirectory() as folder:
        ws.connect(small, a, b, 100.0, store=Path(folder) / "run")
        ws.write_report(Path(folder) / "run")
        ws.merge(small, ws.load(Path(folder) / "run", problem=small).string)
    ws.align(small, a, b)


def compared(name: str, row: Told, folder: Path) -> Told:
    """CPU seconds of plain PyTorch for as many evaluations, gradient steps and products with the Hessian."""
    size, net = SIZES[name], net_of(SIZES[name])
    a, b = (read_beads(folder / f"{end}.safetensors")[0] for end in "ab")
    models, steps, products = (int(str(row[each])) for each in ("evaluations", "gradients", "products"))
    torch.set_num_threads(1)
    marks = [time.process_time()]

    def walk(points: int) -> None:
        plain.walked(net, loss, data(size), a, b, [i / points for i in range(points)])
        marks.append(time.process_time())

    walk(models)
    if row.get("grid"):
        walk(int(str(row["grid"])))
    looks = [round(after - before, 2) for before, after in pairwise(marks)]
    if steps:
        plain.descended(net, loss, data(size), -math.inf, steps)
    if products:
        plain.multiplied(net, loss, data(size), products)
    rest = time.process_time() - marks[-1]
    return {name: round(look + rest, 2) for name, look in zip(PLAIN, looks, strict=False)}


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("sizes", nargs="*", metavar="SIZE", default=["1M"], help=", ".join(SIZES))
    options.add_argument("--phases", default=",,".join(PHASES), help="separated by two commas")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "weightstring-scale")
    options.add_argument("--repeats", type=int, default=1, help="of each phase and its plain loop, by turns")
    options.add_argument("--again", action="store_true", help="measure what was measured before, too")
    options.add_argument("--one", choices=["prepare", "phase", "plain"], help=argparse.SUPPRESS)
    options.add_argument("--row", default="{}", help=argparse.SUPPRESS)
    chosen = asked(options, arguments)
    if unknown := [name for name in chosen.sizes if name not in SIZES]:
        options.error(f"no size {unknown[0]!r}: choose of {', '.join(SIZES)}")
    phases, name = chosen.phases.split(",,"), chosen.sizes[0]
    folder = chosen.folder / name
    if chosen.one == "prepare":
        return prepare(name, folder)
    if chosen.one:
        row = json.loads(chosen.row)
        print(json.dumps(measured(name, phases[0], folder) if chosen.one == "phase" else compared(name, row, folder)))
        return None
    for name in [] if chosen.quick else chosen.sizes:
        rows(name, phases, chosen.folder / name, chosen.again, chosen.repeats)
    if chosen.quick:
        folder = chosen.folder / "1M"
        prepared("1M", folder)
        for phase in phases[:2]:
            print(_in_process("1M", folder, "--one", "phase", "--phases", phase))
    return None


def prepared(name: str, folder: Path) -> None:
    """The checkpoints of a size, made by a process of their own."""
    if not (folder / "near.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _in_process(name, folder, "--one", "prepare")


PLAIN = ("plain", "plain grid")
"""A loop over as many evaluations, and one over a grid on each segment; each with the same steps and products."""


def by_turns(name: str, phase: str, folder: Path, repeats: int) -> Told:
    """A phase and its plain loop, each time in processes of their own: medians of seconds, the most of memory."""
    found: list[Told] = []
    for _ in range(repeats):
        row = json.loads(_in_process(name, folder, "--one", "phase", "--phases", phase))
        if row.get("evaluations") and row.get("phase") != "trial":
            row |= json.loads(_in_process(name, folder, "--one", "plain", "--row", json.dumps(row)))
        found.append(row)
    row = dict(found[0])
    for column in ("CPU seconds", "building", *PLAIN):
        if column in row:
            row[column] = round(statistics.median(float(str(each[column])) for each in found), 2)
    for column in ("copies of θ", "MB"):
        row[column] = max(each[column] for each in found)
    for name in PLAIN:
        if name in row:
            ours, building, alone = (float(str(row[each])) for each in ("CPU seconds", "building", name))
            row |= {
                f"times {name}": round(ours / alone, 2),
                f"times {name}, with building": round((ours + building) / alone, 2),
            }
    return row


def rows(name: str, phases: Sequence[str], folder: Path, again: bool, repeats: int) -> None:
    """Measure the phases of a size, each in a process of its own, and keep each row at once."""
    prepared(name, folder)
    for phase in phases:
        known = kept()
        if not again and any((row["size"], row["phase"]) == (name, phase) for row in known):
            continue
        row, known = by_turns(name, phase, folder, repeats), kept()
        others = [each for each in known if (each["size"], each["phase"]) != (name, phase)]
        order = {key: i for i, key in enumerate((size, each) for size in SIZES for each in PHASES)}
        found = sorted([*others, row], key=lambda each: order[each["size"], each["phase"]])
        columns = dict.fromkeys(column for each in found for column in each)
        found = [{column: each.get(column, "") for column in columns} for each in found]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "scale.json").write_text(
            json.dumps({"machine": machine(), "notes": NOTES, "rows": found}, indent=1, ensure_ascii=False) + "\n"
        )
        print(json.dumps(row, ensure_ascii=False), flush=True)


def kept() -> list[dict[str, str]]:
    path = RESULTS / "scale.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _in_process(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", "scale", name, "--folder", str(folder.parent), *arguments]
    surroundings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=HERE.parent, env=surroundings, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
