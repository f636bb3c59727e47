"""An example of a table: the Wisconsin breast cancer measurements that scikit-learn carries.

`python -m mmjsd.data.tables.breast_cancer FOLDER` writes them.
"""

import csv
import io
import sys
from pathlib import Path

from mmjsd.provenance.files import atomic_write

__all__ = ["VIEWS", "write_breast_cancer"]

VIEWS = ("mean", "error", "worst")
"""Of ten measures of the nuclei of cells: their mean, its standard error, the mean of the largest three."""


def write_breast_cancer(folder: Path) -> Path:
    """Write samples.csv: 569 samples with an id, the diagnosis, and ten columns of each view.

    Street, Wolberg & Mangasarian (1993), UCI machine learning repository.

    Args:
        folder: is made, if it is not there.

    Raises:
        OSError: the file cannot be written.
    """
    from sklearn.datasets import load_breast_cancer  # slow to import

    data = load_breast_cancer()
    # scikit-learn has them view by view
    measures = [name.removeprefix("mean ").replace(" ", "_") for name in data.feature_names[:10]]
    names = [f"{view}_{measure}" for view in VIEWS for measure in measures]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "diagnosis", *names])
    for number, (values, target) in enumerate(zip(data.data.tolist(), data.target, strict=True), 1):
        writer.writerow([f"s{number:03}", data.target_names[target], *values])
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "samples.csv", text.getvalue())
    return folder / "samples.csv"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m mmjsd.data.tables.breast_cancer FOLDER")
    try:
        print(write_breast_cancer(Path(sys.argv[1])))
    except OSError as error:
        sys.exit(f"{error.filename or sys.argv[1]}: cannot be written ({error.strerror}); check the folder")
