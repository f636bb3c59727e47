"""Official files fetched by torchvision, and what to do where it cannot."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mmjsd.errors import MmjsdError

__all__ = ["download"]


def download(folder: Path, dataset: str, files: Iterable[str], fetch: Callable[[], object]) -> None:
    """Fetch a dataset into a folder.

    Args:
        folder: made where missing.
        dataset: its name, for people.
        files: what to get by hand where this fails.
        fetch: downloads and verifies them.

    Raises:
        MmjsdError: no network, a host that refuses, a full disk, other checksums.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetch()
    except Exception as error:  # network, quota, disk and checksum errors of many libraries
        reason = " ".join(str(error).split())[:120]
        raise MmjsdError(
            f"{folder}: {dataset} cannot be downloaded ({reason}); "
            f"put {', '.join(files)} into a folder by hand and name it as the dataset's `source:`"
        ) from None
