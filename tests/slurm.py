"""A cluster of one node for tests: munged, slurmctld and slurmd of the system's packages, in a folder of their own.

They have their own configuration, key, sockets and ports, touch nothing of the system's, and end with the test.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "sinfo")
CONFIGURATION = """\
ClusterName=weightstring
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
OverTimeLimit=0
NodeName=node0 NodeHostname={host} NodeAddr=127.0.0.1 Port={daemon} CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """A cluster that runs.

    Args:
        folder: where all of it lies.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which SLURM's commands speak to it."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __call__(self, *words: str) -> str:
        """The output of one of SLURM's commands."""
        ran = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout.strip()

    def wait(self, seconds: float) -> None:
        """Until the queue is empty."""
        until = time.monotonic() + seconds
        while self("squeue", "--noheader"):
            assert time.monotonic() < until, (self("squeue"), (self.folder / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.5)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """The cluster; a test that asks for it is skipped, with the reason, where it cannot be started."""
    if missing := [name for name in PROGRAMS if _program(name) is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    cluster, started = Slurm(folder), list[subprocess.Popen[bytes]]()
    try:
        _configure(folder)
        for words in _daemons(folder):
            with (folder / "daemons.log").open("ab") as log:
                started.append(subprocess.Popen(words, env=cluster.environment, stdout=log, stderr=log))
            _until(lambda: (folder / "munge.socket").exists(), 20)
        if not _until(lambda: _idle(cluster), 60):
            pytest.skip(f"SLURM cannot be started here: {_last_words(folder)}")
        yield cluster
    finally:
        for process in reversed(started):  # by their own ids, the controller after the node
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _configure(folder: Path) -> None:
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = [_free_port() for _ in range(2)]
    settings = {"host": socket.gethostname(), "user": _user(), "folder": folder}
    text = CONFIGURATION.format(controller=ports[0], daemon=ports[1], **settings)
    (folder / "slurm.conf").write_text(text)


def _daemons(folder: Path) -> list[list[str]]:
    """What is started, in this order; each stays in the foreground, so that it ends by the id it was started with."""
    files = [f"--{kind}={folder}/munge.{kind}" for kind in ("socket",)]
    files += [f"--key-file={folder}/munge.key", f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed"]
    return [
        [str(_program("munged")), "--foreground", "--force", *files, f"--log-file={folder}/munge.log"],
        [str(_program("slurmctld")), "-D", "-i"],
        [str(_program("slurmd")), "-D", "-N", "node0"],
    ]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _idle(cluster: Slurm) -> bool:
    ran = subprocess.run(["sinfo", "-h", "-o", "%t"], env=cluster.environment, capture_output=True, text=True)
    return ran.stdout.strip() == "idle"


def _until(condition: object, seconds: float) -> bool:
    """Whether a condition comes true in time."""
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _last_words(folder: Path) -> str:
    logs = (folder / name for name in ("daemons.log", "munge.log", "slurmctld.log", "slurmd.log"))
    lines = [path.read_text(errors="replace").strip().splitlines()[-1:] for path in logs if path.exists()]
    return "; ".join(line for last in lines for line in last)[:500]
