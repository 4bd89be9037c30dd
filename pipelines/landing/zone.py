"""The landing zone: where deliveries arrive.

A delivery is one complete file at `domain/source/dt=INTERVAL/name`. Names that begin with `.` or `_` are not complete
and are left alone. A manifest, `name.manifest.json` beside a file, says what the source says of it; it is written
before the file appears, so a file that can be seen is never ahead of its manifest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pipelines.errors import LandingError
from pipelines.landing.stores import Entry, FolderStore, Store

INTERVAL = "dt="
MANIFEST = ".manifest.json"
SEQUENCE = re.compile(r"(\d{8})-")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """One landed file.

    `uri` is relative to the landing root; `interval` is the day (or snapshot) that it covers; the record ids of its
    rows begin with `prefix`, once it is planned to be taken.
    """

    uri: str
    interval: str
    bytes: int
    modified_ns: int
    sha256: str | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a source says of one delivery.

    `rows` counts its records, `produced_at` is an ISO 8601 instant, `position` is where the source was read to and so
    where the next extraction begins, `sequence` counts the extractions of one source.
    """

    bytes: int
    sha256: str
    rows: int | None = None
    produced_at: str | None = None
    sequence: int = 0
    position: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

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
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        produced = datetime.now(UTC).isoformat()
        return cls(size, digest(content), rows, produced, sequence, position or {}, attributes or {})


class Landing:
    """Deliveries below one root; a folder where a path is given."""

    def __init__(self, store: Store | Path) -> None:
        self.store = FolderStore(store) if isinstance(store, Path) else store

    @property
    def root(self) -> str:
        return self.store.root

    def deliver(
        self,
        *,
        domain: str,
        source: str,
        interval: str,
        name: str,
        content: bytes | Path,
        manifest: Manifest | None = None,
    ) -> str:
        """Lands one file, whole, and returns its uri; landing the same bytes again changes nothing.

        With a sequence in its manifest a file's name begins with that number.

        Raises:
            LandingError: if a different file of that name has landed, or the name is none that would be found again.
        """
        if PurePosixPath(name).name != name or name[:1] in ("", ".", "_") or name.endswith(MANIFEST):
            raise LandingError(
                object=f"delivery {name!r} of {domain}/{source}",
                observed="a name that is empty, has folders in it, or marks a manifest or an incomplete file",
                expected="a file name that begins with neither . nor _",
                next_step="deliver it under such a name",
            )
        if manifest is not None and manifest.sequence:
            name = f"{manifest.sequence:08d}-{name}"
        uri = f"{domain}/{source}/{INTERVAL}{interval}/{name}"
        landed = self.store.stat(uri)
        if landed is not None:
            if self._holds(landed, content):
                return uri
            raise LandingError(
                object=f"delivery {uri}",
                observed="another file of this name has landed, with other content",
                expected="a new name for new content: what has landed is never changed",
                next_step="deliver the correction under another name, such as with a sequence number",
            )
        if manifest is not None:
            self.store.put(uri + MANIFEST, json.dumps(asdict(manifest)).encode())
        self.store.put(uri, content)
        return uri

    def _holds(self, landed: Entry, content: bytes | Path) -> bool:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if landed.bytes != size:
            return False
        with self.store.open(landed.path) as stream:
            return _digest(stream) == digest(content)

    def domains(self) -> list[str]:
        """The domains of which anything has landed."""
        return [name for name in self.store.folders("") if name[0] not in "._"]

    def strays(self, domain: str) -> list[str]:
        """Files of a domain that lie in no interval, so that no run looks at them."""
        folders = [domain, *(f"{domain}/{source}" for source in self.sources(domain))]
        entries = [entry for folder in folders for entry in self.store.files(folder)]
        return [entry.path for entry in entries if entry.path.rpartition("/")[2][0] not in "._"]

    def sources(self, domain: str) -> list[str]:
        """The sources of which anything has landed."""
        return self.store.folders(domain)

    def deliveries(self, domain: str, source: str, intervals: Collection[str] | None = None) -> list[Delivery]:
        """The files of one source, by interval and name; only of the given intervals if any are given."""
        return [
            Delivery(entry.path, interval, entry.bytes, entry.modified_ns)
            for interval, entry in self._entries(domain, source, intervals)
            if not entry.link and not entry.path.endswith(MANIFEST)
        ]

    def links(self, domain: str, source: str, intervals: Collection[str] | None = None) -> list[str]:
        """The symbolic links among the files of one source; nobody follows them."""
        return [entry.path for _, entry in self._entries(domain, source, intervals) if entry.link]

    def intervals(self, domain: str, source: str) -> list[str]:
        """The intervals of which one source may have landed something, sorted."""
        folders = self.store.folders(f"{domain}/{source}")
        return sorted(name.removeprefix(INTERVAL) for name in folders if name.startswith(INTERVAL))

    def _entries(self, domain: str, source: str, intervals: Collection[str] | None) -> Iterator[tuple[str, Entry]]:
        for interval in self.intervals(domain, source) if intervals is None else sorted(set(intervals)):
            for entry in self.store.files(f"{domain}/{source}/{INTERVAL}{interval}"):
                if entry.path.rpartition("/")[2][0] not in "._":
                    yield interval, entry

    def open(self, delivery: Delivery) -> BinaryIO:
        """The bytes of a delivery."""
        return self.store.open(delivery.uri)

    def now(self, delivery: Delivery) -> Delivery | None:
        """The delivery as it lies there at this moment; None where it is gone."""
        entry = self.store.stat(delivery.uri)
        return replace(delivery, bytes=entry.bytes, modified_ns=entry.modified_ns) if entry else None

    def checksum(self, delivery: Delivery) -> str:
        with self.open(delivery) as stream:
            return _digest(stream)

    def manifest(self, delivery: Delivery) -> Manifest | None:
        """What the source says of a delivery; None where it says nothing.

        Raises:
            LandingError: if the manifest is none.
        """
        return self._manifest(delivery.uri + MANIFEST)

    def _manifest(self, uri: str) -> Manifest | None:
        try:
            with self.store.open(uri) as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        try:
            record = json.loads(text)
            known = {f.name for f in fields(Manifest)}
            return Manifest(**{name: value for name, value in record.items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise LandingError(
                object=f"manifest {uri}",
                observed=f"{type(error).__name__}: {error}",
                expected='a JSON object with "bytes" and "sha256", and what it may say besides',
                next_step="ask the source for it again; the delivery waits until then",
            ) from None

    def position(self, domain: str, source: str) -> tuple[int, Mapping[str, Any]] | None:
        """Where the newest extraction left off: its sequence number and position; None before the first."""
        found = [d.uri for d in self.deliveries(domain, source) if SEQUENCE.match(PurePosixPath(d.uri).name)]
        for uri in sorted(found, key=lambda uri: PurePosixPath(uri).name, reverse=True):
            manifest = self._manifest(uri + MANIFEST)
            if manifest is not None:
                return manifest.sequence, manifest.position
        return None


def digest(content: bytes | Path) -> str:
    """SHA-256 of a content, as hexadecimal text."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return _digest(stream)


def _digest(stream: BinaryIO) -> str:
    found = hashlib.sha256()
    while block := stream.read(_CHUNK):
        found.update(block)
    return found.hexdigest()
