"""Official files of datasets: found where people have them, downloaded, and read."""

__all__ = ["REPLACE"]

#: The remedy for most faults of such a file.
REPLACE = "replace it with the official file"
