"""What made each artifact, by content.

A step of the pipeline makes a :class:`Product` and, last of all, its record: the parameters, and the sha256
of inputs, code and outputs. A product is fresh if its record says what would be written now. File times say
nothing of that after a checkout, a copy or an edit by hand; :func:`reconcile` brings those of fresh products
into agreement with the records and names the stale ones, so that a workflow manager that goes by file times
does what is needed and no more. Nothing of a stale product is removed before another one takes its place.

This module knows no step; :mod:`mmjsd.pipeline` lists them.
"""

import ast
import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmjsd import environment
from mmjsd.errors import MmjsdError
from mmjsd.locks import HOST, exclusive
from mmjsd.static import source_of

__all__ = [
    "Product",
    "UpToDate",
    "atomic_write",
    "code_digests",
    "digest_of",
    "discard_unfinished",
    "making",
    "read_json",
    "read_record",
    "reconcile",
    "sha256_file",
    "staleness",
    "temporary_name",
]

#: Modules that are part of no product's code: what they do to a product shows in its record.
_UNCOUNTED = frozenset({"mmjsd.params", "mmjsd.errors", "mmjsd.records"})


@dataclass(frozen=True)
class Product:
    """What one step makes, and what it makes it from."""

    name: str
    """Unique, and the arguments of the command that makes it."""
    record: Path
    outputs: tuple[Path, ...]
    params: dict[str, Any]
    """All parameters that it depends on, and no others; as JSON has them."""
    inputs: tuple[Path, ...]
    """Files of the project, recorded by path and content."""
    code: tuple[str, ...]
    """Names of the modules that make it; what they import is found."""
    benchmark: Path
    """Where the time it took is noted. Only the age of that file counts: Snakemake goes by it."""
    scratch: tuple[Path, ...] = ()
    """Unfinished work to go on from; gone once the record is there."""
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Files from elsewhere, recorded by these names and their content: where they lie does not count."""

    @property
    def needed(self) -> tuple[Path, ...]:
        """All files that it is made from."""
        return (*self.inputs, *self.sources.values())


class UpToDate(Exception):
    """A product is what it would be made to: nothing is left to do."""


def temporary_name(path: Path) -> Path:
    """The name beside ``path`` to write under until the file is whole.

    What killed processes left under such names is removed.

    Raises:
        OSError: it cannot be removed.
    """
    ours = f".{path.name}.{HOST}."  # of processes elsewhere nothing is known
    for left in path.parent.glob(f"{glob.escape(ours)}*.tmp"):
        if not _is_alive(left.name.removeprefix(ours).removesuffix(".tmp")):
            left.unlink(missing_ok=True)
    return path.with_name(f"{ours}{os.getpid()}.tmp")


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write a file so that at no moment, and after no failure, a partial one has its name.

    Raises:
        OSError: it cannot be written; the error names ``path``, whose old content is untouched.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        temporary = temporary_name(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave the new name and not the content
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_json(path: Path, command: str) -> dict[str, Any]:
    """A mapping that a step wrote.

    Raises:
        MmjsdError: missing or damaged; the line names the command of mmjsd that makes it.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; make it with `mmjsd {command}`") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise MmjsdError(f"{path}: damaged; make it again with `mmjsd {command}`")
    return content


def read_record(path: Path) -> dict[str, Any]:
    """What a step noted of a product: `params`, `inputs`, `code`, `outputs`, `made`.

    Raises:
        MmjsdError: missing, or damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        content = None
    parts = ("params", "inputs", "outputs", "made")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in parts):
        raise MmjsdError(f"{path}: damaged or missing; `snakemake --cores all` makes again what it is of")
    return content


def digest_of(value: Any) -> str:
    """The sha256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """The sha256 of a file's content; a file is read once per process as long as it does not change."""
    status = os.stat(path)
    return _sha256(str(path), status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: str, *_identity: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- code -------------------------------------------------------------------------------------------------


def code_digests(modules: Iterable[str]) -> dict[str, str]:
    """The sha256 of the code of ``modules`` and of all that they import from their own package.

    Comments, docstrings and layout don't count. Imports are found without running anything, those inside of
    functions too. A package's ``__init__`` counts where a name is taken from it, not where a module below it
    is.
    """
    digests: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in digests or name in _UNCOUNTED:
            continue
        path = source_of(name)
        if path is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        status = path.stat()
        digests[name], imported = _read_code(name, path, status.st_size, status.st_mtime_ns)
        waiting += imported
    return dict(sorted(digests.items()))


@cache
def _read_code(name: str, path: Path, *_identity: int) -> tuple[str, list[str]]:
    tree = _WithoutDocstrings().visit(ast.parse(path.read_bytes()))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    # the text of the tree: unlike its dump, it is the same in all versions of Python
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), sorted(_imports(tree, package))


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The modules of ``package``'s top-level package that are imported anywhere in ``tree``."""
    top = package.partition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            if source.partition(".")[0] != top:
                continue
            named = [f"{source}.{alias.name}" for alias in node.names]
            found = [name if source_of(name) else source for name in named]
        else:
            continue
        yield from (name for name in found if name.partition(".")[0] == top)


# --- records ----------------------------------------------------------------------------------------------


@contextmanager
def making(product: Product, *, force: bool = False) -> Iterator[str]:
    """Surround the work that makes a product, and write its record at the end.

    What it is made from is noted before the work, so an edit while it lasts is not mistaken for its origin.
    Of processes that make the same product one works and the others wait.

    Args:
        product: to be made.
        force: make it even if it is fresh.

    Yields:
        A hash of its origin, which marks unfinished work as belonging to it.

    Raises:
        UpToDate: it is fresh; the work is not to be done.
        OSError: the record cannot be written.
    """
    # beside the benchmark, for logs are no results
    lock = product.benchmark.with_suffix(".lock")
    with exclusive(lock, f"{product.record}: another process is making it; waiting for that") as waited:
        if (waited or not force) and staleness(product) is None:
            _discard(product.scratch)
            meanwhile = "made meanwhile by the other process" if waited else "is up to date"
            raise UpToDate(f"{product.record}: {meanwhile}")
        origin = _origin(product)
        product.record.parent.mkdir(parents=True, exist_ok=True)
        yield digest_of(origin)
        # the rest is for people, and not compared
        places = {name: str(path) for name, path in product.sources.items()}
        content = {**origin, "outputs": _hashes(product.outputs), "made": environment.describe()}
        content |= {"places": places} if places else {}
        atomic_write(product.record, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
        _discard(product.scratch)


def _discard(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def discard_unfinished(products: Iterable[Product]) -> None:
    """Remove unfinished work of products that are fresh."""
    for product in products:
        if any(path.exists() for path in product.scratch) and staleness(product) is None:
            _discard(product.scratch)


def staleness(product: Product, *, part: bool = False) -> str | None:
    """Tell why a product has to be made, or None if it is fresh.

    Args:
        product: to be looked at.
        part: it is part of what the record is of, which may list more than it is made from.
    """
    try:
        record = json.loads(product.record.read_bytes())
        now = {**_origin(product), "outputs": _hashes(product.outputs)}
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return "damaged record"
    if part:
        record = {key: _common(record.get(key), now[key]) for key in now}
    differ = {key: list(_differing(record.get(key), now[key])) for key in now if record.get(key) != now[key]}
    return "; ".join(f"other {key}: {_some(names)}" for key, names in differ.items()) or None


def _common(before: Any, now: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded of the keys that count now."""
    return {key: before[key] for key in now if isinstance(before, dict) and key in before}


def _differing(before: Any, now: Mapping[str, Any]) -> Iterator[str]:
    """The keys whose values differ."""
    before = before if isinstance(before, dict) else {}
    yield from (key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _origin(product: Product) -> dict[str, Any]:
    params = json.loads(json.dumps(product.params, allow_nan=False))
    inputs = _hashes(product.inputs) | {name: sha256_file(path) for name, path in product.sources.items()}
    return {"params": params, "code": code_digests(product.code), "inputs": inputs}


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {path.as_posix(): sha256_file(path) for path in paths}


def reconcile(products: Iterable[Product], now: int, log: Callable[[str], None]) -> list[Product]:
    """Make the file times of products agree with their records.

    A fresh one that is older than what it is made from gets the present as its time, and a stale one from the
    future a second before.

    Args:
        products: in topological order.
        now: the present in nanoseconds, by the clock of their file system.
        log: is told of each stale product that was made before, and why it is stale.

    Returns:
        The stale products. Those that are made from them may turn out the same, and so are not among them.
    """
    stale: list[Product] = []
    record_of: dict[Path, Path] = {}
    for product in products:
        if reason := staleness(product):
            stale.append(product)
            if product.record.exists():
                log(f"{product.record}: to be made again ({reason})")
            for path in _made(product):
                if path.lstat().st_mtime_ns >= now:
                    _date([path], now - 10**9)
        else:
            _renew(product, [record_of[path] for path in product.inputs if path in record_of], now)
            record_of |= dict.fromkeys(product.outputs, product.record)
    return stale


def _renew(product: Product, records: Iterable[Path], now: int) -> None:
    # DVC may put links into its cache there. Of an input the newer of link and file counts for Snakemake, of
    # an output the link, so the link is what gets another time: the cache is not ours to touch.
    asked = max(
        (max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns) for path in (*product.needed, *records)),
        default=0,
    )
    made = _made(product)
    if min(path.lstat().st_mtime_ns for path in made) < asked:
        _date(made, max(now, asked))


def _made(product: Product) -> list[Path]:
    """The files of a product that are there."""
    return [p for p in (*product.outputs, product.record, product.benchmark) if p.exists() or p.is_symlink()]


def _date(paths: Iterable[Path], moment: int) -> None:
    for path in paths:
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
