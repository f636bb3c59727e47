"""Datasets: the multimodal store, and how each kind of it is built."""

from mmjsd.data import digits
from mmjsd.data.store import Split, Store, Table, describe, read_store, sha256_file

__all__ = ["BUILDERS", "Split", "Store", "Table", "describe", "read_store", "sha256_file"]

#: Kind of dataset -> the function that builds its store.
BUILDERS = {"mnist_svhn_text": digits.build}
