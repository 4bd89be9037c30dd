"""The table versions that may not go: those that a registered model was trained on, and all that they were made from.

A model's run record names its training set's version and that table's inputs. From there the commits of each table lead
on, down to bronze. Also kept is what the online store was filled from last, since predictions are traced through it.
Retention deletes rows only from new versions; vacuum and log cleanup ask here first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
from pipelines.lakehouse import time_travel
from pipelines.lineage.events import version_of
from pipelines.models.registry import EVIDENCE_FOLDER, Registry
from pipelines.models.run_record import RECORD_FILE, RunRecord
from pipelines.tables import ZONES, TableId, TableVersion

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform
    from pipelines.lakehouse.base import Lakehouse


@dataclass(frozen=True, slots=True)
class Pins:
    """Pinned versions, each with the names of what pins it: `model@version`, or an online store's asset."""

    named_by: Mapping[TableVersion, frozenset[str]] = field(default_factory=dict)

    def versions(self, table: TableId) -> list[int]:
        """The pinned versions of one table, oldest first."""
        return sorted(at.version for at in self.named_by if at.table == table)


def pinned(platform: Platform) -> Pins:
    """Everything that is pinned now.

    Raises:
        ModelError: if a registered version has no complete run record.
        MlflowException: if the registry does not answer; then nobody knows what may go.
    """
    found: dict[TableVersion, set[str]] = {}
    known: dict[TableId, list[time_travel.Commit]] = {}
    for name, roots in (*_models(platform), *_online(platform)):
        waiting = list(roots)
        while waiting:
            at = waiting.pop()
            if name not in found.setdefault(at, set()):
                found[at].add(name)
                waiting += _inputs(platform.lakehouse, at, known)
    return Pins({at: frozenset(names) for at, names in found.items()})


def _inputs(house: Lakehouse, at: TableVersion, known: dict[TableId, list[time_travel.Commit]]) -> list[TableVersion]:
    """What a version was made from; nothing for a table that is not in this lakehouse."""
    if at.table not in known:
        try:
            known[at.table] = time_travel.commits(house, at.table)
        except NotFoundError:
            known[at.table] = []
    commit = time_travel.made_by(known[at.table], at)
    return list((commit.inputs or {}).values()) if commit else []


def _models(platform: Platform) -> Iterator[tuple[str, list[TableVersion]]]:
    for name, record in records(platform):
        versions = [TableVersion(TableId.parse(table), version) for table, version in record.dataset_versions.items()]
        yield name, versions


def records(platform: Platform) -> Iterator[tuple[str, RunRecord]]:
    """The run record of every registered version of every model, as `model@version`."""
    settings = platform.settings
    if not settings.mlflow_uri and not (settings.root / "mlflow").exists():
        return
    client = Registry(settings).client
    token = None
    with tempfile.TemporaryDirectory() as folder:
        while True:
            page = client.search_model_versions(max_results=1000, page_token=token)
            for version in page:
                path = Path(folder, version.run_id or version.version)
                path.mkdir(exist_ok=True)
                record = client.download_artifacts(version.run_id or "", f"{EVIDENCE_FOLDER}/{RECORD_FILE}", str(path))
                yield f"{version.name}@{version.version}", RunRecord.read(Path(record).parent)
            token = page.token
            if not token:
                return


def _online(platform: Platform) -> list[tuple[str, list[TableVersion]]]:
    """What each online store was filled from last, by lineage."""
    last: dict[str, list[dict[str, Any]]] = {}
    for event in platform.lineage.events():
        if event["eventType"] == "COMPLETE" and event["job"]["name"].startswith("features/"):
            last[event["job"]["name"]] = event["inputs"]
    return [
        (name, [TableVersion(TableId.parse(d["name"]), int(version_of(d) or 0)) for d in inputs if _is_table(d)])
        for name, inputs in last.items()
    ]


def _is_table(dataset: Mapping[str, Any]) -> bool:
    return dataset["name"].split("/")[0] in ZONES
