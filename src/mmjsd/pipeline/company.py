"""A step done by several processes: who starts them, who keeps the record, and who speaks.

`mmjsd train` starts those of a run on one machine itself. torchrun starts them on several, as in
``torchrun --nnodes 2 --nproc-per-node 4 ... -m mmjsd train RUN``. Either way each of them is this command.
"""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted, deferred
from mmjsd.provenance.records import Product, UpToDate, fingerprint, making
from mmjsd.variables import member

__all__ = ["in_company", "launch", "making_together"]

#: Seconds in which a process whose work others have ended is ended too, by who started it.
_GRACE = 30.0
#: Seconds in which a process that fails waits for those before it to tell the same.
_TURN = 0.5
#: What the errors of exchanges with a process that is gone have in their texts.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe")


# --- To start them ----------------------------------------------------------------------------------------


def launch(words: Sequence[str], processes: int, device: str) -> None:
    """Run a command of the command line by several processes of this machine, as torchrun does.

    Signals are passed on to them. One that fails ends the others.

    Args:
        words: of the command.
        processes: how many.
        device: parameter of their devices.

    Raises:
        MmjsdError: there are fewer devices than processes, or one was killed.
        SystemExit: they ended with another code than 0: that of who failed first.
    """
    from torch.distributed import TCPStore

    from mmjsd.devices import own_device

    own_device(device, 0, processes)
    # where they find each other: served here, so that no other program can take the port meanwhile
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = os.environ | {
        **{"TORCHELASTIC_RUN_ID": "mmjsd", "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)},
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes)),
    }
    command = [sys.executable, "-P", "-m", "mmjsd", *words]
    with deferred() as asked_to_end:
        workers = [
            subprocess.Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(processes)
        ]
        failed = _failed(workers, asked_to_end)
        code, asked = (workers[failed].returncode if failed is not None else 0), asked_to_end() or 0
    if code < 0 and code != -asked:
        raise MmjsdError(
            f"{' '.join(words)}: one of its {processes} processes was ended by {signal.Signals(-code).name}, "
            "perhaps for want of memory; the same command goes on from the last checkpoint"
        )
    if code:
        raise SystemExit(code if code > 0 else 128 + asked)


def _failed(workers: Sequence[subprocess.Popen], asked_to_end: Callable[[], int | None]) -> int | None:
    """Wait for the end of all; give the first that failed."""
    failed, since, told = None, 0.0, False
    while True:
        running = [worker for worker in workers if worker.poll() is None]
        if failed is None:
            failed = next((rank for rank, worker in enumerate(workers) if worker.returncode), None)
            since = time.monotonic()
        if not running:
            return failed
        if not told and (failed is not None or asked_to_end()):
            told = True
            for worker in running:
                worker.send_signal(asked_to_end() or signal.SIGTERM)
        if failed is not None and time.monotonic() > since + _GRACE:
            for worker in running:
                worker.kill()  # it waits for a device that waits for one that is gone
        time.sleep(0.05)


# --- To be one of them ------------------------------------------------------------------------------------


@contextmanager
def making_together(product: Product, *, force: bool) -> Iterator[str]:
    """Surround the work as `making` does, in the first of several processes; the others work along.

    Raises:
        UpToDate, OSError: as of `making`.
        SystemExit: the first of the processes has nothing to do.
        MmjsdError: another machine has other data or code.
    """
    among = member()
    if among is None:
        with making(product, force=force) as origin:
            yield origin
        return
    from mmjsd import distributed

    with distributed.joined(), in_company(lambda: None):
        if among.rank == 0:
            try:
                with making(product, force=force) as origin:
                    yield distributed.from_first(lambda: origin)
            except UpToDate:
                distributed.from_first(lambda: None)
                raise
            return
        origin = distributed.from_first(lambda: None)
        if origin is None:
            raise SystemExit(0)
        if among.local_rank == 0 and fingerprint(product) != origin:
            raise MmjsdError(
                f"{product.record}: {platform.node()} has other parameters, data or code than the machine of "
                "the first process; bring them in line"
            )
        yield origin


@contextmanager
def in_company(asked_to_end: Callable[[], int | None]) -> Iterator[Callable[[], int | None]]:
    """Have the first of several processes speak for all, and of those that fail the one that was first.

    Args:
        asked_to_end: gives the signal that asks this process to end, if there was one.

    Yields:
        The same; a process that has lost its starter is asked to end, too.
    """
    from mmjsd import distributed

    if distributed.count() == 1:
        yield asked_to_end
        return
    number, starter = distributed.rank(), os.getppid()

    def asked() -> int | None:
        return asked_to_end() or (signal.SIGTERM if os.getppid() != starter else None)

    try:
        with _silence() if number else contextlib.nullcontext():
            yield asked
    except Exception as error:
        lost = isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)
        _stand_back(_GRACE if lost else number * _TURN, asked)
        raise


@contextmanager
def _silence() -> Iterator[None]:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _stand_back(patience: float, asked_to_end: Callable[[], int | None]) -> None:
    """Wait for so many seconds to be ended, as all are when one has failed."""
    end = time.monotonic() + patience
    try:
        while time.monotonic() < end:
            if number := asked_to_end():
                raise SystemExit(128 + number)
            time.sleep(0.02)
    except Interrupted as ended:
        raise SystemExit(128 + ended.number) from None
