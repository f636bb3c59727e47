"""A CSV file written anew with some of its cells filled, and all else as it is, byte for byte."""

import re
from collections.abc import Iterator, Mapping, Sequence

from mmjsd.data.tables.reading import TableFile
from mmjsd.errors import MmjsdError

__all__ = ["filled"]


def filled(
    file: TableFile, cells: Mapping[str, Sequence[str | None]], added: Mapping[str, Sequence[str]]
) -> str:
    """Give the text of a CSV file with some of its cells replaced, and columns added on the right.

    Args:
        file: it has been read whole, and so is intact.
        cells: column -> what stands in its rows (P,) from now on; None: what does.
        added: name of a new column -> its cells (P,).

    Raises:
        MmjsdError: its quotes are such that rows cannot be told apart.
    """
    text = file.path.read_bytes().decode()
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    separator = file.separator
    replaced = [(file.columns.index(name), values) for name, values in cells.items()]
    count = len(next(iter(cells.values())))
    lines, row = [], -1
    for record, end in _records(text.removeprefix(mark), separator):
        if record == [""]:  # an empty line, which is no row
            lines.append(end)
            continue
        if row == count or len(record) != len(file.columns):
            break
        more = [name if row < 0 else values[row] for name, values in added.items()]
        for place, values in replaced if row >= 0 else ():
            if (value := values[row]) is not None:
                record[place] = _quoted(value, separator)
        lines.append(separator.join([*record, *(_quoted(value, separator) for value in more)]) + end)
        row += 1
    if row != count:
        raise MmjsdError(f"{file.path}: its rows cannot be told apart by its quotes; save it anew")
    return mark + "".join(lines)


def _records(text: str, separator: str) -> Iterator[tuple[list[str], str]]:
    """The cells of each line as they are written, and what ends it; line breaks in quotes are of a cell."""
    mark = re.escape(separator)
    record: list[str] = []
    for cell, end in re.findall(rf'((?:"(?:[^"]|"")*")?[^{mark}\r\n]*)({mark}|\r\n|\r|\n|\Z)', text):
        record.append(cell)
        if end != separator:
            yield record, end
            record = []


def _quoted(value: str, separator: str) -> str:
    if any(symbol in value for symbol in (separator, '"', "\n", "\r")):
        return '"' + value.replace('"', '""') + '"'
    return value
