"""A finished run and data that it was not searched on."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidRun, InvalidSetting
from weightstring.store import RunDirectory
from weightstring.store.origins import file_record, provenance

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(4))
Y = X.prod(1, keepdim=True)


def problem(shift: float = 0.0, activation: type[nn.Module] = nn.Tanh, **more) -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(2, 4), activation(), nn.Linear(4, 1))
    return ws.ModuleProblem(net, nn.functional.mse_loss, (X, Y), (X + shift, Y + shift), engine="loop", **more)


def absolute(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output - targets).abs().mean()


@pytest.fixture
def run(tmp_path):
    own = problem()
    ws.connect(own, own.initial(0), own.initial(1), threshold=100.0, store=tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_new_data_and_metrics_appear_beside_an_old_run(run):
    before, manifest = run.read("result.json"), run.manifest()
    curve = ws.measure(run, problem(1.0, metrics={"absolute": absolute}), name="shifted")
    assert run.read("result.json") == before
    own = ws.load(run)
    assert own.measured["shifted"] == curve
    assert curve.t == own.string.curve.t
    assert curve.values["loss"] != own.string.curve.values["loss"]
    assert msgspec.structs.replace(run.manifest(), measured=()) == manifest
    page = ws.write_report(run).read_text()
    assert "On other data" in page
    assert "shifted: absolute" in page
    (record,) = run.measured()
    assert record.digests["data: evaluate"] != manifest.digests["data: evaluate"]
    assert record.digests["module"] == manifest.digests["module"]
    assert record.date.endswith("UTC")
    assert record.date in page
    assert record.digests["data: evaluate"][:16] in page


def test_several_curves_are_kept_by_name_and_one_that_is_there_is_read_back(run):
    first = ws.measure(run, problem(1.0), name="one")
    ws.measure(run, problem(2.0), name="two")
    assert list(ws.load(run).measured) == ["one", "two"]
    written = run.read("measured-one.json")
    assert ws.measure(run, problem(1.0), name="one") == first
    assert run.read("measured-one.json") == written
    with pytest.raises(InvalidRun, match="'one' measured by another problem"):
        ws.measure(run, problem(3.0), name="one")


def test_another_module_over_the_same_parameters_is_told_on_the_page(run):
    ws.measure(run, problem(activation=nn.ReLU), name="relu")
    assert "another module than the run" in ws.write_report(run).read_text()


def test_the_run_goes_on_being_the_same(run):
    ws.measure(run, problem(1.0), name="shifted")
    own = problem()
    again = ws.connect(own, own.initial(0), own.initial(1), threshold=100.0, store=run)
    assert again.connected
    assert list(again.measured) == ["shifted"]


def test_what_does_not_fit_is_refused_and_nothing_is_written(run):
    other = ws.ModuleProblem(nn.Linear(2, 1), nn.functional.mse_loss, (X, Y))
    for error, words, measured, name in (
        (InvalidCheckpoint, "parameter 0", other, "x"),
        (InvalidSetting, "up to 60 letters", problem(1.0), "../x"),
    ):
        with pytest.raises(error, match=words):
            ws.measure(run, measured, name=name)
    assert run.manifest().measured == ()
    with pytest.raises(InvalidRun, match="no run here"):
        ws.measure({}, problem(1.0), name="x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record["curve"]["s"].pop(), "its points are not those"),
        (lambda record: record["curve"]["values"]["loss"].pop(), "columns are cut"),
        (lambda record: record.update(extra=1), "damaged"),
    ],
)
def test_a_changed_curve_is_found_out(run, change, words):
    ws.measure(run, problem(1.0), name="shifted")
    record = msgspec.json.decode(run.read("measured-shifted.json"))
    change(record)
    run.write("measured-shifted.json", msgspec.json.encode(record))
    with pytest.raises(InvalidRun, match=words):
        ws.load(run)


def test_a_manifest_names_no_file_elsewhere(run):
    manifest = msgspec.json.decode(run.read("manifest.json"))
    manifest["measured"] = ["../x"]
    run.write("manifest.json", msgspec.json.encode(manifest))
    with pytest.raises(InvalidRun, match=r"manifest\.json: damaged"):
        ws.load(run)


def test_a_run_in_a_mapping_takes_curves_too():
    own, kept = problem(), {}
    ws.connect(own, own.initial(0), own.initial(1), threshold=100.0, store=kept)
    ws.measure(kept, problem(1.0), name="shifted")
    assert list(ws.load(kept).measured) == ["shifted"]


class TestProvenance:
    def test_a_checkpoint_is_known_by_name_digest_size_and_date(self, tmp_path):
        file = tmp_path / "net.safetensors"
        file.write_bytes(b"abc")
        record = file_record(file)
        assert (record.name, record.size) == ("net.safetensors", 3)
        assert record.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert record.modified.endswith("UTC")

    def test_a_folder_is_its_weights(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"abc")
        (tmp_path / "optimizer.pt").write_bytes(b"much")
        record = file_record(tmp_path)
        assert (record.name, record.size) == (tmp_path.name, 3)

    def test_no_folder_of_this_machine_is_told(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        words = ["weightstring", "connect", f"{tmp_path}/task.py:f", "/elsewhere/a.pt", "--set", "data=/elsewhere/d"]
        told = provenance(words, a=tmp_path / "a.pt")
        assert told.command == ("weightstring", "connect", "task.py:f", "a.pt", "--set", "data=d")

    def test_dates_are_no_part_of_what_a_run_is(self, tmp_path):
        own = problem()
        for date in ("2020", "2021"):
            told = msgspec.structs.replace(provenance(["weightstring"], a="random:0"), begun=date)
            ends = own.initial(0), own.initial(1)
            ws.connect(own, *ends, threshold=100.0, store=tmp_path / "run", provenance=told)
        manifest = RunDirectory(tmp_path / "run").manifest()
        assert manifest.provenance.begun == "2020"
        page = ws.write_report(tmp_path / "run").read_text()
        assert "2020" in page
        assert "random:0" in page
