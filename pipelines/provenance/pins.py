"""Pinned table versions: what registered models were trained on, and everything that those versions were made from.

A model's run record names the version of its training set and of that table's inputs. From these, the commits of each
table lead to older inputs, down to bronze. What last filled an online store is pinned too, because predictions are
traced through it. Vacuum and log cleanup keep pinned versions readable; retention deletes rows from new versions only.
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
    """The pinned table versions.

    Attributes:
        pinned_by: Table version to the names of what pins it: `model@version`, or the asset of an online store.
    """

    pinned_by: Mapping[TableVersion, frozenset[str]] = field(default_factory=dict)

    def versions(self, table: TableId) -> list[int]:
        """The pinned versions of one table, oldest first."""
        return sorted(at.version for at in self.pinned_by if at.table == table)


def pinned(platform: Platform) -> Pins:
    """All versions that are pinned now.

    Raises:
        ModelError: if a registered version has no complete run record.
        MlflowException: if the registry does not answer, since it is then unknown what may be removed.
    """
    pinned_by: dict[TableVersion, set[str]] = {}
    commits: dict[TableId, list[time_travel.Commit]] = {}
    for name, roots in (*_of_models(platform), *_of_online_stores(platform)):
        waiting = list(roots)
        while waiting:
            at = waiting.pop()
            names = pinned_by.setdefault(at, set())
            if name not in names:
                names.add(name)
                waiting += _inputs(platform.lakehouse, at, commits)
    return Pins({at: frozenset(names) for at, names in pinned_by.items()})


def _inputs(house: Lakehouse, at: TableVersion, commits: dict[TableId, list[time_travel.Commit]]) -> list[TableVersion]:
    """The versions that a version was made from; none for a table that is not in this lakehouse.

    `commits` keeps the commits of each table that was read.
    """
    if at.table not in commits:
        try:
            commits[at.table] = time_travel.commits(house, at.table)
        except NotFoundError:
            commits[at.table] = []
    commit = time_travel.made_by(commits[at.table], at)
    return list((commit.inputs or {}).values()) if commit else []


def _of_models(platform: Platform) -> Iterator[tuple[str, list[TableVersion]]]:
    """Each registered model version, `model@version`, with the table versions of its run record."""
    for name, record in run_records(platform):
        versions = [TableVersion(TableId.parse(table), version) for table, version in record.dataset_versions.items()]
        yield name, versions


def run_records(platform: Platform) -> Iterator[tuple[str, RunRecord]]:
    """The run record of every registered model version, with its name, `model@version`.

    Raises:
        ModelError: if a record is not complete.
        MlflowException: if the registry does not answer.
    """
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
                file = client.download_artifacts(version.run_id or "", f"{EVIDENCE_FOLDER}/{RECORD_FILE}", str(path))
                yield f"{version.name}@{version.version}", RunRecord.read(Path(file).parent)
            token = page.token
            if not token:
                return


def _of_online_stores(platform: Platform) -> list[tuple[str, list[TableVersion]]]:
    """Each asset that fills an online store, with the table versions of its last run, from the lineage events."""
    inputs_by_asset: dict[str, list[dict[str, Any]]] = {}
    for event in platform.lineage.events():
        if event["eventType"] == "COMPLETE" and event["job"]["name"].startswith("features/"):
            inputs_by_asset[event["job"]["name"]] = event["inputs"]
    return [
        (name, [TableVersion(TableId.parse(d["name"]), int(version_of(d) or 0)) for d in inputs if _is_table(d)])
        for name, inputs in inputs_by_asset.items()
    ]


def _is_table(dataset: Mapping[str, Any]) -> bool:
    return dataset["name"].split("/")[0] in ZONES
