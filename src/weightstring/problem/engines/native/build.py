"""Compiles the sources beside this file for this processor, once, and keeps the code in the user's cache."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import torch

from weightstring.problem.caching import cache_folder
from weightstring.problem.engines.base import Unavailable

SOURCES = Path(__file__).parent
ENGINE = SOURCES / "engine.cpp"
REALS = {torch.float32: "float", torch.float64: "double"}
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC", "-pthread")
COMPILERS = ("c++", "g++", "clang++")
SECONDS = 120
"""After so long a compiler is given up."""


@lru_cache
def library(dtype: torch.dtype, source: Path = ENGINE) -> ctypes.CDLL:
    """A source's compiled code for numbers of a dtype; made where this processor and compiler have none in the cache.

    Raises:
        Unavailable: the dtype has none, or there is no compiler, or it fails.
    """
    compiler = _compiler()
    command = [compiler, *FLAGS, f"-DREAL={REALS[dtype]}", f"-I{SOURCES}", str(source)]
    made = cache_folder("native") / f"{_key(command)}.so"
    try:
        if not made.exists():
            _compile(command, made)
        return ctypes.CDLL(str(made))
    except OSError as problem:
        raise Unavailable(f"native code cannot be kept in {made.parent}: {problem.strerror or problem}") from None


def _compiler() -> str:
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        if found := shutil.which(name):
            return found
    raise Unavailable(f"no C++ compiler: {f'CXX={named} is none' if named else 'none of ' + ', '.join(COMPILERS)}")


def _key(command: list[str]) -> str:
    """A digest of all that the code depends on."""
    digest = sha256()
    compiler = Path(command[0]).resolve()
    told = compiler.stat()
    for part in (*command, compiler, told.st_size, told.st_mtime_ns, _processor()):
        digest.update(f"{part}\n".encode())
    main = Path(command[-1])
    for source in (main, *sorted({*SOURCES.glob("*.h"), *main.parent.glob("*.h")})):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _processor() -> str:
    """What a processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.partition(":")[0].strip() in kept}))


def _compile(command: list[str], made: Path) -> None:
    """Compile into a file of this process's own, which takes its place when it is whole."""
    made.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        draft = Path(folder) / made.name
        try:
            done = subprocess.run(
                [*command, "-o", str(draft)],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{command[0]} did not compile native code within {SECONDS} seconds") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
            raise Unavailable(f"{command[0]} cannot compile native code: {said[0]}")
        draft.replace(made)
