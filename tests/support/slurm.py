"""A real SLURM of one node, this machine, from Debian's packages; nothing of it is outside of its folder."""

import getpass
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")

CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
EnforcePartLimits=ALL
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
#: A GPU that SLURM hands out and no driver knows.
GPU = "NodeName={host} Name=gpu File=/dev/zero\n"
#: The executor of Snakemake drops all variables of SLURM from the environment of srun.
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'


def missing() -> str | None:
    """What has to be installed, if anything."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if not all(shutil.which(name, path=path) for name in DAEMONS):
        return "no SLURM here; on Debian, `apt-get install slurm-wlm munge`"
    return None


class Slurm:
    """Its commands; processes with `environment` submit to it."""

    def __init__(self, folder: Path):
        self.folder, self.host = folder, platform.node()
        path = [str(folder / "bin"), os.environ["PATH"], "/usr/sbin"]
        self.environment = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": os.pathsep.join(path)}

    def call(self, *command: str) -> str:
        """What a command says, which has to succeed."""
        environment = os.environ | self.environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Number and state of its jobs, also of those that ended minutes ago."""
        chosen = ",".join(states or ["all"])
        lines = self.call("squeue", "--noheader", "--states", chosen, "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def node(self) -> str:
        return self.call("sinfo", "--noheader", "--Node", "--format=%T").strip()


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """One that is ready, and ends with its jobs."""
    started = Slurm(folder)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, other)]
    about = {"folder": folder, "host": started.host, "user": getpass.getuser(), "ports": ports}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**about))
    (folder / "gres.conf").write_text(GPU.format(**about))
    srun = folder / "bin/srun"
    srun.write_text(SRUN.format(**about, srun=shutil.which("srun")))
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file")]
    munge += [f"--key-file={key}", f"--seed-file={folder}/munge.seed"]
    with ExitStack() as daemons:
        daemons.enter_context(_running(started, "munged", "--foreground", "--force", *munge))
        wait_until((folder / "munge.socket").exists)
        daemons.enter_context(_running(started, "slurmctld", "-D"))
        daemons.enter_context(_running(started, "slurmd", "-D"))
        wait_until(lambda: started.node() == "idle", patience=60)
        try:
            yield started
        finally:
            started.call("scancel", "--user", getpass.getuser())
            wait_until(lambda: not started.jobs("pending", "running", "completing"), patience=90)


@contextmanager
def _running(slurm: Slurm, *command: str) -> Iterator[None]:
    """A daemon whose words are in a file of its name."""
    with (slurm.folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | slurm.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(holds: Callable[[], object], patience: float = 30) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
