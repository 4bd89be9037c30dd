"""Goldpath's Feast offline store: features come from the lakehouse engine, joined by `as_of_join`.

It reads the newest published versions of the home folder's tables; governed runs join without it. Features
above the class that is shown to everybody are refused, since Feast's tools name no clearance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyarrow import dataset

from feature_repo import entity_rows, offline_tables
from feature_repo.asof import as_of_join
from feature_repo.feast_api import (
    DUMMY_ENTITY_ID,
    DUMMY_ENTITY_NAME,
    DUMMY_ENTITY_VAL,
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
from feature_repo.offline_tables import Read, source_rows, table_of
from feature_repo.written_tables import append, save
from pipelines.engine.arrow_rows import arrow_rows
from pipelines.errors import SettingsError
from pipelines.tables import TableId

#: Stands for the dot of a view's name in the engine, where a dot separates the parts of a column's name.
DOT = "\ue000"


class LakehouseOfflineStoreConfig(FeastConfigBaseModel):
    """No options: the settings name the home folder."""

    type: Literal["feature_repo.offline_store.LakehouseOfflineStore"] = (
        "feature_repo.offline_store.LakehouseOfflineStore"
    )


class LakehouseRetrievalJob(RetrievalJob):
    """A plan that has not run yet; Feast applies on-demand views once it is Arrow data.

    Args:
        plan: Makes the plan, of tables as a function reads them.
        full_feature_names: Whether a feature is named `view__feature`.
        on_demand_feature_views: What Feast computes of the rows.
        features: The features that were asked for, each as `view:feature`; None for rows of one table.
        plan_of_spine: Makes the plan of the rows that were asked about.
    """

    def __init__(
        self,
        plan: Callable[[Read], Any],
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        features: list[str] | None = None,
        plan_of_spine: Callable[[Read], Any] | None = None,
    ) -> None:
        self._plan = plan
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._features = features
        self._plan_of_spine = plan_of_spine
        self._tables: dict[TableId, Any] = {}
        self.frame = plan(self._read)

    def _read(self, table: TableId) -> Any:
        """The newest version of a table, the same one each time."""
        if table not in self._tables:
            self._tables[table] = offline_tables.newest(table)
        return self._tables[table]

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @cached_property
    def metadata(self) -> RetrievalMetadata | None:  # type: ignore[override]
        """The features, the other columns of the rows that were asked about, and their first and last instant."""
        from pyspark.sql import functions as F

        if self._features is None or self._plan_of_spine is None:
            return None
        spine = self._plan_of_spine(self._read)
        instant = entity_rows.instant_column(spine)
        bounds = arrow_rows(spine.agg(F.min(instant).alias("first"), F.max(instant).alias("last"))).to_pylist()[0]
        keys = [name for name in spine.columns if name != instant]
        return RetrievalMetadata(self._features, keys, bounds["first"], bounds["last"])

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        rows = arrow_rows(self.frame)
        return rows.rename_columns([name.replace(DOT, ".") for name in rows.column_names])

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Writes the rows to the gold table that the storage names as its path, by a governed run.

        Raises:
            SettingsError: for features that Feast computes of the rows, which the engine does not have.
            What `written_tables.save` raises.
        """
        if self._on_demand_feature_views:
            names = ", ".join(view.name for view in self._on_demand_feature_views)
            raise SettingsError(
                object="result of Feast's offline store",
                observed=f"Feast was asked to save it with {names}, computed after the engine's plan",
                expected="features of tables alone",
                next_step="declare the features on demand of the domain's service, and a training set of it",
            )

        def plan(read: Read) -> Any:
            rows = self._plan(read)
            return rows.withColumnsRenamed({name: name.replace(DOT, "_") for name in rows.columns})

        save(table_of(storage.to_data_source()), plan, list(self._tables), allow_overwrite=allow_overwrite)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()


class LakehouseOfflineStore(OfflineStore):
    """Feast's offline store over Delta tables; what it writes, governed runs write."""

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
            entity_df: A DataFrame of the engine or of pandas, or a query over the published tables, with the join keys
                and `event_timestamp` (UTC), or another column of times if it is the only one. None stands for each
                entity with a row from `start_date` to `end_date`, asked for at `end_date`.
            registry: Where Feast finds entities.
            project: The Feast project.
            full_feature_names: Name a feature `view__feature`.
            filter_by_created_timestamp: Whether a row of a source with a created timestamp counts from its creation.
            **kwargs: `start_date` and `end_date`, UTC; by default the end is now, and the start the longest TTL, or 30
                days, before it.

        Raises:
            SettingsError: for a query of something else, or a feature above the class that is shown to everybody.
            DefinitionError: where `event_timestamp` is a day, a text or a time without a zone; Feast itself has read
                pandas' naive datetime64 as UTC.
        """
        features_by_view: dict[str, list[str]] = {}
        for reference in feature_refs:
            view, _, feature = reference.partition(":")
            features_by_view.setdefault(view, []).append(feature)

        def tables(read: Read) -> list[FeatureRows]:
            found = []
            for view in feature_views:
                features = features_by_view[view.projection.name_to_use()]
                rows = _feature_rows(view, features, registry, project, full_feature_names, read)
                bitemporal = filter_by_created_timestamp and rows.created
                found.append(replace(rows, known_from="creation") if bitemporal else rows)
            return found

        if entity_df is None:
            span = compute_non_entity_date_range(feature_views, kwargs.get("start_date"), kwargs.get("end_date"))

        def spine(read: Read) -> Any:
            if entity_df is None:
                return entity_rows.of_range(tables(read), *span)
            if isinstance(entity_df, str):
                return entity_rows.of_query(entity_df, read)
            if hasattr(entity_df, "unionByName"):
                return entity_df
            return entity_rows.of_pandas(entity_df, tables(read)[0].rows.sparkSession)

        def joined(read: Read) -> Any:
            asked = spine(read)
            return as_of_join(asked, tables(read), timestamp=entity_rows.instant_column(asked))

        return LakehouseRetrievalJob(
            joined,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            features=feature_refs,
            plan_of_spine=spine,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """The last row of each entity from `start_date` to `end_date`, both included, for materialization.

        Of several rows of one instant it is the one that was created last. Rows of a view without an entity have the
        key that Feast gives them.
        """
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        newest = Window.partitionBy(*(join_key_columns or [F.lit(0)])).orderBy(
            *[F.col(name).desc_nulls_last() for name in times]
        )

        def plan(read: Read) -> Any:
            rows = source_rows(data_source, [*join_key_columns, *feature_name_columns], read, mapped=False)
            rows = entity_rows.within(rows, timestamp_field, start_date, end_date)
            rows = rows.withColumn("_rank", F.row_number().over(newest)).where(F.col("_rank") == 1)
            key = [] if join_key_columns else [F.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID)]
            return rows.select(*join_key_columns, *key, *feature_name_columns, *times)

        return LakehouseRetrievalJob(plan)

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
        """All rows from `start_date` to `end_date`, both included; of a saved dataset too."""
        from pyspark.sql import functions as F

        # A dot is in the name of a saved dataset's feature, whose column has an underscore there.
        columns = {name: name.replace(".", "_") for name in (*join_key_columns, *feature_name_columns)}
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]

        def plan(read: Read) -> Any:
            rows = source_rows(data_source, columns.values(), read, mapped=False)
            rows = entity_rows.within(rows, timestamp_field, start_date, end_date)
            shown = [F.col(stored).alias(name.replace(".", DOT)) for name, stored in columns.items()]
            return rows.select(*shown, *times)

        return LakehouseRetrievalJob(plan)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """The columns of a source's table and their types, as its contract has them."""
        return offline_tables.column_types(table_of(data_source))

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Adds rows to the view's table by a governed run, where no asset computes it.

        Raises:
            What `written_tables.append` raises.
        """
        source = feature_view.batch_source
        assert source is not None
        stored = {mapped: name for name, mapped in (source.field_mapping or {}).items()}
        append(table_of(source), table.rename_columns([stored.get(name, name) for name in table.column_names]))

    @staticmethod
    def write_logged_features(
        config: RepoConfig, data: pa.Table | Path, source: Any, logging_config: Any, registry: BaseRegistry
    ) -> None:
        """Adds logged features to the table that the logging destination names as its path, by a governed run.

        Raises:
            What `written_tables.append` raises.
        """
        rows = dataset.dataset(data).to_table() if isinstance(data, Path) else data
        table = table_of(logging_config.destination.to_data_source())
        append(table, rows.rename_columns([name.replace(".", "_") for name in rows.column_names]))


def _feature_rows(
    view: FeatureView, features: list[str], registry: BaseRegistry, project: str, full_feature_names: bool, read: Read
) -> FeatureRows:
    """A view as a table to join."""
    name = view.projection.name_to_use().replace(".", DOT)
    entities = [entity for entity in view.entities if entity != DUMMY_ENTITY_NAME]
    join_keys = [registry.get_entity(entity, project, allow_cache=True).join_key for entity in entities]
    to_spine = view.projection.join_key_map
    source = view.batch_source
    assert source is not None
    return FeatureRows(
        rows=source_rows(source, [*join_keys, *features], read, mapped=True),
        keys={to_spine.get(key, key): key for key in join_keys},
        timestamp=source.timestamp_field,
        columns={feature: f"{name}__{feature}" if full_feature_names else feature for feature in features},
        ttl=view.ttl or None,
        created=source.created_timestamp_column or None,
    )
