"""The micro-batch sensor requests a run only when there are records or files to take, and one run at a time."""

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
from pipelines.orchestration.runs import range_tags
from pipelines.settings import Settings
from pipelines.sources.redis_stream import RedisStream
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.servers import redis as redis_server

BLOCKS = TableId.parse("bronze/toys/blocks")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dg.op
def materialize_tables() -> None:
    """Stands for the tables of the job, which have tests of their own."""


@dg.job(name="blocks")
def job() -> None:
    materialize_tables()


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
            entry_id = f"{int(at.timestamp() * 1000)}-*" if at else "*"
            self.client.xadd(self.source.stream, {"n": number}, id=entry_id)

    def land(self) -> None:
        """Lands all records of the stream, as the landing asset does."""
        sequence, position = self.platform.landing.position("toys", "blocks") or (0, None)
        url = self.platform.settings.source(self.source.connection)
        for number, file in enumerate(
            self.source.extract(position, connection=url, now=self.platform.now()), start=sequence + 1
        ):
            manifest = Manifest.of(
                file.content, rows=file.rows, sequence=number, position=file.position, attributes=file.attributes
            )
            self.platform.landing.deliver(
                domain="toys", source="blocks", interval=file.interval, name=file.name, content=file.content,
                manifest=manifest,
            )  # fmt: skip

    def take(self) -> None:
        """Plans a batch of all landed files, as the bronze asset does first."""
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

    def skip_message(self, every_seconds: int = 10) -> str:
        skipped = self.tick(every_seconds).skip_reason
        assert isinstance(skipped, dg.SkipReason)
        return str(skipped.skip_message)

    def request(self, every_seconds: int = 10) -> dg.RunRequest:
        [request] = self.tick(every_seconds).run_requests or []
        return request


@pytest.fixture
def feed(server: redis_server.RedisServer, tmp_path: Path) -> Iterator[Feed]:
    contract = toy_contracts.contract(tmp_path, str(BLOCKS), [text("n")], format="jsonl")
    settings = Settings(home=tmp_path, profile="test", sources={"cache": server.url})  # type: ignore[arg-type]
    platform = Platform(settings, lambda: {BLOCKS: contract})
    source = RedisStream("cache", f"blocks-{uuid.uuid4()}", rows_per_file=10, wait_seconds=5)
    with redis.Redis.from_url(server.url) as client, dg.DagsterInstance.ephemeral() as instance:
        yield Feed(platform, instance, client, source)


def create_run(feed: Feed, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return feed.instance.create_run_for_job(job, status=status)


def test_without_new_records_no_run_is_requested(feed: Feed) -> None:
    assert feed.skip_message() == "nothing new. bronze/toys/blocks: 0 records and 0 files to take"


def test_records_after_the_landed_position_request_one_run(feed: Feed) -> None:
    feed.add(1, 2, 3)
    request = feed.request()
    assert (request.job_name, request.tags["goldpath/backlog"]) == ("blocks", "3")
    feed.land()
    feed.take()
    assert "nothing new" in feed.skip_message()
    feed.add(4)
    assert feed.request().tags["goldpath/backlog"] == "1"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_while_a_run_is_in_progress_no_other_is_requested(feed: Feed, status: dg.DagsterRunStatus) -> None:
    feed.add(1)
    run = create_run(feed, status)
    assert feed.skip_message() == f"run {run.run_id} is in progress. bronze/toys/blocks: 1 records and 0 files to take"
    feed.instance.report_run_canceled(run)
    assert feed.request().job_name == "blocks"


def test_a_file_that_landed_and_was_not_taken_requests_a_run(feed: Feed) -> None:
    feed.add(1)
    feed.land()
    assert feed.request().tags["goldpath/backlog"] == "0"


def test_a_run_without_progress_is_requested_again_after_a_pause(feed: Feed) -> None:
    feed.add(1)
    feed.request()
    assert "1 run(s) made no progress, the next in " in feed.skip_message()
    assert feed.request(every_seconds=0).job_name == "blocks"
    assert "2 run(s) made no progress" in feed.skip_message()
    feed.add(2, 3)
    assert "2 run(s) made no progress" in feed.skip_message()
    feed.land()
    assert feed.request().job_name == "blocks"


def test_a_run_that_failed_after_landing_is_requested_again(feed: Feed) -> None:
    create_run(feed, dg.DagsterRunStatus.FAILURE)
    assert feed.request().job_name == "blocks"
    create_run(feed, dg.DagsterRunStatus.SUCCESS)
    assert "nothing new" in feed.skip_message()


def test_the_skip_message_has_the_lag_in_seconds_and_marks_a_late_table(feed: Feed) -> None:
    feed.add(1, at=datetime.now(UTC) - timedelta(days=2))
    feed.land()
    feed.take()
    feed.add(2)
    create_run(feed, dg.DagsterRunStatus.STARTED)
    assert "1 records and 0 files to take, 1728" in feed.skip_message()
    assert "s behind (LATE)" in feed.skip_message()


def test_the_cursor_has_sequence_position_and_backlog_of_each_table(feed: Feed) -> None:
    feed.add(*range(12))
    feed.land()
    feed.add(12)
    feed.request()
    entry = json.loads(feed.cursor or "")["feeds"]["bronze/toys/blocks"]
    assert (entry["sequence"], entry["position"]["seen"], entry["backlog"]) == (2, 12, 1)


def test_a_run_covers_the_days_of_untaken_files_and_today(feed: Feed) -> None:
    today = feed.platform.now().date()
    start = (today - timedelta(days=7)).isoformat()
    feed.partitions = dg.DailyPartitionsDefinition(start_date=start, end_offset=1)
    landed = (today - timedelta(days=3)).isoformat()
    for interval in (landed, "1999-01-01", "2999-01-01"):  # the range covers those that are days of the tables
        feed.platform.landing.deliver(
            domain="toys", source="blocks", interval=interval, name="a.jsonl", content=b"{}\n"
        )
    assert range_tags([landed, today.isoformat()]).items() <= feed.request().tags.items()
    feed.cursor, feed.partitions = None, dg.DailyPartitionsDefinition(start_date=start)
    with pytest.raises(DefinitionError, match="end_offset=1"):
        feed.tick()


def test_a_source_that_does_not_answer_fails_the_tick(feed: Feed) -> None:
    settings = Settings(home=feed.platform.settings.home, profile="test", sources={"cache": "redis://127.0.0.1:1"})  # type: ignore[arg-type, dict-item]
    contracts = feed.platform.contracts
    feed.platform = Platform(settings, lambda: contracts)
    with pytest.raises(TransientError, match="nothing is lost"):
        feed.tick()
