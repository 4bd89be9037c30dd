"""Feast's registry as a file that is replaced as a whole, so that a reader sees the old or the new registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.feast_api import FileRegistryStore, RegistryConfig
from pipelines.machine import files

if TYPE_CHECKING:
    from feature_repo.feast_api import Registry


class ReplacedFileRegistryStore(FileRegistryStore):
    """Feast's own file store writes in place: a reader at that moment finds no registry, or a part of one."""

    def _write_registry(self, registry_proto: Registry) -> None:
        with files.replacing(self._filepath) as temporary:
            FileRegistryStore(RegistryConfig(path=str(temporary)), Path()).update_registry_proto(registry_proto)
