"""``sweep --shard``, ``collect`` and ``status``: what several processes do, seen from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightstring.study.sweep.directory import SweepDirectory

SWEEP = ("sweep", "polynomial", "--set", "width=4", "--thresholds", "0.3", "--pairs", 2, "--block", 1)


def test_a_sweep_in_shards_is_followed_and_collected(cli, tmp_path: Path) -> None:
    out = tmp_path / "s"
    cli(*SWEEP[:-3], 1, *SWEEP[-2:], "--out", out)
    with SweepDirectory(out).pairs_lock("all", 1):
        ran = cli(*SWEEP, "--out", out, "--shard", "2/2")
        assert ran.code == 0, ran.err
        assert ran.out.startswith("1 pairs have rows; `weightstring collect")
        told = json.loads(cli("status", out, "--json").out)
        assert (told["pairs"], told["wanted"], told["connecting"], told["training"]) == (1, 2, 1, 0)
        assert told["finished"] == 1
        assert told["seconds_left"] > 0
        assert "at this rate the rest takes" in cli("status", out).out
        page = cli("report", out)
        assert page.code == 0, page.err
    collected = cli("collect", out)
    assert collected.code == 3
    assert "1 of 2 pairs have no row yet: all 0.3 pair 1" in collected.out
    assert json.loads(cli("collect", out, "--json").out)["missing"] == [["all", 0.3, 1]]
    assert "nobody is at it" in cli("status", out).out
    assert cli(*SWEEP, "--out", out, "--shard", "1/2").code == 0
    assert cli("collect", out).code == 0
    assert "2 of 2 pairs: done" in cli("status", out).out


def test_a_run_tells_its_state(cli, tmp_path: Path) -> None:
    cli(*SWEEP[:-2], "--out", tmp_path / "s")
    run = tmp_path / "s" / "runs" / "all" / "0.3" / "pair-0000"
    assert json.loads(cli("status", run, "--json").out)["state"] == "connected"
    (run / "result.json").unlink()
    assert "stopped" in cli("status", run).out


@pytest.mark.parametrize("command", ["status", "collect"])
def test_a_folder_without_a_sweep_or_run_is_refused(cli, tmp_path: Path, command: str) -> None:
    ran = cli(command, tmp_path)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
