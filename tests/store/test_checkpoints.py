from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.loading import load
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
        ("net.ckpt", lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.tensor(3)}}}}),
        ("best.pth.tar", lambda state: {"state_dict": {f"module.{name}": state[name] for name in state}, "best": 0.5}),
        ("epoch=3.ckpt", lambda state: {"state_dict": {f"net.{name}": state[name] for name in state}, "loops": {}}),
    ],
)
def test_torch_files_are_read_as_training_scripts_write_them(tmp_path: Path, name: str, wrap: object) -> None:
    torch.save(wrap(STATE), tmp_path / name)  # type: ignore[operator]
    read = load(nn.Linear(2, 1), read_checkpoint(tmp_path / name)).net.state_dict()
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
    with pytest.raises(InvalidCheckpoint, match=r"a pickle with more than tensors in it \(builtins.getattr\)"):
        read_checkpoint(tmp_path / "net.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pt")
    with pytest.raises(InvalidCheckpoint, match=r"or save net.state_dict\(\) alone"):
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
    with pytest.raises(
        InvalidCheckpoint, match=r": a folder without model.safetensors, model.safetensors.index.json, pytorch"
    ):
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


def shards(folder: Path) -> Path:
    """A checkpoint of two files and their index."""
    for name, file in (("weight", "model-00001-of-00002.safetensors"), ("bias", "model-00002-of-00002.safetensors")):
        save_file({name: STATE[name]}, folder / file)
    index = folder / "model.safetensors.index.json"
    places = {"weight": "model-00001-of-00002.safetensors", "bias": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"metadata": {"total_size": 12}, "weight_map": places}))
    return index


def test_shards_are_read_by_their_index_or_their_folder(tmp_path: Path) -> None:
    for path in (shards(tmp_path), tmp_path, str(tmp_path)):
        read = read_checkpoint(path)
        assert read.keys() == STATE.keys()
        assert all(torch.equal(read[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_is_read_by_the_names_of_hugging_face(tmp_path: Path, name: str) -> None:
    save = save_file if name.endswith(".safetensors") else torch.save
    save(STATE, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    assert read_checkpoint(tmp_path).keys() == STATE.keys()


def test_shards_that_do_not_fit_their_index_are_refused(tmp_path: Path) -> None:
    index = shards(tmp_path)
    places = json.loads(index.read_text())["weight_map"]
    for changed, message in (
        ({**places, "more": places["bias"]}, "00002-of-00002.safetensors: lacks 'more', which model.safetensors.index"),
        ({**places, "bias": places["weight"]}, "00001-of-00002.safetensors: lacks 'bias'"),
        ({**places, "bias": "gone.safetensors"}, "gone.safetensors: cannot be read: No such file"),
        (
            {**places, "bias": "../model-00002-of-00002.safetensors"},
            "names '../model-0.*' as a shard; shards are files",
        ),
        ({**places, "bias": index.name}, "as a shard; shards are files beside the index"),
        ([], "no index of shards; it must have a weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(InvalidCheckpoint, match=message):
            read_checkpoint(index)
    index.write_text("{" * 100_000)
    with pytest.raises(InvalidCheckpoint, match=r"index.json: truncated, damaged, or no index") as caught:
        read_checkpoint(index)
    assert "\n" not in str(caught.value)
    save_file(STATE, tmp_path / places["weight"])
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(InvalidCheckpoint, match=r"00002-of-00002.safetensors: repeats 'bias'"):
        read_checkpoint(index)


@pytest.mark.skipif(os.name != "posix", reason="devices and pipes")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".index.json"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, suffix: str) -> None:
    pipe, zero = tmp_path / f"pipe{suffix}", tmp_path / f"zero{suffix}"
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    for path in (pipe, zero):
        with pytest.raises(InvalidCheckpoint, match="no regular file; give a file of tensors"):
            read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".index.json"])
@pytest.mark.parametrize("name", [300 * "n", "zero\0byte"])
def test_names_that_no_file_can_have_are_refused_in_one_line(tmp_path: Path, name: str, suffix: str) -> None:
    with pytest.raises(InvalidCheckpoint) as caught:
        read_checkpoint(tmp_path / f"{name}{suffix}")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="files with holes")
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", (1 << 62).to_bytes(8, "little")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_of_absurd_size_are_refused_before_they_are_read(tmp_path: Path, start: bytes, suffix: str) -> None:
    path = tmp_path / f"huge{suffix}"
    path.write_bytes(start)
    os.truncate(path, 10**13)
    with pytest.raises(InvalidCheckpoint, match=r"truncated, damaged, or not|more than the .* of memory here"):
        read_checkpoint(path)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    for header in (
        {"weight": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"weight": {"dtype": "F32", "shape": [1]}},
        {"weight": [1]},
        [1],
    ):
        content = json.dumps(header).encode()
        path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(8))
        with pytest.raises(InvalidCheckpoint, match="truncated, damaged, or not safetensors: "):
            read_checkpoint(path)


def test_archives_of_torchscript_are_refused_by_their_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"")
        archive.writestr("net/data.pkl", b"")
    with pytest.raises(InvalidCheckpoint, match=r"a TorchScript archive, which holds code; save torch.jit.load\("):
        read_checkpoint(tmp_path / "net.pt")


def test_extra_state_is_left_out_of_what_is_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.safetensors", {**STATE, "_extra_state": {"version": 3}}, {})
    assert read_checkpoint(tmp_path / "net.safetensors").keys() == STATE.keys()
