"""Two thousand damaged files, drawn from a seed: each gives one line that says so, or what stands in it, and no more.

What stands in a file is found out by a second reader, written here, which shares no code with the first.
"""

from __future__ import annotations

import builtins
import io
import json
import math
import os
import pickle
import random
import re
import resource
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import weightstring as ws
from weightstring.cli import main
from weightstring.errors import InvalidCheckpoint, WeightstringError
from weightstring.store import Manifest, ResultRecord, RunDirectory, read_checkpoint
from weightstring.tasks import load_task

pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.slow]

CHECKPOINTS = {"net.safetensors": 350, "net.pt": 350, "legacy.pt": 350}
RECORDS = {"manifest.json": 200, "journal.jsonl": 250, "result.json": 250}
BEADS = {"beads/ends.safetensors": 90, "beads/string.safetensors": 80, "beads/round-0001.safetensors": 80}
RESUMED = {"manifest.json": 25, "journal.jsonl": 25, "result.json": 25, **dict.fromkeys(list(BEADS), 5)}
GIGABYTE = 2**30

TASK = """\
import torch
import weightstring as ws


def task() -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 21).unsqueeze(1)
    net = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    recipe = ws.Recipe("adam", {"lr": 0.02}, check_every=10)
    return ws.ModuleProblem(net, torch.nn.functional.mse_loss, (x, torch.sin(3 * x)), engine="loop", recipe=recipe)
"""


class Hang(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


@contextmanager
def bounded() -> Iterator[None]:
    """Ten seconds a file, and a gigabyte for all of them."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGALRM, hang)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    return left.value.code, out.getvalue(), err.getvalue()  # type: ignore[return-value]


def place(path: Path, content: bytes) -> None:
    """As a new file: what was mapped from the old one stays what it was."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, between the two ends ``a`` and ``b`` beside it. Not to be written to."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "sine.py").write_text(TASK)
    task, ends = f"{root}/sine.py:task", [root / "a.safetensors", root / "b.safetensors"]
    for seed, end in enumerate(ends, 2):
        assert call("train", task, "--seed", seed, "--until", 0.05, "--out", end)[0] == 0
    assert call("connect", task, *ends, "--threshold", 0.051, "--out", root / "run")[0] == 0
    return root / "run"


@pytest.fixture(scope="module")
def problem(run: Path) -> ws.ModuleProblem:
    return load_task(f"{run.parent}/sine.py:task")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


# -- damage


def damaged(draw: random.Random, content: bytes) -> bytes:
    """What disks, networks and editors do to bytes."""
    at, to = draw.randrange(len(content)), draw.randrange(len(content))
    start, end = sorted((at, to))
    some = draw.randbytes(draw.randint(1, 9))
    length = draw.randint(1, 16)
    return draw.choice(
        [
            lambda: content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :],
            lambda: content[:at],
            lambda: content[at:],
            lambda: content[:at] + some + content[at:],
            lambda: content[:at] + content[at + length :],
            lambda: content[:at] + some + content[at + len(some) :],
            lambda: content[:end] + content[start:end] + content[end:],
            lambda: content[:start] + content[end : end + length] + content[start:end] + content[end + length :],
            lambda: content + content,
            lambda: content[:start] + bytes(end - start) + content[end:],
        ]
    )()


ODD: list[object] = [
    None, True, "", "x\ny", "[/bold]", "[red]", "\ud800", "é\0", -1, 0, 1, 2, 4097, 2**31, 2**53 + 1, 2**63, 10**18,
    10**40, 10**5000, -(10**18), 0.5, -0.0, 1e-320, 1e300, -1e300, 1.7e308, math.nan, math.inf, [], {}, [[]], [1, 2],
    [None], {"x": 1}, {"loss": []}, "@deep list@", "@deep object@", "@out of range@",
]  # fmt: skip
TOKENS = {
    '"@deep list@"': "[" * 50_000 + "]" * 50_000,
    '"@deep object@"': '{"x":' * 50_000 + "1" + "}" * 50_000,
    '"@out of range@"': "1e999",
}


def containers(value: object) -> Iterator[dict[str, object] | list[object]]:
    """Everything in a JSON value that holds something."""
    if value and isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from containers(inner)


def edited(draw: random.Random, text: str | bytes) -> bytes:
    """JSON with a value dropped, renamed, doubled, moved, or put in another's place."""
    record = json.loads(text)
    for _ in range(draw.choice([1, 1, 1, 2])):
        found = list(containers(record))
        if not found:
            break
        # As often a field as one of the many numbers in its lists.
        fields = [into for into in found if isinstance(into, dict)]
        into, other = draw.choice(draw.choice([found, fields or found])), draw.choice(found)
        key, of = (draw.choice(list(each) if isinstance(each, dict) else range(len(each))) for each in (into, other))
        kind = draw.randrange(8)
        if kind == 0:
            del into[key]
        elif kind == 1 and isinstance(into, dict):
            into[draw.choice(["x\ny", "[/x]", str(of), "", "\ud800", str(key).upper()])] = into.pop(key)
        elif kind == 2 and isinstance(into, list):
            into.insert(draw.randrange(len(into) + 1), into[key])
        elif kind == 3:
            into[key] = json.loads(json.dumps(other[of]))
        elif kind == 4 and isinstance(into[key], float):
            into[key] = draw.choice([into[key] * 2, -into[key], into[key] + 1, into[key] / 3, str(into[key])])
        else:
            into[key] = draw.choice(ODD)
    with limitless_integers():
        text = json.dumps(record, ensure_ascii=draw.random() < 0.5)
    for token, stands_for in TOKENS.items():
        text = text.replace(token, stands_for)
    return text.encode("utf-8", "surrogatepass")


@contextmanager
def limitless_integers() -> Iterator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def edited_lines(draw: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    kind = draw.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(draw.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        draw.shuffle(lines)
    else:
        lines[at] = edited(draw, lines[at]) + b"\n"
    return b"".join(lines)


def edited_header(draw: random.Random, content: bytes) -> bytes:
    """A safetensors file with another header, its length in accord with it or not."""
    length = int.from_bytes(content[:8], "little")
    header = edited(draw, content[8 : 8 + length])
    if draw.random() < 0.3:
        shape = re.compile(rb'"(F64|F32|I64)"')
        kinds = [b"F64", b"F32", b"F16", b"BF16", b"I32", b"I64", b"U8", b"BOOL", b"F8_E4M3", b"F4", b"C64", b"E9"]
        header = shape.sub(lambda _: b'"' + draw.choice(kinds) + b'"', content[8 : 8 + length])
    header += b" " * (-len(header) % 8)
    lengths = [len(header)] * 6 + [0, 2**62, 2**64 - 1, 100_000_001, len(header) + 8, 10**9]
    return draw.choice(lengths).to_bytes(8, "little") + header + content[8 + length :]


def repacked(draw: random.Random, content: bytes) -> bytes:
    """A zip file with right checksums, but a record of it damaged, gone, there twice, or compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = draw.choice([names[0], names[0], draw.choice(names)])
        kind = draw.randrange(8)
        for name in names:
            record = old.read(name)
            if name != chosen:
                new.writestr(name, record)
            elif kind == 0:
                new.writestr(name, record + bytes(10_000_000), zipfile.ZIP_DEFLATED)
            elif kind == 1:
                new.writestr(name.replace("data", "date"), record)
            elif kind > 2:
                new.writestr(name, swollen(draw, record) if name.endswith("pkl") else damaged(draw, record))
    return out.getvalue()


def swollen(draw: random.Random, content: bytes) -> bytes:
    """A pickle with one of its small integers changed: a size, a stride, an offset or a count; or damaged anyhow."""
    integers = [match.start() for match in re.finditer(rb"K.", content, re.DOTALL)]
    if draw.random() < 0.4 or not integers:
        return damaged(draw, content)
    at = draw.choice(integers)
    numbers = [b"K" + bytes([draw.randrange(256)]), b"J" + struct.pack("<i", draw.choice([-1, 2**30, 2**31 - 1]))]
    numbers += [b"\x8a\x08" + struct.pack("<q", draw.choice([-(2**63), 2**40, 2**62, -5]))]
    return content[:at] + draw.choice(numbers) + content[at + 2 :]


# -- the second reader

NUMPY = {"F64": "f8", "F32": "f4", "I64": "i8", "F16": "f2", "I32": "i4", "U8": "u1", "BOOL": "?"}


def read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*about["data_offsets"])], NUMPY[about["dtype"]]).reshape(about["shape"])
        for name, about in header.items()
    }


class TensorPickle(pickle.Unpickler):
    """The few words that a state dict of torch's takes, its storages handed in as bytes by their keys."""

    def __init__(self, file: io.BytesIO, storages: Callable[[str], bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages = storages

    def find_class(self, module: str, name: str) -> object:
        words = {"_rebuild_tensor_v2": self.rebuild, "OrderedDict": OrderedDict}
        return words[name] if name in words else {"FloatStorage": "<f4", "LongStorage": "<i8"}[name]

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> tuple[str, str]:
        return pid[1], pid[2]

    def rebuild(
        self, storage: tuple[str, str], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
    ) -> np.ndarray:
        flat = np.frombuffer(self.storages(storage[1]), storage[0])
        steps = [np.dot(at, stride) if size else 0 for at in np.ndindex(*size)]
        return flat[[offset + int(step) for step in steps]].reshape(size)


def read_zip(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = archive.namelist()[0].partition("/")[0]
        pickled = io.BytesIO(archive.read(f"{root}/data.pkl"))
        return TensorPickle(pickled, lambda key: archive.read(f"{root}/data/{key}")).load()


def read_legacy(content: bytes) -> dict[str, np.ndarray]:
    """Three pickles of preliminaries, the state dict, the keys, and each storage after its length."""
    file = io.BytesIO(content)
    for _ in range(3):
        pickle.load(file)
    start = file.tell()
    TensorPickle(file, lambda key: bytes(10_000)).load()
    keys, storages = pickle.load(file), {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        storages[key] = file.read(count * 4)
    file.seek(start)
    return TensorPickle(file, storages.__getitem__).load()


# -- checkpoints


def checkpoint(name: str, run: Path, path: Path) -> bytes:
    state = read_checkpoint(run.parent / "a.safetensors")
    if name == "net.safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "net.pt")
    return path.read_bytes()


DAMAGE = {"net.safetensors": edited_header, "net.pt": repacked, "legacy.pt": swollen}
READERS = {"net.safetensors": read_safetensors, "net.pt": read_zip, "legacy.pt": read_legacy}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(run, problem, tmp_path, name):
    path = tmp_path / name
    whole, draw = checkpoint(name, run, path), random.Random(name)
    names = [entry.name for entry in problem.layout.entries]
    assert_same(READERS[name](whole), read_checkpoint(path))
    refused = loaded = 0
    with bounded():
        for _ in range(CHECKPOINTS[name]):
            content = draw.choice([damaged, DAMAGE[name], DAMAGE[name]])(draw, whole)
            path.write_bytes(content)
            signal.alarm(10)
            found = attempt(partial(flattened, path, problem))
            if isinstance(found, InvalidCheckpoint):
                assert "\n" not in str(found)
                refused += 1
                continue
            state, theta = found
            second = second_opinion(READERS[name], content, whole)
            assert_same(second, state)
            assert theta.tolist() == np.concatenate([second[n].ravel() for n in names]).tolist()
            loaded += 1
    assert refused > CHECKPOINTS[name] / 2
    assert loaded > 0


def flattened(path: Path, problem: ws.ModuleProblem) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    state = read_checkpoint(path)
    return state, problem.flatten(state)


def second_opinion(
    read: Callable[[bytes], dict[str, np.ndarray]], content: bytes, whole: bytes
) -> dict[str, np.ndarray]:
    """A reader may be laxer than this one, on a pickle's protocol for one, if it finds what was there before."""
    try:
        return read(content)
    except Exception:
        return read(whole)


def assert_same(one: dict[str, np.ndarray], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in other.items():
        assert np.array_equal(one[name], tensor.detach().numpy(), equal_nan=True)
        assert one[name].dtype == tensor.detach().numpy().dtype


# -- runs


@pytest.mark.parametrize("name", [*RECORDS, *BEADS])
def test_runs(run, copy, name):
    """Read by each way into a run: what a digest covers is the original's, or refused."""
    whole, draw = (run / name).read_bytes(), random.Random(name)
    edit = edited_lines if name.endswith("l") else edited if name in RECORDS else edited_header
    original, number = RunDirectory(run), (RECORDS | BEADS)[name]
    ends, string, rounds = original.ends(), original.string(), original.replay()
    refused = loaded = 0
    with bounded():
        for _ in range(number):
            content = draw.choice([damaged, edit, edit])(draw, whole)
            place(copy / name, content)
            directory = RunDirectory(copy)
            signal.alarm(10)
            found = [attempt(way) for way in (directory.manifest, directory.result, directory.replay)]
            mapped = [attempt(way) for way in (directory.ends, directory.string)]
            result = attempt(lambda: ws.load(copy))
            code, out, err = call("show", copy)
            refusals = [answer for answer in (*found, *mapped, result) if isinstance(answer, WeightstringError)]
            assert all("\n" not in str(refusal) for refusal in refusals)
            manifest, verdict, replayed = found
            if isinstance(manifest, Manifest):
                assert manifest == second_reading((copy / "manifest.json").read_bytes(), Manifest)
            if isinstance(verdict, ResultRecord):
                assert verdict == second_reading((copy / "result.json").read_bytes(), ResultRecord)
            if isinstance(replayed, list):
                assert_replayed(replayed, rounds, (copy / "journal.jsonl").read_bytes())
            for tensor, before in zip(mapped, (ends, string), strict=True):
                assert isinstance(tensor, WeightstringError) or torch.equal(tensor, before)
            if isinstance(result, ws.Result):
                assert str(result)
                assert (result.threshold, result.history) == (verdict.threshold, verdict.rounds)
                assert torch.equal(result.string.beads, string)
                assert code == (0 if result.connected else 3)
            else:
                assert (code, out) == (2, "")
                assert err.count("\n") == 1
            refused, loaded = refused + bool(refusals), loaded + (not refusals)
    assert refused > number / 3  # a setting may be another and still be one
    assert (refused, loaded) != (0, 0)


def attempt(way: Callable[[], object]) -> object:
    try:
        return way()
    except WeightstringError as refusal:
        return refusal


def second_reading(content: bytes, kind: type[msgspec.Struct]) -> msgspec.Struct:
    return msgspec.convert(json.loads(content), kind)


def assert_replayed(replayed: list, rounds: list, journal: bytes) -> None:
    lines = [json.loads(text) for text in journal.split(b"\n")[:-1]]
    found = [(list(r.jobs), list(r.results), r.seconds) for r in replayed]
    assert found == [(line["jobs"], line["results"], line["seconds"]) for line in lines]
    for number, (line, found) in enumerate(zip(lines, replayed, strict=True)):
        assert (found.thetas is None) == (line["beads"] is None)
        assert found.thetas is None or torch.equal(found.thetas, rounds[number].thetas)


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_runs(run, copy, name):
    whole, draw = (run / name).read_bytes(), random.Random(f"resume {name}")
    edit = edited_lines if name.endswith("l") else edited if name in RECORDS else edited_header
    codes = set()
    with bounded():
        for _ in range(RESUMED[name]):
            shutil.rmtree(copy)
            shutil.copytree(run, copy)
            if name not in ("result.json", "beads/string.safetensors"):
                (copy / "result.json").unlink()
            place(copy / name, draw.choice([damaged, edit])(draw, whole))
            signal.alarm(10)
            code, out, err = call("resume", copy, "--max-steps", 2000)
            codes.add(code)
            assert code in (0, 2, 3)
            refusal = [line for line in err.splitlines() if not line.startswith("weightstring: executes ")]
            assert code != 2 or (out, len(refusal)) == ("", 1), err
    assert 2 in codes


# -- traps


class Trap:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def traps(marker: Path) -> list[Trap]:
    """Ways to make the file ``marker``."""
    code = f"open({str(marker)!r}, 'w').close()"
    script, outer = marker.with_name("trap.py"), marker.with_name("outer.pt")
    script.write_text(code)
    torch.save({"weight": Trap(builtins.exec, code)}, outer)
    return [
        Trap(os.system, f"touch {marker}"),
        Trap(builtins.exec, code),
        Trap(builtins.eval, code),
        Trap(subprocess.check_output, ["touch", str(marker)]),
        Trap(Path.touch, marker),
        Trap(runpy.run_path, str(script)),
        Trap(pickle.loads, pickle.dumps(Trap(builtins.exec, code))),
        Trap(partial(torch.load, str(outer), weights_only=False)),
        Trap(torch.save, 1, str(marker)),
    ]


def legacy(pickled: bytes) -> bytes:
    """An old file around a pickle, without storages."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2)


def archived(pickled: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little"}.items():
            archive.writestr(f"archive/{name}", content)
    return out.getvalue()


def test_traps_are_refused_and_never_go_off(tmp_path):
    marker, path, draw = tmp_path / "marker", tmp_path / "net.pt", random.Random("traps")
    spoken = [
        f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
        f"(S'touch {marker}'\nios\nsystem\n.".encode(),
        f"(cos\nsystem\nS'touch {marker}'\no.".encode(),
        f"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93(S'touch {marker}'\ntR.".encode("latin-1"),
        f"\x80\x04\x8c\x05torch\x94\x8c\x09os.system\x94\x93(S'touch {marker}'\ntR.".encode("latin-1"),
    ]
    for trap in traps(marker):
        for wrapped in (trap, {"weight": trap}, {"state_dict": {"weight": torch.zeros(1), "x": [trap]}}):
            spoken += [pickle.dumps(wrapped, protocol) for protocol in (2, 4)]
    for pickled in spoken:
        pickle.loads(pickled)
        assert marker.exists()  # it is sharp
        marker.unlink()
    with bounded():
        for pickled in spoken:
            for whole in (pickled, legacy(pickled), archived(pickled), pickled + legacy(pickled)):
                for content in (whole, damaged(draw, whole)):
                    path.write_bytes(content)
                    signal.alarm(10)
                    with pytest.raises(InvalidCheckpoint) as caught:
                        read_checkpoint(path)
                    assert "\n" not in str(caught.value)
                    assert not marker.exists()
