"""What listens on the network, and where."""

import os
import signal
import subprocess
import sys
import time

import psutil

from support.project import Project, finished


def listening(process: subprocess.Popen[str]) -> set[str]:
    """The addresses at which a process and its children listen."""
    try:
        parent = psutil.Process(process.pid)
        tree = [parent, *parent.children(recursive=True)]
        found = [connection for each in tree for connection in each.net_connections("inet")]
    except psutil.Error:  # one has ended meanwhile
        return set()
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def test_the_page_of_the_runs_is_for_this_machine_alone(project: Project, port: int) -> None:
    process = project.start_command(sys.executable, "-m", "mlflow", "ui", "--port", str(port))
    try:
        deadline = time.monotonic() + 120
        while not (found := listening(process)) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)  # its workers start later
        assert found | listening(process) == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        finished(process)


def test_no_step_listens(project: Project) -> None:
    for record in project.folder.glob("results/tiny/js/**/*.record.json"):
        record.unlink()
    process = project.start_snakemake()
    while process.poll() is None:
        assert listening(process) == set()
        time.sleep(0.1)
    ended = finished(process)
    assert ended.code == 0, ended.output
    assert len(ended.jobs) > 3
