"""A run directory that somebody sent is data: it runs no code, reads no files of the user's, steers no terminal."""

from __future__ import annotations

import json
import py_compile
import re
import shutil
from pathlib import Path

import pytest

EVIL = """\
from pathlib import Path

Path({mark!r}).touch()
"""

COMMANDS = {
    "verify": ("verify", "received"),
    "certify": ("certify", "received", "--threshold", "9"),
    "merge": ("merge", "received"),
    "export": ("export", "received", "--at", "0.5", "--out", "net.safetensors"),
    "resume": ("resume", "received"),
    "report --plane": ("report", "received", "--plane", "3"),
}
"""Every command that builds a run's problem."""


class Received:
    """A run that was sent: a copy of one of the user's own, with another task named in its manifest."""

    def __init__(self, root: Path, original: Path) -> None:
        self.path, self.mark = root / "received", root / "PWNED"
        shutil.copytree(original, self.path)

    def name(self, task: str, **options: str) -> None:
        file = self.path / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["task"] = {"name": task, "options": options}
        file.write_text(json.dumps(manifest))

    def plant(self, at: Path, text: str = "") -> Path:
        """A task file that leaves a mark when it is executed."""
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(EVIL.format(mark=str(self.mark)) + text)
        return at


@pytest.fixture
def received(workshop, tmp_path, monkeypatch) -> Received:
    monkeypatch.chdir(tmp_path)
    return Received(tmp_path, workshop.connected)


def inside(received: Received, root: Path) -> str:
    return f"{received.plant(received.path / 'beads' / '.cache.py')}:task"


def relative(received: Received, root: Path) -> str:
    received.plant(received.path / "task.py")
    return "received/task.py:task"


def up_and_down(received: Received, root: Path) -> str:
    received.plant(received.path / "task.py")
    return f"{root}/elsewhere/../received/beads/../task.py:task"


def beside(received: Received, root: Path) -> str:
    return f"{received.plant(root / 'project' / 'task.py')}:task"


def link_into_the_run(received: Received, root: Path) -> str:
    (root / "link.py").symlink_to(received.plant(received.path / "task.py"))
    return f"{root}/link.py:task"


def link_out_of_the_run(received: Received, root: Path) -> str:
    (received.path / "task.py").symlink_to(received.plant(root / "away" / "task.py"))
    return "received/task.py:task"


def linked_folder(received: Received, root: Path) -> str:
    received.plant(root / "away" / "task.py")
    (received.path / "code").symlink_to(root / "away")
    return "received/code/task.py:task"


PLACES = [inside, relative, up_and_down, beside, link_into_the_run, link_out_of_the_run, linked_folder]


class TestTaskFiles:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_command_executes_a_file_inside_the_run(self, refused, received, command):
        received.name("received/beads/.cache.py:task")
        inside(received, received.path.parent)
        line = refused(*COMMANDS[command])
        assert re.search(r"lies inside the run, and nothing in a run is executed", line)
        assert not received.mark.exists()

    @pytest.mark.parametrize("place", PLACES)
    def test_nor_one_that_the_user_never_named(self, refused, received, tmp_path, place):
        (tmp_path / "elsewhere").mkdir()
        received.name(place(received, tmp_path))
        assert re.search("lies inside the run|never named yourself.*--task", refused("verify", "received"))
        assert not received.mark.exists()

    @pytest.mark.parametrize("command", [("show", "received"), ("report", "received")])
    def test_what_needs_no_problem_builds_none(self, cli, received, tmp_path, command):
        received.name(inside(received, tmp_path))
        assert cli(*command).code == 0
        assert not received.mark.exists()

    def test_pointing_into_the_run_does_not_help_either(self, refused, received, tmp_path):
        name = inside(received, tmp_path)
        assert "nothing in a run is executed" in refused("verify", "received", "--task", name)
        assert not received.mark.exists()

    def test_a_file_of_the_same_content_elsewhere_is_another(self, refused, received, workshop, tmp_path):
        """Its neighbours, which it may import, are others."""
        copy = tmp_path / "project" / "sine.py"
        copy.parent.mkdir()
        shutil.copy(workshop.root / "sine.py", copy)
        received.name(f"{copy}:task")
        assert "never named yourself" in refused("merge", "received")

    def test_the_users_own_file_is_not_called_with_options_that_he_never_gave(self, refused, received, workshop):
        received.name(workshop.task, hidden="31")
        assert re.search(r"other options \(hidden=31\).*--task .*sine\.py:task", refused("merge", "received"))

    def test_nor_by_another_function(self, refused, received, workshop):
        received.name(workshop.task.replace(":task", ":Net"))
        assert re.search(r"sine\.py.*--task", refused("merge", "received"))

    def test_a_record_that_another_put_there_does_not_count(self, refused, received, tmp_path, monkeypatch, cli):
        """Only a file of the user's own is his word: not a link, nor a folder, of that name."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        task = received.plant(tmp_path / "project" / "task.py")
        received.mark.touch()
        cli("train", f"{task}:task", "--until", 1, "--out", "net.safetensors")
        (record,) = (tmp_path / "state" / "weightstring" / "named-tasks").iterdir()
        record.unlink()
        record.symlink_to("/dev/null")
        received.mark.unlink()
        received.name(f"{task}:task")
        assert re.search("never named yourself", refused("verify", "received"))
        assert not received.mark.exists()

    def test_a_compiled_file_that_lies_beside_it_is_not_what_runs(self, cli, received, workshop, tmp_path):
        """Whoever reads a file and points to it must get what he read."""
        task = tmp_path / "project" / "sine.py"
        task.parent.mkdir()
        shutil.copy(workshop.root / "sine.py", task)
        evil = received.plant(tmp_path / "evil.py")
        cached = task.parent / "__pycache__" / f"sine.{__import__('sys').implementation.cache_tag}.pyc"
        cached.parent.mkdir()
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(evil), str(cached), invalidation_mode=mode)
        assert cli("merge", "received", "--task", f"{task}:task").code == 0
        assert not received.mark.exists()

    def test_an_unreadable_name_is_one_line_without_control_characters(self, refused, received):
        received.name("\x1b[2J\nweightstring: fine\u202e.py:task")
        line = refused("verify", "received")
        assert not re.search("[\x1b\u202e]", line)


class TestTheUsersOwn:
    def test_his_runs_need_no_pointing_and_say_what_is_executed(self, cli, workshop, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(workshop.connected, run)
        done = cli("merge", run)
        assert done.code == 0
        assert done.err == f"weightstring: executes {workshop.root}/sine.py (task)\n"

    def test_a_task_that_was_moved_or_came_with_the_run_is_pointed_to_once(self, cli, refused, received, workshop):
        task = received.path.parent / "project" / "sine.py"
        task.parent.mkdir()
        shutil.copy(workshop.root / "sine.py", task)
        received.name("/nowhere/sine.py:task")
        assert re.search("is not here: point to it by --task", refused("merge", "received"))
        assert cli("merge", "received", "--task", "project/sine.py:task").code == 0
        received.name(f"{task}:task")
        assert cli("merge", "received").code == 0

    @pytest.mark.slow
    def test_a_file_that_changed_since_is_pointed_to_again(self, cli, refused, workshop, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        shutil.copy(workshop.root / "sine.py", "sine.py")
        ends = (workshop.a, workshop.b, "--threshold", 0.051, "--out", "run")
        assert cli("connect", "sine.py:task", *ends, "--max-beads", 2).code == 3
        Path("sine.py").write_text(Path("sine.py").read_text() + "\n# a remark\n")
        line = refused("resume", "run", "--max-beads", 64)
        pointed = re.search(r"has changed since.*(--task \S+)", line)
        assert pointed is not None
        assert cli("resume", "run", "--max-beads", 64, *pointed[1].split()).code == 0

    def test_without_a_state_directory_the_hint_points_to_the_task(self, cli, workshop, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "state").write_text("a file, not a folder")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setattr("weightstring.search.running.search.RunningSearch.absorb", interrupted)
        done = cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", "run")
        assert done.code == 130
        assert done.err.endswith(f"weightstring resume run --task {workshop.task}\n")
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        assert cli("resume", "run", "--task", workshop.task).code == 0

    def test_a_run_begun_from_python_may_be_given_a_task(self, cli, received, workshop):
        file = received.path / "manifest.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "task": None}))
        assert cli("merge", "received", "--task", workshop.task).code == 0


def interrupted(search: object) -> bool:
    raise KeyboardInterrupt


class TestOptions:
    """Options of a manifest are text that somebody wrote: they lead a built-in task to no file of the user's."""

    @pytest.mark.parametrize("task", ["text", "mnist"])
    def test_a_path_that_the_user_never_named_is_not_read(self, refused, received, task):
        received.name(task, data="/etc/passwd")
        assert re.search(
            r"reads data=/etc/passwd, which you never named yourself.*--data", refused("merge", "received")
        )

    def test_his_own_takes_its_place(self, refused, received, tmp_path):
        received.name("text", data="/etc/passwd", hidden="3")
        (tmp_path / "words.txt").write_text("one two three " * 100)
        line = refused("merge", "received", "--data", "words.txt", "--set", "test_words=60")
        assert "run of another problem" in line

    def test_one_that_he_named_before_is_read_again(self, cli, refused, received, tmp_path):
        (tmp_path / "words.txt").write_text("one two three " * 100)
        options = {"hidden": "3", "layers": "1", "test_words": "60", "data": str(tmp_path / "words.txt")}
        given = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
        assert cli("train", "text", *given, "--until", 9, "--out", "net.safetensors").code == 0
        received.name("text", **options)
        assert "run of another problem" in refused("merge", "received")
        received.name("text", **{**options, "hidden": "4"})
        assert "never named yourself" in refused("merge", "received")


def test_text_of_a_result_steers_no_terminal_and_is_no_markup(cli, received):
    file = received.path / "result.json"
    result = json.loads(file.read_text())
    argument = "\x1b]0;owned\x07\x1b[2J\u202e [link=https://example.org]here[/link] <script>alert(1)</script>"
    result["outcome"] = {"kind": "disconnected", "proof": {"bound": 1.0, "argument": argument}}
    file.write_text(json.dumps(result))
    done = cli("show", "received")
    assert done.code == 5
    assert not re.search("[\x1b\x07\u202e]", done.out)
    assert "[link=" in done.out
    assert cli("report", "received").code == 0
    assert "<script>alert(1)" not in (received.path / "report.html").read_text()


class TestLinks:
    """Nothing in a run leads out of it: what is written there cannot land elsewhere, what is read is its own."""

    @pytest.mark.many(quick=6)
    @pytest.mark.parametrize("name", ["manifest.json", "result.json", "beads", "journal.jsonl", "lock", "plain"])
    @pytest.mark.parametrize("command", [("report",), ("resume", "--seconds", 1), ("certify", "--threshold", 9)])
    def test_a_member_that_is_one_is_refused_or_left_unread(self, cli, received, tmp_path, name, command):
        place, away = received.path / name, tmp_path / "away"
        if place.exists():
            place.rename(away)
        else:
            away.mkdir()
        place.symlink_to(away)
        before = contents(away)
        verb, *options = command
        done = cli(verb, "received", *options)
        last = done.err.splitlines()[-1:]
        assert done.code == 0 or re.fullmatch(r"weightstring: received/\S+: a link, which may lead .*", *last)
        assert contents(away) == before

    def test_a_page_is_written_through_none(self, cli, received, tmp_path):
        (tmp_path / "victim").write_text("mine")
        for name in ("report.html", ".report.html.tmp"):
            (received.path / name).unlink(missing_ok=True)
            (received.path / name).symlink_to(tmp_path / "victim")
        assert cli("report", "received").code == 0
        assert (tmp_path / "victim").read_text() == "mine"
        assert "<html" in (received.path / "report.html").read_text()


def contents(place: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in [place, *place.rglob("*")] if file.is_file()}
