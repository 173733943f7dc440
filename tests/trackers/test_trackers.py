"""Trackers against the packages that they send to, as each is read back by its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weightstring.errors import InvalidSetting
from weightstring.testing import check_tracker
from weightstring.trackers import tracker_of


@pytest.fixture(params=["tensorboard", "mlflow", "wandb"])
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker by name, whose package is installed, and which keeps all in a folder here."""
    pytest.importorskip(request.param)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    place = {"tensorboard": ":tb", "mlflow": f":sqlite:///{tmp_path}/mlflow.db", "wandb": ":tried"}
    return f"{request.param}{place[request.param]}"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the packages' own
def test_every_tracker_keeps_to_what_is_relied_on(spec: str) -> None:
    check_tracker(lambda: tracker_of(spec))


def test_a_tracker_that_is_not_there_or_lacks_something_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSetting, match="unknown tracker 'paper': choose one of tensorboard, mlflow, wandb"):
        tracker_of("paper:x")
    with pytest.raises(InvalidSetting, match=r"tracker=.*: give a name, such as 'tensorboard:runs/tb'"):
        tracker_of(object())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InvalidSetting, match=r'tracker \'wandb\'.*: pip install "weightstring\[wandb\]"'):
        tracker_of("wandb")
