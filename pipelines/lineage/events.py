"""Lineage: an OpenLineage event when an asset run starts, completes or fails.

Every event is appended to `<home>/lineage/events.jsonl`, which Goldpath itself reads. If an OpenLineage HTTP endpoint
is set, `outbox` sends it the file's events. Job and dataset names are asset keys, in the namespace `goldpath`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.lineage.facets import PRODUCER, RUN_EVENT, facet
from pipelines.lineage.outbox import Outbox
from pipelines.machine import json_lines
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.lineage.column_lineage import ColumnLineage

NAMESPACE = "goldpath"


@dataclass(frozen=True, slots=True)
class Field:
    """A column in the schema facet of a dataset."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a run read or wrote: a table, landed files, a model, a deployment.

    `columns` is the column lineage of an output; `rows` and `bytes` are what the run wrote to it.
    """

    name: str
    version: str | None = None
    owner: str | None = None
    fields: tuple[Field, ...] = ()
    columns: ColumnLineage | None = None
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """One asset's part of a Dagster run, in one attempt."""

    asset: str
    dagster_run_id: str
    attempt: int
    tags: Mapping[str, str]
    owner: str

    @property
    def run_id(self) -> str:
        """The OpenLineage run id: a UUID for each asset and attempt, since one Dagster run executes many assets."""
        return str(uuid.uuid5(uuid.UUID(self.dagster_run_id), f"{self.asset}#{self.attempt}"))


class LineageLog:
    """Writes lineage events, and reads them from the file."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.root / "lineage" / "events.jsonl"
        self.outbox = Outbox(settings, self.path) if settings.lineage_url else None

    def start(self, run: RunIdentity, inputs: Sequence[Dataset]) -> None:
        self._emit("START", run, inputs, [], None)

    def complete(self, run: RunIdentity, inputs: Sequence[Dataset], outputs: Sequence[Dataset]) -> None:
        self._emit("COMPLETE", run, inputs, outputs, None)

    def fail(self, run: RunIdentity, inputs: Sequence[Dataset], error: BaseException) -> None:
        self._emit("FAIL", run, inputs, [], error)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields every event, oldest first. A line that is no event is skipped; `damaged` names it."""
        yield from json_lines.read(self.path, is_event)

    def events_from(self, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The events after a byte offset, as `json_lines.read_from` has it."""
        yield from json_lines.read_from(self.path, offset, is_event)

    def damaged(self) -> list[int]:
        """The numbers of the lines that are no events."""
        return json_lines.damaged(self.path, is_event)

    def producer_of(self, name: str, version: str | None = None) -> dict[str, Any] | None:
        """Returns the last COMPLETE event that wrote the dataset, in that version if one is given."""
        producer = None
        for event in self.events():
            if event["eventType"] == "COMPLETE":
                for output in event.get("outputs", []):
                    if output["name"] == name and version in (None, version_of(output)):
                        producer = event
        return producer

    def _emit(
        self,
        state: str,
        run: RunIdentity,
        inputs: Sequence[Dataset],
        outputs: Sequence[Dataset],
        error: BaseException | None,
    ) -> None:
        event = {
            "eventTime": datetime.now(UTC).isoformat(),
            "producer": PRODUCER,
            "schemaURL": RUN_EVENT,
            "eventType": state,
            "run": {"runId": run.run_id, "facets": _run_facets(run, error)},
            "job": {
                "namespace": NAMESPACE,
                "name": run.asset,
                "facets": {"ownership": facet("OwnershipJobFacet", owners=_owners(run.owner))},
            },
            "inputs": [{"namespace": NAMESPACE, "name": d.name, "facets": _dataset_facets(d)} for d in inputs],
            "outputs": [
                {
                    "namespace": NAMESPACE,
                    "name": d.name,
                    "facets": _dataset_facets(d),
                    "outputFacets": _output_facets(d),
                }
                for d in outputs
            ],
        }
        if self.outbox:
            self.outbox.begin()
        json_lines.append(self.path, event)
        if self.outbox:
            self.outbox.deliver()


def version_of(dataset: Mapping[str, Any]) -> str | None:
    """Returns the version of a dataset in an event."""
    return dataset.get("facets", {}).get("version", {}).get("datasetVersion")


def is_event(record: Mapping[str, Any]) -> bool:
    """Whether a line of the log is an event with what its readers look at."""
    datasets = [*record["inputs"], *record["outputs"]]
    named = all(isinstance(d["name"], str) and isinstance(version_of(d), str | None) for d in datasets)
    parent = record["run"].get("facets", {}).get("parent", {}).get("run", {}).get("runId", "")
    return named and all(isinstance(text, str) for text in (record["eventType"], record["job"]["name"], parent))


def _owners(owner: str) -> list[dict[str, str]]:
    return [{"name": owner, "type": "MAINTAINER"}]


def _run_facets(run: RunIdentity, error: BaseException | None) -> dict[str, Any]:
    facets = {
        "parent": facet(
            "ParentRunFacet",
            run={"runId": run.dagster_run_id},
            job={"namespace": NAMESPACE, "name": "dagster"},
        ),
        "tags": facet("TagsRunFacet", tags=[{"key": k, "value": v, "source": "GOLDPATH"} for k, v in run.tags.items()]),
    }
    if error is not None:
        message = f"{type(error).__name__}: {error}"
        facets["errorMessage"] = facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    return facets


def _dataset_facets(dataset: Dataset) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if dataset.version is not None:
        facets["version"] = facet("DatasetVersionDatasetFacet", datasetVersion=dataset.version)
    if dataset.owner:
        facets["ownership"] = facet("OwnershipDatasetFacet", owners=_owners(dataset.owner))
    if dataset.fields:
        fields = [{"name": f.name, "type": f.type, "description": f.description} for f in dataset.fields]
        facets["schema"] = facet("SchemaDatasetFacet", fields=fields)
    if dataset.columns is not None:
        from pipelines.lineage.column_lineage import to_openlineage

        facets["columnLineage"] = to_openlineage(dataset.columns, NAMESPACE)
    return facets


def _output_facets(dataset: Dataset) -> dict[str, Any]:
    if dataset.rows is None and dataset.bytes is None:
        return {}
    statistics = facet("OutputStatisticsOutputDatasetFacet", rowCount=dataset.rows, size=dataset.bytes)
    return {"outputStatistics": statistics}
