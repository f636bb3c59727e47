"""SVHN: the MATLAB files of cropped house numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.data.official import REPLACE
from mmjsd.data.official.download import Official, download, from_urls
from mmjsd.errors import MmjsdError

__all__ = ["FILES", "SUBFOLDERS", "download_svhn", "read_svhn"]

#: The file of each split.
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
#: Where they usually lie.
SUBFOLDERS = ("svhn", "SVHN")


def download_svhn(folder: Path) -> dict[str, Path]:
    """Fetch the files that are not there yet into ``folder``/svhn.

    Returns:
        Name of each file -> its path.

    Raises:
        MmjsdError: see :func:`mmjsd.data.official.download.download`.
    """
    from torchvision.datasets import SVHN  # slow to import, and needed only here

    published = [SVHN.split_list[split] for split in FILES]
    files = {name: folder / "svhn" / name for _, name, _ in published}
    officials = [Official(files[name], md5, from_urls(url)) for url, name, md5 in published]
    download("SVHN", officials, files)
    return files


def read_svhn(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images (N, 3, 32, 32) and labels (N,) in 0..9 of one split; label 10 means 0.

    Raises:
        MmjsdError: the file is missing, damaged, not such a file, or has labels outside 1..10.
    """
    import scipy.io  # slow to import, and needed only here

    path = Path(path)
    if not path.is_file():
        raise MmjsdError(f"{path}: no such file; check the path")
    try:
        content: dict[str, Any] = scipy.io.loadmat(str(path), appendmat=False, variable_names=["X", "y"])
    except OSError as error:
        if error.errno:  # without, the bytes are at fault
            raise MmjsdError(
                f"{path}: cannot be read ({error.strerror}); check disk and permissions"
            ) from None
        raise MmjsdError(f"{path}: is no intact MATLAB 5 file; {REPLACE}") from None
    except MemoryError:
        raise
    except NotImplementedError:
        raise MmjsdError(
            f"{path}: is a MATLAB 7.3 file, not one of MATLAB 5 like the official; {REPLACE}"
        ) from None
    except Exception:  # scipy raises whatever the damaged bytes lead it to
        raise MmjsdError(f"{path}: is no intact MATLAB 5 file; {REPLACE}") from None
    for name in ("X", "y"):
        if name not in content:
            raise MmjsdError(f"{path}: has no {name}, or was cut short; {REPLACE}")
    x, y = content["X"], content["y"]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or not x.size:
        raise MmjsdError(f"{path}: X is {x.dtype} {x.shape}, not uint8 (32, 32, 3, N); {REPLACE}")
    if y.dtype.kind not in "uif" or y.shape != (x.shape[3], 1):
        raise MmjsdError(
            f"{path}: y is {y.dtype} {y.shape}, not labels ({x.shape[3]}, 1) of the images; {REPLACE}"
        )
    if not np.isin(y, range(1, 11)).all():
        raise MmjsdError(f"{path}: y has labels outside 1..10; {REPLACE}")
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y[:, 0].astype(np.int64) % 10
