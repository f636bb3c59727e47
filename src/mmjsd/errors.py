"""The one exception users see."""

__all__ = ["MmjsdError"]


class MmjsdError(Exception):
    """A fault of the input: one line that names the file or key and says what to do.

    The command line prints it without a traceback and exits with code 1.
    """
