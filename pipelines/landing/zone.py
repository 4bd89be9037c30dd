"""The landing zone: files that sources deliver, below one root.

A delivery is one complete file at `domain/source/dt=INTERVAL/name`. A file whose name begins with `.` or `_` is not
complete, and is ignored. A manifest, `name.manifest.json` beside a file, says what the source says of the file. It is
written before the file appears, so that a reader that sees the file sees its manifest too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pipelines.errors import LandingError
from pipelines.landing import interval as grammar
from pipelines.landing.delivery import MANIFEST, SEQUENCE, Delivery, Manifest, digest, size, stream_digest
from pipelines.landing.interval import INTERVAL
from pipelines.landing.placement import is_hidden, is_text, visible
from pipelines.landing.stores import Entry, FolderStore, Store


class Landing:
    """The deliveries in one store; a path stands for that folder of this machine."""

    def __init__(self, store: Store | Path) -> None:
        self.store = FolderStore(store) if isinstance(store, Path) else store

    @property
    def root(self) -> str:
        """The folder, or the address, that uris are relative to."""
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
        """Lands one file as a whole and returns its uri; landing the same bytes again changes nothing.

        Args:
            domain: The data domain.
            source: The source, named as its bronze table.
            interval: The day, or the instant, that the file covers, as `interval.start` reads it.
            name: The file's name; the number of the manifest's sequence, if there is one, is put before it.
            content: The bytes, or a file that holds them.
            manifest: What the source says of the file.

        Raises:
            LandingError: if another content has landed under that name, or a delivery cannot have the name or interval.
        """
        if PurePosixPath(name).name != name or is_hidden(name) or not is_text(name) or name.endswith(MANIFEST):
            raise LandingError(
                object=f"delivery {name!r} of {domain}/{source}",
                observed="a name that is empty, no text, a path, or that of a manifest or an incomplete file",
                expected="a file name that begins with neither . nor _",
                next_step="deliver it under such a name",
            )
        if grammar.start(interval) is None:
            raise LandingError(
                object=f"delivery {name!r} of {domain}/{source}",
                observed=f"the interval {interval!r}",
                expected=grammar.EXPECTED,
                next_step="deliver it under such an interval",
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
            self.store.put(uri + MANIFEST, manifest.text())
        self.store.put(uri, content)
        return uri

    def _holds(self, landed: Entry, content: bytes | Path) -> bool:
        """Whether a landed file has this content."""
        if landed.bytes != size(content):
            return False
        with self.store.open(landed.path) as stream:
            return stream_digest(stream) == digest(content)

    def domains(self) -> list[str]:
        """The domains that have a folder."""
        return self._named("")

    def sources(self, domain: str) -> list[str]:
        """The sources of a domain that have a folder."""
        return self._named(domain)

    def _named(self, folder: str) -> list[str]:
        return [entry.name for entry in visible(self.store, folder) if entry.kind == "folder" and is_text(entry.name)]

    def deliveries(self, domain: str, source: str, intervals: Collection[str] | None = None) -> list[Delivery]:
        """The deliveries of one source in the order of interval and name; None as intervals stands for all of them."""
        existing = self.intervals(domain, source)
        chosen = existing if intervals is None else [text for text in existing if text in set(intervals)]
        return [delivery for text in chosen for delivery in self.deliveries_of(domain, source, text)]

    def deliveries_of(self, domain: str, source: str, interval: str) -> list[Delivery]:
        """The deliveries of one interval in the order of their names; none if it has no folder."""
        return [
            Delivery(entry.path, interval, entry.bytes, entry.modified_ns)
            for entry in visible(self.store, f"{domain}/{source}/{INTERVAL}{interval}")
            if entry.kind == "file" and is_text(name := entry.name) and not name.endswith(MANIFEST)
        ]

    def intervals(self, domain: str, source: str) -> list[str]:
        """The intervals of one source that have a folder, in their order; `placement` reports other folders."""
        names = [name.removeprefix(INTERVAL) for name in self._named(f"{domain}/{source}") if name.startswith(INTERVAL)]
        return sorted(filter(grammar.start, names), key=grammar.order)

    def open(self, delivery: Delivery) -> BinaryIO:
        """A stream of a delivery's bytes, which the caller closes; raises FileNotFoundError."""
        return self.store.open(delivery.uri)

    def now(self, delivery: Delivery) -> Delivery | None:
        """The delivery with the size and time that its file has now; None if the file is gone."""
        entry = self.store.stat(delivery.uri)
        if entry is None:
            return None
        identity = delivery.sha256, delivery.prefix
        return Delivery(delivery.uri, delivery.interval, entry.bytes, entry.modified_ns, *identity)

    def checksum(self, delivery: Delivery) -> str:
        """SHA-256 of a delivery as it is in the store now, as hexadecimal text."""
        with self.open(delivery) as stream:
            return stream_digest(stream)

    def manifest(self, delivery: Delivery) -> Manifest | None:
        """The manifest of a delivery; None if it has none.

        Raises:
            LandingError: if the manifest cannot be read.
        """
        return self._manifest(delivery.uri + MANIFEST)

    def _manifest(self, uri: str) -> Manifest | None:
        try:
            with self.store.open(uri) as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        try:
            return Manifest.parse(text)
        except ValueError as error:
            raise LandingError(
                object=f"manifest {uri}",
                observed=f"{type(error).__name__}: {error}",
                expected='a JSON object with "bytes" (a number), "sha256" (64 hexadecimal digits) and others',
                next_step="ask the source for it again; the delivery waits until then",
            ) from None

    def position(self, domain: str, source: str) -> tuple[int, Mapping[str, Any]] | None:
        """The sequence number and the position of a source's newest landed extraction; None before the first.

        Raises:
            LandingError: if the manifest of that delivery cannot be read.
        """
        numbered = [d.uri for d in self.deliveries(domain, source) if SEQUENCE.match(PurePosixPath(d.uri).name)]
        for uri in sorted(numbered, key=lambda uri: PurePosixPath(uri).name, reverse=True):
            manifest = self._manifest(uri + MANIFEST)
            if manifest is not None:
                return manifest.sequence, manifest.position
        return None
