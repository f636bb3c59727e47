"""MLflow's pages of the project."""

import os
import socket
import sys

from mmjsd.errors import MmjsdError
from mmjsd.tracking.notes import addresses
from mmjsd.tracking.store import tracking_store

__all__ = ["open_pages"]


def open_pages(port: int) -> None:
    """Print where runs are side by side, and serve MLflow's pages in place of this process.

    Those of a server are there already.

    Args:
        port: of 127.0.0.1.

    Raises:
        MmjsdError: there are no runs yet, or the port is taken.
    """
    store = tracking_store()
    lines = list(addresses(store, port))
    if store.is_server:
        print(*lines or [f"{store.shown}: has all runs; `mmjsd publish` describes them"], sep="\n")
        return
    if store.database and not store.database.exists():
        raise MmjsdError(f"{store.database}: not there yet; the first run that is trained makes it")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise MmjsdError(f"--port {port}: cannot be listened on ({error}); name another one") from None
    otherwise = f"http://127.0.0.1:{port}: all runs; `mmjsd publish` describes them"
    print(*lines or [otherwise], sep="\n", flush=True)
    # a URI with a password is for no list of processes
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_BACKEND_STORE_URI": store.address}
    os.chdir(store.folder)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", f"{port}"]
    os.execv(sys.executable, command)
