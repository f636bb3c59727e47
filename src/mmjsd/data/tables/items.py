"""The items of a modality of a table: which there are, which sample has which, their rows in the store."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmjsd.data.store import Table
from mmjsd.data.tables.reading import TableFile, at_rows, some_of
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET, encode

__all__ = ["Items", "codes_of", "first_rows", "refuse_bad_ids", "rows_by_id", "text_items"]

_BLOCK = 4096  # texts that are turned into token ids at a time


class Items(NamedTuple):
    """The distinct items of a modality."""

    of_samples: NDArray[np.int64]
    """(P,): the item of each sample, -1 = missing."""
    table: Callable[[NDArray[np.int64]], Table]
    """Make a table, without labels, of items (N,)."""


def codes_of(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    """Number the distinct values of a column in the order of their first rows.

    Returns:
        The number of each row's (P,), -1 where it is null, and the values.
    """
    encoded = column.dictionary_encode().unify_dictionaries()
    numbers = [pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    return np.concatenate(numbers).astype(np.int64), encoded.chunk(0).dictionary


def first_rows(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the row in which each number of :func:`codes_of` stands first."""
    there = np.flatnonzero(codes >= 0)
    return there[np.unique(codes[there], return_index=True)[1]]


def rows_by_id(file: TableFile, ids: pa.ChunkedArray, wanted: pa.ChunkedArray) -> NDArray[np.int64]:
    """Find the rows of a file by their ids.

    Args:
        file: whose ids they are.
        ids: of its rows.
        wanted: (P,).

    Returns:
        (P,): the index of each row; -1 where there is none.

    Raises:
        MmjsdError: an id is missing or twice in the file.
    """
    refuse_bad_ids(file, file.columns[0], ids)
    found = pc.index_in(wanted, value_set=ids.combine_chunks())
    found = pc.if_else(pc.is_valid(wanted), found, pa.scalar(None, pa.int32()))
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)


def refuse_bad_ids(file: TableFile, column: str, ids: pa.ChunkedArray) -> None:
    """Check that each row has an id of its own.

    Raises:
        MmjsdError: the line names the rows.
    """
    if not len(ids):
        raise MmjsdError(f"{file.path}: has no rows below its header; write one for each sample")
    codes, names = codes_of(ids)
    if len(empty := np.flatnonzero(codes < 0)):
        raise MmjsdError(f"{file.path}: column {column} is empty in {at_rows(file, empty)}; give each an id")
    if len(names) < len(codes):
        counts = np.bincount(codes)
        first = int(np.argmax(counts > 1))
        rows = np.flatnonzero(codes == first)
        more = f" ({(counts > 1).sum()} ids are)" if (counts > 1).sum() > 1 else ""
        raise MmjsdError(
            f"{file.path}: the id {names[first].as_py()!r} is given twice, in {at_rows(file, rows)}{more}; "
            f"each row must have its own in the column {column!r}"
        )


def text_items(file: TableFile, column: str, texts: pa.ChunkedArray, length: int) -> Items:
    """Take the texts of a column: lower case, symbols of the alphabet, blanks behind.

    Letters lose their accents; what else the alphabet has not becomes a blank. Both are counted and told.
    """
    codes, distinct = codes_of(texts)
    ids = np.empty((len(distinct), length), np.uint8)
    replaced: Counter[str] = Counter()
    cut = 0
    for first in range(0, len(distinct), _BLOCK):
        block = []
        for text in distinct.slice(first, _BLOCK).to_pylist():
            written = _written(text, replaced)
            cut += len(written) > length
            block.append(written[:length])
        ids[first : first + len(block)] = encode(block, length)
    if cut:
        print(
            f"{file.path}: column {column}: {cut} of {len(distinct)} texts cut to {length} symbols",
            flush=True,
        )
    if replaced:
        some = some_of([f"{symbol!r} {count}" for symbol, count in replaced.most_common(5)], len(replaced))
        print(
            f"{file.path}: column {column}: {replaced.total()} symbols outside of the alphabet written "
            f"without accent or as blanks: {some}",
            flush=True,
        )
    return Items(codes, lambda items: Table("text", ids[items], alphabet=ALPHABET))


_KNOWN = frozenset(ALPHABET)


def _written(text: str, replaced: Counter[str]) -> str:
    """A text in symbols of the alphabet; counts what it had to replace."""
    text = text.lower().replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    if _KNOWN.issuperset(text):
        return text
    symbols = []
    for symbol in text:
        if symbol in _KNOWN:
            symbols.append(symbol)
            continue
        replaced[symbol] += 1
        plain = unicodedata.normalize("NFKD", symbol.casefold()).lower()
        symbols.append("".join(part if part in _KNOWN else "" for part in plain) or " ")
    return "".join(symbols)
