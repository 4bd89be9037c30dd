"""Goldpath's Feast offline store: features come from the lakehouse engine, joined by `as_of_join`.

Feast's configuration cannot hold a session, so callers give a reader of tables (`reading`). A governed run gives its
own, which reads the versions that its lineage names.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
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
)
from feature_repo.feature_rows import FeatureRows
from pipelines.engine.arrow_rows import arrow_rows
from pipelines.errors import EngineError, SettingsError

Reader = Callable[[str], Any]
_reader: ContextVar[Reader] = ContextVar("feature_table_reader")
_pulled: ContextVar[Counter[str]] = ContextVar("feature_rows_pulled")

ENTITY_TIMESTAMP = "event_timestamp"


@contextlib.contextmanager
def reading(reader: Reader) -> Iterator[Counter[str]]:
    """Makes the store read tables with `reader` while the block runs.

    Args:
        reader: Returns the DataFrame of a Feast source name.

    Yields:
        The number of rows that materialization has read so far, by source name.
    """
    pulled: Counter[str] = Counter()
    tokens = _reader.set(reader), _pulled.set(pulled)
    try:
        yield pulled
    finally:
        _reader.reset(tokens[0])
        _pulled.reset(tokens[1])


def _read(source: DataSource | None) -> Any:
    assert source is not None  # each of our views has a batch source
    try:
        return _reader.get()(source.name)
    except LookupError:
        raise EngineError(
            object=f"feature source {source.name}",
            observed="no reader of tables is set",
            expected="a store that is used within feature_repo.offline_store.reading(…)",
            next_step="goldpath materialize features/DOMAIN/online fills the online store; a program gives a reader",
        ) from None


class LakehouseOfflineStoreConfig(FeastConfigBaseModel):
    """No options: tables are read by the reader of `reading`."""

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
        source: str | None = None,
    ) -> None:
        self.frame = frame
        self._source = source
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
        if self._source:
            _pulled.get()[self._source] += rows.num_rows
        return rows

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
            registry: Where Feast finds entities.
            project: The Feast project.
            full_feature_names: Name a feature `view__feature`.
            filter_by_created_timestamp: Whether a row of a source with a created timestamp counts from its creation.
            **kwargs: Feast's other arguments; not used.

        Raises:
            SettingsError: without entity rows.
            DefinitionError: where `event_timestamp` is a day, a text or a time without a zone; Feast itself has read
                pandas' naive datetime64 as UTC.
        """
        if entity_df is None or isinstance(entity_df, str):
            raise SettingsError(
                object=f"historical features {', '.join(feature_refs)}",
                observed="a range of time without entity rows"
                if entity_df is None
                else "entity rows as the text of a query",
                expected=f"a DataFrame of the engine or of pandas with the join keys and {ENTITY_TIMESTAMP}",
                next_step="compute the rows with the session that reads the tables: session.sql(query)",
            )
        spine = entity_df
        if not hasattr(spine, "unionByName"):
            any_table = _read(feature_views[0].batch_source)
            spine = any_table.sparkSession.createDataFrame(entity_df)
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

        rows = _within(_read(data_source), timestamp_field, start_date, end_date)
        newest = Window.partitionBy(*join_key_columns).orderBy(
            F.col(timestamp_field).desc(),
            *([F.col(created_timestamp_column).desc_nulls_last()] if created_timestamp_column else []),
        )
        rows = rows.withColumn("_rank", F.row_number().over(newest)).where(F.col("_rank") == 1)
        rows = rows.select(*join_key_columns, *feature_name_columns, timestamp_field)
        return LakehouseRetrievalJob(rows, source=data_source.name)

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
        rows = _within(_read(data_source), timestamp_field, start_date, end_date)
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


def _feature_rows(
    view: FeatureView, features: list[str], registry: BaseRegistry, project: str, full_feature_names: bool
) -> FeatureRows:
    """A view as a table to join."""
    name = view.projection.name_to_use()
    entities = [entity for entity in view.entities if entity != DUMMY_ENTITY_NAME]
    join_keys = [registry.get_entity(entity, project, allow_cache=True).join_key for entity in entities]
    to_spine = view.projection.join_key_map
    source = view.batch_source
    assert source is not None
    return FeatureRows(
        rows=_read(source),
        keys={to_spine.get(key, key): key for key in join_keys},
        timestamp=source.timestamp_field,
        columns={feature: f"{name}__{feature}" if full_feature_names else feature for feature in features},
        ttl=view.ttl or None,
        known_at=f"{name}__event_timestamp",
        created=source.created_timestamp_column or None,
    )


def _within(rows: Any, timestamp: str, start: datetime | None, end: datetime | None) -> Any:
    """The rows whose timestamp lies from `start` to `end`, both included; None sets no bound."""
    from pyspark.sql import functions as F

    if start is not None:
        rows = rows.where(F.col(timestamp) >= F.lit(start))
    if end is not None:
        rows = rows.where(F.col(timestamp) <= F.lit(end))
    return rows
