"""A sweep as jobs of SLURM: scripts that any cluster takes, and a real one of one node that runs them."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.study.sweep.table import Row, read_table
from weightstring.tasks import load_task

from ..slurm import Slurm

SWEEP = ("sweep", "polynomial", "--set", "width=4", "--block", 1)


def timeless(rows: list[Row]) -> list[Row]:
    return [replace(row, seconds=0.0, run="") for row in rows]


def test_scripts_hold_the_sweep_and_nothing_is_begun(cli, tmp_path: Path) -> None:
    out = tmp_path / "a sweep"
    asked = ("--thresholds", "0.3", "--slurm", 8, "--slurm-time=01:00:00", "--sbatch=--partition=long", "--out", out)
    ran = cli(*SWEEP, *asked)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in out.iterdir()) == ["slurm"]
    shards, collect, submit = (
        (out / "slurm" / name).read_text() for name in ("shards.sbatch", "collect.sbatch", "submit.sh")
    )
    for line in ("--array=1-8", "--time=01:00:00", "--requeue", "--signal=B:TERM@60", "--partition=long"):
        assert f"\n#SBATCH {line}\n" in shards
    assert f"weightstring sweep polynomial --set width=4 --block 1 --thresholds 0.3 --out '{out}' --shard" in shards
    assert f"weightstring collect '{out}'" in collect
    assert "--dependency=" in submit
    for name in ("shards.sbatch", "collect.sbatch", "submit.sh"):
        assert subprocess.run(["bash", "-n", str(out / "slurm" / name)]).returncode == 0


@pytest.mark.slow
def test_jobs_of_a_real_cluster_make_the_table_of_one_process(cli, slurm: Slurm, tmp_path: Path) -> None:
    """One shard is told to end while it searches, as before its time is over: it queues again, and goes on."""
    out = tmp_path / "s"
    levels = (0.05, 0.02)
    cli(*SWEEP, "--thresholds", "0.05,0.02", "--pairs", 3, "--slurm", 2, "--slurm-time", "00:20:00", "--out", out)
    told = slurm("sh", str(out / "slurm" / "submit.sh"))
    job = told.split()[2].rstrip(";")
    until = time.monotonic() + 300
    while not any(out.glob("runs/*/*/*/journal.jsonl")):
        assert time.monotonic() < until, slurm("squeue")
        time.sleep(0.1)
    slurm("scancel", "--batch", "--signal=TERM", f"{job}_1")
    slurm.wait(500)
    logs = "\n".join(path.read_text() for path in sorted((out / "slurm").glob("*.log")))
    assert "Run the same command to resume" in logs
    assert "pairs have rows" in logs
    alone = ws.sweep(load_task("polynomial", {"width": "4"}), levels, pairs=3, store=tmp_path / "alone")
    assert timeless(read_table(out / "table.csv")) == timeless(list(alone.rows)), logs
    assert json.loads(cli("status", out, "--json").out)["pairs"] == 6
