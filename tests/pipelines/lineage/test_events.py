"""Events have what OpenLineage's own client writes for the same run."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from openlineage.client import event_v2 as client
from openlineage.client.generated import (
    column_lineage_dataset,
    dataset_version_dataset,
    error_message_run,
    output_statistics_output_dataset,
    ownership_dataset,
    ownership_job,
    parent_run,
    schema_dataset,
    tags_run,
)
from openlineage.client.serde import Serde

from pipelines.lineage.column_lineage import ColumnLineage, IndirectColumn, SourceColumn, Unknown
from pipelines.lineage.events import NAMESPACE, Dataset, Field, LineageLog, RunIdentity
from pipelines.lineage.facets import PRODUCER
from pipelines.settings import Settings

RUN = RunIdentity("silver/toys/parts", str(uuid.uuid4()), 1, {"project": "toys", "owner": "team"}, "team")
COLUMNS = ColumnLineage(
    columns={
        "weight": (SourceColumn("bronze/toys/parts", "weight", "transformation"),),
        "made": Unknown("a user function", ()),
    },
    indirect=frozenset([IndirectColumn("bronze/toys/parts", "part", "filter")]),
    indirect_unknown=(),
)
READ = Dataset("bronze/toys/parts", "7", "team", (Field("part", "string", "Its number."), Field("weight", "double")))
WRITTEN = Dataset(RUN.asset, "3", columns=COLUMNS, rows=2, bytes=0)
BARE = Dataset("landing/toys/parts", rows=5)


def test_the_events_of_a_run_are_those_of_openlineages_client(tmp_path: Path) -> None:
    log = LineageLog(Settings(home=tmp_path))
    log.start(RUN, [READ, BARE])
    log.complete(RUN, [READ], [WRITTEN, BARE])
    log.fail(RUN, [READ], ValueError("too heavy"))
    events = [_set(event) for event in log.events()]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE", "FAIL"]
    for event in events:
        assert event == _set(_by_client(event["eventType"], event["eventTime"]))


def _by_client(state: str, at: str) -> dict[str, Any]:
    """The event of this state, by the client's classes."""
    read, written, bare = _input(), _output(), client.OutputDataset(NAMESPACE, BARE.name, outputFacets=_statistics(5))
    run: dict[str, Any] = {
        "parent": parent_run.ParentRunFacet(parent_run.Run(RUN.dagster_run_id), parent_run.Job(NAMESPACE, "dagster")),
        "tags": tags_run.TagsRunFacet([tags_run.TagsRunFacetFields(k, v, "GOLDPATH") for k, v in RUN.tags.items()]),
    }
    if state == "FAIL":
        run["errorMessage"] = error_message_run.ErrorMessageRunFacet("ValueError: too heavy", "PYTHON")
    owners = [ownership_job.Owner("team", "MAINTAINER")]
    event = client.RunEvent(
        eventTime=at,
        eventType=client.RunState[state],
        run=client.Run(RUN.run_id, run),
        job=client.Job(NAMESPACE, RUN.asset, {"ownership": ownership_job.OwnershipJobFacet(owners=owners)}),
        inputs=[read, client.InputDataset(NAMESPACE, BARE.name)] if state == "START" else [read],
        outputs=[written, bare] if state == "COMPLETE" else [],
        producer=PRODUCER,
    )
    return json.loads(Serde.to_json(event))


def _input() -> client.InputDataset:
    fields = [schema_dataset.SchemaDatasetFacetFields(f.name, f.type, f.description) for f in READ.fields]
    owners = [ownership_dataset.Owner("team", "MAINTAINER")]
    facets = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet("7"),
        "ownership": ownership_dataset.OwnershipDatasetFacet(owners=owners),
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
    }
    return client.InputDataset(NAMESPACE, READ.name, facets=facets)


def _output() -> client.OutputDataset:
    def source(column: str, kind: str, subtype: str) -> column_lineage_dataset.InputField:
        step = column_lineage_dataset.Transformation(kind, subtype)
        return column_lineage_dataset.InputField(NAMESPACE, "bronze/toys/parts", column, [step])

    fields = {
        "weight": column_lineage_dataset.Fields([source("weight", "DIRECT", "TRANSFORMATION")]),
        "made": column_lineage_dataset.Fields([], "unknown: a user function"),
    }
    facets = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet("3"),
        "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(
            fields, [source("part", "INDIRECT", "FILTER")]
        ),
    }
    return client.OutputDataset(NAMESPACE, WRITTEN.name, facets=facets, outputFacets=_statistics(2, 0))


def _statistics(rows: int, size: int | None = None) -> dict[str, Any]:
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return {"outputStatistics": statistics(rowCount=rows, size=size)}


def _set(value: Any) -> Any:
    """A JSON value without what the client writes of itself, and empty lists and objects, its form of what is not set."""
    if isinstance(value, dict):
        inner = {name: _set(part) for name, part in value.items()}
        return {name: part for name, part in inner.items() if name != "_producer" and part not in ([], {})}
    return [_set(part) for part in value] if isinstance(value, list) else value
