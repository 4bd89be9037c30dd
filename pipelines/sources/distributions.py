"""The installed Python packages: the metadata of each distribution, as the document that its wheel brought."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import Distribution
from typing import Any

from pipelines.sources.base import Extracted, day


@dataclass(frozen=True, slots=True)
class DistributionMetadata:
    """The file `METADATA` of each distribution that was installed or changed since the last delivery.

    Each is a document of its own, by the order of their names. Its manifest says the `distribution`, by its normalized
    name (PEP 503), and the `version`. No package is imported.

    Args:
        folders: Where distributions are installed; None for everywhere that this process imports from.
    """

    folders: tuple[str, ...] | None = None
    kind: str = "python"
    connection: None = None

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The documents that differ from those taken; the position has the checksum of each, by distribution."""
        taken = dict((position or {}).get("taken", {}))
        for name, distribution in installed(self.folders).items():
            content = (distribution.read_text("METADATA") or "").encode()
            checksum = hashlib.sha256(content).hexdigest()[:12]
            if content and taken.get(name) != checksum:
                taken = taken | {name: checksum}
                attributes = {"distribution": name, "version": distribution.version}
                yield Extracted(day(now), f"{name}_{checksum}.txt", content, 1, {"taken": taken}, attributes)


def installed(folders: tuple[str, ...] | None) -> dict[str, Distribution]:
    """The distributions by normalized name, sorted; of several of one name, the one that an import finds."""
    found: dict[str, Distribution] = {}
    path = sys.path if folders is None else list(folders)
    for distribution in importlib.metadata.distributions(path=path):
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution)
    return dict(sorted(found.items()))
