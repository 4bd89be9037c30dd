"""Documents: any bytes. A row describes one; the bytes stay in landing, which never changes them."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipelines.landing.formats.base import Piece

if TYPE_CHECKING:
    from pipelines.contracts.model import Contract
    from pipelines.landing.zone import Delivery, Landing

#: What is known of every document; its manifest's attributes come beside it under their own names.
COLUMNS = ("name", "media_type", "bytes", "sha256", "uri")


def read(
    landing: Landing, contract: Contract, delivery: Delivery, header: Callable[[list[str]], None]
) -> Iterator[Piece]:
    """One row: name, media type, size in bytes, SHA-256, uri below the landing root, and the manifest's attributes."""
    import pyarrow as pa

    manifest = landing.manifest(delivery)
    name = PurePosixPath(delivery.uri).name
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    known = dict(zip(COLUMNS, (name, kind, str(delivery.bytes), delivery.sha256, delivery.uri), strict=True))
    attributes = {key: _text(value) for key, value in (manifest.attributes if manifest else {}).items()}
    values = known | {key: value for key, value in attributes.items() if value is not None}
    header([key for key in values if key in {column.name for column in contract.columns} or key in attributes])
    columns = {key: pa.array([value], pa.string()) for key, value in values.items()}
    yield Piece(pa.array([1], pa.int64()), columns)


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
