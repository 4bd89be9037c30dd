"""Feast's registry as a file that is replaced: whoever reads it while it is written sees all of it, before or after."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from feast.infra.registry.file import FileRegistryStore
from feast.repo_config import RegistryConfig

if TYPE_CHECKING:
    from feast.protos.feast.core.Registry_pb2 import Registry


class ReplacedFileRegistryStore(FileRegistryStore):
    """Feast's file store writes in place, and a reader at that moment finds nothing, or a part."""

    def _write_registry(self, registry_proto: Registry) -> None:
        path = self._filepath
        beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        FileRegistryStore(RegistryConfig(path=str(beside)), Path()).update_registry_proto(registry_proto)
        beside.replace(path)
