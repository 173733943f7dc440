"""What to do next with a run, as commands that can be pasted."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

import weightstring as ws
from weightstring.cli.main import build_parser
from weightstring.problem.surfaces import Ring, shifted
from weightstring.runs.next_steps import next_steps
from weightstring.runs.summary import as_markdown, as_text
from weightstring.store import opened
from weightstring.store.provenance import FileRecord, Provenance
from weightstring.store.records import TaskRef

RING = shifted(Ring(size=4), torch.tensor([3.0, -2.0, 1.0, 0.5], dtype=torch.float64), lift=0.3)
THRESHOLD = 0.4


def test_next_steps_are_commands_that_the_parser_takes(tmp_path: Path) -> None:
    command = ("weightstring", "connect", "digits", "ck/a.pt", "ck/b.pt", "--threshold", "0.4", "--out", "runs/x")
    files = {"a": FileRecord(name="a.pt", sha256="0" * 64, size=1, modified="now"), "b": FileRecord(name="b.pt")}
    begun = Provenance(command=command, files=files)
    task, stops = TaskRef(name="digits"), {"connected": None, "beads": ws.MaxBeads(3), "steps": ws.MaxSteps(5)}
    asked = set()
    for name, stop in stops.items():
        run = tmp_path / name
        result = ws.connect(RING, *RING.ends, THRESHOLD, store=run, stop=stop, task=task, provenance=begun)
        steps = next_steps(result, opened(run).manifest(), "runs/a b")
        for step in steps:
            program, *arguments = shlex.split(step.command)
            assert program == "weightstring"
            asked.add(build_parser().parse_args(arguments).command)
            assert "runs/x" not in step.command
            assert shlex.split(" ".join(step.folded(40)).replace("\\ ", "")) == [program, *arguments]
    assert {"certify", "merge", "minimax", "resume", "connect"} <= asked


def test_a_run_from_python_is_told_calls(tmp_path: Path) -> None:
    result = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path / "run")
    calls = [step.command for step in next_steps(result, opened(tmp_path / "run").manifest(), str(tmp_path / "run"))]
    assert calls[0].startswith("ws.certify(problem, ")
    assert eval(calls[0], {"ws": ws, "problem": RING}).holds
    for call in calls:
        compile(call, "next", "eval")


def test_a_summary_names_verdict_line_files_and_commands_and_escapes_what_markdown_reads(tmp_path: Path) -> None:
    files = {"a": FileRecord(name="a|*.pt", sha256="12" * 32, size=2048, modified="2026-01-02 03:04:05 UTC")}
    begun = Provenance(begun="2026-01-03 00:00:00 UTC", files=files)
    result = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path / "run", provenance=begun)
    manifest = opened(tmp_path / "run").manifest()
    steps = next_steps(result, manifest, "run")
    text, markdown = as_text(result, manifest, steps), as_markdown(result, manifest, steps)
    barrier = f"barrier {result.line.barrier('over_linear'):.4g} over the interpolated ends"
    for words in (
        "connected",
        barrier,
        "2,048 bytes, of 2026-01-02 03:04:05 UTC, sha256 121212121212",
        steps[0].command,
    ):
        assert words in text
        assert words in markdown
    assert "a|*.pt" in text
    assert r"a\|\*.pt" in markdown


def test_a_proof_is_offered_only_where_it_can_be_had_and_checked_only_where_it_holds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bounded = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 3))  # of which no proof can be had
    net = torch.nn.Sequential(bounded, torch.nn.ReLU(), torch.nn.Linear(3, 1))
    x = torch.rand(16, 2)
    problem = ws.ModuleProblem(net, torch.nn.functional.mse_loss, (x, x[:, :1]), engine="loop")
    run = tmp_path / "run"
    unruly = ws.connect(problem, problem.initial(0), problem.initial(0), store=run, progress=False)
    assert not any("certify" in step.command for step in next_steps(unruly, opened(run).manifest(), "run"))

    loose = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path / "ring", certify=True)
    manifest = opened(tmp_path / "ring").manifest()
    assert loose.certificate is not None
    assert "verify" in next_steps(loose, manifest, "run")[0].command
    failed = replace(loose, certificate=msgspec.structs.replace(loose.certificate, threshold=0.0))
    assert not any("verify" in step.command for step in next_steps(failed, manifest, "run"))
