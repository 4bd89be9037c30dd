"""The sensor for new deliveries requests one run over their days, with a run key that depends on the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.landing.edge import Edge
from pipelines.orchestration.new_deliveries import Watched, fresh_deliveries, new_deliveries_sensor, requests
from pipelines.orchestration.runs import RANGE_END, RANGE_START
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text

BLOCKS, SHOPS, SILVER = (TableId.parse(f"{zone}/toys/{name}") for zone, name in (
    ("bronze", "blocks"), ("bronze", "shops"), ("silver", "blocks"),
))  # fmt: skip
JOBS = {"days": "toys_refresh", "reference": "toys_reference", "events": "toys_events"}
DAILY = Watched(
    frozenset({BLOCKS, SHOPS}),
    dict.fromkeys((BLOCKS, SILVER), dg.DailyPartitionsDefinition("2013-01-01")),
    frozenset(),
    JOBS,
)

Deliver = Callable[[str, str, str], None]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """A platform with daily blocks and a reference table of shops; nothing has landed."""
    contracts = {
        table: toy_contracts.contract(tmp_path, str(table), [text("name")]) for table in (BLOCKS, SHOPS, SILVER)
    }
    return Platform(Settings(home=tmp_path, profile="test"), lambda: contracts)


@pytest.fixture
def deliver(platform: Platform) -> Deliver:
    def run(source: str, day: str, name: str) -> None:
        platform.landing.deliver(
            domain="toys", source=source, interval=day, name=name, content=f"name\n{source}{day}{name}\n".encode()
        )

    return run


def take_all(platform: Platform) -> None:
    """Plans a batch of all new deliveries, as a run does before it reads."""
    for table in fresh_deliveries(platform, DAILY.tables):
        edge = Edge(platform.landing, platform.ledger(table), platform.contracts[table])
        edge.next_batch(None, committed=len(edge.ledger.batches()) - 1)


def test_new_files_of_several_days_request_one_run_over_these_days(platform: Platform, deliver: Deliver) -> None:
    for day in ("2013-01-04", "2013-01-02", "2013-01-03"):
        deliver("blocks", day, "a.csv")
    [request] = requests(platform, DAILY)
    assert request.job_name == "toys_refresh"
    assert {RANGE_START: "2013-01-02", RANGE_END: "2013-01-04"}.items() <= request.tags.items()


def test_the_day_of_a_reference_file_does_not_extend_the_range(platform: Platform, deliver: Deliver) -> None:
    deliver("shops", "2012-01-01", "a.csv")
    deliver("blocks", "2013-01-02", "a.csv")
    [request] = requests(platform, DAILY)
    assert request.job_name == "toys_refresh"
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2013-01-02", "2013-01-02")


@pytest.mark.parametrize("day", ["2012-12-31", "2999-01-01", "2013-01-02T10Z"])
def test_a_day_without_a_partition_does_not_extend_the_range(platform: Platform, deliver: Deliver, day: str) -> None:
    deliver("blocks", day, "a.csv")
    assert list(requests(platform, DAILY)) == []
    deliver("blocks", "2013-01-03", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2013-01-03", "2013-01-03")


def test_a_new_reference_file_alone_requests_a_run_of_the_reference_tables_without_days(
    platform: Platform, deliver: Deliver
) -> None:
    deliver("shops", "2013-01-02", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.job_name, RANGE_START in request.tags) == ("toys_reference", False)


def test_the_run_key_is_equal_for_the_same_files_and_differs_for_others(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    [first], [second] = requests(platform, DAILY), requests(platform, DAILY)
    deliver("blocks", "2013-01-02", "b.csv")
    [with_new_file] = requests(platform, DAILY)
    assert first.run_key == second.run_key
    assert first.run_key
    assert with_new_file.run_key != first.run_key


def test_after_all_files_were_taken_no_run_is_requested(platform: Platform, deliver: Deliver) -> None:
    assert list(requests(platform, DAILY)) == []
    deliver("blocks", "2013-01-02", "a.csv")
    deliver("shops", "2013-01-02", "a.csv")
    take_all(platform)
    assert list(requests(platform, DAILY)) == []


def test_a_request_covers_only_files_that_landed_after_the_last_batch(platform: Platform, deliver: Deliver) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    take_all(platform)
    deliver("blocks", "2013-01-05", "a.csv")
    [request] = requests(platform, DAILY)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2013-01-05", "2013-01-05")
    assert {table: [d.uri for d in fresh] for table, fresh in fresh_deliveries(platform, DAILY.tables).items()} == {
        BLOCKS: ["toys/blocks/dt=2013-01-05/a.csv"]
    }


@pytest.mark.parametrize("first_is_taken", [False, True])
def test_after_a_batch_has_seen_a_repeated_delivery_no_run_is_requested(
    platform: Platform, deliver: Deliver, first_is_taken: bool
) -> None:
    deliver("blocks", "2013-01-02", "a.csv")
    if first_is_taken:
        take_all(platform)
    [delivery] = platform.landing.deliveries("toys", "blocks")
    with platform.landing.open(delivery) as stream:
        content = stream.read()
    platform.landing.deliver(domain="toys", source="blocks", interval="2013-01-02", name="b.csv", content=content)
    take_all(platform)
    assert list(requests(platform, DAILY)) == []


def test_the_sensor_yields_run_requests_or_a_skip_reason(platform: Platform, deliver: Deliver) -> None:
    sensor = new_deliveries_sensor("toys", DAILY, [dg.define_asset_job(name) for name in JOBS.values()])

    def tick() -> list[Any]:
        results: Any = sensor(dg.build_sensor_context(resources={PLATFORM: platform}))
        return list(results)

    [skipped] = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "every file that has landed was taken"
    deliver("blocks", "2013-01-02", "a.csv")
    [request] = tick()
    assert isinstance(request, dg.RunRequest)


def test_each_domain_with_bronze_tables_has_a_sensor_that_is_off_by_default() -> None:
    sensors = {s.name: s.default_status for s in defs.get_repository_def().sensor_defs if "new_deliveries" in s.name}
    names = ("flights_new_deliveries", "packages_new_deliveries", "weather_new_deliveries")
    assert sensors == dict.fromkeys(names, dg.DefaultSensorStatus.STOPPED)


def test_new_pushed_events_request_a_run_of_their_own(platform: Platform, deliver: Deliver) -> None:
    events_of = dataclasses.replace(DAILY, pushed=frozenset({SHOPS}))
    deliver("shops", "2013-01-01", "a")
    [only_pushed] = requests(platform, events_of)
    deliver("blocks", "2013-01-02", "b")
    pushed, daily = requests(platform, events_of)
    assert (pushed.job_name, pushed.run_key) == ("toys_events", only_pushed.run_key)
    assert (daily.job_name, daily.tags[RANGE_START]) == ("toys_refresh", "2013-01-02")
