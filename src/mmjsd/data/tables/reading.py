"""Tables in files, CSV, TSV or Parquet, read some rows at a time, and no value guessed.

Of a CSV file every cell is text until a column is asked for as numbers. Empty cells are null.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmjsd.errors import MmjsdError, did_you_mean

__all__ = ["TableFile", "at_rows", "numbers_of", "some_of", "text_of"]

_BLOCK = 1 << 24  # bytes of a CSV file read at a time
_ROWS = 1 << 15  # of a Parquet file
_HEADER = 1 << 24  # bytes of the longest header
_SEPARATORS = ",;\t"
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs"}

#: How programs write that there is no number.
_NO_NUMBER = ("", "na", "n/a", "nan", "null", "none")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


class TableFile:
    """A table in a file, whose header is read.

    Args:
        path: of a .csv, .tsv, .txt, .parquet or .pq file.

    Raises:
        MmjsdError: no such file, or none that has a table.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            near = did_you_mean(path.name, [other.name for other in _siblings(path)][:1000], "there is")
            raise MmjsdError(f"{path}: no such file; {near}")
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".tsv", ".txt", ".parquet", ".pq"):
            raise MmjsdError(f"{path}: must be a CSV, TSV or Parquet file; save it as .csv, .tsv or .parquet")
        self.is_parquet = suffix in (".parquet", ".pq")
        self.first_row = 1 if self.is_parquet else 2
        """Number of its first row, as people count: the header of a CSV file is the first."""
        self._schema: Any = None
        self.columns: list[str]
        try:
            self.columns = self._parquet_columns() if self.is_parquet else self._csv_columns(suffix)
        except OSError as error:
            raise MmjsdError(f"{path}: cannot be read ({error.strerror or error}); check it") from None
        if twice := {name for name in self.columns if self.columns.count(name) > 1}:
            raise MmjsdError(f"{path}: has the column {min(twice)!r} twice; rename one")
        if "" in self.columns[1:]:  # the first may be the names of rows that R and pandas write
            place = self.columns.index("", 1) + 1
            raise MmjsdError(f"{path}: its column {place} has no name; give it one in the first row")

    def require(self, columns: Sequence[str], key: str) -> None:
        """Check that columns are there, which an option names.

        Raises:
            MmjsdError: one is not, or has values within values.
        """
        for name in columns:
            if name not in self.columns:
                near = did_you_mean(name, self.columns[:1000], "it has")
                raise MmjsdError(f"{self.path}: has no column {name!r}, which `{key}` names; {near}")
            if self._schema is not None and pa.types.is_nested(kind := self._schema.field(name).type):
                raise MmjsdError(
                    f"{self.path}: column {name} is nested ({kind}); write each of its values as a column"
                )

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the columns some rows at a time, each with the index of the first of them.

        Raises:
            MmjsdError: the file is damaged, or no table; the line names the row.
        """
        start = 0
        try:
            for batch in self._parquet(columns) if self.is_parquet else self._csv(columns):
                if batch.num_rows:
                    yield start, batch
                start += batch.num_rows
        except pa.ArrowInvalid as error:
            self._explain(error)
        except OSError as error:
            raise MmjsdError(
                f"{self.path}: is damaged ({' '.join(str(error).split())[:80]}); replace it"
            ) from None

    def texts(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read columns as texts without blanks around them; null where there is nothing."""
        parts: dict[str, list[Any]] = {name: [] for name in columns}
        for _, batch in self.batches(list(dict.fromkeys(columns))):
            for name in parts:
                parts[name].append(text_of(batch.column(name)))
        return {name: pa.chunked_array(chunks, pa.string()) for name, chunks in parts.items()}

    # --- CSV ----------------------------------------------------------------------------------------------

    def _csv_columns(self, suffix: str) -> list[str]:
        with open(self.path, "rb") as file:
            start = file.read(_HEADER)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise MmjsdError(f"{self.path}: is not UTF-8 but UTF-16; save it as UTF-8")
        if b"\0" in start[:1000]:
            raise MmjsdError(f"{self.path}: is no text; save it as a CSV file (UTF-8)")
        header = _first_record(start.decode("utf-8-sig", "replace"))
        if not header.strip():
            raise MmjsdError(f"{self.path}: has no header; name the columns in its first row")
        outside = re.sub('"[^"]*"', "", header)
        self.separator = "\t" if suffix == ".tsv" else max(_SEPARATORS, key=outside.count)
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=self.separator))
        return [" ".join(name.split()) for name in names]

    def _csv(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.csv as arrow

        # with one thread errors name the row; the names of columns are ours, and the header is skipped
        yield from arrow.open_csv(
            self.path,
            arrow.ReadOptions(
                use_threads=False, block_size=_BLOCK, column_names=self.columns, skip_rows_after_names=1
            ),
            arrow.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            arrow.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    # --- Parquet ------------------------------------------------------------------------------------------

    def _parquet_columns(self) -> list[str]:
        import pyarrow.parquet as arrow

        try:
            self._schema = arrow.read_schema(self.path)
        except pa.ArrowInvalid:
            raise MmjsdError(f"{self.path}: is no intact Parquet file; write it anew") from None
        return list(self._schema.names)

    def _parquet(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as arrow

        with arrow.ParquetFile(self.path) as file:
            yield from file.iter_batches(_ROWS, columns=list(columns), use_threads=False)

    # ------------------------------------------------------------------------------------------------------

    def _explain(self, error: Exception) -> NoReturn:
        told = " ".join(str(error).split())
        if "UTF8" in told:
            raise MmjsdError(f"{self.path}: {_not_utf8(self.path)}") from None
        if ragged := re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", told):
            row = f"row {ragged[1]}" if ragged[1] else "a row"
            raise MmjsdError(
                f"{self.path}: {row} has {ragged[3]} cells, the header {ragged[2]} (separated by "
                f"{_WORDS[self.separator]}); quote cells that have separators, quotes, new lines or decimal "
                "commas"
            ) from None
        raise MmjsdError(f"{self.path}: is no intact table ({told[:120]}); write it anew") from None


def _siblings(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir()) if path.parent.is_dir() else []


def _first_record(text: str) -> str:
    """The first line, with line breaks in quotes."""
    quoted = False
    for place, symbol in enumerate(text):
        quoted ^= symbol == '"'
        if symbol in "\r\n" and not quoted and text[:place].strip():
            return text[:place].strip("\r\n")
    return text


def _not_utf8(path: Path) -> str:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} is not UTF-8 (byte 0x{line[error.start]:02x}); save the file as UTF-8"
    return "is not UTF-8; save it as UTF-8"


# --- Columns ----------------------------------------------------------------------------------------------


def text_of(column: pa.Array) -> pa.Array:
    """The cells of a column as texts without blanks around them; null where there is nothing."""
    trimmed = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def numbers_of(file: TableFile, name: str, column: pa.Array, start: int) -> NDArray[np.float64]:
    """The numbers of a column of a batch (N,); NaN where a cell is empty, or says NA or NaN.

    Args:
        file, name: of the column, for people.
        column: (N,).
        start: index of its first row.

    Raises:
        MmjsdError: text among them, or what is not finite; the line names the rows.
    """
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = pc.cast(column, pa.float64(), safe=False)
    elif pa.types.is_decimal(kind):
        values = pc.cast(column, pa.float64())
    else:
        cells = text_of(column)
        empty = pc.is_in(pc.utf8_lower(cells), pa.array(_NO_NUMBER, pa.string()))
        cells = pc.if_else(empty, pa.scalar(None, pa.string()), cells)
        try:
            values = pc.cast(cells, pa.float64())
        except pa.ArrowInvalid:
            _refuse_texts(file, name, cells.to_pylist(), start)
            raise
    array = np.array(values.to_numpy(zero_copy_only=False), np.float64)
    if len(infinite := np.flatnonzero(np.isinf(array))):
        rows = at_rows(file, start + infinite)
        raise MmjsdError(f"{file.path}: column {name} is infinite in {rows}; correct it, or empty the cell")
    return array


def _refuse_texts(file: TableFile, name: str, cells: list[str | None], start: int) -> None:
    texts = [i for i, cell in enumerate(cells) if cell is not None and not _NUMBER.fullmatch(cell)]
    if not texts:
        return
    cell = str(cells[texts[0]])
    rows = at_rows(file, start + np.array(texts))
    if _DECIMAL_COMMA.fullmatch(cell):
        raise MmjsdError(
            f"{file.path}: column {name} has a decimal comma in {rows} ({cell!r}); write decimal points"
        )
    raise MmjsdError(
        f"{file.path}: column {name} is no number in {rows} ({cell[:40]!r}); correct it, empty the cell, or "
        "name the column in `categorical`"
    )


def at_rows(file: TableFile, indices: Sequence[int] | NDArray[np.integer]) -> str:
    """Name rows of a file by their numbers, the first few of them."""
    numbers = [int(index) + file.first_row for index in indices[:5]]
    return f"row{'s' if len(indices) > 1 else ''} {some_of(numbers, len(indices))}"


def some_of(names: Sequence[Any], count: int) -> str:
    """List the first few of so many names."""
    more = f" and {count - len(names[:5])} more" if count > len(names[:5]) else ""
    return ", ".join(map(str, names[:5])) + more
