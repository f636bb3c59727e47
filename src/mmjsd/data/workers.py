"""Work on many images by one process a core, in order and with few of them in memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from mmjsd.errors import MmjsdError
from mmjsd.variables import cores

__all__ = ["mapped"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def mapped(work: Callable[[Task], Result], tasks: Iterable[Task], most: int) -> Generator[Result]:
    """Do each task, by as many processes as there are cores, but no more than ``most``; yield their results.

    Processes, for threads are a fifth slower on two cores: Pillow holds the interpreter's lock for too much
    of the time. Only some tasks are under way at any time, however many there are.

    Args:
        work: Processes import it by its name.
        tasks: Looked at one by one.
        most: As many as repay the half second that each takes to start.

    Yields:
        Results in the order of the tasks.

    Raises:
        MmjsdError: a process died.
    """
    workers = min(cores(), most)
    pool = _pool(workers) if workers > 1 else None
    if pool is None:
        yield from map(work, tasks)
        return
    under_way: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            under_way.append(pool.submit(work, task))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise MmjsdError(
            f"images: one of the {workers} processes that work on them died; free some memory, "
            "and in a script of your own, guard the calls by `if __name__ == '__main__'`"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor | None:
    """Start processes that wait for work; None where there can be none, for they talk through /dev/shm."""
    try:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker)
        pool.submit(int)  # starts them
    except (OSError, ImportError, NotImplementedError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:80]
        print(f"images: worked on by one process alone, for more cannot be started ({reason})", flush=True)
        return None
    return pool


def _prepare_worker() -> None:
    # Ctrl+C is left to the parent, which stops its workers; if it dies otherwise, they follow
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
