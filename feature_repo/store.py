"""Opens the feature store of a home folder: its registry, its online store, and our offline store."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView, RepoConfig
    from pyspark.sql import DataFrame

PROJECT = "goldpath"
PAST_FILE = "past.json"
SQLITE = "feature_repo.online_store.NewestSqliteOnlineStore"


def open_store(settings: Settings, *, rows: Literal["newest", "any"] = "newest") -> FeatureStore:
    """The feature store: SQLite online, or Redis where GOLDPATH_REDIS_URL names one.

    Args:
        rows: "newest" lets no row give way to an older one; "any" is for a writer that has made sure of it, and that
            also corrects a row without giving it a later timestamp, which Redis would leave out.
    """
    from feast import FeatureStore

    folder = settings.root / "features"
    folder.mkdir(parents=True, exist_ok=True)
    online: dict[str, Any] = {"type": SQLITE, "path": str(folder / "online.db")}
    if settings.redis_url:
        online = {"type": "redis", "connection_string": settings.redis_url.get_secret_value()}
        online |= {"skip_dedup": rows == "any"}
    return FeatureStore(config=_config(online, folder))


def sqlite_file(store: FeatureStore) -> tuple[int, int] | None:
    """Which file the SQLite store is, whatever its name; None for a server."""
    online = store.config.online_store
    if online.type != SQLITE:
        return None
    status = Path(online.path).stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def writing(settings: Settings) -> Iterator[None]:
    """One writer of a home folder's online store at a time, since writers read what they change."""
    lock = settings.root / "locks" / "online_store.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _config(online: dict[str, Any], folder: Path) -> RepoConfig:
    from feast import RepoConfig

    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry={
            "registry_type": "file",
            "registry_store_type": "feature_repo.registry_file.ReplacedFileRegistryStore",
            "path": str(folder / "registry.db"),
            "cache_ttl_seconds": 0,
        },
        online_store=online,
        offline_store={"type": "feature_repo.offline_store.LakehouseOfflineStore"},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": True},
        repo_path=folder,
    )


def historical(objects: Sequence[Any], service: str, spine: DataFrame, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The features of a service as they were known at each spine row's `event_timestamp`, as a plan that has not run.

    Needs no registry of its own: what the code declares is what is read.

    Args:
        objects: The Feast declarations.
        service: Name of the feature service.
        spine: Join keys and `event_timestamp`; other columns stay.
        tables: A DataFrame for each Feast source name.
    """
    from feast import FeatureStore

    from feature_repo.offline_store import reading

    with tempfile.TemporaryDirectory() as folder, reading(tables.__getitem__):
        store = FeatureStore(config=_config({"type": SQLITE, "path": f"{folder}/online.db"}, Path(folder)))
        store.apply(list(objects))
        # Feast hands the entity frame through as it is; our offline store takes the engine's and returns the engine's.
        entities: Any = spine
        job: Any = store.get_historical_features(entities, store.get_feature_service(service), full_feature_names=True)
        return job.frame


@dataclass(frozen=True, slots=True)
class Materialized:
    """How far the online store has come."""

    as_of: datetime
    since: datetime
    rows: Mapping[str, int]
    rebuilt: bool


def materialize(
    settings: Settings, objects: Sequence[Any], tables: Mapping[str, DataFrame], *, as_of: datetime, beginning: datetime
) -> Materialized:
    """Moves the online store to what was known at `as_of`, UTC.

    Only rows since the last time are written, and writing one again changes nothing, so a killed run is simply run
    again. When `as_of` lies before the last time, the store is emptied and filled anew: it never knows the future.
    The same when a row that the store had passed was corrected, came late or was withdrawn. What pushed events have
    moved further than the tables stays, except where the store is filled anew.

    Args:
        beginning: The first instant of the tables.
    """
    with writing(settings):
        return _materialize(settings, objects, tables, as_of, beginning)


def _materialize(
    settings: Settings, objects: Sequence[Any], tables: Mapping[str, DataFrame], as_of: datetime, beginning: datetime
) -> Materialized:
    from feature_repo.offline_store import reading

    store = open_store(settings)
    store.apply(list(objects))
    views = store.list_batch_feature_views()
    reached = [view.most_recent_end_time for view in views]
    since = min((end or beginning for end in reached), default=beginning)
    rebuilt = any(end is not None and end > as_of for end in reached) or (
        since > beginning and _saved_past(settings, since) != _past(views, tables, since)
    )
    if rebuilt:
        store.teardown()
        store = open_store(settings)
        store.apply(list(objects))
        since = beginning
    with reading(tables.__getitem__) as rows, contextlib.redirect_stdout(io.StringIO()):
        if as_of > since:
            store.materialize(start_date=since, end_date=as_of)
    _save_past(settings, as_of, _past(views, tables, as_of))
    return Materialized(as_of, since, dict(rows), rebuilt)


def _past(views: Sequence[FeatureView], tables: Mapping[str, DataFrame], until: datetime) -> dict[str, str]:
    """For each table how many rows it has up to an instant, and the exclusive or of their hashes."""
    from pyspark.sql import functions as F

    found = {}
    for view in views:
        source: Any = view.batch_source
        names = sorted({*view.join_keys, *(field.name for field in view.features), source.timestamp_field})
        # A hash passes over nulls, so where they are is hashed as well.
        content = F.xxhash64(*names, *[F.col(name).isNull() for name in names])
        rows = tables[source.name].where(F.col(source.timestamp_field) <= F.lit(until))
        found[source.name] = "-".join(map(str, rows.agg(F.count(F.lit(1)), F.bit_xor(content)).collect()[0]))
    return found


def _save_past(settings: Settings, until: datetime, past: Mapping[str, str]) -> None:
    path = settings.root / "features" / PAST_FILE
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"until": until.isoformat(), "past": past}), encoding="utf-8")
    temporary.replace(path)


def _saved_past(settings: Settings, until: datetime) -> dict[str, str] | None:
    """What the tables' past was when the store reached an instant; None if a killed run did not say."""
    path = settings.root / "features" / PAST_FILE
    saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    reached = datetime.fromisoformat(saved["until"]) if saved else None
    return saved["past"] if reached == until else None
