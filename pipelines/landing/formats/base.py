"""What a file format is: a module of this package that reads the rows of a file as text."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from pipelines.contracts.model import Contract, Format
from pipelines.landing.delivery import Delivery
from pipelines.landing.zone import Landing

if TYPE_CHECKING:
    import pyarrow as pa

#: The most memory that a piece, a row or a line of a file may need.
BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A delivery that is to be read.

    Attributes:
        landing: Where it is.
        delivery: Which file it is, with its checksum.
        contract: The contract of its bronze table.
        header: Called with the file's column names before a row that has them is yielded; where names appear as the
            file is read, called again with the new ones. It may raise LandingError.
    """

    landing: Landing
    delivery: Delivery
    contract: Contract
    header: Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of one file, in bounded memory.

    Attributes:
        rows: The places of the rows in their file, counted from 1; int64.
        columns: Texts by the column name in the file, known to the contract or not; each as long as `rows`.
        malformed: The text of lines that are not rows, by their position in `rows`; their values are null.
    """

    rows: pa.Array
    columns: Mapping[str, pa.Array]
    malformed: Mapping[int, str] = field(default_factory=dict)


class FileFormat(Protocol):
    """What a module of this package provides."""

    #: Whether a file names each of its columns, so that a column of the contract that it does not name is missing.
    NAMES_EVERY_COLUMN: bool

    def read(self, file: DeliveredFile) -> Iterator[Piece]:
        """The rows of a file as text.

        Raises:
            LandingError: if the file cannot be read as its contract says.
            OSError, ValueError, EOFError: from a library, if the file is damaged.
        """
        ...


def file_format(name: Format | None) -> FileFormat:
    """The format that contracts call `name`: the module of that name in this package. Bronze contracts name one."""
    assert name is not None
    return cast("FileFormat", importlib.import_module(f"pipelines.landing.formats.{name}"))


def malformed_lines(rows: Sequence[int], texts: Sequence[str]) -> Piece:
    """A piece that consists of lines that are not rows: their places and their texts."""
    import pyarrow as pa

    return Piece(pa.array(rows, pa.int64()), {}, dict(enumerate(texts)))


def shown(line: bytes) -> str:
    """A line as text; bytes that are not UTF-8 become escapes, as in `caf\\xe9`."""
    return line.decode("utf-8", "backslashreplace")


def whole_rows(columns: Mapping[str, pa.Array]) -> tuple[dict[str, pa.Array], set[int]]:
    """Values in bytes or text as text, and the positions of the malformed rows, whose values are null.

    A row is malformed if one of its values is not UTF-8 or holds a NUL, which no text column can hold.
    """
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # the module creates its functions as it is imported, where no type checker sees them

    texts, malformed = {}, set()
    for name, values in columns.items():
        try:
            text = values.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            decoded = [None if value is None else shown(value) for value in values.cast(pa.binary()).to_pylist()]
            text = pa.array(decoded, pa.string())
            is_same = pc.equal(text.cast(pa.binary()), values.cast(pa.binary()))
            malformed |= {position for position, same in enumerate(is_same.to_pylist()) if same is False}
        has_nul = pc.match_substring(text, "\0")
        if pc.any(has_nul).as_py():
            malformed |= {position for position, nul in enumerate(has_nul.to_pylist()) if nul}
        texts[name] = text
    if malformed:
        is_whole = pa.array([position not in malformed for position in range(len(next(iter(texts.values()))))])
        texts = {name: pc.if_else(is_whole, text, None) for name, text in texts.items()}
    return texts, malformed
