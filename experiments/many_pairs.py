"""A sweep of very many pairs: what one costs, what its index and its page cost, and what a round on disk costs.

python experiments/many_pairs.py --store DIR --shard K/N     # as many at once as there are cores
python experiments/many_pairs.py --store DIR --measure       # of what there is; kept as results/many_pairs.json

Networks of the quadratic with 8 hidden units at an easy threshold: the searches are as short as they can be, so that
what a sweep costs beside them shows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from harness import keep

import weightstring as ws
from weightstring.report.sweep.page import write_sweep_report
from weightstring.store import RunDirectory
from weightstring.store.journal import Round
from weightstring.study.sweep.collecting import Gathered
from weightstring.study.sweep.status import status
from weightstring.tasks import load_task

LEVEL, PAIRS, BLOCK, WIDTH = 0.3, 10_000, 64, "8"
SAMPLE = 256
Found = TypeVar("Found")


def timed(call: Callable[[], Found]) -> tuple[Found, float]:
    """What a call returns, and its CPU seconds."""
    began = time.process_time()
    return call(), time.process_time() - began


def measured(store: Path) -> dict[str, Any]:
    """What the sweep in a directory costs to look at, and what it takes on disk."""
    found, collecting = timed(lambda: ws.collect(store))
    _, summing = timed(lambda: found.summary)
    _, looking = timed(lambda: status(store))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        _, reporting = timed(lambda: write_sweep_report(store, page))
        size = page.stat().st_size
    return {
        "pairs": len(found.rows),
        "missing": len(found.missing),
        "connected": sum(row.connected for row in found.rows),
        "CPU seconds": {
            "collect": collecting,
            "summary": summing,
            "status": looking,
            "report": reporting,
        },
        "bytes": {"table": (store / "table.csv").stat().st_size, "page": size},
        **on_disk(store, found),
    }


def on_disk(store: Path, found: Gathered) -> dict[str, Any]:
    """Files and bytes of a pair, by file; of the first thousand."""
    rows = found.rows[:1000]
    kinds: dict[str, list[int]] = {}
    blocks = lines = journal = 0
    for row in rows:
        for path in [store / row.run, *(store / row.run).rglob("*")]:
            told = path.stat()
            blocks += told.st_blocks * 512
            if path.is_file():
                kinds.setdefault(path.name.split("-")[0], []).append(told.st_size)
        text = (store / row.run / "journal.jsonl").read_bytes()
        lines, journal = lines + text.count(b"\n"), journal + len(text)
    return {
        "files a pair": sum(map(len, kinds.values())) / len(rows),
        "bytes a pair": sum(map(sum, kinds.values())) / len(rows),
        "bytes a pair, in blocks of the disk": blocks / len(rows),
        "bytes of a journal line": journal / lines,
        "bytes a pair by file": {name: sum(sizes) / len(rows) for name, sizes in kinds.items()},
    }


def sample() -> dict[str, Any]:
    """CPU seconds of a pair, its networks' training and its row included, of a few in one process."""
    problem = load_task("polynomial", {"width": WIDTH})
    problem.engine_choice()

    def swept(store: Path, pairs: int) -> ws.Sweep:
        return ws.sweep(problem, [LEVEL], pairs=pairs, store=store, shard="1/1", block=BLOCK)

    with tempfile.TemporaryDirectory() as folder:
        swept(Path(folder, "first"), 2)  # what is imported and compiled at first use
        _, seconds = timed(lambda: swept(Path(folder, "sample"), SAMPLE))
    return {"pairs": SAMPLE, "CPU seconds a pair, all in all": seconds / SAMPLE}


def rounds() -> list[dict[str, Any]]:
    """What it costs to write a round of one bead, which is then on the disk, by parameters."""
    found = []
    for size in (25, 1_000_000, 25_000_000):
        with tempfile.TemporaryDirectory() as folder:
            run, theta = RunDirectory(folder), torch.zeros(1, size)
            began, count = time.perf_counter(), 10
            for _ in range(count):
                run.append(Round(("descend",), ({},), theta, 0.0))
            bead = next(Path(folder, "beads").iterdir()).stat().st_size
            found.append({"P": size, "bytes": bead, "wall seconds": (time.perf_counter() - began) / count})
    return found


def main() -> None:
    """Be a shard, or measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--measure", action="store_true", help="what there is, instead of sweeping")
    given = parser.parse_args()
    if given.measure:
        keep("many_pairs", {"sweep": measured(given.store), "sample": sample(), "rounds": rounds()})
    else:
        problem = load_task("polynomial", {"width": WIDTH})
        ws.sweep(problem, [LEVEL], pairs=given.pairs, store=given.store, shard=given.shard, block=BLOCK)


if __name__ == "__main__":
    main()
