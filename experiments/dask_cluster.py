"""A sweep on a dask cluster of this machine: the same rows, workers and scheduler killed, and what dask costs.

python experiments/dask_cluster.py [--pairs 48] [--kills 20] [rows|kills|scheduler|efficiency ...]

``rows``: by 1, 2 and 4 workers and without dask, bit for bit. ``kills``: SIGKILL strikes a worker again and again until
there were as many kills as asked for; then every row, every journal and every bead file is compared. ``scheduler``: it
is killed amid a sweep, and a second call goes on with another. ``efficiency``: CPU seconds of two processes that do the
same sweep in two shards against those of a client, its scheduler and two workers, from when all have begun; wall
seconds stand beside them, since other programs may run. What was found is in ``results/dask_cluster.json``, part by
part.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import weightstring as ws
from weightstring.tasks import load_task

RESULTS = Path(__file__).parent / "results" / "dask_cluster.json"
LEVELS = [0.02]
BLOCK = 4
USUAL = 32
"""Pairs of a block unless told otherwise, by which efficiency is measured."""
CLOCKS = re.compile(rb'"(?:seconds|evaluation_seconds|seal|created|begun|width)":\s*(?:"[^"]*"|[-\d.e+]+)')


SHARD = """
import pathlib, sys, time
sys.path.insert(0, {here!r})
import dask_cluster
dask_cluster._ready()
cpu, wall = time.process_time(), time.time()
dask_cluster.sweep(pathlib.Path({store!r}), {pairs}, dask_cluster.USUAL, shard="{k}/2")
print(time.process_time() - cpu, wall, time.time())
"""
"""A process that does one of two shards; it prints its CPU seconds, when it began and when it ended."""


def sweep(store: Path, pairs: int, block: int = BLOCK, **how: Any) -> ws.Sweep:
    """The sweep of all parts, in small blocks: those that are killed are many."""
    return ws.sweep(load_task("polynomial"), LEVELS, pairs=pairs, block=block, store=store, progress=False, **how)


def rows(swept: ws.Sweep) -> list[dict[str, Any]]:
    """All that a table says, but for the clock."""
    return [{k: v for k, v in vars(row).items() if k != "seconds"} for row in swept.rows]


def content(store: Path) -> dict[str, bytes]:
    """Every file of a sweep's runs and networks, but for clocks, locks, and how many pairs shared a batch."""
    files = (path for part in ("runs", "ends") for path in sorted((store / part).rglob("*")))
    kept = {path.relative_to(store).as_posix(): path for path in files if path.is_file() and path.name != "lock"}
    return {name: CLOCKS.sub(b"", path.read_bytes()) for name, path in kept.items() if not path.name.startswith(".")}


def same_rows(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Rows by several numbers of workers."""
    expected = rows(sweep(folder / "plain", options.pairs))
    found: dict[str, Any] = {"pairs": len(expected)}
    for workers in (1, 2, 4):
        with ws.Dask(workers=workers) as cluster:
            swept = sweep(folder / str(workers), options.pairs, executor=cluster)
        found[f"{workers} workers"] = "same bits" if rows(swept) == expected else "other rows"
    return found


def killed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A sweep whose workers are killed at random, again and again."""
    plain = sweep(folder / "plain", options.pairs)
    with ws.Dask(workers=2) as cluster:
        draw, over, kills, seen = random.Random(0), threading.Event(), [0], [0]
        cluster.client.run(os.getpid)

        def kill() -> None:
            while kills[0] < options.kills and not over.wait(draw.uniform(0.0, 1.0)):
                files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                if files == seen[0]:  # since the last one nothing was written: a busy machine begins slowly
                    continue
                with suppress(Exception):  # a worker that is beginning just now does not answer
                    process = draw.choice(list(cluster.client.run(os.getpid).values()))
                    os.kill(process, signal.SIGKILL)
                    kills[0], seen[0] = kills[0] + 1, files
                    print(f"kill {kills[0]}", flush=True)

        threading.Thread(target=kill, daemon=True).start()
        number = 0
        while True:  # as many sweeps as it takes
            swept = sweep(folder / f"killed{number}", options.pairs, executor=cluster)
            there, here = content(folder / "plain"), content(folder / f"killed{number}")
            different = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
            assert not different, different
            assert rows(swept) == rows(plain)
            number += 1
            if kills[0] >= options.kills:
                over.set()
                return {"kills": kills[0], "sweeps": number, "files compared": len(there), "different": 0}


def _dask(*words: str) -> subprocess.Popen[bytes]:
    module = f"distributed.cli.dask_{words[0]}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", module, *words[1:], "--no-dashboard"], **quiet)  # type: ignore[call-overload,no-any-return]


def _begun(folder: Path, number: int) -> tuple[str, list[subprocess.Popen[bytes]]]:
    file = folder / f"scheduler{number}.json"
    scheduler = _dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    while not file.exists():
        time.sleep(0.2)
    return str(file), [scheduler, _dask("worker", "--scheduler-file", str(file), "--nthreads", "1")]


def without_scheduler(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A sweep whose scheduler is killed, and the second call with another one."""
    plain, store = sweep(folder / "plain", options.pairs), folder / "scheduler"
    file, processes = _begun(folder, 0)

    def kill() -> None:
        while not list(store.rglob("result.json")):
            time.sleep(0.1)
        processes[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    said, kept = "", 0
    with ws.Dask(file) as cluster:
        try:
            sweep(store, options.pairs, executor=cluster)
        except ws.WorkerFailed as problem:
            said, kept = re.sub(r"tcp://\S+", "tcp://...", str(problem)), len(list(store.rglob("result.json")))
    processes[1].kill()
    file, processes = _begun(folder, 1)
    with ws.Dask(file) as cluster:
        again = sweep(store, options.pairs, executor=cluster)
    for process in processes:
        process.kill()
    there, here = content(folder / "plain"), content(store)
    return {
        "said": said,
        "runs kept": kept,
        "pairs": len(again.rows),
        "same bits": rows(again) == rows(plain) and there == here,
    }


def efficiency(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds by dask and by two processes."""
    here, store = str(Path(__file__).parent), str(folder / "shards")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SHARD.format(here=here, store=store, pairs=options.pairs, k=k)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in (1, 2)
    ]
    told = [[float(word) for word in process.communicate()[0].split()] for process in started]
    with ws.Dask(workers=2) as cluster:
        clocks = cluster.client.run(_ready)
        own, wall = time.process_time(), time.time()
        swept = sweep(folder / "dask", options.pairs, USUAL, executor=cluster)
        client, wall = time.process_time() - own, time.time() - wall
        workers = {place: now - clocks[place] for place, now in cluster.client.run(time.process_time).items()}
        idle, own = cluster.client.run(time.process_time), time.process_time()
        time.sleep(20)
        resting = sum(now - idle[place] for place, now in cluster.client.run(time.process_time).items())
        resting = (resting + time.process_time() - own) / 20
    two = sum(cpu for cpu, _, _ in told)
    return {
        "pairs": len(swept.rows),
        "two processes, CPU seconds": two,
        "two processes, wall seconds": max(end for _, _, end in told) - min(begin for _, begin, _ in told),
        "dask, CPU seconds of the workers": sum(workers.values()),
        "dask, CPU seconds of client and scheduler": client,
        "dask, wall seconds": wall,
        "dask at rest, CPU seconds a second": resting,
        "workers, of two processes": two / sum(workers.values()),
        "all, of two processes": two / (sum(workers.values()) + client),
    }


def _ready() -> float:
    """A worker's CPU seconds, once it has imported what it computes with."""
    load_task("polynomial")
    return time.process_time()


PARTS = {"rows": same_rows, "kills": killed, "scheduler": without_scheduler, "efficiency": efficiency}


def main() -> None:
    """Every part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](Path(folder), options)
        known = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.write_text(json.dumps({**known, name: found}, indent=1) + "\n")
        print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
