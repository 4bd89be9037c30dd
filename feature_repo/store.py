"""The feature store of a home folder: how it is opened, read as of an instant, and moved to one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.machine import files, locks
from pipelines.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView, RepoConfig
    from pyspark.sql import DataFrame

PROJECT = "goldpath"
#: The file that holds what the tables' past was when the online store was moved last.
PAST_FILE = "past.json"
ONLINE_FILE, REGISTRY_FILE = "online.db", "registry.db"
SQLITE = "feature_repo.online_store.NewestSqliteOnlineStore"


def open_store(
    settings: Settings, *, rows: Literal["newest", "any"] = "newest", folder: Path | None = None
) -> FeatureStore:
    """The feature store: SQLite online, or Redis where GOLDPATH_REDIS_URL names one.

    Args:
        settings: Of the home folder.
        folder: Where its files lie, if not in the home's folder `features`.
        rows: `newest` keeps a stored row that is newer than the written one. `any` overwrites it on Redis too: for a
            writer that compares rows itself and may correct one without a later timestamp.
    """
    from feast import FeatureStore

    folder = folder or settings.root / "features"
    folder.mkdir(parents=True, exist_ok=True)
    online: dict[str, Any] = {"type": SQLITE, "path": str(folder / ONLINE_FILE)}
    if settings.redis_url:
        online = {"type": "redis", "connection_string": settings.redis_url.get_secret_value()}
        online |= {"skip_dedup": rows == "any"}
    return FeatureStore(config=_config(online, folder))


def sqlite_file(store: FeatureStore) -> tuple[int, int] | None:
    """The device and inode of the SQLite store's file, which change when it is replaced; None for a server."""
    online = store.config.online_store
    if online.type != SQLITE:
        return None
    status = Path(online.path).stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def writing(settings: Settings) -> Iterator[None]:
    """Lets one writer at a time change a home folder's online store, since a writer reads what it changes."""
    with locks.held(settings.root / "locks" / "online_store.lock", purpose="a writer of the online store"):
        yield


def _config(online: dict[str, Any], folder: Path) -> RepoConfig:
    from feast import RepoConfig

    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry={
            "registry_type": "file",
            "registry_store_type": "feature_repo.registry_file.ReplacedFileRegistryStore",
            "path": str(folder / REGISTRY_FILE),
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

    It reads the declarations from the code, not from the home folder's registry.

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
        # Feast passes the entity frame on as it is; our offline store takes and returns frames of the engine.
        entities: Any = spine
        job: Any = store.get_historical_features(entities, store.get_feature_service(service), full_feature_names=True)
        return job.frame


@dataclass(frozen=True, slots=True)
class Materialized:
    """What moving the online store did.

    Attributes:
        as_of: The instant that it was moved to, UTC.
        since: The instant from which rows were written.
        rows: The number of rows that were written, by Feast source name.
        rebuilt: Whether the store was filled anew.
    """

    as_of: datetime
    since: datetime
    rows: Mapping[str, int]
    rebuilt: bool


def materialize(
    settings: Settings, objects: Sequence[Any], tables: Mapping[str, DataFrame], *, as_of: datetime, beginning: datetime
) -> Materialized:
    """Moves the online store to what was known at `as_of`, UTC.

    Only rows since the last move are written. Writing a row again changes nothing, so a killed run can be run again.
    The store is filled anew from the beginning where `as_of` lies before the last move, so that it never holds a row
    from the future, and where a row from before the last move was corrected, came late or was withdrawn. Readers of
    SQLite see the old store until the new one is complete; Redis is emptied first. Rows that pushed events have moved
    further than the tables stay, unless the store is filled anew.

    Args:
        settings: Of the home folder.
        objects: The Feast declarations.
        tables: A DataFrame for each Feast source name.
        as_of: The instant to move to.
        beginning: The first instant of the tables.

    Raises:
        LockTimeout: if another writer holds the store for too long.
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
    ends = [view.most_recent_end_time for view in views]
    since = min((end or beginning for end in ends), default=beginning)
    rebuilt = any(end is not None and end > as_of for end in ends) or (
        since > beginning and _saved_past(settings, since) != _past(views, tables, since)
    )
    beside = settings.root / "features" / "filling"
    if rebuilt:
        since = beginning
        if settings.redis_url:
            store.teardown()
            store = open_store(settings)
        else:
            shutil.rmtree(beside, ignore_errors=True)  # of a killed run
            store = open_store(settings, folder=beside)
        store.apply(list(objects))
    with reading(tables.__getitem__) as rows, contextlib.redirect_stdout(io.StringIO()):
        if as_of > since:
            store.materialize(start_date=since, end_date=as_of)
    if beside.exists():
        for name in (ONLINE_FILE, REGISTRY_FILE):
            (beside / name).replace(settings.root / "features" / name)
        shutil.rmtree(beside)
    _save_past(settings, as_of, _past(views, tables, as_of))
    return Materialized(as_of, since, dict(rows), rebuilt)


def _past(views: Sequence[FeatureView], tables: Mapping[str, DataFrame], until: datetime) -> dict[str, str]:
    """For each table the number of its rows up to an instant, and the exclusive or of their hashes."""
    from pyspark.sql import functions as F

    past = {}
    for view in views:
        source: Any = view.batch_source
        names = sorted({*view.join_keys, *(field.name for field in view.features), source.timestamp_field})
        # The hash skips nulls, so their places are hashed as well.
        content = F.xxhash64(*names, *[F.col(name).isNull() for name in names])
        rows = tables[source.name].where(F.col(source.timestamp_field) <= F.lit(until))
        past[source.name] = "-".join(map(str, rows.agg(F.count(F.lit(1)), F.bit_xor(content)).collect()[0]))
    return past


def _save_past(settings: Settings, until: datetime, past: Mapping[str, str]) -> None:
    """Records the tables' past up to the instant that the store was moved to."""
    content = json.dumps({"until": until.isoformat(), "past": past})
    files.replace(settings.root / "features" / PAST_FILE, content)


def _saved_past(settings: Settings, until: datetime) -> dict[str, str] | None:
    """The tables' past that was recorded for an instant; None if a run was killed before it recorded it."""
    path = settings.root / "features" / PAST_FILE
    saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    recorded = datetime.fromisoformat(saved["until"]) if saved else None
    return saved["past"] if recorded == until else None
