"""Kafka topics: committed records land in order and once, in files of bounded size; every loss is reported."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines.errors import LandingError, SettingsError, TransientError
from pipelines.sources.base import Extracted
from pipelines.sources.kafka import KafkaTopic
from tests.servers import kafka

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Record = tuple[bytes | None, bytes | None]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Broker]:
    with kafka.running(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of one test, and a source that reads it."""

    broker: kafka.Broker
    admin: AdminClient
    source: KafkaTopic

    @property
    def name(self) -> str:
        return self.source.topic

    def produce(self, *values: bytes | None, partition: int = 0, key: bytes | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.broker.address, "log_level": 0})
        for value in values:
            producer.produce(self.name, value, key=key, partition=partition)
        assert producer.flush(30) == 0

    def transaction(self, *values: bytes, partition: int = 0) -> Producer:
        """A transaction that is neither committed nor aborted yet."""
        settings = {"bootstrap.servers": self.broker.address, "transactional.id": str(uuid.uuid4()), "log_level": 0}
        producer = Producer(settings)
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(self.name, value, partition=partition)
        assert producer.flush(30) == 0
        return producer

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """Deletes records, as retention does."""
        for deleted in self.admin.delete_records([TopicPartition(self.name, partition, offset)]).values():
            deleted.result()

    def extract(self, position: Mapping[str, Any] | None = None, **changes: Any) -> list[Extracted]:
        return list(replace(self.source, **changes).extract(position, connection=self.broker.url, now=NOW))

    def pending(self, position: Mapping[str, Any] | None = None) -> int:
        return self.source.pending(position, self.broker.url)


@pytest.fixture
def topic(broker: kafka.Broker) -> Callable[..., Topic]:
    admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})

    def make(partitions: int = 1, **config: str) -> Topic:
        name = f"clicks-{uuid.uuid4()}"
        for created in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
            created.result()
        return Topic(broker, admin, KafkaTopic("events", name, wait_seconds=20))

    return make


def lines(files: Sequence[Extracted]) -> list[bytes]:
    return [line for file in files for line in bytes_of(file).splitlines(keepends=True)]


def bytes_of(file: Extracted) -> bytes:
    assert isinstance(file.content, bytes)
    return file.content


def records(files: Sequence[Extracted]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(files)]


def offsets(position: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in position.items() if name != "topic_id"}


def test_a_record_keeps_its_fields_as_they_arrived_and_has_its_place(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(b'{"price": 1.10, "big": 123456789012345678901234567890}', key=b"k1")
    [file] = clicks.extract()
    assert bytes_of(file).startswith(b'{"price": 1.10, "big": 123456789012345678901234567890, "_stream": {')
    [record] = records([file])
    assert record["_stream"] | {"timestamp": None} == {"partition": 0, "offset": 0, "timestamp": None, "key": "k1"}
    assert record["_stream"]["timestamp"] == file.attributes["newest"]
    assert (file.rows, file.interval, file.attributes["backlog"]) == (1, "2026-03-01", 0)


def test_an_extraction_begins_where_the_last_one_ended(topic: Callable[..., Topic]) -> None:
    clicks = topic(2)
    clicks.produce(b'{"n": 1}', b'{"n": 2}')
    [first] = clicks.extract()
    clicks.produce(b'{"n": 3}', partition=1)
    assert clicks.pending(first.position) == 1
    [second] = clicks.extract(first.position)
    assert [record["n"] for record in records([first, second])] == [1, 2, 3]
    assert (offsets(second.position), clicks.pending(second.position)) == ({"0": 2, "1": 1}, 0)
    assert clicks.extract(second.position) == []


def test_the_same_position_gives_the_same_bytes(topic: Callable[..., Topic]) -> None:
    clicks = topic(2)
    for number in range(300):
        clicks.produce(json.dumps({"n": number}).encode(), partition=number % 2)
    once, again = clicks.extract(rows_per_file=40), clicks.extract(rows_per_file=40)
    assert [(file.name, file.content, file.position) for file in once] == [
        (file.name, file.content, file.position) for file in again
    ]
    assert sorted(record["n"] for record in records(once)) == list(range(300))


def test_after_an_interrupted_extraction_the_next_begins_behind_its_last_file(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(*(json.dumps({"n": number}).encode() for number in range(25)))
    first = next(replace(clicks.source, rows_per_file=10).extract(None, connection=clicks.broker.url, now=NOW))
    rest = clicks.extract(first.position, rows_per_file=10)
    assert [record["n"] for record in records([first, *rest])] == list(range(25))


def test_aborted_transactions_are_not_landed_and_do_not_stay_pending(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.transaction(b'{"n": 1}', b'{"n": 2}').commit_transaction()
    clicks.transaction(b'{"n": -1}').abort_transaction()
    [file] = clicks.extract()
    assert [record["n"] for record in records([file])] == [1, 2]
    assert (offsets(file.position), clicks.pending(file.position)) == ({"0": 5}, 0)


def test_records_behind_an_open_transaction_land_once_it_commits(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(b'{"n": 1}')
    transaction = clicks.transaction(b'{"n": 2}')
    clicks.produce(b'{"n": 3}')
    [file] = clicks.extract()
    assert ([record["n"] for record in records([file])], clicks.pending(file.position)) == ([1], 0)
    transaction.commit_transaction()
    assert [record["n"] for record in records(clicks.extract(file.position))] == [2, 3]


def test_a_topic_with_only_aborted_records_advances_the_position(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.transaction(b'{"n": -1}').abort_transaction()
    [file] = clicks.extract()
    assert (file.rows, file.content, clicks.pending(file.position)) == (0, b"", 0)


def test_files_are_bounded_and_partitions_share_them(topic: Callable[..., Topic]) -> None:
    clicks = topic(2)
    clicks.produce(*[b'{"n": 0}'] * 50, partition=0)
    clicks.produce(*[b'{"n": 1}'] * 5, partition=1)
    [first] = clicks.extract(rows_per_file=10, files_per_run=1)
    assert (first.rows, offsets(first.position), first.attributes["backlog"]) == (10, {"0": 5, "1": 5}, 45)
    rest = clicks.extract(first.position, rows_per_file=10)
    assert [file.rows for file in rest] == [10, 10, 10, 10, 5]
    assert [file.attributes["backlog"] for file in rest] == [35, 25, 15, 5, 0]


def test_a_record_of_more_bytes_than_a_file_may_have_is_a_file_of_its_own(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(*(json.dumps({"text": "x" * 500}).encode() for _ in range(4)))
    assert [file.rows for file in clicks.extract(bytes_per_file=100)] == [1, 1, 1, 1]


def test_records_that_arrive_during_an_extraction_are_left_for_the_next(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(b'{"n": 1}', b'{"n": 2}')
    extraction = replace(clicks.source, rows_per_file=1).extract(None, connection=clicks.broker.url, now=NOW)
    first = next(extraction)
    clicks.produce(b'{"n": 3}')
    assert [record["n"] for record in records([first, *extraction])] == [1, 2]


POISON = [
    (b"not json", b"not json\n"),
    (b'{"half": ', b'{"half": \n'),
    (b"[1, 2]", b"[1, 2]\n"),
    (b"7", b"7\n"),
    (b"two\nlines", b"base64:" + base64.b64encode(b"two\nlines") + b"\n"),
    (b"", b"base64:\n"),
    (b"  ", b"base64:" + base64.b64encode(b"  ") + b"\n"),
    (b"\xff\xfe\x00", b"base64:" + base64.b64encode(b"\xff\xfe\x00") + b"\n"),
    (b"[" * 100_000, b"[" * 100_000 + b"\n"),
]


def test_a_payload_that_is_not_an_object_becomes_one_line_that_is_not_one_either(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(*(payload for payload, _ in POISON), b'{"n": 1}')
    [file] = clicks.extract()
    assert lines([file])[:-1] == [line for _, line in POISON]
    assert (json.loads(lines([file])[-1])["n"], file.rows) == (1, len(POISON) + 1)


def test_an_object_over_several_lines_becomes_one(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(b'\xef\xbb\xbf {\n  "text": "a\\nb"\r\n}\n', b"{}", b'{"_stream": "mine"}')
    first, second, third = records(clicks.extract())
    assert (first["text"], list(second), third["_stream"]["payload"]) == ("a\nb", ["_stream"], "mine")


def test_keys_that_are_not_text_are_kept_and_records_without_a_payload_are_marked(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    for key in (b"a\x00b", b"\xff\x00", b"", None):
        clicks.produce(b"{}", key=key)
    clicks.produce(None, key=b"gone")
    places = [record["_stream"] for record in records(clicks.extract())]
    keys = [{name: value for name, value in place.items() if name.startswith(("key", "tomb"))} for place in places]
    assert keys == [
        {"key": "a\x00b"}, {"key_base64": "/wA="}, {"key": ""}, {"key": None}, {"key": "gone", "tombstone": True},
    ]  # fmt: skip


def test_an_extraction_is_refused_with_the_offsets_that_retention_deleted(topic: Callable[..., Topic]) -> None:
    clicks = topic(2)
    clicks.produce(*[b"{}"] * 3)
    [file] = clicks.extract()
    clicks.produce(*[b"{}"] * 7)
    clicks.delete_before(8)
    assert clicks.pending(file.position) > 0
    with pytest.raises(LandingError, match=r"partition 0: offsets 3 to 7 are gone.*gap=\"report\""):
        clicks.extract(file.position)


def test_with_gap_report_the_manifest_has_the_lost_offsets(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(*[b"{}"] * 3)
    [file] = clicks.extract()
    clicks.produce(*[b"{}"] * 7)
    clicks.delete_before(8)
    [after] = clicks.extract(file.position, gap="report")
    assert (after.attributes["lost"], [record["_stream"]["offset"] for record in records([after])]) == (
        {"0": [3, 7]},
        [8, 9],
    )
    clicks.delete_before(10)
    [empty] = clicks.extract(file.position, gap="report")
    assert (empty.attributes["lost"], empty.rows, clicks.pending(empty.position)) == ({"0": [3, 9]}, 0, 0)


def test_records_that_retention_deleted_before_the_first_extraction_are_not_reported(
    topic: Callable[..., Topic],
) -> None:
    clicks = topic()
    clicks.produce(*[b"{}"] * 3)
    clicks.delete_before(2)
    assert [record["_stream"]["offset"] for record in records(clicks.extract())] == [2]


def test_records_that_compaction_removed_are_not_reported(topic: Callable[..., Topic]) -> None:
    clicks = topic(**{"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0.001",
                      "max.compaction.lag.ms": "1"})  # fmt: skip
    clicks.produce(b"{}", key=b"other")
    [file] = clicks.extract()
    produced, read = 0, []
    while len(read) == produced:
        assert produced < 300, "Kafka compacted nothing"
        clicks.produce(json.dumps({"n": (produced := produced + 1)}).encode(), key=b"same")
        time.sleep(0.1)
        after = clicks.extract(file.position)
        read = records(after)
    assert (read[-1]["n"], "lost" in after[0].attributes) == (produced, False)


def test_a_topic_that_was_deleted_and_created_again_is_refused_or_reported(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(*[b'{"n": 1}'] * 2)
    [file] = clicks.extract()
    for deleted in clicks.admin.delete_topics([clicks.name]).values():
        deleted.result()
    deadline = time.monotonic() + 30
    while clicks.name in clicks.admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline, "Kafka deleted nothing"
        time.sleep(0.1)
    for created in clicks.admin.create_topics([NewTopic(clicks.name, 1, 1)]).values():
        created.result()
    clicks.produce(*[b'{"n": 2}'] * 3)
    with pytest.raises(LandingError, match="deleted and created again"):
        clicks.extract(file.position)
    [after] = clicks.extract(file.position, gap="report")
    assert ([record["n"] for record in records([after])], list(after.attributes["lost"])) == ([2, 2, 2], ["topic_id"])


def test_a_missing_topic_is_refused(topic: Callable[..., Topic]) -> None:
    with pytest.raises(LandingError, match="no such topic"):
        topic().extract(topic="missing")


def test_brokers_that_do_not_answer_raise_a_transient_error() -> None:
    source = KafkaTopic("events", "clicks", wait_seconds=1)
    with pytest.raises(TransientError, match=r"refused.*nothing is lost"):
        list(source.extract(None, connection="kafka://127.0.0.1:1", now=NOW))


def test_a_user_reads_with_the_right_password_and_is_refused_with_a_wrong_one(topic: Callable[..., Topic]) -> None:
    clicks = topic()
    clicks.produce(b'{"n": 1}')
    url = clicks.broker.guarded_url
    [file] = clicks.source.extract(None, connection=url, now=NOW)
    assert records([file])[0]["n"] == 1
    wrong = replace(clicks.source, wait_seconds=3)
    with pytest.raises(SettingsError, match="connection 'events'.*Authentication failed") as caught:
        wrong.pending(None, url.replace(clicks.broker.password, "wrong-password"))
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:secret@127.0.0.1:1", "begins with redis://"),
        ("kafka://me:secret@127.0.0.1:1?nonsense=1", "No such configuration property"),
        ("", "no address"),
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        KafkaTopic("events", "clicks").pending(None, url)
    assert "secret" not in str(caught.value)
