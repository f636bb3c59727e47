"""A project of one's own: a folder with parameters, from which the installed package makes everything."""

import json
import os
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mmjsd import params
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import atomic_write

__all__ = ["FILES", "begin"]

_INSTALLED = Path(__file__).with_name("files")

FILES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2]
"""Where the workflow lies, and what else is no module: in a wheel in the package, else around `src`."""

_STARTER = Path(__file__).with_name("starter")

#: Of FILES, what a project has as it is.
_COPIED = ("profiles/*/*", ".dvc/plots/*")

#: Lists of patterns: lines are added to those that are there.
_LISTS = (".gitignore", ".dvcignore")


def begin(folder: Path) -> None:
    """Lay down a project: parameters, workflow, profiles, and what DVC, git and uv want to know.

    Nothing is overwritten. Lines are added to .gitignore and .dvcignore, if they are there; DVC's
    configuration and the pyproject.toml of a project of uv, here or above, stay as they are.

    Args:
        folder: that of the project, which need not be there.

    Raises:
        MmjsdError: it is no folder, or has one of the files.
        OSError: it cannot be written; what was laid down is removed.
    """
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise MmjsdError(f"{folder}: is no folder; name another one, or one that is not there yet")
    files = {folder / name: content for name, content in _contents(folder)}
    taken = [path for path in files if path.name not in _LISTS and (path.exists() or path.is_symlink())]
    if taken:
        raise MmjsdError(f"{taken[0]}: is there already, and stays; name another folder, or move it away")
    laid: list[Path] = []
    try:
        # lists last: what is added to them stays
        for path in sorted(files, key=lambda path: path.name in _LISTS):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.name in _LISTS and path.exists():
                atomic_write(path, _extended(path.read_bytes(), files[path].encode()))
            else:
                atomic_write(path, files[path])
                laid.append(path)
    except BaseException:
        for path in laid:
            path.unlink()
        raise


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    """The files of a project, by their paths in its folder."""
    for name in ("params.yaml", "Snakefile"):
        yield name, _read(_STARTER / name)
    yield "dvc.yaml", _read(_STARTER / "dvc.yaml.in")  # a dvc.yaml below `src` DVC takes for a part of ours
    yield "params.schema.json", params.schema()
    for path in sorted(path for pattern in _COPIED for path in FILES.glob(pattern)):
        yield path.relative_to(FILES).as_posix(), _read(path)
    yield ".gitignore", _read(_STARTER / "gitignore")
    yield ".dvcignore", _read(FILES / ".dvcignore")
    if not (folder / ".dvc/config").exists():
        yield ".dvc/config", _read(FILES / ".dvc/config")
        yield ".dvc/.gitignore", _read(FILES / ".dvc/.gitignore")
    place = Path(os.path.abspath(folder))
    if not any((above / "pyproject.toml").exists() for above in (place, *place.parents)):
        ours = distribution("mmjsd")
        origin = json.loads(ours.read_text("direct_url.json") or "{}")
        values = {"python": ours.metadata["Requires-Python"], "source": _source(origin)}
        yield "pyproject.toml", Template(_read(_STARTER / "pyproject.toml.in")).substitute(values)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _source(origin: dict[str, Any]) -> str:
    """Where uv gets this very package, by what PEP 610 says of it; nothing: from the index."""
    if not origin:
        return ""
    url = origin["url"]
    if "vcs_info" in origin:
        source = f'git = {json.dumps(url)}, rev = "{origin["vcs_info"]["commit_id"]}"'
    elif url.startswith("file://"):
        editable = origin.get("dir_info", {}).get("editable", False)
        source = f"path = {json.dumps(url2pathname(urlsplit(url).path))}" + ", editable = true" * editable
    else:
        source = f"url = {json.dumps(url)}"
    return f"\n[tool.uv.sources]\nmmjsd = {{ {source} }}"


def _extended(content: bytes, lines: bytes) -> bytes:
    """A list, whatever its encoding, with the lines that it lacks."""
    present = content.splitlines()
    lacking = [line for line in lines.splitlines() if line not in present]
    return b"\n".join([*present, *lacking]) + b"\n"
