"""Feast's registry file, read while it is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from feast.protos.feast.core.Project_pb2 import Project
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig

from feature_repo.registry_file import ReplacedFileRegistryStore


def test_a_reader_sees_a_complete_registry_while_another_is_written(tmp_path: Path) -> None:
    registry = Registry(projects=[Project() for _ in range(1_000)])
    store = ReplacedFileRegistryStore(RegistryConfig(path=str(tmp_path / "registry.db")), tmp_path)
    store.update_registry_proto(registry)
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(lambda: [store.update_registry_proto(registry) for _ in range(100)])
        seen = {len(store.get_registry_proto().projects)}
        while not writing.done():
            seen.add(len(store.get_registry_proto().projects))
        writing.result()
    assert seen == {1_000}
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]
