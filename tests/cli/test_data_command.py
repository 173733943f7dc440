"""``download``, and ``--data`` of the commands that take a task, on a small set in the published form."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from weightstring.tasks.files import VARIABLE
from weightstring.tasks.published import IMAGE_SETS, Content

SIZES = ("--set", "train_size=40", "--set", "test_size=20", "--set", "hidden=6")


@pytest.fixture(autouse=True)
def _no_directory_of_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def web(tmp_path_factory, monkeypatch) -> Path:
    """A folder that is the only mirror of MNIST, which has 40 and 20 images: a bright row tells each class."""
    mirror, files = tmp_path_factory.mktemp("web"), {}
    for name in IMAGE_SETS["mnist"].files:
        labels = torch.arange(40 if name.startswith("train") else 20) % 10
        values = labels.to(torch.uint8)
        if "images" in name:
            values = torch.zeros(len(labels), 28, 28, dtype=torch.uint8)
            values[torch.arange(len(labels)), 2 * labels] = 200
        content = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.numpy().tobytes()
        (mirror / f"{name}.gz").write_bytes(gzip.compress(content))
        files[name] = Content(tuple(values.shape), hashlib.sha256(content).hexdigest())
    images = replace(IMAGE_SETS["mnist"], files=files, mirrors=(mirror.as_uri(),))
    monkeypatch.setitem(IMAGE_SETS, "mnist", images)
    return mirror


@pytest.fixture
def data(web, cli, tmp_path) -> Path:
    """A directory of data with that set."""
    assert cli("download", "mnist", "--data", tmp_path / "data").code == 0
    return tmp_path / "data"


class TestDownload:
    def test_help(self, cli):
        done = cli("download", "--help")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("usage: weightstring download")
        assert "fashion-mnist" in done.out

    def test_every_set_can_be_named(self, cli, tmp_path, monkeypatch):
        for name, images in list(IMAGE_SETS.items()):
            monkeypatch.setitem(IMAGE_SETS, name, replace(images, mirrors=()))
            assert f"put the file at {tmp_path}/{name}/train" in cli("download", name, "--data", tmp_path).err

    def test_says_where_each_file_is_and_whence(self, cli, web, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        names = [f"{name}.gz" for name in IMAGE_SETS["mnist"].files]
        folder = tmp_path / "data" / "mnist"
        first = cli("download", "mnist", "--data", "data")
        assert (first.code, first.err) == (0, "")
        assert first.out.splitlines() == [f"{folder / name}: from {web.as_uri()}/{name}" for name in names]
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        second = cli("download", "mnist", "--data", "data")
        assert second.out.splitlines() == [f"{folder / name}: already there, and correct" for name in names]

    def test_where_the_environment_says(self, cli, web, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(tmp_path / "there"))
        assert cli("download", "mnist").code == 0
        assert len(list((tmp_path / "there" / "mnist").iterdir())) == 4

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ("download", "required: NAME"),
            ("download cifar --data here", "'cifar'.*choose from 'mnist', 'fashion-mnist'"),
            ("download mnist", "no directory of data is named: give --data DIR .* or set WEIGHTSTRING_DATA"),
        ],
    )
    def test_misuse_is_refused(self, refused, web, arguments, says):
        assert re.search(says, refused(*arguments.split()))

    def test_a_mirror_that_has_none(self, refused, web, tmp_path):
        for path in web.iterdir():
            path.unlink()
        line = refused("download", "mnist", "--data", "data")
        assert "train-images-idx3-ubyte.gz: no mirror gives it (file://" in line
        assert f"put the file at {tmp_path}/data/mnist/train-images-idx3-ubyte.gz" in line


class TestData:
    @pytest.mark.slow
    def test_training_connecting_and_resuming_elsewhere(self, cli, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for seed in (0, 1):
            out = f"{seed}.safetensors"
            trained = cli("train", "mnist", "--data", "data", *SIZES, "--until", 0.1, "--seed", seed, "--out", out)
            assert trained.code == 0, trained.err
            assert load_file(out)["0.weight"].shape == (6, 784)
        search = ("connect", "mnist", "--data", "data", *SIZES, "0.safetensors", "1.safetensors", "--threshold", 0.12)
        begun = cli(*search, "--max-beads", 2, "--out", "run")
        assert begun.code == 3, begun.err
        task = json.loads((tmp_path / "run" / "manifest.json").read_text())["task"]
        assert task["options"] == {"data": str(data), "train_size": "40", "test_size": "20", "hidden": "6"}
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        resumed = cli("resume", tmp_path / "run", "--max-beads", 64)
        assert resumed.code == 0, resumed.err

    def test_the_environment_serves_as_well(self, cli, data, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(data))
        trained = cli("train", "mnist", *SIZES, "--until", 0.5, "--out", tmp_path / "a.safetensors")
        assert trained.code == 0, trained.err

    def test_a_missing_set_is_refused_with_the_command_that_fetches_it(self, refused, tmp_path):
        line = refused("train", "mnist", "--data", "data", "--until", 0.5, "--out", "a.safetensors")
        assert f"mnist: there is no train-images-idx3-ubyte.gz in {tmp_path}/data/mnist, " in line
        assert line.endswith(f"fetch it with: weightstring download mnist --data {tmp_path}/data\n")

    def test_a_task_without_data_is_refused(self, refused):
        line = refused("train", "polynomial", "--data", "data", "--until", 0.5, "--out", "a.safetensors")
        assert "task polynomial has no option 'data'; it has: target, degree" in line
