"""The TAB key, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from weightstring.cli import main
from weightstring.cli.completion import paths, strategies, task_options, tasks
from weightstring.cli.options.search import ENGINES
from weightstring.cli.options.strategy import OPTIONS
from weightstring.problem.engines import ENGINES as KNOWN_ENGINES
from weightstring.search import STRATEGIES

TASK = "def problem(width: int = 3, *, depth=2): ...\ndef _hidden(): ...\nraise SystemExit('executed')\n"

BASH = """\
eval "$(weightstring completion bash)"
tab() { COMP_LINE="$1"; COMP_POINT=${#1}; _python_argcomplete weightstring; echo "${COMPREPLY[*]}"; }
"""
ZSH = """\
autoload -U compinit; compinit -u -D
eval "$(weightstring completion zsh)"
_describe() { print -r -- "${(@P)2}" }
tab() { BUFFER=$1; CURSOR=${#1}; words=(weightstring); _python_argcomplete }
"""
FISH = """\
weightstring completion fish | source
function tab; complete -C $argv[1] | string join ' '; end
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(TASK)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.pt").touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "begin"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_a_shell_offers_commands_tasks_functions_strategies_and_paths(shell, begin, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    lines = ["conn", "connect pol", "connect own.py:", "connect digits a b --strategy bez", "connect digits models/"]
    script = begin + "".join(f'tab "weightstring {line}"\n' for line in lines)
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([program, "-c", script], capture_output=True, text=True, env={**os.environ, **own})
    offered = done.stdout.replace("\\:", ":").splitlines()
    assert len(offered) == len(lines), done
    for line, word in zip(offered, ["connect", "polynomial", "problem", "bezier", "models/a.pt"], strict=True):
        assert word in line, done
    assert "_hidden" not in done.stdout


def test_it_takes_no_pytorch_and_executes_no_task(folder):
    code = (
        "import sys\nfrom argparse import Namespace\nfrom weightstring.cli.completion import *\n"
        "print([*tasks('own.py:'), *task_options('', Namespace(task='own.py:problem'))], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['own.py:problem', 'width=', 'depth='] False\n"


def test_values_are_those_that_there_are(folder):
    assert set(ENGINES) == {"auto", *KNOWN_ENGINES}
    assert set(OPTIONS) <= set(STRATEGIES)
    assert "target=" in task_options("", Namespace(task="polynomial"))
    assert task_options("", Namespace(task="no-such-task")) == []
    assert {"digits", "models/", "own.py:"} <= set(tasks(""))
    assert "greedy,bezier" in strategies("greedy,b")
    assert paths("mod") == ["models/"]
    assert paths("no/such/") == []


def test_without_a_shell_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["completion"])
    assert "bash|zsh|fish" in capsys.readouterr().err
