"""OpenLineage's objects as JSON, without its client library, whose import takes a process 0.2 s.

`tests/pipelines/lineage/test_events.py` compares what is written here with what the client's own classes write.
"""

from __future__ import annotations

from typing import Any

PRODUCER = "https://goldpath.example/producer"
SPECIFICATION = "https://openlineage.io/spec"
RUN_EVENT = f"{SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent"
#: The version of each facet's schema.
VERSIONS = {
    "ColumnLineageDatasetFacet": "1-2-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "OwnershipDatasetFacet": "1-0-1",
    "OwnershipJobFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "SchemaDatasetFacet": "1-2-0",
    "TagsRunFacet": "1-0-0",
}


def facet(schema: str, **content: Any) -> dict[str, Any]:
    """A facet of one of the schemas in `VERSIONS`; content that is None is left out."""
    url = f"{SPECIFICATION}/facets/{VERSIONS[schema]}/{schema}.json#/$defs/{schema}"
    return {"_producer": PRODUCER, "_schemaURL": url, **set_values(content)}


def set_values(content: dict[str, Any]) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in content.items() if value is not None}
