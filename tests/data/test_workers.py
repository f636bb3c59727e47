import subprocess
import sys

SCRIPT = """
import time
from mmjsd.data import workers
if __name__ == "__main__":
    workers.cores = lambda: 2
    done = workers.mapped(abs, range(-9, 0), 2)
    next(done)
    print("started", flush=True)
    time.sleep(60)
"""


def test_workers_follow_a_parent_that_is_killed() -> None:
    """What is killed for memory, or by a workflow manager, leaves no processes behind."""
    # the pipe ends when nobody holds it any more: neither the parent nor its workers
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
        process.communicate(timeout=20)
