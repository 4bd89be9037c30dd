"""The training set of a while ago is made again from its recorded inputs, after newer flights have changed them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.flights import bronze, features, gold, silver
from assets.flights.deliveries import land
from pipelines.governed.platform import Platform
from pipelines.lakehouse.content_digest import content_digest
from pipelines.provenance import rebuild
from pipelines.provenance.pins import Pins
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep import maintenance
from tests.conftest import Materialize

TRAINING_SET = TableId("gold", "flights", "training_set")
FIRST = date(2013, 2, 8)
DAYS = [bronze.flights, bronze.weather, silver.flights, silver.weather]
LISTS = [bronze.airlines, bronze.airports, bronze.planes, silver.airlines, silver.airports, silver.planes]
GOLD: list[dg.AssetsDefinition] = [
    gold.departures, gold.origin_weather, gold.origin_delays, gold.carrier_delays, gold.destination_delays,
    gold.flight_history, gold.aircraft_history, features.training_set,
]  # fmt: skip


@pytest.fixture(scope="module")
def grown(make_platform: Callable[[], Platform], materialize: Materialize) -> tuple[Platform, list[TableVersion]]:
    """Training sets of three days and, a day at a time, of two more."""
    platform, made = make_platform(), []
    for begin, end in ((FIRST, FIRST + timedelta(days=2)), *[(FIRST + timedelta(days=n),) * 2 for n in (3, 4)]):
        land(platform.landing, start=begin, end=end, database=platform.settings.root / "operations.db")
        if begin == FIRST:
            materialize(platform, LISTS)
        materialize(platform, DAYS, begin.isoformat(), end.isoformat())
        materialize(platform, GOLD)
        made.append(platform.lakehouse.current(TRAINING_SET))
    return platform, made


def test_each_version_is_made_again_bit_for_bit(grown: tuple[Platform, list[TableVersion]], tmp_path: Path) -> None:
    platform, made = grown
    digests = []
    for at in made:
        found = rebuild.rebuild(platform, rebuild.of_version(platform, at), output=tmp_path / "again.parquet")
        assert (found.same_content, found.rows) == (True, platform.lakehouse.snapshot(at).rows)
        assert content_digest(pq.read_table(tmp_path / "again.parquet")) == found.digest
        digests.append(found.digest)
    assert len(set(digests)) == len(made) == 3


def test_the_inputs_are_those_of_then(grown: tuple[Platform, list[TableVersion]]) -> None:
    platform, made = grown
    first, last = (rebuild.of_version(platform, at).inputs for at in (made[0], made[-1]))
    assert set(first) == {"departures"} | set(features.FEATURE_TABLES)
    assert all(_older(first, last))


def _older(first: Mapping[str, TableVersion], last: Mapping[str, TableVersion]) -> list[bool]:
    return [first[name].version < last[name].version for name in first]


def test_it_is_made_again_after_upkeep_too(grown: tuple[Platform, list[TableVersion]]) -> None:
    platform, made = grown
    request = rebuild.of_version(platform, made[0])
    pinned = Pins(dict.fromkeys([made[0], *request.inputs.values()], frozenset({"a model"})))
    maintenance.compact(platform, told={})
    assert maintenance.vacuum(platform, pinned, told={}, keep=timedelta(0))
    assert rebuild.rebuild(platform, request).same_content
