"""What every reader yields: a bounded piece of a file's rows, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: No piece, no row and no line is read that needs more memory than this at once.
BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of one file.

    Attributes:
        rows: The places of the rows in their file, counted from 1; int64.
        columns: Text by the name that stands in the file, whether the contract knows it or not; each as long as `rows`.
        malformed: What arrived where a line is no row, by its position in `rows`; its values are null.
    """

    rows: pa.Array
    columns: Mapping[str, pa.Array]
    malformed: Mapping[int, str] = field(default_factory=dict)


def broken_lines(places: Sequence[int], texts: Sequence[str]) -> Piece:
    """A piece of nothing but lines that are no rows."""
    import pyarrow as pa

    return Piece(pa.array(places, pa.int64()), {}, dict(enumerate(texts)))


def shown(line: bytes) -> str:
    """A line of any bytes as text: what is no UTF-8 as escapes, as in `caf\\xe9`."""
    return line.decode("utf-8", "backslashreplace")
