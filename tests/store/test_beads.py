"""Bead files: the bytes of safetensors, the memory of none."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save, save_file

from weightstring.errors import InvalidRun
from weightstring.store import digest
from weightstring.store.beads import DTYPES, map_beads, read_beads, write_beads


def models(count: int, size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * count + size)
    return (3 + torch.randn(count, size, generator=generator, dtype=torch.float64)).to(dtype)


@given(count=st.integers(1, 7), size=st.integers(1, 40), dtype=st.sampled_from(list(DTYPES)))
def test_files_are_those_of_safetensors_byte_for_byte(tmp_path_factory, count, size, dtype):
    path, thetas = tmp_path_factory.mktemp("beads") / "round.safetensors", models(count, size, dtype)
    sha256 = write_beads(path, thetas)
    content = path.read_bytes()
    assert content == save({"thetas": thetas})
    assert torch.equal(load(content)["thetas"], thetas)
    assert sha256 == hashlib.sha256(content).hexdigest()
    found = read_beads(path, sha256)
    assert torch.equal(found, thetas)
    assert found.dtype == dtype


def test_rows_need_not_lie_side_by_side(tmp_path):
    thetas = models(3, 5, torch.float64)
    apart = [thetas[0].clone().requires_grad_(), thetas.T.contiguous().T[1], thetas[2].repeat_interleave(2)[::2]]
    assert write_beads(tmp_path / "rows", apart) == write_beads(tmp_path / "stacked", thetas)
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "stacked").read_bytes()


def test_what_is_written_to_a_model_stays_out_of_its_file(tmp_path):
    path, thetas = tmp_path / "round", models(3, 1000)
    sha256 = write_beads(path, thetas)
    found = read_beads(path, sha256)
    found[1] = 7.0
    found += 1
    assert torch.equal(read_beads(path, sha256), thetas)
    assert torch.equal(found[1], torch.full((1000,), 8.0))


def test_a_file_that_is_replaced_leaves_its_models_alone(tmp_path):
    path, thetas = tmp_path / "round", models(3, 1000)
    write_beads(path, thetas)
    found = map_beads(path)
    write_beads(path, 2 * found)
    assert torch.equal(found, thetas)
    assert torch.equal(map_beads(path), 2 * thetas)


MEASURE = """
import json, resource, sys
from pathlib import Path
import torch
from weightstring.store import digest
from weightstring.store.beads import read_beads, write_beads

def anonymous():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

path, count, size = Path(sys.argv[1]), 96, 500_000
write_beads(path, [torch.ones(3)])
theta = torch.zeros(size)
used = {}
def note(name, before):
    used[name] = anonymous() - before[0], peak() - before[1]
before = anonymous(), peak()
sha256 = write_beads(path, [theta] * count)
note("written", before)
before = anonymous(), peak()
thetas = read_beads(path, sha256)
note("read", before)
before = anonymous(), peak()
assert float(thetas.sum()) == 0
note("touched", before)
before = anonymous(), peak()
thetas += 1
note("changed", before)
print(json.dumps(used))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts pages by Linux's own account of them")
def test_models_on_disk_cost_no_memory_until_they_are_written_to(tmp_path):
    """96 models of 500,000 numbers are 183 MiB; what is read through a mapping is the page cache's, not ours."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "round")], capture_output=True, text=True, check=True
    )
    used = json.loads(done.stdout)
    whole = 96 * 500_000 * 4 / 2**20
    for step in ("written", "read"):
        assert max(used[step]) < whole / 10
    assert used["touched"][0] < whole / 10
    assert used["changed"][0] > whole * 0.9


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged, or not a bead file"),
        (b"x" * 99, "damaged, or not a bead file"),
        ((2**63).to_bytes(8, "little") + b"{}", "damaged, or not a bead file: .*[Hh]eader"),
        (save({"beads": torch.ones(2, 3)}), "damaged, or not a bead file: .*thetas"),
        (save({"thetas": torch.ones(2, 3)})[:-1], "damaged, or not a bead file"),
        (save({"thetas": torch.ones(6)}), r"its thetas are torch.float32 of shape \(6,\)"),
        (save({"thetas": torch.ones(2, 3, 1)}), r"of shape \(2, 3, 1\)"),
        (save({"thetas": torch.ones(2, 3, dtype=torch.int64)}), r"its thetas are torch.int64 of shape \(2, 3\)"),
        (save({"thetas": torch.ones(2, 3)}).replace(b"F32", b"C64"), "damaged, or not a bead file"),
    ],
)
def test_other_files_are_refused(tmp_path, refused, content, says):
    path = tmp_path / "round.safetensors"
    path.write_bytes(content)
    with refused(InvalidRun, f"^{path}: .*{says}"):
        read_beads(path)


def test_missing_and_changed_files_are_refused(tmp_path, refused):
    path = tmp_path / "round.safetensors"
    with refused(InvalidRun, f"^{path}: cannot be read: No such file or directory$"):
        read_beads(path)
    with refused(InvalidRun, f"^{tmp_path}: cannot be read: Is a directory$"):
        read_beads(tmp_path, "0" * 64)
    save_file({"thetas": torch.ones(2, 3)}, path)
    with refused(InvalidRun, f"^{path}: its SHA-256 is not the one written down for it; the file was changed"):
        read_beads(path, "0" * 64)


def test_the_digest_is_of_values_and_dtype_free_of_layout():
    grid = torch.arange(6.0).view(2, 3)
    assert digest(grid.T[0]) == digest(torch.tensor([0.0, 3.0]))
    assert digest(grid[0]) != digest(grid[1])
    assert digest(grid[0]) != digest(grid[0].double())
