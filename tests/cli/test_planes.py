"""``report --plane``: measured with the run's own task, kept, drawn."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from weightstring.store import RunDirectory
from weightstring.tasks import load_task


def test_the_plane_is_measured_and_drawn(cli, workshop, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(workshop.connected, run)
    done = cli("report", run, "--plane", 5)
    assert done.code == 0, done.err
    record = RunDirectory(run).plane_record()
    assert record is not None
    assert [len(row) for row in record.losses] == [5] * 5
    assert "The loss around the string" in (run / "report.html").read_text()
    ends, problem = RunDirectory(run).ends(), load_task(workshop.task)
    third = RunDirectory(run).string()[[k for k, d in enumerate(record.distances) if d < 1e-5][1]]
    along = (ends[1] - ends[0]).double()
    along = along / along.norm()
    across = (third - ends[0]).double()
    across = across - (across @ along) * along
    corner = ends[0].double() + record.x[1] * along + record.y[3] * across / across.norm()
    value = float(problem.measure(corner.float()[None])["loss"])
    assert abs(value - record.losses[3][1]) < 1e-4 * value
    # Without the option the plane that was measured is drawn again.
    page = (run / "report.html").read_bytes()
    assert cli("report", run).code == 0
    assert (run / "report.html").read_bytes() == page


class TestMisuse:
    def test_a_straight_string(self, refused, workshop):
        shutil.copytree(workshop.unresolved, "run")
        assert re.search("the string is straight", refused("report", "run", "--plane"))

    def test_a_grid_that_is_none(self, refused, workshop):
        shutil.copytree(workshop.connected, "run")
        assert re.search("1 is less than 2", refused("report", "run", "--plane", 1))
        assert re.search("2 to 301", refused("report", "run", "--plane", 999))

    def test_a_run_without_a_task(self, refused, workshop):
        shutil.copytree(workshop.connected, "run")
        text = Path("run/manifest.json").read_text()
        Path("run/manifest.json").write_text(re.sub(r'"task": \{.*?\}\s*\}', '"task": null', text, flags=re.DOTALL))
        assert re.search("begun from Python, without a task", refused("report", "run", "--plane"))
