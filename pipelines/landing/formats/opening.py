"""Opens a delivery for its format: decompressed as its first bytes say, transcoded as its contract says."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery
from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile
from pipelines.landing.zone import Landing

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_NOT_TEXT = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a SQLite database",
    b"\xfd7zXZ\0": "a file packed with xz",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x04\x22\x4d\x18": "a file packed with lz4",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"Obj\x01": "an Avro file",
    b"ARROW1\0\0": "an Arrow file",
    b"{\\rtf": "an RTF document",
} | {b"BZh%d1AY&SY" % level: "a file packed with bzip2" for level in range(1, 10)}
#: Of a line that is too long, this many bytes are kept.
_KEPT_BYTES = 1_000


def text_stream(file: DeliveredFile) -> Any:
    """A binary stream of a file's text in UTF-8, which Arrow's readers and `lines` take.

    Raises:
        LandingError: if the first bytes are those of a format that is not text.
    """
    import pyarrow as pa

    contract = file.contract
    stream = file.landing.open(file.delivery)
    head = stream.read(16)
    if kind := other_kind(head):
        stream.close()
        raise wrong_format(file.delivery, contract, kind)
    raw = _unpacked(stream, head)
    if contract.encoding == "utf-8":
        return raw
    with contextlib.ExitStack() as opened:
        opened.callback(raw.close)
        stream = pa.transcoding_input_stream(raw, contract.encoding, "utf-8")
        opened.pop_all()
    return stream


def other_kind(head: bytes) -> str | None:
    """What a file is whose first bytes are those of a format that is not text; None if they are of none."""
    return next((kind for magic, kind in _NOT_TEXT.items() if head.startswith(magic)), None)


def unpacked(landing: Landing, delivery: Delivery) -> Any:
    """A binary stream of a delivery's bytes, decompressed if its first bytes are those of gzip or zstd."""
    stream = landing.open(delivery)
    return _unpacked(stream, stream.read(4))


def _unpacked(stream: BinaryIO, head: bytes) -> Any:
    """The bytes of a stream from its begin, of which `head` was read, decompressed."""
    import pyarrow as pa

    stream.seek(0)
    raw: Any = stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")
    codec = next((codec for magic, codec in _COMPRESSED.items() if head.startswith(magic)), None)
    return pa.CompressedInputStream(raw, codec) if codec else raw


def refuse_repeated(names: Sequence[str], delivery: Delivery) -> None:
    """Raises LandingError if two columns have one name: of two values only one could be kept."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise LandingError(
            object=f"delivery {delivery.uri}",
            observed=f"more than one column {', '.join(repeated)}",
            expected="each column name once: of two values under one name only one could be kept",
            next_step="move the file out of landing and ask for it again, with names that differ",
            code="repeated_column",
        )


def wrong_format(delivery: Delivery, contract: Contract, kind: str) -> LandingError:
    """The error of a file of another kind than its contract says."""
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"it is {kind}, whatever its name says",
        expected=f"a {contract.format} file, plain or packed with gzip or zstd, as {contract.path.name} says",
        next_step="move the file out of landing and ask for it again; the others are not affected",
        code="wrong_format",
    )


def lines(stream: Any) -> Iterator[tuple[int, bytes]]:
    """The lines of a text with their numbers from 1, without their line ends.

    A line of more than BLOCK_BYTES is cut, and ends with a note of its size, so that no reader takes it for a whole
    line.
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
            line = line[:_KEPT_BYTES] + f"... [a line of {size} bytes, more than {BLOCK_BYTES}]".encode()
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield number, line.rstrip(b"\r\n")
