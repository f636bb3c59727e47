"""Widths of layers relative to those of the paper."""

__all__ = ["scaled"]


def scaled(width: float, *channels: int) -> list[int]:
    """Numbers of channels or hidden units times the relative width, one at least."""
    return [max(1, round(width * number)) for number in channels]
