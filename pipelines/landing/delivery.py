"""What arrives in the landing zone, as values: a delivery is one landed file, a manifest what its source says of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

#: How the name of a manifest ends; before it stands the name of its file.
MANIFEST = ".manifest.json"
#: How the name of a numbered delivery begins.
SEQUENCE = re.compile(r"(\d{8})-")
#: A record id is the prefix of its delivery, of so many characters, and the number of its row.
PREFIX_CHARACTERS = 16
#: Bytes that are read at once for a checksum; each read is one request where a bucket holds the file.
_READ_BYTES = 1 << 20
#: The largest manifest that is read.
_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """One landed file.

    Attributes:
        uri: Its path below the landing root.
        interval: The day, or the instant, that it covers: a text that `interval.start` reads.
        bytes: Its size.
        modified_ns: When it was written, in nanoseconds since the epoch, by the store's clock.
        sha256: Its checksum; None before it was computed.
        prefix: What the record ids of its rows begin with; None before it was judged.
    """

    uri: str
    interval: str
    bytes: int
    modified_ns: int
    sha256: str | None = None
    prefix: str | None = None


class Manifest(BaseModel):
    """What a source says of one delivery. Other members of the JSON object are ignored.

    Attributes:
        bytes: The size of the file.
        sha256: Its checksum, 64 hexadecimal digits, in lower case whatever the source wrote.
        rows: How many records it has.
        produced_at: An ISO 8601 instant.
        sequence: The number of the extraction among those of its source, from 1, of at most 8 digits; 0 where the
            source counts none.
        position: Where the source was read to, so where its next extraction begins.
        attributes: Anything else that the source says.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    bytes: Annotated[int, Field(ge=0, lt=1 << 63)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    rows: int | None = Field(default=None, ge=0)
    produced_at: str | None = None
    sequence: int = Field(default=0, ge=0, lt=10**8)
    position: Mapping[str, Any] = Field(default_factory=dict)
    attributes: Mapping[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        content: bytes | Path,
        *,
        rows: int | None = None,
        sequence: int = 0,
        position: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The manifest of a content, produced now."""
        return cls(
            bytes=size(content),
            sha256=digest(content),
            rows=rows,
            produced_at=datetime.now(UTC).isoformat(),
            sequence=sequence,
            position=position or {},
            attributes=attributes or {},
        )

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """The manifest that a JSON text holds.

        Raises:
            ValueError: if the text is not a JSON object with members of these types; the message names them.
        """
        if len(text) > _MANIFEST_BYTES:
            raise ValueError(f"more than {_MANIFEST_BYTES:,} bytes")
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors())
            raise ValueError("; ".join(problems)) from None
        except RecursionError:
            raise ValueError("JSON with too many levels") from None

    def text(self) -> bytes:
        """The manifest as a JSON text."""
        return json.dumps(self.model_dump()).encode()


def size(content: bytes | Path) -> int:
    """The number of bytes of a content, in memory or in a file."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def digest(content: bytes | Path) -> str:
    """SHA-256 of a content, in memory or in a file, as hexadecimal text."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BinaryIO) -> str:
    """SHA-256 of what is left of a stream, as hexadecimal text."""
    sha256 = hashlib.sha256()
    while block := stream.read(_READ_BYTES):
        sha256.update(block)
    return sha256.hexdigest()
