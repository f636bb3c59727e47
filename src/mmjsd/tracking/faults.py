"""What the errors of MLflow, and of what lies below it, mean: the cause, and what to do."""

import re

__all__ = ["explain"]

_AGAIN = "type the same command again"

#: A pattern of what is said -> the cause and the remedy, the first that is found.
_MEANINGS = (
    # of SQLite
    ("database is locked", "another program writes to it", f"end that, and {_AGAIN}"),
    ("database or disk is full", "the disk is full", f"make room, and {_AGAIN}"),
    ("readonly database", "it cannot be written to", "change its permissions and those of its folder"),
    (
        "not a database|malformed|file is encrypted",
        "it is damaged, or no database",
        "take a copy of it from before, or move it away: then all runs are logged to a new one",
    ),
    ("unable to open database", "it cannot be opened", "check its path and permissions"),
    ("disk I/O error", "the disk fails", "check the disk, and whether SQLite can work on that file system"),
    (
        "out-of-date database schema",
        "it is of an older version of MLflow",
        "keep a copy of it, and bring it up to date with `mlflow db upgrade URI`",
    ),
    # of the address
    (
        "maintenance mode",
        "MLflow keeps runs in folders no longer",
        "write sqlite:///FILE or http://HOST:PORT into MLFLOW_TRACKING_URI; `mlflow migrate-filestore` takes "
        "old runs over",
    ),
    (
        "unsupported URI|Could not parse SQLAlchemy URL|Invalid url|Unity Catalog tracking URI",
        "it is no address of a tracking store",
        "write sqlite:///FILE, http://HOST:PORT or that of a database into MLFLOW_TRACKING_URI",
    ),
    (
        "mlflow-artifacts",
        "its files are kept by a server",
        "start that, and write its address into MLFLOW_TRACKING_URI",
    ),
    # of a server
    ("NameResolutionError|Failed to resolve", "no machine has this name", "check MLFLOW_TRACKING_URI"),
    (
        "ProxyError|to proxy",
        "the proxy does not let it through",
        "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted",
        "name the file of its authority in MLFLOW_TRACKING_SERVER_CERT_PATH",
    ),
    ("SSLError", "it does not speak TLS", "check http:// or https:// in MLFLOW_TRACKING_URI"),
    (
        "timed out|Connection refused|[Ff]ailed to establish|Connection aborted|ConnectTimeout|unreachable",
        "no server answers",
        f"start it or check MLFLOW_TRACKING_URI, and {_AGAIN}",
    ),
    (
        "UNAUTHENTICATED|error code 401",
        "it wants to know who you are",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    ("Invalid Host header", "it does not go by this name", "start it with --allowed-hosts"),
    ("PERMISSION_DENIED|error code 403", "you may not write there", "ask whoever runs it for permission"),
    ("error code 413", "it refuses files so large", "have whoever runs it raise the limit"),
    (
        r"(?:too many|error code) (5\d\d)",
        r"the server fails (\1)",
        f"look into its log, and once it is well {_AGAIN}",
    ),
    (
        "error code [34]|not in a valid JSON",
        "what answers is no MLflow server",
        "check host, port and path in MLFLOW_TRACKING_URI",
    ),
)

#: What has another name where it can be had.
_PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


def explain(error: Exception, *, is_server: bool) -> str | None:
    """The cause of an error and what to do, in one line; None if it is a fault of the program.

    Args:
        error: what came from MLflow, or from a library that it uses.
        is_server: whether a server was talked to.
    """
    said = " ".join(str(error).split())
    code = getattr(error, "error_code", "")
    for pattern, cause, remedy in _MEANINGS:
        if match := re.search(pattern, f"{code} {said}"):
            return f"{match.expand(cause)}; {remedy}"
    if isinstance(error, ImportError) and error.name:
        return f"{error.name} is not installed; `uv pip install {_PACKAGES.get(error.name, error.name)}`"
    if isinstance(error, OSError) and error.filename:
        hands = "; have the server take the files itself (--serve-artifacts)" if is_server else ""
        return f"{error.filename}: {error.strerror}{hands or f'; once that is mended {_AGAIN}'}"
    if isinstance(error, ValueError) and "MLFLOW_" in said:
        return f"{said[:200]}; correct or unset that variable"
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        return None
    return f"{said[:200] or type(error).__name__}; once that is mended {_AGAIN}"
