"""Goldpath's Feast offline store: features come from the lakehouse engine, joined by `as_of_join`.

It reads the newest published versions of the home folder's tables; governed runs join without it. Features
above the class that is shown to everybody are refused, since Feast's tools name no clearance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from feature_repo.asof import as_of_join
from feature_repo.feast_api import (
    DUMMY_ENTITY_NAME,
    BaseRegistry,
    DataSource,
    FeastConfigBaseModel,
    FeatureView,
    OfflineStore,
    OnDemandFeatureView,
    RepoConfig,
    RetrievalJob,
    RetrievalMetadata,
    compute_non_entity_date_range,
)
from feature_repo.feature_rows import FeatureRows
from pipelines.engine.arrow_rows import arrow_rows
from pipelines.errors import SettingsError
from pipelines.features.declaration import SHOWN, is_shown
from pipelines.tables import TableId

ENTITY_TIMESTAMP = "event_timestamp"
#: Stands for the dot of a view's name in the engine, where a dot separates the parts of a column's name.
DOT = "\ue000"


def _read(source: DataSource | None, columns: Sequence[str]) -> Any:
    """The newest published version of the table that a source names as its path.

    Args:
        source: The source; each of our views has one.
        columns: The keys and features that are asked for.

    Raises:
        NotFoundError: if no version of the table is published.
        SettingsError: for a column above the class that is shown to everybody.
    """
    # Here: the definitions import this package.
    from pipelines.definitions import shared_platform

    file: Any = source
    platform, table = shared_platform(), TableId.parse(file.path)
    platform.require_loaded("feature_repo/feature_store.yaml", table)
    contract = platform.contracts[table]
    if above := [name for name in columns if not is_shown(contract.data_class(name))]:
        raise SettingsError(
            object=f"table {table}",
            observed=f"Feast was asked for {', '.join(above)}, more protected than {SHOWN}",
            expected=f"columns up to {SHOWN}",
            next_step="leave them out, or read them in a governed run, whose service declares what it reads",
        )
    return platform.lakehouse.read(platform.lakehouse.current(table))


class LakehouseOfflineStoreConfig(FeastConfigBaseModel):
    """No options: the settings name the home folder."""

    type: Literal["feature_repo.offline_store.LakehouseOfflineStore"] = (
        "feature_repo.offline_store.LakehouseOfflineStore"
    )


class LakehouseRetrievalJob(RetrievalJob):
    """A DataFrame that has not run yet; Feast applies on-demand views once it is Arrow data."""

    def __init__(
        self,
        frame: Any,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self.frame = frame
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        rows = arrow_rows(self.frame)
        return rows.rename_columns([name.replace(DOT, ".") for name in rows.column_names])

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Raises SettingsError: rows outside governed runs have no lineage, retention or erasure."""
        raise SettingsError(
            object="result of Feast's offline store",
            observed="Feast was asked to save it",
            expected="a training set that a governed run writes, with its lineage, its retention and its erasure",
            next_step="declare a training table in the domain, or take the rows with to_arrow()",
        )

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()


class LakehouseOfflineStore(OfflineStore):
    """Feast's offline store over Delta tables. It reads: governed runs write tables."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Features as they were known at the `event_timestamp` of each entity row.

        Args:
            config: Feast's configuration; not used.
            feature_views: The views to read.
            feature_refs: The features to return, each as `view:feature`.
            entity_df: A DataFrame of the engine, or of pandas, with the join keys and `event_timestamp` (UTC).
                None stands for each entity with a row from `start_date` to `end_date`, asked for at `end_date`.
            registry: Where Feast finds entities.
            project: The Feast project.
            full_feature_names: Name a feature `view__feature`.
            filter_by_created_timestamp: Whether a row of a source with a created timestamp counts from its creation.
            **kwargs: `start_date` and `end_date`, UTC; by default the end is now, and the start the longest TTL, or 30
                days, before it.

        Raises:
            SettingsError: for the text of a query, or a feature above the class that is shown to everybody.
            DefinitionError: where `event_timestamp` is a day, a text or a time without a zone; Feast itself has read
                pandas' naive datetime64 as UTC.
        """
        if isinstance(entity_df, str):
            raise SettingsError(
                object=f"historical features {', '.join(feature_refs)}",
                observed="entity rows as the text of a query",
                expected=f"a DataFrame of the engine or of pandas with the join keys and {ENTITY_TIMESTAMP}, or None",
                next_step="compute the rows with the session that reads the tables: session.sql(query)",
            )
        features_by_view: dict[str, list[str]] = {}
        for reference in feature_refs:
            view, _, feature = reference.partition(":")
            features_by_view.setdefault(view, []).append(feature)
        tables = []
        for view in feature_views:
            features = features_by_view[view.projection.name_to_use()]
            rows = _feature_rows(view, features, registry, project, full_feature_names)
            if filter_by_created_timestamp and rows.created:
                rows = replace(rows, known_from="creation")
            tables.append(rows)
        if entity_df is None:
            start, end = compute_non_entity_date_range(feature_views, kwargs.get("start_date"), kwargs.get("end_date"))
            spine = _entities(tables, start, end)
        else:
            spine = entity_df if hasattr(entity_df, "unionByName") else _spine(entity_df, tables[0].rows.sparkSession)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        keys = [name for name in spine.columns if name != ENTITY_TIMESTAMP]
        return LakehouseRetrievalJob(
            as_of_join(spine, tables, timestamp=ENTITY_TIMESTAMP),
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            metadata=RetrievalMetadata(features=feature_refs, keys=keys),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The last row of each entity from `start_date` to `end_date`, both included, for materialization.

        Of several rows of one instant it is the one that was created last.
        """
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        rows = _read(data_source, [*join_key_columns, *feature_name_columns])
        rows = _within(rows, timestamp_field, start_date, end_date)
        newest = Window.partitionBy(*(join_key_columns or [F.lit(0)])).orderBy(
            F.col(timestamp_field).desc(),
            *([F.col(created_timestamp_column).desc_nulls_last()] if created_timestamp_column else []),
        )
        rows = rows.withColumn("_rank", F.row_number().over(newest)).where(F.col("_rank") == 1)
        rows = rows.select(*join_key_columns, *feature_name_columns, timestamp_field)
        return LakehouseRetrievalJob(rows)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        **kwargs: Any,
    ) -> RetrievalJob:
        """All rows from `start_date` to `end_date`, both included."""
        rows = _read(data_source, [*join_key_columns, *feature_name_columns])
        rows = _within(rows, timestamp_field, start_date, end_date)
        return LakehouseRetrievalJob(rows.select(*join_key_columns, *feature_name_columns, timestamp_field))

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Raises SettingsError: a table is written by a governed run."""
        raise SettingsError(
            object=f"feature view {feature_view.name}",
            observed="Feast was asked to write rows to its table",
            expected="rows that land, and a governed run that takes them, with its checks, its lineage and its cost",
            next_step="deliver them to the landing zone, or push them as events",
        )

    @staticmethod
    def write_logged_features(
        config: RepoConfig, data: Any, source: Any, logging_config: Any, registry: BaseRegistry
    ) -> None:
        """Raises SettingsError: a table is written by a governed run."""
        raise SettingsError(
            object="logged features",
            observed="Feast was asked to write them to a table",
            expected="rows that land, and a governed run that takes them, with its checks, its lineage and its cost",
            next_step="deliver them to the landing zone; Goldpath's prediction service keeps its own log",
        )


def _feature_rows(
    view: FeatureView, features: list[str], registry: BaseRegistry, project: str, full_feature_names: bool
) -> FeatureRows:
    """A view as a table to join."""
    name = view.projection.name_to_use().replace(".", DOT)
    entities = [entity for entity in view.entities if entity != DUMMY_ENTITY_NAME]
    join_keys = [registry.get_entity(entity, project, allow_cache=True).join_key for entity in entities]
    to_spine = view.projection.join_key_map
    source = view.batch_source
    assert source is not None
    return FeatureRows(
        rows=_read(source, [*join_keys, *features]),
        keys={to_spine.get(key, key): key for key in join_keys},
        timestamp=source.timestamp_field,
        columns={feature: f"{name}__{feature}" if full_feature_names else feature for feature in features},
        ttl=view.ttl or None,
        known_at=f"{name}__event_timestamp",
        created=source.created_timestamp_column or None,
    )


def _entities(tables: Sequence[FeatureRows], start: datetime, end: datetime) -> Any:
    """Each entity with a row from `start` to `end`, once, at `end`; a key that a view lacks is null in its rows."""
    from pyspark.sql import functions as F

    found = None
    for table in (table for table in tables if table.keys):
        rows = _within(table.rows, table.timestamp, start, end)
        rows = rows.select(*[F.col(theirs).alias(ours) for ours, theirs in table.keys.items()]).dropna()
        found = rows if found is None else found.unionByName(rows, allowMissingColumns=True)
    if found is None:  # views without entities
        return _spine_at(tables[0].rows.sparkSession, end)
    return found.distinct().withColumn(ENTITY_TIMESTAMP, F.lit(end))


def _spine_at(session: Any, end: datetime) -> Any:
    """One row with an instant alone."""
    return session.createDataFrame(pa.table({ENTITY_TIMESTAMP: pa.array([end], pa.timestamp("us", "UTC"))}))


def _spine(entity_df: Any, session: Any) -> Any:
    """The entity rows of pandas as a DataFrame of the engine; a time without a zone is in UTC, as Feast has it."""
    import pandas as pd

    instants = entity_df[ENTITY_TIMESTAMP]
    if pd.api.types.is_datetime64_dtype(instants):
        entity_df = entity_df.assign(**{ENTITY_TIMESTAMP: instants.dt.tz_localize("UTC")})
    return session.createDataFrame(entity_df)


def _within(rows: Any, timestamp: str, start: datetime | None, end: datetime | None) -> Any:
    """The rows whose timestamp lies from `start` to `end`, both included; None sets no bound."""
    from pyspark.sql import functions as F

    if start is not None:
        rows = rows.where(F.col(timestamp) >= F.lit(start))
    if end is not None:
        rows = rows.where(F.col(timestamp) <= F.lit(end))
    return rows
