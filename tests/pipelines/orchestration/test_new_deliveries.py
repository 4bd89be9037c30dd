"""New deliveries ask for one run over their days, by a key that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import new_deliveries
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.landing.edge import Edge
from pipelines.orchestration.new_deliveries import fresh_deliveries, requests
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import text

BLOCKS, SHOPS, SILVER = (TableId.parse(f"{zone}/toys/{name}") for zone, name in (
    ("bronze", "blocks"), ("bronze", "shops"), ("silver", "blocks"),
))  # fmt: skip
DAILY = {BLOCKS, SILVER}
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

Deliver = Callable[[str, str, str], None]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Daily blocks and a list of shops; nothing has landed."""
    contracts = {table: toys.contract(tmp_path, str(table), [text("name")]) for table in (BLOCKS, SHOPS, SILVER)}
    return Platform(Settings(home=tmp_path, profile="test"), lambda: contracts)


@pytest.fixture
def deliver(platform: Platform) -> Deliver:
    def run(source: str, day: str, name: str) -> None:
        platform.landing.deliver(
            domain="toys", source=source, interval=day, name=name, content=f"name\n{source}{day}{name}\n".encode()
        )

    return run


def take_all(platform: Platform) -> None:
    """What a run does before it reads: plans a batch of everything that is new."""
    for table in fresh_deliveries(platform):
        edge = Edge(platform.landing, platform.ledger(table), platform.contracts[table])
        edge.next_batch(None, committed=len(edge.ledger.batches()) - 1)


def test_new_files_of_several_days_ask_for_one_run_over_them(platform: Platform, deliver: Deliver) -> None:
    for day in ("2013-01-04", "2013-01-02", "2013-01-03"):
        deliver("blocks", day, "a.csv")
    [request] = requests(platform, DAILY)
    assert request.job_name == "refresh"
    assert {RANGE_START: "2013-01-02", RANGE_END: "2013-01-04"}.items() <= request.tags.items()


def test_the_days_are_those_of_daily_tables(platform: Platform, deliver: Deliver) -> None:
    deliver("shops", "2012-01-01", "a.csv")
    deliver("blocks", "2013-01-02", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.job_name, request.tags[RANGE_START], request.tags[RANGE_END]) == (
        "refresh",
        "2013-01-02",
        "2013-01-02",
    )


def test_a_new_list_alone_asks_for_the_lists_without_days(platform: Platform, deliver: Deliver) -> None:
    deliver("shops", "2013-01-02", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.job_name, RANGE_START in request.tags) == ("reference", False)


def test_the_key_is_the_same_for_the_same_files_and_another_for_others(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    [first], [again] = requests(platform, DAILY), requests(platform, DAILY)
    deliver("blocks", "2013-01-02", "b.csv")
    [more] = requests(platform, DAILY)
    assert first.run_key == again.run_key
    assert first.run_key
    assert more.run_key != first.run_key


def test_when_everything_is_taken_there_is_nothing_to_ask_for(platform: Platform, deliver: Deliver) -> None:
    assert list(requests(platform, DAILY)) == []
    deliver("blocks", "2013-01-02", "a.csv")
    deliver("shops", "2013-01-02", "a.csv")
    take_all(platform)
    assert list(requests(platform, DAILY)) == []


def test_only_what_came_after_a_batch_is_asked_for(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    take_all(platform)
    deliver("blocks", "2013-01-05", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2013-01-05", "2013-01-05")
    assert {table: [d.uri for d in fresh] for table, fresh in fresh_deliveries(platform).items()} == {
        BLOCKS: ["toys/blocks/dt=2013-01-05/a.csv"]
    }


def test_a_repeated_delivery_is_known_once_a_batch_has_seen_it(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    [delivery] = platform.landing.deliveries("toys", "blocks")
    with platform.landing.open(delivery) as stream:
        content = stream.read()
    platform.landing.deliver(domain="toys", source="blocks", interval="2013-01-02", name="b.csv", content=content)
    take_all(platform)
    assert list(requests(platform, DAILY)) == []


def test_a_repeated_delivery_alone_is_not_asked_for_for_ever(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    take_all(platform)
    [delivery] = platform.landing.deliveries("toys", "blocks")
    with platform.landing.open(delivery) as stream:
        content = stream.read()
    platform.landing.deliver(domain="toys", source="blocks", interval="2013-01-02", name="b.csv", content=content)
    take_all(platform)
    assert list(requests(platform, DAILY)) == []


def test_the_sensor_asks_for_runs_or_says_why_not(platform: Platform, deliver: Deliver) -> None:
    def tick() -> list[Any]:
        asked: Any = new_deliveries(dg.build_sensor_context(resources={PLATFORM: platform}))
        return list(asked)

    [skipped] = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert "nothing has landed" in str(skipped.skip_message)
    deliver("blocks", "2013-01-02", "a.csv")
    [request] = tick()
    assert isinstance(request, dg.RunRequest)


def test_the_sensor_is_off_until_somebody_switches_it_on() -> None:
    assert new_deliveries.default_status == dg.DefaultSensorStatus.STOPPED


def test_pushed_events_get_a_run_of_their_own(platform: Platform, deliver: Deliver) -> None:
    deliver("shops", "2013-01-01", "a")
    [alone] = requests(platform, DAILY, [SHOPS])
    deliver("blocks", "2013-01-02", "b")
    pushed, daily = requests(platform, DAILY, [SHOPS])
    assert (pushed.job_name, pushed.run_key) == ("events", alone.run_key)
    assert (daily.job_name, daily.tags[RANGE_START]) == ("refresh", "2013-01-02")
