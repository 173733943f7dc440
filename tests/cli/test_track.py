"""``--track``: a search on the command line, as TensorBoard reads it back."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from weightstring.cli import main
from weightstring.cli.running import resumable
from weightstring.store import opened


def ran(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the package's own
def test_a_search_and_its_resumption_are_one_run_of_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    models, track = ("polynomial", "random:0", "random:1"), ("--track", "tensorboard:tb")
    assert ran("minimax", *models, "--max-beads", "4", "--out", "run", *track) == 0
    assert ran("resume", "run", "--max-beads", "6", *track) in (0, 3)
    assert [path.name for path in Path("tb").iterdir()] == ["run"]
    events: Any = EventAccumulator("tb/run", {"scalars": 0})
    events.Reload()
    rounds = opened("run").result().rounds
    assert [event.step for event in events.Scalars("beads")] == list(range(1, len(rounds) + 1))
    assert [event.value for event in events.Scalars("open_links")] == [one.open for one in rounds]
    assert {path.name for path in Path("tb/run").iterdir() if path.suffix in (".json", ".html")} == {
        "result.json",
        "report.html",
    }
    assert "tracker" not in capsys.readouterr().err
    with pytest.raises(SystemExit), resumable("run", Namespace(task=None, options=[], max_beads=6, track=track[1])):
        raise KeyboardInterrupt
    assert "weightstring resume run --max-beads 6 --track tensorboard:tb\n" in capsys.readouterr().err


def test_an_unknown_tracker_is_refused_before_anything_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran("connect", "polynomial", "random:0", "random:1", "--out", "run", "--track", "paper:x") == 2
    assert "unknown tracker 'paper': choose one of tensorboard, mlflow, wandb" in capsys.readouterr().err
    assert not Path("run").exists()
