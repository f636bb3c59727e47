"""Official files fetched from where they are published, and the true cause where they cannot be."""

import errno
import hashlib
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

from mmjsd.data.writing import replacement
from mmjsd.errors import MmjsdError

__all__ = ["Official", "download", "explained", "from_google_drive", "from_urls", "is_intact"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Official(NamedTuple):
    """A file as its publisher has it."""

    path: Path
    """Where it belongs."""
    md5: str
    fetch: Callable[[Path], None]
    """Writes it to a path."""


class _OtherContent(Exception):
    pass


def download(dataset: str, files: Iterable[Official], by_hand: Iterable[str]) -> None:
    """Fetch the files of a dataset that are not there, or not as they were published.

    A file gets its name once all of it is there and has its checksum.

    Args:
        dataset: Its name, for people.
        files: The files.
        by_hand: Names of what to get by hand where this fails.

    Raises:
        MmjsdError: no network, a host that refuses, a full disk, other content.
    """
    for file in files:
        if is_intact(file.path, file.md5):
            continue
        try:
            with replacement(file.path) as temporary:
                file.fetch(temporary)
                _refuse_other_content(temporary, file.md5)
        except Exception as error:  # network, quota, disk and checksum errors of many libraries
            cause, remedy = explained(error)
            raise MmjsdError(
                f"{file.path}: {dataset} cannot be downloaded: {cause}; {remedy}, or put "
                f"{', '.join(by_hand)} into a folder by hand and name it as the dataset's `source:`"
            ) from None


def is_intact(path: Path, md5: str) -> bool:
    """Tell whether a file is there and has that checksum."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        # no secret depends on it: it is the checksum that is published
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest() == md5


def from_urls(*mirrors: str) -> Callable[[Path], None]:
    """Make what fetches a file from the first of its mirrors that has it."""

    def fetch(path: Path) -> None:
        from torchvision.datasets.utils import download_url  # slow to import, and needed only here

        errors: list[Exception] = []
        for url in mirrors:
            path.unlink(missing_ok=True)  # what is there counts as fetched
            try:
                return download_url(url, path.parent, path.name)
            except (OSError, HTTPException) as error:
                errors.append(error)
                if _is_of_disk(error):
                    break
        raise errors[0]

    return fetch


def from_google_drive(file: str) -> Callable[[Path], None]:
    """Make what fetches the file that has this id there."""

    def fetch(path: Path) -> None:
        from torchvision.datasets.utils import download_file_from_google_drive

        download_file_from_google_drive(file, path.parent, path.name)

    return fetch


def explained(error: Exception) -> tuple[str, str]:
    """Explain a failed download: its cause, and what to do."""
    inner = error.reason if isinstance(error, URLError) else error
    said = " ".join(str(getattr(inner, "strerror", None) or inner).split())[:120]
    library = type(error).__module__.partition(".")[0]
    again = "type the same command again later"
    if isinstance(error, _OtherContent):
        return said, again
    if isinstance(error, HTTPError):
        return f"the host refuses it with {error.code} {error.reason}", again
    if library == "gdown":
        return f"Google Drive refuses it, which it does after too many downloads ({said})", again
    if isinstance(inner, ssl.SSLError):
        return f"the host's certificate is not accepted ({said})", "see to the certificates or the proxy"
    if _is_of_disk(error):
        return f"it cannot be written ({said})", "see to space and permissions"
    if isinstance(error, (OSError, HTTPException)) or library == "requests":
        return f"no network, or the host does not answer ({said})", "connect and type the same command again"
    return said, again


def _refuse_other_content(path: Path, md5: str) -> None:
    if not is_intact(path, md5):
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            raise _OtherContent("a web page came in its place, of a proxy, a login or a quota")
        raise _OtherContent(
            f"{path.stat().st_size} bytes came that have not the published checksum, cut off or another file"
        )


def _is_of_disk(error: Exception) -> bool:
    """Tell an error of this machine's files from one of the network."""
    return (
        isinstance(error, OSError)
        and (bool(error.filename) or error.errno in _FULL)
        and not (isinstance(error, URLError))
    )
