"""Where a run's numbers come from: the chain of records from the source files to the metrics, each checked.

Every step leaves a record of the sha256 of what it read and wrote. Here they are followed back from a run's
folder, and held against the files as they are.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from mmjsd.errors import MmjsdError
from mmjsd.params.model import described
from mmjsd.params.sources import place_of
from mmjsd.provenance.files import sha256_file
from mmjsd.provenance.records import read_record

__all__ = ["Link", "chain", "describe"]


class File(NamedTuple):
    """A file that a step read or wrote."""

    role: str
    """`source`, `read` or `wrote`."""
    name: str
    recorded: str
    """Its sha256 when that step was made."""
    found: str | None
    """Its sha256 now; None if it is not there."""

    @property
    def fault(self) -> str | None:
        """What is wrong with it. A source may be gone once the store is built."""
        if self.found == self.recorded or (self.role == "source" and self.found is None):
            return None
        if self.found is None:
            return f"{self.name}: is missing"
        return (
            f"{self.name}: is not what was recorded (sha256 {self.found[:12]}, recorded {self.recorded[:12]})"
        )


class Link(NamedTuple):
    """One step of the chain."""

    record: Path
    files: list[File]
    params: Mapping[str, Any]
    made: Mapping[str, str]
    """With what: commit, versions, machine."""


def chain(folder: Path) -> list[Link]:
    """List the steps that made the run in results/<dataset>/<run>/seed-<n>, sources first.

    Raises:
        MmjsdError: not the folder of an evaluated run, or a damaged record.
    """
    folder = folder.resolve()
    last = folder / "evaluation.record.json"
    if not last.is_file() or len(folder.parents) < 4:
        raise MmjsdError(f"{folder}: no evaluated run; give results/DATASET/RUN/seed-N, or evaluate it")
    dataset, root = folder.parents[1], folder.parents[3]
    classifiers = sorted(dataset.glob("classifiers/*/record.json"))
    store = root / "data" / f"{dataset.name}.record.json"
    steps = [store, *classifiers, folder / "training.record.json", last]
    contents = {step: read_record(step) for step in steps}
    needed = set(contents[last]["inputs"])
    links = [_link(root, last, contents[last])]
    for step in reversed(steps[:-1]):
        if needed & set(contents[step]["outputs"]):
            needed |= set(contents[step]["inputs"])
            links.insert(0, _link(root, step, contents[step]))
    return links


def _link(root: Path, record: Path, content: Mapping[str, Any]) -> Link:
    places = content.get("places", {})
    own = {name: digest for name, digest in content["inputs"].items() if name not in places}
    files = [
        File(role, name, digest, _found(root / name))
        for role, digests in (("read", own), ("wrote", content["outputs"]))
        for name, digest in digests.items()
    ]
    stores = [root / file.name for file in files if file.name.endswith(".h5") and file.role == "wrote"]
    if not stores:
        sources = [
            File("source", n, content["inputs"][n], _found(root / place)) for n, place in places.items()
        ]
        files = [*sources, *files]
    elif not any(file.fault for file in files):
        files = [*_sources(stores[0], content), *files]
    return Link(record.relative_to(root), files, content["params"], content["made"])


def _sources(store: Path, content: Mapping[str, Any]) -> Iterator[File]:
    """What the store was built from, as it says itself, and what is there of that."""
    builder = described(content["params"]["kind"], content["params"].get("options", {}))
    root = store.parents[1]
    source = content["params"].get("source", "folder")
    places = [] if source == "folder" else [root / place_of(source, store.stem)]
    places += [place for name in content.get("places", {}).values() for place in (root / name).parents[:2]]
    with h5py.File(store, "r", locking=False) as file:
        recorded = json.loads(file.attrs["sources"])
    here: dict[str, Path] = {}
    for place in places:
        with contextlib.suppress(MmjsdError):
            here = here or builder.find_sources(place)
    for name, digest in recorded.items():
        path = here.get(name)
        found = None if path is None else builder.digest_images(path) if path.is_dir() else _found(path)
        yield File("source", name if path is None else _relative(path, root), digest, found)


def _found(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def describe(links: list[Link]) -> str:
    """Put the chain into words: each step with its files, parameters and what it was made with."""
    lines = []
    for link in links:
        lines.append(link.record.as_posix())
        for file in link.files:
            gone = "  (not here any more)" if file.found is None else ""
            lines.append(f"  {file.role:<7} {file.recorded}  {file.name}{gone}")
        lines.append(f"  params  {json.dumps(link.params, sort_keys=True)}")
        lines.append(f"  made    {', '.join(f'{name} {value}' for name, value in link.made.items())}")
    return "\n".join(lines)
