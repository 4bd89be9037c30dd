"""A sensor that keeps a near-real-time table near: it asks only when there is something, one run at a time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import redis

from pipelines.errors import DefinitionError, TransientError
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.landing.delivery import Manifest
from pipelines.landing.edge import Edge
from pipelines.orchestration.micro_batches import micro_batch_sensor
from pipelines.settings import Settings
from pipelines.sources.redis_stream import RedisStream
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import text
from tests.servers import redis as redis_server

BLOCKS = TableId.parse("bronze/toys/blocks")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as started:
        yield started


@dg.op
def take() -> None:
    """Stands for the tables; what they take is tested with them."""


@dg.job(name="blocks")
def job() -> None:
    take()


@dataclass(slots=True)
class Feed:
    """A stream, its landing zone, and the sensor between them."""

    platform: Platform
    instance: dg.DagsterInstance
    client: redis.Redis
    source: RedisStream
    partitions: dg.PartitionsDefinition[str] | None = None
    cursor: str | None = field(default=None)

    def add(self, *numbers: int, at: datetime | None = None) -> None:
        for number in numbers:
            moment = f"{int(at.timestamp() * 1000)}-*" if at else "*"
            self.client.xadd(self.source.stream, {"n": number}, id=moment)

    def land(self) -> None:
        """What the landing asset does."""
        sequence, position = self.platform.landing.position("toys", "blocks") or (0, None)
        url = self.platform.settings.source(self.source.connection)
        for number, found in enumerate(
            self.source.extract(position, connection=url, now=self.platform.now()), start=sequence + 1
        ):
            manifest = Manifest.of(
                found.content, rows=found.rows, sequence=number, position=found.position, attributes=found.attributes
            )
            self.platform.landing.deliver(
                domain="toys", source="blocks", interval=found.interval, name=found.name, content=found.content,
                manifest=manifest,
            )  # fmt: skip

    def take(self) -> None:
        """What the bronze asset does first: every landed file is in a batch."""
        ledger = self.platform.ledger(BLOCKS)
        Edge(self.platform.landing, ledger, self.platform.contracts[BLOCKS]).next_batch(None, committed=-1)

    def tick(self, every_seconds: int = 10) -> dg.SensorResult:
        sensor = micro_batch_sensor(
            "near", job, feeds={BLOCKS: self.source}, every_seconds=every_seconds, partitions=self.partitions
        )
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={PLATFORM: self.platform}, sensor_name="near"
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def said(self, every_seconds: int = 10) -> str:
        skipped = self.tick(every_seconds).skip_reason
        assert isinstance(skipped, dg.SkipReason)
        return str(skipped.skip_message)

    def request(self, every_seconds: int = 10) -> dg.RunRequest:
        [request] = self.tick(every_seconds).run_requests or []
        return request


@pytest.fixture
def feed(server: redis_server.RedisServer, tmp_path: Path) -> Iterator[Feed]:
    contract = toys.contract(tmp_path, str(BLOCKS), [text("n")], format="jsonl")
    settings = Settings(home=tmp_path, profile="test", sources={"cache": server.url})  # type: ignore[arg-type]
    platform = Platform(settings, lambda: {BLOCKS: contract})
    source = RedisStream("cache", f"blocks-{uuid.uuid4()}", rows_per_file=10, wait_seconds=5)
    with redis.Redis.from_url(server.url) as client, dg.DagsterInstance.ephemeral() as instance:
        yield Feed(platform, instance, client, source)


def run_in(feed: Feed, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return feed.instance.create_run_for_job(job, status=status)


def test_nothing_new_asks_for_nothing(feed: Feed) -> None:
    assert feed.said() == "nothing new. bronze/toys/blocks: 0 records and 0 files to take"


def test_records_beyond_the_landed_position_ask_for_one_run(feed: Feed) -> None:
    feed.add(1, 2, 3)
    request = feed.request()
    assert (request.job_name, request.tags["goldpath/backlog"]) == ("blocks", "3")
    feed.land()
    feed.take()
    assert "nothing new" in feed.said()
    feed.add(4)
    assert feed.request().tags["goldpath/backlog"] == "1"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_while_a_run_is_under_way_no_other_is_asked_for(feed: Feed, status: dg.DagsterRunStatus) -> None:
    feed.add(1)
    run = run_in(feed, status)
    assert feed.said() == f"run {run.run_id} is under way. bronze/toys/blocks: 1 records and 0 files to take"
    feed.instance.report_run_canceled(run)
    assert feed.request().job_name == "blocks"


def test_a_file_that_landed_and_was_not_taken_asks_for_a_run(feed: Feed) -> None:
    feed.add(1)
    feed.land()
    assert feed.request().tags["goldpath/backlog"] == "0"


def test_a_run_that_got_no_further_is_asked_for_again_after_a_pause(feed: Feed) -> None:
    feed.add(1)
    feed.request()
    assert "1 run(s) got no further, the next in " in feed.said()
    assert feed.request(every_seconds=0).job_name == "blocks"
    assert "2 run(s) got no further" in feed.said()
    feed.add(2, 3)
    assert "2 run(s) got no further" in feed.said()
    feed.land()
    assert feed.request().job_name == "blocks"


def test_a_run_that_failed_behind_landing_is_asked_for_again(feed: Feed) -> None:
    run_in(feed, dg.DagsterRunStatus.FAILURE)
    assert feed.request().job_name == "blocks"
    run_in(feed, dg.DagsterRunStatus.SUCCESS)
    assert "nothing new" in feed.said()


def test_the_tick_says_how_far_behind_the_table_is_and_what_is_late(feed: Feed) -> None:
    feed.add(1, at=datetime.now(UTC) - timedelta(days=2))
    feed.land()
    feed.take()
    feed.add(2)
    run_in(feed, dg.DagsterRunStatus.STARTED)
    assert "1 records and 0 files to take, 1728" in feed.said()
    assert "s behind (LATE)" in feed.said()


def test_the_cursor_has_position_and_backlog(feed: Feed) -> None:
    feed.add(*range(12))
    feed.land()
    feed.add(12)
    feed.request()
    noted = json.loads(feed.cursor or "")["feeds"]["bronze/toys/blocks"]
    assert (noted["sequence"], noted["position"]["seen"], noted["backlog"]) == (2, 12, 1)


def test_days_of_waiting_files_and_today_are_asked_for(feed: Feed) -> None:
    today = feed.platform.now().date()
    start = (today - timedelta(days=7)).isoformat()
    feed.partitions = dg.DailyPartitionsDefinition(start_date=start, end_offset=1)
    waiting = (today - timedelta(days=3)).isoformat()
    feed.platform.landing.deliver(domain="toys", source="blocks", interval=waiting, name="a.jsonl", content=b"{}\n")
    tags = feed.request().tags
    assert (tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]) == (
        waiting,
        today.isoformat(),
    )
    feed.cursor, feed.partitions = None, dg.DailyPartitionsDefinition(start_date=start)
    with pytest.raises(DefinitionError, match="end_offset=1"):
        feed.tick()


def test_a_source_that_does_not_answer_fails_the_tick(feed: Feed) -> None:
    away = Settings(home=feed.platform.settings.home, profile="test", sources={"cache": "redis://127.0.0.1:1"})  # type: ignore[arg-type, dict-item]
    contracts = feed.platform.contracts
    feed.platform = Platform(away, lambda: contracts)
    with pytest.raises(TransientError, match="nothing is lost"):
        feed.tick()
