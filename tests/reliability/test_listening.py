"""What listens on the network, and where."""

import os
import signal
import sys
import time

from support.project import Outcome, Project, finished, listening


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


def test_no_step_listens(made: tuple[Project, Outcome]) -> None:
    assert made[1].listened == []
