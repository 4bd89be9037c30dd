"""An older version of the training set is rebuilt from its recorded inputs after newer flights changed all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.flights import bronze, features, gold, silver
from assets.flights.deliveries import land
from assets.weather.deliveries import land as land_weather
from assets.weather.observations import bronze_observations, silver_observations
from pipelines.governed.platform import Platform
from pipelines.lakehouse.content_digest import content_digest
from pipelines.provenance import rebuild
from pipelines.provenance.pins import Pins
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep import maintenance
from tests.conftest import Materialize

TRAINING_SET = TableId("gold", "flights", "training_set")
FIRST = date(2013, 2, 8)
DAYS = [bronze.flights, silver.flights]
WEATHER = [bronze_observations, silver_observations]
LISTS = [bronze.airlines, bronze.airports, bronze.planes, silver.airlines, silver.airports, silver.planes]
GOLD: list[dg.AssetsDefinition] = [
    gold.departures, gold.origin_weather, gold.origin_delays, gold.carrier_delays, gold.destination_delays,
    gold.flight_history, gold.aircraft_history, features.training_set,
]  # fmt: skip


@pytest.fixture(scope="module")
def grown(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[Platform, list[TableVersion]]:
    """The versions of the training set: of three days, and after each of two more days."""
    platform, versions = make_platform(), []
    for begin, end in ((FIRST, FIRST + timedelta(days=2)), *[(FIRST + timedelta(days=n),) * 2 for n in (3, 4)]):
        land(platform.landing, start=begin, end=end, database=platform.settings.root / "operations.db")
        land_weather(platform.landing, start=begin, end=end)
        if begin == FIRST:
            materialize(platform, LISTS)
        materialize(platform, WEATHER, begin.isoformat(), end.isoformat())
        materialize(platform, DAYS, begin.isoformat(), end.isoformat())
        materialize(platform, GOLD)
        versions.append(platform.lakehouse.current(TRAINING_SET))
    return platform, versions


def test_each_version_is_rebuilt_with_the_same_content(
    grown: tuple[Platform, list[TableVersion]], tmp_path: Path
) -> None:
    platform, versions = grown
    digests = []
    for at in versions:
        rebuilt = rebuild.rebuild(
            platform, rebuild.request_for_version(platform, at), output=tmp_path / "again.parquet"
        )
        assert (rebuilt.same_content, rebuilt.rows) == (True, platform.lakehouse.snapshot(at).rows)
        assert content_digest(pq.read_table(tmp_path / "again.parquet")) == rebuilt.digest
        digests.append(rebuilt.digest)
    assert len(set(digests)) == len(versions) == 3


def test_the_recorded_inputs_of_an_older_version_are_older_versions(grown: tuple[Platform, list[TableVersion]]) -> None:
    platform, versions = grown
    first, last = (rebuild.request_for_version(platform, at).inputs for at in (versions[0], versions[-1]))
    assert set(first) == {"departures"} | set(features.ARRIVAL_DELAY_V1.tables)
    assert all(first[name].version < last[name].version for name in first)


def test_a_pinned_version_is_rebuilt_after_compaction_and_vacuum(grown: tuple[Platform, list[TableVersion]]) -> None:
    platform, versions = grown
    request = rebuild.request_for_version(platform, versions[0])
    pinned = Pins(dict.fromkeys([versions[0], *request.inputs.values()], frozenset({"a model"})))
    maintenance.compact(platform, commit_metadata={})
    assert maintenance.vacuum(platform, pinned, commit_metadata={}, keep=timedelta(0))
    assert rebuild.rebuild(platform, request).same_content
