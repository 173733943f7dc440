"""Folders, adapters, parts of larger files, and what may lie beside tensors."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.store import checkpoints_in, read_checkpoint

STATE = {"weight": torch.tensor([[1.5, -2.0]]), "bias": torch.tensor([3.0])}


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


class TestClassesThatAreAllowed:
    def test_settings_and_numbers_beside_tensors_are_read(self, tmp_path: Path) -> None:
        beside = {
            "args": argparse.Namespace(lr=0.1, out=Path("out")),
            "best": np.float64(0.5),
            "history": np.arange(3.0),
            "when": datetime.datetime(2020, 1, 2),
        }
        torch.save({"state_dict": STATE, **beside}, tmp_path / "net.pt")
        read = read_checkpoint(tmp_path / "net.pt")
        assert torch.equal(read["state_dict"]["weight"], STATE["weight"])
        assert read["args"] == beside["args"]
        assert read["best"] == 0.5

    def test_others_are_named_with_what_allows_them(self, tmp_path: Path) -> None:
        torch.save(nn.Sequential(nn.Linear(2, 1), nn.Tanh()), tmp_path / "net.pt")
        names = ("container.Sequential", "linear.Linear", "activation.Tanh")
        with pytest.raises(InvalidCheckpoint) as caught:
            read_checkpoint(tmp_path / "net.pt")
        flags = re.findall(r"--allow-global (\S+)", str(caught.value))
        assert sorted(flags) == sorted(f"torch.nn.modules.{name}" for name in names)
        with pytest.raises(InvalidCheckpoint, match=r"--allow-global torch\.nn\.modules\.linear\.Linear"):
            read_checkpoint(tmp_path / "net.pt", allow=flags[:1])
        assert read_checkpoint(tmp_path / "net.pt", allow=flags).keys() == {"0.weight", "0.bias"}
        with pytest.raises(InvalidCheckpoint, match="more than tensors"):  # allowed for that once
            read_checkpoint(tmp_path / "net.pt")

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("subprocess.Popen", "the standard library can run code"),
            ("builtins.getattr", "the standard library can run code"),
            ("torch.hub.load", "it is no class; a function"),
            ("no_such_module.Thing", "it cannot be imported"),
            ("torch.NoSuchClass", "it cannot be imported"),
            ("Thing", "it cannot be imported"),
        ],
    )
    def test_what_could_run_code_cannot_be_allowed(self, tmp_path: Path, name: str, why: str) -> None:
        torch.save(STATE, tmp_path / "net.pt")
        with pytest.raises(InvalidSetting, match=f"^'{name}' cannot be allowed: {why}"):
            read_checkpoint(tmp_path / "net.pt", allow=[name])

    def test_what_can_never_be_allowed_is_not_offered(self, tmp_path: Path) -> None:
        torch.save({"weight": Payload(tmp_path / "touched"), "net": nn.Linear(1, 1)}, tmp_path / "net.pt")
        with pytest.raises(InvalidCheckpoint, match=r"\(builtins.getattr, torch.nn.mod.*takes it out of a larger") as e:
            read_checkpoint(tmp_path / "net.pt")
        assert "--allow-global" not in str(e.value)


class TestFolders:
    def test_a_trainers_names_the_checkpoints_in_it(self, tmp_path: Path) -> None:
        for step in (500, 1000):
            (tmp_path / f"checkpoint-{step}").mkdir()
            save_file(STATE, tmp_path / f"checkpoint-{step}" / "model.safetensors")
            torch.save({}, tmp_path / f"checkpoint-{step}" / "optimizer.pt")
        torch.save({}, tmp_path / "training_args.bin")
        with pytest.raises(
            InvalidCheckpoint, match="holds no weights itself, but checkpoint-500, checkpoint-1000; name"
        ):
            read_checkpoint(tmp_path)
        assert [found.name for found in checkpoints_in(tmp_path)] == ["checkpoint-500", "checkpoint-1000"]
        assert read_checkpoint(tmp_path / "checkpoint-500").keys() == STATE.keys()
        save_file(STATE, tmp_path / "model.safetensors")
        assert read_checkpoint(tmp_path).keys() == STATE.keys()
        assert checkpoints_in(tmp_path) == [tmp_path]

    @pytest.mark.parametrize(("mark", "how"), [(".metadata", "dcp_to_torch"), ("zero_to_fp32.py", "zero_to_fp32.py")])
    def test_shards_of_several_processes_are_to_be_joined(self, tmp_path: Path, mark: str, how: str) -> None:
        (tmp_path / mark).touch()
        with pytest.raises(InvalidCheckpoint, match=f"; join them first: python .*{how} "):
            read_checkpoint(tmp_path)

    def test_an_adapter_comes_with_its_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
        with pytest.raises(
            InvalidCheckpoint, match=r"has adapter_config.json, but neither adapter_model.safetensors nor"
        ):
            read_checkpoint(tmp_path)
        save_file(STATE, tmp_path / "adapter_model.safetensors")
        read = read_checkpoint(tmp_path)
        assert read["peft_config"] == {"peft_type": "LORA", "r": 2}
        assert read["adapter_state_dict"].keys() == STATE.keys()
        save_file(STATE, tmp_path / "model.safetensors")
        with pytest.raises(
            InvalidCheckpoint, match=r"holds a model and an adapter, model.safetensors and adapter_config"
        ):
            read_checkpoint(tmp_path)


def test_a_part_of_a_larger_file_is_named_behind_it(tmp_path: Path) -> None:
    torch.save({"model": {}, "ema": {"module": STATE}, "step": 3}, tmp_path / "net.pt")
    assert read_checkpoint(f"{tmp_path}/net.pt#ema/module").keys() == STATE.keys()
    for part, message in (
        ("emma", "'emma' is nothing, no state dict; it holds model, ema, step"),
        ("step", "is a int"),
    ):
        with pytest.raises(InvalidCheckpoint, match=message):
            read_checkpoint(f"{tmp_path}/net.pt#{part}")
    torch.save(STATE, tmp_path / "net#ema.pt")
    assert read_checkpoint(tmp_path / "net#ema.pt").keys() == STATE.keys()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_tensors_are_mapped_and_the_file_stays_as_it_is(tmp_path: Path, name: str) -> None:
    (save_file if name.endswith("s") else torch.save)(STATE, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    read = read_checkpoint(tmp_path / name)
    if sys.platform == "linux":
        assert str(tmp_path / name) in Path("/proc/self/maps").read_text()
    read["weight"].fill_(7.0)
    assert (tmp_path / name).read_bytes() == before


def test_a_folder_of_the_hubs_cache_is_the_snapshot_that_main_names(tmp_path: Path) -> None:
    hub = tmp_path / "models--org--name"
    for revision, value in (("0a1b", 1.0), ("2c3d", 2.0)):
        (hub / "snapshots" / revision).mkdir(parents=True)
        save_file({"weight": torch.tensor([value])}, hub / "snapshots" / revision / "model.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"holds snapshots \(0a1b, 2c3d\), of which no refs/main names one"):
        read_checkpoint(hub)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("2c3d")
    assert read_checkpoint(hub)["weight"].item() == 2.0
    assert checkpoints_in(hub) == [hub]
