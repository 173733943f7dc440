"""What each command does when it is used as meant: its files, its output, its exit code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import weightstring as ws
from weightstring.cli.commands import COMMANDS
from weightstring.store.records import ResultRecord
from weightstring.tasks import load_task


def beads(run: Path) -> bytes:
    return (run / "beads" / "string.safetensors").read_bytes()


class TestHelp:
    def test_help_imports_no_torch(self):
        code = (
            "import sys\n"
            "from weightstring.cli import main\n"
            "try:\n    main(['--help'])\n"
            "except SystemExit as left:\n    print(left.code, 'torch' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.split() == ["0", "False"]
        assert "exit codes" in done.stdout

    def test_the_package_imports_no_torch(self):
        code = "import sys, weightstring; assert 'connect' in dir(weightstring); print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"

    @pytest.mark.slow
    def test_a_search_imports_neither_a_compiler_nor_scipy(self):
        code = (
            "import sys, weightstring as ws\n"
            "from weightstring.tasks import load_task\n"
            "problem = load_task('digits', {'width': '16'})\n"
            "ends = [problem.fit(seed=seed, until=1.0) for seed in (0, 1)]\n"
            "assert ws.connect(problem, *ends).connected\n"
            "print([name for name in ('torch._dynamo', 'scipy', 'sklearn') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_explains_itself(self, cli, command):
        done = cli(command, "--help")
        assert done.code == 0
        assert done.out.startswith(f"usage: weightstring {command}")

    def test_version(self, cli):
        assert re.fullmatch(r"weightstring \d+\.\d+\.\d+\n", cli("--version").out)


class TestTrain:
    def test_writes_a_checkpoint_of_the_level(self, workshop):
        problem = load_task(workshop.task)
        theta = problem.flatten(load_file(workshop.a))
        assert float(problem.measure(theta.unsqueeze(0))["loss"]) <= 0.05
        with safe_open(workshop.a, "pt") as file:
            about = json.loads(file.metadata()["weightstring"])
        assert about["task"] == workshop.task
        assert about["seed"] == 2

    def test_the_seed_determines_every_byte(self, cli, workshop, tmp_path):
        again = tmp_path / "new" / "again.safetensors"
        assert cli("train", workshop.task, "--seed", 2, "--until", 0.05, "--out", again).code == 0
        assert again.read_bytes() == Path(workshop.a).read_bytes()

    def test_options_reach_the_task(self, cli, workshop, tmp_path):
        out = tmp_path / "wide.safetensors"
        done = cli("train", workshop.task, "--set", "hidden=7", "--until", 0.3, "--out", out)
        assert done.code == 0
        assert load_file(out)["0.weight"].shape == (7, 1)
        assert str(out) in done.out

    def test_a_level_out_of_reach_is_unresolved(self, cli, workshop, tmp_path):
        done = cli("train", workshop.task, "--until", 1e-9, "--max-steps", 30, "--out", tmp_path / "a.safetensors")
        assert done.code == 3
        assert done.err.count("\n") == 1
        assert "wanted 1e-09" in done.err
        assert not list(tmp_path.iterdir())


class TestConnect:
    def test_connected(self, workshop):
        result = ws.load(workshop.connected, load_task(workshop.task))
        assert result.connected
        assert result.threshold == 0.051
        assert len(result.string) > 2
        assert max(top.value for top in result.segments) <= 0.051
        problem = load_task(workshop.task)
        for at, path in ((0, workshop.a), (-1, workshop.b)):
            assert torch.equal(result.string.beads[at], problem.flatten(load_file(path)))
        assert (workshop.connected / "report.html").read_text().startswith("<!doctype html>")

    def test_unresolved_says_why(self, cli, workshop):
        done = cli("show", workshop.unresolved)
        assert done.code == 3
        assert "unresolved (beads)" in done.out
        assert "stuck segment" in done.out

    def test_json_and_nothing_else_on_stdout(self, cli, workshop, tmp_path):
        run = tmp_path / "run"
        done = cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--json", "--out", run)
        printed = json.loads(done.out)
        assert done.code == 0
        assert done.err == ""
        assert printed["run"] == str(run)
        assert printed["outcome"]["kind"] == "connected"
        assert printed["string"]["max_loss"] <= 0.051
        assert set(ResultRecord.__struct_fields__) == printed.keys() - {"run", "provenance", "next"}
        assert beads(run) == beads(workshop.connected)

    def test_without_out_the_run_is_named_by_its_settings(self, cli, workshop, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        common = ("connect", workshop.task, workshop.a, workshop.a)
        first, again, other = cli(*common), cli(*common), cli(*common, "--seed", 5)
        assert [first.code, again.code, other.code] == [0, 0, 0]
        named = [re.search(r"runs/task-\w+", done.out).group() for done in (first, again, other)]
        assert named[0] == named[1] != named[2]
        assert sorted(str(path) for path in Path("runs").iterdir()) == sorted(set(named))

    def test_the_threshold_is_the_larger_end_by_default(self, cli, workshop, tmp_path):
        done = cli("connect", workshop.task, workshop.a, workshop.a, "--json", "--out", tmp_path / "run")
        printed = json.loads(done.out)
        assert printed["threshold"] == printed["ends"][0]["loss"]
        assert printed["string"]["beads"] == 2
        assert printed["string"]["normalized_length"] == 1

    @pytest.mark.parametrize(("bind", "names"), [("train", ["train_loss"]), ("both", ["loss", "train_loss"])])
    def test_bind_chooses_what_is_bound(self, cli, workshop, tmp_path, bind, names):
        common = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 1.0)
        printed = json.loads(cli(*common, "--bind", bind, "--json", "--out", tmp_path / "run").out)
        assert printed["bind"] == bind
        shown = cli("show", tmp_path / "run").out
        assert re.search(r"on the string, sampled +evaluation loss up to", shown)
        assert printed["line"]["barriers"]["over_linear"] >= 0
        assert sorted(printed["names"]) == names
        largest = max(max(printed["string"]["curve"]["values"][name]) for name in names)
        assert max(segment["max"] for segment in printed["string"]["segments"]) == largest

    def test_reads_pt_files(self, cli, workshop, tmp_path):
        torch.save(load_file(workshop.b), tmp_path / "b.pt")
        run = tmp_path / "run"
        done = cli("connect", workshop.task, workshop.a, tmp_path / "b.pt", "--threshold", 0.051, "--out", run)
        assert done.code == 0
        assert beads(run) == beads(workshop.connected)

    def test_a_finished_run_is_read_back(self, cli, workshop):
        before = {path: path.read_bytes() for path in workshop.connected.rglob("*.safetensors")}
        journal = (workshop.connected / "journal.jsonl").read_bytes()
        common = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051)
        assert cli(*common, "--out", workshop.connected).code == 0
        assert (workshop.connected / "journal.jsonl").read_bytes() == journal
        assert {path: path.read_bytes() for path in workshop.connected.rglob("*.safetensors")} == before


class TestResume:
    @pytest.mark.slow
    def test_an_unresolved_run_goes_on_with_a_larger_limit(self, cli, workshop, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(workshop.unresolved, run)
        assert cli("resume", run).code == 3
        assert cli("resume", run, "--max-beads", 64).code == 0
        assert beads(run) == beads(workshop.connected)

    def test_a_run_without_its_result_is_finished(self, cli, workshop, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(workshop.connected, run)
        (run / "result.json").unlink()
        lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
        (run / "journal.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:-7])
        unfinished = cli("show", run)
        assert unfinished.code == 3
        assert f"weightstring resume {run}" in unfinished.err
        assert cli("resume", run).code == 0
        assert beads(run) == beads(workshop.connected)


class TestShow:
    @pytest.mark.parametrize("kind", ["connected", "unresolved"])
    def test_fits_80_columns(self, cli, workshop, kind, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(tmp_path)
        shutil.copytree(getattr(workshop, kind), "run")
        lines = cli("show", "run").out.splitlines()
        assert lines[0].startswith(kind)
        assert max(map(cell_len, lines)) <= 80  # the tilde of Γ̃ takes no column of its own

    def test_json_is_what_connect_printed(self, cli, workshop):
        printed = json.loads(cli("show", workshop.connected, "--json").out)
        stored = json.loads((workshop.connected / "result.json").read_text())
        assert {step["command"].split()[1] for step in printed.pop("next")} == {
            "certify",
            "connect",
            "merge",
            "minimax",
        }
        assert printed.pop("provenance")["files"]["a"]["name"] == "a.safetensors"
        assert printed == {"run": str(workshop.connected), **stored}

    def test_the_exit_code_is_the_outcome(self, cli, workshop):
        assert cli("show", workshop.connected).code == 0
        assert cli("show", workshop.unresolved, "--json").code == 3


class TestReport:
    def test_writes_the_page_where_it_is_told(self, cli, workshop, tmp_path):
        page = tmp_path / "new" / "page.html"
        done = cli("report", workshop.connected, "--out", page)
        assert (done.code, done.out) == (0, f"{page}\n")
        assert page.read_text().startswith("<!doctype html>")

    def test_the_same_run_gives_the_same_page(self, cli, workshop, tmp_path):
        for name in ("one.html", "two.html"):
            assert cli("report", workshop.unresolved, "--out", tmp_path / name).code == 0
        assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


@pytest.mark.slow
class TestDemo:
    def test_the_whole_way(self, cli, tmp_path):
        done = cli("demo", "--json", "--out", tmp_path / "demo")
        printed = json.loads(done.out)
        assert done.code == 0
        assert printed["threshold"] == pytest.approx(1.02 * max(end["loss"] for end in printed["ends"]), rel=1e-6)
        assert printed["string"]["max_loss"] <= printed["threshold"]
        assert (tmp_path / "demo" / "run" / "report.html").exists()
        net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        net.load_state_dict(load_file(tmp_path / "demo" / "a.safetensors"))


def test_a_dry_run_says_what_a_search_takes_and_searches_nothing(cli, workshop, tmp_path):
    run = tmp_path / "run"
    done = cli(
        "connect", workshop.task, workshop.a, workshop.b, "--out", run, "--dry-run", "--sampling", "dense", "--align"
    )
    assert (done.code, done.err.count("bug")) == (0, 0)
    assert re.match(r"straight line  \d\d evaluations, .* each, sampled densely\)", done.out)
    assert done.out.endswith("alignment is not counted\n")
    assert max(map(len, done.out.splitlines())) <= 80
    assert not run.exists()
    told = json.loads(cli("connect", workshop.task, workshop.a, workshop.b, "--out", run, "--dry-run", "--json").out)
    assert told["line"]["evaluations"] < 31
    assert told["adaptive"]
