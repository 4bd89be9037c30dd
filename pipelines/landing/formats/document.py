"""Documents: files of any bytes. A row describes one; the bytes stay in landing, where they are never changed.

If the contract declares a column `content`, the row has the document's text too.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipelines.landing.formats.base import BLOCK_BYTES, DeliveredFile, Piece
from pipelines.landing.formats.opening import unpacked

NAMES_EVERY_COLUMN = False
#: What is known of every document; the attributes of its manifest are further columns.
COLUMNS = ("name", "media_type", "bytes", "sha256", "uri")
#: The text, for contracts that declare it.
CONTENT = "content"


def read(file: DeliveredFile) -> Iterator[Piece]:
    """One row: name, media type, size in bytes, SHA-256, uri below the landing root, and the manifest's attributes.

    `content` is null for a document that is no text in the contract's encoding, or of more than BLOCK_BYTES.
    """
    import pyarrow as pa

    delivery = file.delivery
    manifest = file.landing.manifest(delivery)
    name = PurePosixPath(delivery.uri).name
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    known = dict(zip(COLUMNS, (name, media_type, str(delivery.bytes), delivery.sha256, delivery.uri), strict=True))
    attributes = {key: _text(value) for key, value in (manifest.attributes if manifest else {}).items()}
    values = known | {key: value for key, value in attributes.items() if value is not None}
    declared = {column.name for column in file.contract.columns}
    if CONTENT in declared and (content := _content(file)) is not None:
        values[CONTENT] = content
    file.header([key for key in values if key in declared or key in attributes])
    columns = {key: pa.array([value], pa.string()) for key, value in values.items()}
    yield Piece(pa.array([1], pa.int64()), columns)


def _content(file: DeliveredFile) -> str | None:
    with unpacked(file.landing, file.delivery) as stream:
        content = stream.read(BLOCK_BYTES + 1)
    try:
        text = content.decode(file.contract.encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    return None if len(content) > BLOCK_BYTES or "\0" in text else text


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
