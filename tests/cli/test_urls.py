"""Commands on a run in an object store."""

from __future__ import annotations

from uuid import uuid4

import pytest

from weightstring.store import opened

pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.mark.slow
def test_every_command_on_a_run_takes_a_url(cli, workshop) -> None:
    url = f"memory://{uuid4().hex}/run"
    connect = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", url)
    unfinished = cli(*connect, "--max-beads", 2)
    assert unfinished.code == 3, unfinished.err
    done = cli("resume", url, "--max-beads", 64)
    assert done.code == 0, done.err
    assert f"run   {url}\npage  {url}/report.html\n" in done.out
    assert set(done.out.splitlines()) <= set(cli("show", url).out.splitlines())
    assert cli("report", url).out == f"{url}/report.html\n"
    assert (opened(url).read("report.html") or b"").startswith(b"<!doctype html>")
    certified = cli("certify", url, "--threshold", 0.06)
    assert certified.code == 0, certified.err
    assert f"kept in {url}/certificate-loss.json" in certified.out
    without = cli("verify", url)
    assert without.err.endswith(f"{url}/certificate.json: no certificate here; make one with weightstring certify\n")
