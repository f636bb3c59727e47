"""What made each artifact, by content.

A step of the pipeline makes a :class:`Product` and, last of all, its record: the parameters, and the sha256
of inputs, code and outputs. A product is fresh if its record says what would be written now. Nothing of a
stale product is removed before another one takes its place.

This module knows no step; :mod:`mmjsd.pipeline` lists them.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.provenance import environment
from mmjsd.provenance.code import code_digests
from mmjsd.provenance.files import atomic_write, digest_of, sha256_file
from mmjsd.provenance.locks import exclusive

__all__ = [
    "Product",
    "UpToDate",
    "discard_unfinished",
    "fingerprint",
    "fingerprint_of",
    "making",
    "read_record",
    "staleness",
]


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
    """The definitions that make it, `module:name`; what they reach is found."""
    benchmark: Path
    """Where the time it took is noted. Only the age of that file counts: Snakemake goes by it."""
    scratch: tuple[Path, ...] = ()
    """Unfinished work to go on from; gone once the record is there."""
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Files from elsewhere, recorded by these names and their content: where they lie does not count."""
    effect: Callable[[], str | None] = lambda: None
    """Asked why what it does elsewhere has to be done again, or None if that is there."""
    adjustable: tuple[str, ...] = ()
    """Parameters that may change before unfinished work is continued."""

    @property
    def needed(self) -> tuple[Path, ...]:
        """All files that it is made from."""
        return (*self.inputs, *self.sources.values())


class UpToDate(Exception):
    """A product is what it would be made to: nothing is left to do."""


def read_record(path: Path) -> dict[str, Any]:
    """Read what a step noted of a product: `params`, `inputs`, `code`, `outputs`, `made`.

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


def fingerprint(product: Product) -> str:
    """Hash what determines a product, up to what may be adjusted before unfinished work is continued."""
    return fingerprint_of(_origin(product), product.adjustable)


def fingerprint_of(record: Mapping[str, Any], adjustable: Collection[str] = ()) -> str:
    """Give the fingerprint that a product had when its record was written."""
    params = {key: value for key, value in record["params"].items() if key not in adjustable}
    return digest_of({"params": params, "code": record.get("code"), "inputs": record["inputs"]})


@contextmanager
def making(product: Product, *, force: bool = False) -> Iterator[str]:
    """Surround the work that makes a product, and write its record at the end.

    What it is made from is noted before the work, so an edit while it lasts is not mistaken for its origin.
    Of processes that make the same product one works and the others wait.

    Args:
        product: to be made.
        force: make it even if it is fresh.

    Yields:
        Its fingerprint, which marks unfinished work as belonging to it.

    Raises:
        UpToDate: it is fresh; the work is not to be done.
        OSError: the record cannot be written.
    """
    # beside the benchmark, for logs are no results
    lock = product.benchmark.with_suffix(".lock")
    with exclusive(lock, f"{product.record}: another process is making it; waiting for that") as waited:
        reason = staleness(product) if waited or not force else "asked for"
        if reason is None:
            _discard(product.scratch)
            meanwhile = "made meanwhile by the other process" if waited else "is up to date"
            raise UpToDate(f"{product.record}: {meanwhile}")
        if product.record.exists():
            print(f"{product.record}: is made again ({reason})", flush=True)
        origin = _origin(product)
        product.record.parent.mkdir(parents=True, exist_ok=True)
        yield fingerprint_of(origin, product.adjustable)
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
    return "; ".join(f"other {key}: {_some(names)}" for key, names in differ.items()) or product.effect()


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
