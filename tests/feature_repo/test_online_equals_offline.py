"""What the online store answers is what the offline store says was known then, value by value, on real flights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.resources import Platform

pytestmark = [pytest.mark.slow]

DAYS = (date(2013, 1, 1), date(2013, 1, 6))
FIRST = datetime(2013, 1, 5, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(make_platform: Callable[[], Platform]) -> Platform:
    from assets.flights import arrivals
    from pipelines.definitions import defs

    platform = make_platform()
    arrivals.land(platform.landing, start=DAYS[0], end=DAYS[1], database=platform.settings.root / "operations.db")
    tags = {
        "dagster/asset_partition_range_start": DAYS[0].isoformat(),
        "dagster/asset_partition_range_end": DAYS[1].isoformat(),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("ingest")
        job.execute_in_process(instance=instance, tags=tags, resources={"platform": platform})
    return platform


@pytest.mark.parametrize("hours", [0, 9, -20], ids=["first", "later", "and back, which rebuilds the store"])
def test_online_equals_offline(filled: Platform, hours: int) -> None:
    from assets.flights.features import BEGINNING, SERVICE
    from assets.flights.tables import FEATURE_TABLES
    from feature_repo.flights import OBJECTS
    from feature_repo.store import historical, materialize, open_store
    from pipelines.tables import TableId

    as_of = FIRST + timedelta(hours=hours)
    house = filled.lakehouse
    tables = {name: house.read(house.current(TableId.parse(key))) for name, key in FEATURE_TABLES.items()}
    done = materialize(filled.settings, OBJECTS, tables, as_of=as_of, beginning=BEGINNING)
    assert done.rebuilt == (hours < 0)
    flights = house.arrow(house.current(TableId("gold", "flights", "departures")))
    keys = flights.select(["carrier", "flight", "origin", "dest", "tailnum"]).slice(0, 400)
    keys = keys.filter(keys["tailnum"].is_valid())
    asked = keys.append_column("event_timestamp", pa.array([as_of] * keys.num_rows, pa.timestamp("us", "UTC")))
    asked = asked.append_column("row", pa.array(range(keys.num_rows)))
    offline = historical(OBJECTS, SERVICE, house.session.createDataFrame(asked), tables).toArrow().sort_by("row")
    store = open_store(filled.settings)
    online = store.get_online_features(
        features=store.get_feature_service(SERVICE), entity_rows=keys.to_pylist(), full_feature_names=True
    ).to_dict()
    names = [name for name in online if "__" in name]
    assert len(names) > 20
    for name in names:
        assert online[name] == offline[name].to_pylist(), name
