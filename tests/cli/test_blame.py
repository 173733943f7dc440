"""The part that raises the line, from the command line."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_every_part_on_a_screen_and_as_json(cli, workshop):
    models = [str(workshop.a), str(workshop.b)]
    done = cli("blame", workshop.task, *models, "--align")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines[3:])) <= 80  # the table, below the verdict
    told = json.loads(cli("blame", workshop.task, *models, "--json", "--depth", "1").out)
    assert told["evidence"] == "sampled"
    assert sum(part["size"] for part in told["parts"]) > 0
