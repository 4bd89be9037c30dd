"""Opens a delivery for its reader: decompressed by what its first bytes say, transcoded by what its contract says."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import LandingError
from pipelines.landing.formats.base import BLOCK_BYTES

if TYPE_CHECKING:
    from pipelines.contracts.model import Contract
    from pipelines.landing.zone import Delivery, Landing

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a ZIP archive or an Excel workbook", b"%PDF": "a PDF document",
          b"SQLite format 3": "a SQLite database"}  # fmt: skip


def opened(landing: Landing, contract: Contract, delivery: Delivery) -> Any:
    """A binary stream of the delivery's text in UTF-8, which Arrow's readers and `lines` take.

    Raises:
        LandingError: if the first bytes are those of another format than the contract names.
    """
    import pyarrow as pa

    with landing.open(delivery) as stream:
        head = stream.read(16)
    for magic, what in _OTHER.items():
        if head.startswith(magic):
            raise wrong_format(delivery, contract, what)
    raw = unpacked(landing, delivery)
    return raw if contract.encoding == "utf-8" else pa.transcoding_input_stream(raw, contract.encoding, "utf-8")


def unpacked(landing: Landing, delivery: Delivery) -> Any:
    """A binary stream of the delivery's bytes, decompressed where its first bytes are those of gzip or zstd."""
    import pyarrow as pa

    stream = landing.open(delivery)
    head = stream.read(4)
    stream.seek(0)
    raw: Any = stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")
    codec = next((codec for magic, codec in _COMPRESSED.items() if head.startswith(magic)), None)
    return pa.CompressedInputStream(raw, codec) if codec else raw


def refuse_repeated(names: Sequence[str], delivery: Delivery) -> None:
    """Raises LandingError where two columns have one name: of two values only one could be kept."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise LandingError(
            object=f"delivery {delivery.uri}",
            observed=f"more than one column {', '.join(repeated)}",
            expected="each column name once: of two values under one name only one could be kept",
            next_step="move the file out of landing and ask for it again, with names that differ",
            code="repeated_column",
        )


def wrong_format(delivery: Delivery, contract: Contract, what: str) -> LandingError:
    """The error of a file that is not what its contract says."""
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"it is {what}, whatever its name says",
        expected=f"a {contract.format} file, plain or packed with gzip or zstd, as {contract.path.name} says",
        next_step="move the file out of landing and ask for it again; the others are not affected",
        code="wrong_format",
    )


def lines(stream: Any) -> Iterator[tuple[int, bytes]]:
    """The lines of a text with their numbers from 1, without their ends; of a line beyond 8 MiB its beginning alone.

    What is left out of such a line is said at its end, so that no reader takes it for a whole one.
    """
    buffered = io.BufferedReader(stream, BLOCK_BYTES)
    number = 0
    while line := buffered.readline(BLOCK_BYTES + 1):
        number += 1
        if len(line) > BLOCK_BYTES and not line.endswith(b"\n"):
            size = len(line)
            while part := buffered.readline(BLOCK_BYTES):
                size += len(part)
                if part.endswith(b"\n"):
                    break
            line = line[:1000] + f"... [a line of {size} bytes, more than {BLOCK_BYTES}]".encode()
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield number, line.rstrip(b"\r\n")
