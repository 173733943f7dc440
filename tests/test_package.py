"""What is published: the wheel and the sdist hold what they should, and the wheel works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder with the wheel and the sdist, built by the backend itself: no network."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", out, cwd=ROOT)
    return out


@pytest.mark.slow
def test_they_hold_the_package_and_nothing_else(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    tracked = run("git", "ls-files", "src/weightstring", cwd=ROOT).stdout.split()
    files = {name.removeprefix("src/") for name in tracked if (ROOT / name).exists()}
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files <= held
    assert not {name for name in held - files if not name.endswith((".py", ".pyi", ".html", ".css", ".js"))}
    assert {"weightstring/py.typed", "weightstring/__init__.pyi"} <= held
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    beside = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert {name for name in names if not name.startswith("src/weightstring/")} == beside


@pytest.mark.slow
def test_the_wheel_connects_two_models_in_an_empty_folder_without_a_compiler(built, tmp_path):
    """From the sdist, as a distribution builds it; dependencies are those of this environment, the package is not."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("weightstring-*")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=source)
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)

    folder = tmp_path / "empty"
    folder.mkdir()
    own = {"PATH": str(python.parent), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}

    def weightstring(*words: str) -> subprocess.CompletedProcess[str]:
        return run(python.with_name("weightstring"), *words, cwd=folder, env={**own, **kept})

    where = run(python, "-c", "import weightstring; print(weightstring.__file__)", env=own).stdout
    assert Path(where).is_relative_to(site)
    assert weightstring("--version").stdout == f"weightstring {wheel.name.split('-')[1]}\n"
    weightstring("init")
    told = weightstring("doctor", "task.py:problem")
    assert "no C++ compiler" in told.stdout
    for name, seed in (("a", "0"), ("b", "1")):
        trained = weightstring(
            "train", "task.py:problem", "--seed", seed, "--until", "0.3", "--out", f"{name}.safetensors"
        )
        assert trained.stderr.count("compiler") <= 1
    connected = weightstring("connect", "task.py:problem", "a.safetensors", "b.safetensors", "--out", "run")
    assert connected.stderr.count("no C++ compiler") == 1
    assert connected.stdout.startswith("connected")
    assert (folder / "run" / "report.html").exists()
    assert weightstring("show", "run").stdout.startswith("connected")


READS = "import ast, pathlib, sys; [ast.parse(f.read_bytes(), str(f)) for f in pathlib.Path(sys.argv[1]).rglob('*.py')]"


@pytest.mark.parametrize("minor", sorted({11, 12, 13} - {sys.version_info.minor}))
@pytest.mark.slow
def test_every_file_is_read_and_help_is_there_by_each_other_python(minor, tmp_path):
    """Where that Python is on the path; PyTorch is not needed for it."""
    python = shutil.which(f"python3.{minor}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"there is no python3.{minor} on the path")
    own = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONWARNINGS": "error"}
    run(python, "-c", READS, ROOT / "src", env=own)
    lazy = Path(next(iter(__import__("lazy_loader").__path__)))
    (tmp_path / "lazy_loader").symlink_to(lazy)
    own |= {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(tmp_path)])}
    assert "connect" in run(python, "-m", "weightstring", "--help", env=own).stdout


def test_importing_it_imports_nothing_but_what_imports_later():
    code = (
        "import sys\nbefore = set(sys.modules)\nimport weightstring\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print(sorted(new))"
    )
    assert run(sys.executable, "-c", code).stdout == "['lazy_loader', 'weightstring']\n"
