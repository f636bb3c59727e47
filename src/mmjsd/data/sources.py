"""The files of a dataset: generated, downloaded, or found in a folder."""

from collections.abc import Callable
from pathlib import Path

from mmjsd.params.sources import origin

__all__ = ["files_of"]

Files = dict[str, Path]


def files_of(
    source: str,
    folder: str | Path,
    *,
    standin: Callable[[Path], Files],
    download: Callable[[Path], Files],
    find: Callable[[Path], Files],
) -> Files:
    """Generate the files of a dataset into ``folder``, download them there, or find them in the source.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: the files cannot be written, had or found.
    """
    match origin(source):
        case "standin":
            return standin(Path(folder))
        case "download":
            return download(Path(folder))
        case "folder":
            return find(Path(source))
