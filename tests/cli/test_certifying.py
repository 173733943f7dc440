"""The commands that prove and check: connect --certify, certify, verify."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from weightstring.proof.certificate import Certificate


@pytest.fixture
def run(workshop, tmp_path) -> Path:
    """A copy of the connected run."""
    return Path(shutil.copytree(workshop.connected, tmp_path / "run"))


class TestCertify:
    @pytest.mark.slow
    def test_proves_the_runs_own_threshold_and_show_and_the_page_say_so(self, cli, run) -> None:
        done = cli("certify", run)
        assert done.code == 0, done.err
        assert "within the threshold 0.051" in done.out
        assert Certificate.load(run / "certificate.json").holds
        assert "certified" in cli("show", run).out
        assert cli("report", run).code == 0
        assert "Certified:" in (run / "report.html").read_text()

    def test_that_fails_exits_with_4_and_says_where(self, cli, run) -> None:
        done = cli("certify", run, "--threshold", 0.001)
        assert done.code == 4
        assert "NOT within" in done.out
        assert "loosest" in done.out

    @pytest.mark.slow
    def test_of_another_question_keeps_the_runs_own_certificate(self, cli, run) -> None:
        assert cli("certify", run).code == 0
        own = (run / "certificate.json").read_bytes()
        done = cli("certify", run, "--quantity", "train_loss", "--json")
        assert done.code == 0
        assert json.loads(done.out)["quantity"] == "train_loss"
        assert (run / "certificate.json").read_bytes() == own
        assert cli("verify", run, "--certificate", run / "certificate-train_loss.json").code == 0

    def test_of_an_unknown_quantity_is_one_line(self, refused, run) -> None:
        assert "accuracy" in refused("certify", run, "--quantity", "accuracy")


class TestConnectCertify:
    @pytest.mark.slow
    def test_ends_with_a_certificate(self, cli, workshop, tmp_path) -> None:
        done = cli(
            "connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--certify",
            "--out", tmp_path / "run", "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        certificate = json.loads(done.out)["certificate"]
        assert certificate["upper_bound"] <= 0.051
        assert cli("verify", tmp_path / "run").code == 0


class TestVerify:
    @pytest.mark.slow
    def test_says_how_many_intervals_were_proved_again(self, cli, run) -> None:
        assert cli("certify", run).code == 0
        done = cli("verify", run)
        assert done.code == 0, done.out
        assert "proved again" in done.out
        assert json.loads(cli("verify", run, "--json").out)["ok"] is True

    def test_of_a_changed_file_exits_with_4(self, cli, run) -> None:
        assert cli("certify", run).code == 0
        path = run / "certificate.json"
        certificate = json.loads(path.read_text())
        certificate["partition"][0][3] = 0.0
        path.write_text(json.dumps(certificate))
        done = cli("verify", run)
        assert done.code == 4
        assert "NOT verified" in done.out

    @pytest.mark.slow
    def test_a_lowered_bound_is_not_shown_as_certified(self, refused, cli, run) -> None:
        assert cli("certify", run).code == 0
        path = run / "certificate.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"upper_bound": 1e-9}))
        for command in ("show", "report"):
            assert "the file was changed" in refused(command, run)
        path.write_text("{")
        assert cli("certify", run).code == 0
        assert "certified" in cli("show", run).out

    def test_of_another_threshold_than_the_runs_is_refused(self, refused, cli, run) -> None:
        assert cli("certify", run).code == 0
        path = run / "certificate.json"
        path.write_text(path.read_text().replace('"threshold": 0.051', '"threshold": 0.5'))
        assert "the run's 0.051" in refused("verify", run)

    @pytest.mark.slow
    def test_of_a_file_with_another_threshold_says_so(self, cli, run, tmp_path) -> None:
        assert cli("certify", run, "--threshold", 0.9, "--out", tmp_path / "other.json").code == 0
        done = cli("verify", run, "--certificate", tmp_path / "other.json")
        assert done.code == 0
        assert "not the run's 0.051" in done.err

    def test_without_a_certificate_says_how_to_make_one(self, refused, run) -> None:
        assert "weightstring certify" in refused("verify", run)
