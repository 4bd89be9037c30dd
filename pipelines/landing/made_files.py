"""Lands files that a program makes in place of a source: recorded or made-up data, as the source would deliver it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.landing.zone import Landing


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file of a source; `interval` is what it covers, as the landing zone writes intervals."""

    source: str
    interval: str
    suffix: str
    content: bytes
    rows: int

    @property
    def name(self) -> str:
        """The file's name: its source and interval."""
        return f"{self.source}_{self.interval.replace('-', '')}.{self.suffix}"


@dataclass(frozen=True, slots=True)
class Landed:
    """What one call landed; files that had landed before are not counted."""

    files: int
    rows: int
    bytes: int


def land_files(landing: Landing, domain: str, files: Iterable[MadeFile]) -> Landed:
    """Lands files of a domain's sources; landing the same files again changes nothing.

    Raises:
        LandingError: if a different file of the same name has landed.
    """
    landed = [file for file in files if _deliver(landing, domain, file)]
    return Landed(len(landed), sum(file.rows for file in landed), sum(len(file.content) for file in landed))


def _deliver(landing: Landing, domain: str, file: MadeFile) -> bool:
    """Lands a file; returns whether it had not landed before."""
    known = {delivery.uri for delivery in landing.deliveries(domain, file.source, [file.interval])}
    uri = landing.deliver(
        domain=domain, source=file.source, interval=file.interval, name=file.name, content=file.content
    )
    return uri not in known
