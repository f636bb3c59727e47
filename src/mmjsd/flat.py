"""Nested mappings as rows, for tables and for MLflow."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["flat"]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys joined by dots, and their values; an empty mapping is a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
