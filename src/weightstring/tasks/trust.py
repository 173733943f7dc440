"""Which tasks a run directory may build: those that the user has named himself.

A run directory is data, and may come from anybody; a task file is a program. So the file that a manifest names is
executed only if the user named it before, on this machine: the same file, with the same content and the same options.
What he names is written down in his state directory ($XDG_STATE_HOME/weightstring, by default ~/.local/state): a file
for each call, whose name is made of digests and whose existence is all that counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from weightstring.errors import TaskError
from weightstring.problem import ModuleProblem
from weightstring.tasks.registry import Source, build, path_options, read_source

FOLDER = Path("weightstring", "named-tasks")
"""Of the records, in the state directory."""
POINT = "--task FILE.py:function"


def load_named(name: str, options: Mapping[str, str]) -> ModuleProblem:
    """Build the problem of a task named by the user, and remember the name.

    Args:
        name: of the task.
        options: its options, as text.

    Raises:
        TaskError: see :func:`weightstring.tasks.load_task`.
    """
    source = read_source(name)
    remember(name, source, options)
    return build(name, source, options)


def recorded_source(
    run: str | Path, name: str, options: Mapping[str, str], given: Collection[str] = ()
) -> Source | None:
    """The task file that a run's manifest names, if the user has named it before; None for a registered task.

    Args:
        run: the run directory.
        name: of the task, as its manifest has it.
        options: likewise.
        given: options that the user names anew.

    Raises:
        TaskError: the task is one that the user never named, or its file lies in the run itself, is not there or has
            changed.
    """
    try:
        source = read_source(name)
    except TaskError as problem:
        path = name.rpartition(":")[0]
        missing = path.endswith(".py") and not Path(path).is_file()
        what = f"its task file {path} is not here: point to it by {POINT}" if missing else str(problem)
        raise TaskError(f"{run}: {what}") from None
    require_outside(run, source)
    if source is None:
        require_own_paths(run, name, options, given)
    elif why := _refusal(name, source, options):
        raise TaskError(f"{run}: {why}")
    return source


def require_own_paths(run: str | Path, name: str, options: Mapping[str, str], given: Collection[str] = ()) -> None:
    """Refuse paths in a registered task's options that come from the manifest and not from the user.

    Raises:
        TaskError: it names such files.
    """
    paths = sorted(path_options(name) & options.keys() - set(given))
    if paths and not _exists(_record(name, None, options)):
        named = ", ".join(f"{key}={options[key]}" for key in paths)
        raise TaskError(
            f"{run}: its task {name} reads {named}, which you never named yourself: name your own by --data, or by "
            f"--set {paths[0]}=..."
        )


def require_outside(run: str | Path, source: Source | None) -> None:
    """Refuse a task file that lies in the run directory itself, whoever names it.

    Raises:
        TaskError: it does.
    """
    if source is not None and source.path.is_relative_to(Path(run).resolve()):
        raise TaskError(
            f"{run}: the task file {source.path} lies inside the run, and nothing in a run is executed: read it, and "
            f"if you trust it, copy it elsewhere and point to the copy by {POINT}"
        )


def is_named(run: str | Path, name: str, options: Mapping[str, str]) -> bool:
    """Whether the task of a run would be built without being pointed to again.

    >>> is_named(Path("run"), "digits", {"width": "8"})
    True
    """
    try:
        recorded_source(run, name, options)
    except TaskError:
        return False
    return True


def remember(name: str, source: Source | None, options: Mapping[str, str]) -> None:
    """Record that the user named a task; if that fails, it must be named again next time."""
    record = _record(name, source, options)
    if record is None:
        return
    with suppress(OSError):
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record.touch()


def _refusal(name: str, source: Source, options: Mapping[str, str]) -> str | None:
    """Why the task file that a manifest names is not executed; None where it is."""
    record = _record(name, source, options)
    if _exists(record):
        return None
    if record is not None and any(map(_exists, _records_of(record))):
        given = ", ".join(f"{key}={options[key]}" for key in sorted(options)) or "none"
        return (
            f"its task file {source.path} has changed since you named it last, or is to be called with other options "
            f"({given}): look at it, and point to it as it is now by --task {source.name}"
        )
    return (
        f"names the task file {source.path}, which you never named yourself and is not executed: if you trust that "
        f"file, point to it by --task {source.name}"
    )


def _record(name: str, source: Source | None, options: Mapping[str, str]) -> Path | None:
    """The file whose existence records that the user named this; None without a home directory."""
    folder = _folder()
    if folder is None:
        return None
    place = _digest(os.fsencode(source.path) if source else name.encode())
    call = [source.function.encode(), source.content] if source else []
    call += [part.encode("utf-8", "surrogatepass") for key in sorted(options) for part in (key, options[key])]
    return folder / f"{place}-{_digest(*call)}"


def _records_of(record: Path) -> list[Path]:
    """All records of the same file."""
    place = record.name.partition("-")[0]
    try:
        return [record.with_name(name) for name in os.listdir(record.parent) if name.startswith(f"{place}-")]
    except OSError:
        return []


def _digest(*parts: bytes) -> str:
    """One digest of all parts and of where each ends."""
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


def _exists(record: Path | None) -> bool:
    """Whether there is a record, written by this user and not another."""
    if record is None:
        return False
    try:
        status = record.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _folder() -> Path | None:
    """Where the records are; None where the user has no home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):  # another is to be ignored (XDG Base Directory Specification)
        return Path(state) / FOLDER
    try:
        return Path.home() / ".local" / "state" / FOLDER
    except RuntimeError:
        return None
