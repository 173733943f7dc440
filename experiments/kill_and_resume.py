"""Kill every command at random, go on with it, and compare with a run that was never stopped: bit for bit.

python experiments/kill_and_resume.py [KILLS]

SIGKILL strikes at random journal appends and at random moments, several times a run, ``resume`` itself included. What
was tried is in ``results/kill_and_resume.json``, to which another call adds what is missing.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "kill_and_resume.json"
CONNECT = ("connect", "polynomial", "{a}", "{b}", "--threshold", "0.0125")
CASES: dict[str, tuple[str, ...]] = {
    "connect": CONNECT,
    "connect --align both": (*CONNECT, "--align", "both"),
    "sweep": ("sweep", "polynomial", "--thresholds", "0.05,0.02", "--pairs", "3"),
    "minimax": ("minimax", "polynomial", "{a}", "{b}", "--max-beads", "9"),
    "connect --certify": (*CONNECT, "--certify"),
    "connect --shorten": (*CONNECT, "--shorten"),
    "connect --strategy constrained": (*CONNECT, "--strategy", "constrained"),
    "connect --strategy breadth-first": (*CONNECT, "--strategy", "breadth-first"),
    "connect --strategy bezier": (*CONNECT, "--strategy", "bezier"),
    "connect --strategy poly-chain": (*CONNECT, "--strategy", "poly-chain"),
    "connect --strategy autoneb": (*CONNECT, "--strategy", "autoneb"),
    "connect --workers 2": (*CONNECT, "--workers", "2"),
    "compare": ("compare", "polynomial", "{a}", "{b}", "--threshold", "0.02"),
    "certify": ("certify", "{out}"),
    "merge": ("merge", "{out}"),
    "report": ("report", "{out}"),
}
AFTER = ("certify", "merge", "report")
"""Those that are given a finished run."""
CLOCKS = re.compile(rb'"(?:seconds|seal|created)":\s*(?:"[^"]*"|[-\d.e+]+)')


def command(arguments: list[str], die_at: int) -> None:
    """Run a command, which dies by SIGKILL at its n-th journal append; 0: never."""
    from weightstring.cli import main
    from weightstring.store import RunDirectory

    original, calls = RunDirectory.append, [0]

    def append(self: RunDirectory, finished: Any) -> Any:
        kept = original(self, finished)
        calls[0] += 1
        if calls[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept

    RunDirectory.append = append  # type: ignore[method-assign]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    main(arguments)


def ran(context: Any, arguments: list[str], die_at: int = 0, seconds: float | None = None) -> bool:
    """Whether a command came to its end: it is killed at an append, after a time, or not at all."""
    process = context.Process(target=command, args=(arguments, die_at))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode != -signal.SIGKILL


def content(run: Path) -> dict[str, Any]:
    """Every file that a run or sweep leaves, but for clocks and what only locks; of a page, whether it is whole."""
    found: dict[str, Any] = {}
    for path in sorted(own for own in run.rglob("*") if own.is_file() and own.name != "lock"):
        name = str(path.relative_to(run))
        if path.suffix == ".html":
            found[name] = "</html>" in path.read_text()
        elif path.suffix == ".csv":
            rows = csv.DictReader(path.read_text().splitlines())
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif path.suffix in (".json", ".jsonl"):
            found[name] = CLOCKS.sub(b"", path.read_bytes())
        elif "-" not in name or "ends" not in name:  # networks are kept under the number of those known then
            found[name] = path.read_bytes()
    return found


def given(folder: Path, name: str, out: Path) -> list[str]:
    """The command line of a case that leaves its files in ``out``, where the run that it is about is put if need be."""
    line = [part.format(a=folder / "a.safetensors", b=folder / "b.safetensors", out=out) for part in CASES[name]]
    if name not in AFTER:
        return [*line, "--out", str(out)]
    shutil.copytree(folder / "connect-whole", out)
    return line


def tried(context: Any, folder: Path, name: str, number: int, duration: float) -> dict[str, Any]:
    """One run, killed one to three times and ended: how often it was killed, and which files differ."""
    draw = random.Random(f"{name} {number}")
    out = folder / f"{name.replace(' ', '')}-{number}"
    same = given(folder, name, out)
    kills, begun = 0, same
    for _ in range(draw.randint(1, 3)):
        at_append = draw.random() < 0.6 and name not in AFTER
        ended = ran(
            context,
            begun,
            draw.randint(1, 6) if at_append else 0,
            None if at_append else draw.uniform(0.1, 1.0) * duration,
        )
        kills += not ended
        resumable = name not in AFTER and (out / "manifest.json").exists() and draw.random() < 0.5
        begun = ["resume", str(out)] if resumable else same
        if ended:
            break
    ran(context, begun)
    whole, found = content(folder / f"{name.replace(' ', '')}-whole"), content(out)
    different = sorted(own for own in whole.keys() | found.keys() if whole.get(own) != found.get(own))
    shutil.rmtree(out, ignore_errors=True)
    return {"case": name, "number": number, "kills": kills, "different": different}


def main() -> None:
    """Try until there were as many kills as asked for."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    done: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["weightstring.cli.running", "weightstring.problem", "torch._dynamo"])
    with tempfile.TemporaryDirectory() as temporary:
        folder, durations = Path(temporary), dict[str, float]()
        for end, seed in (("a", "0"), ("b", "2")):
            out = str(folder / f"{end}.safetensors")
            assert ran(context, ["train", "polynomial", "--until", "0.01", "--seed", seed, "--out", out])
        number = 0
        while sum(own["kills"] for own in done) < wanted:
            for name in CASES:
                if any(own["case"] == name and own["number"] == number for own in done):
                    continue
                whole = folder / f"{name.replace(' ', '')}-whole"
                if name not in durations:
                    started = time.monotonic()
                    assert ran(context, given(folder, name, whole))
                    durations[name] = time.monotonic() - started
                done.append(tried(context, folder, name, number, durations[name]))
                RESULTS.write_text(json.dumps(done, indent=1) + "\n")
                print(done[-1], flush=True)
            number += 1
    bad = [own for own in done if own["different"]]
    print(f"{sum(own['kills'] for own in done)} kills in {len(done)} runs, {len(bad)} of them end otherwise")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
