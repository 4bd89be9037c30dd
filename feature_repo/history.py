"""The features of a service as they were known: the rows of a spine, each with the values at its instant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from feature_repo.asof import as_of_join
from feature_repo.feature_rows import FeatureRows
from pipelines.errors import DefinitionError
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureService

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def historical(service: FeatureService, spine: DataFrame, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The features of a service as they were known at each spine row's `event_timestamp`, as a plan that has not run.

    Args:
        service: The feature service.
        spine: The service's keys and `event_timestamp`; other columns stay.
        tables: A DataFrame for each Feast source name.

    Returns:
        The spine's columns, the features named `view__feature`, and for each view `view__event_timestamp`, the instant
        from which the used row was known.

    Raises:
        DefinitionError: if the spine lacks a column.
    """
    missing = [name for name in (*service.keys, EVENT_TIMESTAMP) if name not in spine.columns]
    if missing:
        raise DefinitionError(
            object=f"spine of feature service {service.full_name}",
            observed=f"it lacks {', '.join(missing)}",
            expected=f"the keys of its views and {EVENT_TIMESTAMP}, the instant at which features are asked for",
            next_step="add the columns in the transform that returns the spine",
        )
    rows = [
        FeatureRows(
            rows=tables[view.table.source_name],
            keys={key: key for key in view.keys},
            timestamp=EVENT_TIMESTAMP,
            columns=dict(zip(view.fields, view.full_names, strict=True)),
            known_at=f"{view.name}__{EVENT_TIMESTAMP}",
        )
        for view in service.views
    ]
    return as_of_join(spine, rows, timestamp=EVENT_TIMESTAMP)
