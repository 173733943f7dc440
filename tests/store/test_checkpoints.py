from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from weightstring.errors import InvalidCheckpoint
from weightstring.store import read_checkpoint, write_checkpoint

STATE = {"weight": torch.tensor([[1.5, -2.0]]), "bias": torch.tensor([3.0])}


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("net.pt", lambda state: state),
        ("net.pth", lambda state: {"state_dict": state, "epoch": 3}),
        ("net.bin", lambda state: {"model_state_dict": state, "loss": 0.5}),
        ("net.ckpt", lambda state: {"model": state}),
    ],
)
def test_torch_files_are_read_as_training_scripts_write_them(tmp_path: Path, name: str, wrap: object) -> None:
    torch.save(wrap(STATE), tmp_path / name)  # type: ignore[operator]
    read = read_checkpoint(tmp_path / name)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_what_is_written_is_read_back_byte_for_byte(tmp_path: Path) -> None:
    transposed = {"weight": torch.arange(6.0).view(2, 3).T, "count": torch.tensor(7)}
    for name in ("one", "two"):
        write_checkpoint(tmp_path / f"{name}.safetensors", transposed, {"seed": 1, "loss": 0.25})
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    read = read_checkpoint(tmp_path / "one.safetensors")
    assert all(torch.equal(read[key], transposed[key]) for key in transposed)
    net = nn.Linear(2, 1)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    assert read_checkpoint(tmp_path / "net.safetensors").keys() == load_file(tmp_path / "net.safetensors").keys()


def test_code_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "touched"
    torch.save({"weight": Payload(trap)}, tmp_path / "net.pt")
    with pytest.raises(InvalidCheckpoint, match="a pickle with more than tensors in it"):
        read_checkpoint(tmp_path / "net.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pt")
    with pytest.raises(InvalidCheckpoint, match=r"Save net.state_dict\(\) alone"):
        read_checkpoint(tmp_path / "whole.pt")
    assert not trap.exists()


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_truncated_files_are_refused_in_one_line(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InvalidCheckpoint, match=r"truncated|damaged") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", ["sparse", "meta", "nested"])
def test_tensors_without_plain_numbers_are_refused(tmp_path: Path, kind: str) -> None:
    make = {"sparse": torch.Tensor.to_sparse, "meta": lambda t: t.to("meta"), "nested": torch.nested.as_nested_tensor}
    torch.save({"bias": STATE["bias"], "weight": make[kind](STATE["weight"])}, tmp_path / "net.pt")
    with pytest.raises(
        InvalidCheckpoint, match=r"net.pt: 'weight' is no dense tensor with numbers in it; save a dense"
    ):
        read_checkpoint(tmp_path / "net.pt")


def test_a_flipped_bit_of_an_archive_is_seen_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(STATE, path)
    content = path.read_bytes()
    number = content.index(STATE["bias"].numpy().tobytes())
    path.write_bytes(content[:number] + b"\x01" + content[number + 1 :])
    with pytest.raises(InvalidCheckpoint, match=r"damaged: the checksum of 'net/data/1' is not that of its content"):
        read_checkpoint(path)


def test_an_archive_that_grows_when_it_is_unpacked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/2", bytes(10_000_000))
    with pytest.raises(InvalidCheckpoint, match="damaged: its records are larger than the file"):
        read_checkpoint(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"missing.pt: cannot be read: No such file"):
        read_checkpoint(tmp_path / "missing.pt")
    with pytest.raises(InvalidCheckpoint, match="cannot be read: Is a directory"):
        read_checkpoint(tmp_path)
    (tmp_path / "net.npz").write_bytes(b"PK")
    with pytest.raises(InvalidCheckpoint, match=r"unknown kind of checkpoint '.npz'; save it with safetensors"):
        read_checkpoint(tmp_path / "net.npz")
    torch.save([STATE["bias"]], tmp_path / "list.pt")
    with pytest.raises(InvalidCheckpoint, match="holds no state dict of names and tensors"):
        read_checkpoint(tmp_path / "list.pt")
    with pytest.raises(InvalidCheckpoint, match=r"checkpoints are written as .safetensors; name it net.safetensors"):
        write_checkpoint(tmp_path / "net.pt", STATE, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidCheckpoint, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "net.safetensors", STATE, {})


def test_tied_tensors_are_written_under_each_of_their_names(tmp_path: Path) -> None:
    weight = torch.tensor([[1.5, -2.0], [0.5, 4.0]])
    tied = {"encoder": weight, "decoder": weight, "row": weight[1], "turned": weight.T}
    write_checkpoint(tmp_path / "net.safetensors", tied, {})
    read = read_checkpoint(tmp_path / "net.safetensors")
    assert read.keys() == tied.keys()
    assert all(torch.equal(read[name], tied[name]) for name in tied)
