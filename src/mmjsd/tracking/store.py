"""Where MLflow keeps the runs, and whether one is still there; found out without importing MLflow."""

import base64
import http.client
import json
import os
import re
import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmjsd.errors import MmjsdError

__all__ = ["DEFAULT", "TrackingStore", "tracking_store", "why_gone", "why_silent", "without_passwords"]

#: Where runs are kept unless MLFLOW_TRACKING_URI says otherwise, relative to the project.
DEFAULT = "sqlite:///mlflow.db"

_PATIENCE = 2.0  # seconds: only looking must not hang on a server

_silent: set[str] = set()  # servers that did not answer this process, and are not asked again


@dataclass(frozen=True)
class TrackingStore:
    """What a tracking URI of MLflow stands for."""

    uri: str
    folder: Path
    """Absolute: what a relative path in the URI starts from, and where MLflow has to be used therefore."""

    @property
    def shown(self) -> str:
        """The URI without its password, for people and files."""
        return without_passwords(self.uri)

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http:", "https:"))

    @property
    def file(self) -> Path | None:
        """The SQLite file as the URI has it; None if it is a server or another database.

        Raises:
            MmjsdError: no file is named, or the URI cannot be read.
        """
        return _sqlite_file(self.uri)

    @property
    def database(self) -> Path | None:
        """The absolute path of `file`."""
        return self.folder / self.file if self.file else None

    @property
    def address(self) -> str:
        """The URI for MLflow, which keeps a connection to each: absolute, if a URI can say the path."""
        from sqlalchemy.engine import make_url

        if self.database is None or "?" in f"{self.database}" or "file:" in self.uri:
            return self.uri
        url = make_url(self.uri).set(database=str(self.database))
        return url.render_as_string(hide_password=False)

    @property
    def artifacts(self) -> str | None:
        """Where MLflow is to put files: beside the SQLite file, by a relative path if that has one.

        Such a project can be moved and copied, its database with it.
        """
        if self.file is None:
            return None
        folder = self.file.parent / "mlruns"
        return folder.as_uri() if folder.is_absolute() else folder.as_posix()

    def is_named(self, uri: str) -> bool:
        """Whether another URI, as shown, means the same store."""
        other = TrackingStore(uri, self.folder)
        try:
            if self.database and other.database:
                return os.path.realpath(self.database) == os.path.realpath(other.database)
        except MmjsdError:
            return False
        return self.shown.rstrip("/") == uri.rstrip("/")


@cache
def _sqlite_file(uri: str) -> Path | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not uri.startswith("sqlite"):
        return None
    try:
        url = make_url(uri)
    except ArgumentError:
        raise MmjsdError(
            f"MLFLOW_TRACKING_URI: {uri} is no address of a database; write sqlite:///FILE, with "
            "a fourth slash where the path is absolute"
        ) from None
    name = url.database or ""
    if "uri" in url.query and name.startswith("file:"):
        name = urllib.parse.unquote(urllib.parse.urlsplit(name).path)
    if name in ("", ":memory:"):
        raise MmjsdError(
            f"MLFLOW_TRACKING_URI: {uri} is a database in memory, which keeps nothing; write sqlite:///FILE"
        )
    return Path(name)


def without_passwords(text: str) -> str:
    """A text in which URIs may stand."""
    return re.sub(r"(://[^/\s:]*):[^/\s]*@", r"\1:***@", text)


def tracking_store() -> TrackingStore:
    """The store that runs are logged to now.

    An experiment that DVC runs in a temporary copy of the project logs to the project itself: what is in the
    copy goes with it.
    """
    return TrackingStore(os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT, _project())


def _project() -> Path:
    here = Path.cwd()
    # DVC says there where the experiment comes from, and not where its copy lies
    root = Path(os.environ.get("DVC_ROOT") or here).resolve()
    if here.is_relative_to(root / ".dvc" / "tmp"):
        copy = next(folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir())
        return root / here.relative_to(copy)
    return here


def why_gone(note: Path) -> str | None:
    """Why the run that a `mlflow.json` names, a child of its sweep's if it is of one, has to be logged again.

    None if it is where runs are logged to now, or if that does not answer, so that nobody can say.
    """
    try:
        content = json.loads(note.read_bytes())
        run, uri = str(content["run_id"]), str(content["tracking_uri"])
        parent = content.get("parent_run_id")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "which MLflow run it is cannot be read"
    store = tracking_store()
    if not store.is_named(uri):
        return f"is not logged to {store.shown}"
    if (reason := _why_gone(store, run)) or not parent:
        return reason
    return "the MLflow run of its sweep is gone" if _why_gone(store, str(parent)) else None


def _why_gone(store: TrackingStore, run: str) -> str | None:
    if store.database:
        return _why_gone_from_database(store.database, run)
    return _why_gone_from_server(store, run) if store.is_server else None


def _why_gone_from_database(database: Path, run: str) -> str | None:
    if not database.exists():
        return f"{database.name} is not there"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", timeout=_PATIENCE, uri=True)) as opened:
            found = opened.execute("select lifecycle_stage from runs where run_uuid = ?", [run]).fetchone()
    except sqlite3.OperationalError as error:  # locked, for one
        return f"{database.name} has no runs" if "no such table" in str(error) else None
    except sqlite3.DatabaseError:
        return f"{database.name} is damaged"
    return _reason(found[0] if found else None)


def _why_gone_from_server(store: TrackingStore, run: str) -> str | None:
    address = urllib.parse.urlsplit(store.uri)
    host = address.netloc.rpartition("@")[2]
    if host in _silent:
        return None
    place = address._replace(netloc=host, path=f"{address.path.rstrip('/')}/api/2.0/mlflow/runs/get")
    query = urllib.parse.urlencode({"run_id": run})
    request = urllib.request.Request(
        place._replace(query=query).geturl(), headers=_headers(address.username, address.password)
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return _reason(json.load(answer)["run"]["info"]["lifecycle_stage"])
    except urllib.error.HTTPError as refusal:
        with refusal:
            gone = refusal.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in refusal.read()
        return _reason(None) if gone else None
    except (OSError, ValueError, KeyError, TypeError):
        _silent.add(host)
        return None


def why_silent(store: TrackingStore) -> str | None:
    """Tell why a server does not answer within two seconds; None if it does, or if there is no server."""
    if not store.is_server:
        return None
    address = urllib.parse.urlsplit(store.uri)
    place = address._replace(
        netloc=address.netloc.rpartition("@")[2], path=f"{address.path.rstrip('/')}/health"
    )
    try:
        urllib.request.urlopen(place.geturl(), timeout=_PATIENCE).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()  # it answers
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        # whose certificate it takes, MLflow may have been told
        return None if isinstance(reason, ssl.SSLError) else str(reason) or type(reason).__name__
    return None


def _headers(user: str | None, password: str | None) -> dict[str, str]:
    """Who asks, as MLflow says it: as in the URI, else in its variables."""
    headers = {}
    if workspace := os.environ.get("MLFLOW_WORKSPACE"):
        headers["X-MLFLOW-WORKSPACE"] = workspace
    user = urllib.parse.unquote(user or "") or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = urllib.parse.unquote(password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {login}"
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _reason(stage: str | None) -> str | None:
    if stage is None:
        return "MLflow has no such run any more"
    return None if stage == "active" else "its MLflow run was deleted"
