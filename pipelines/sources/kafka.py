"""A Kafka topic as a source: its committed records as JSON lines, from where the last landed delivery ended.

    KafkaTopic(connection="events", topic="clicks")     GOLDPATH_SOURCES: {"events": "kafka://user:password@host:9092"}

There is no consumer group. The offsets in the landed manifest are the only memory, so that landing a record and
advancing the position are one step. A file's records are sorted by partition and offset: the same offsets give the same
bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import LandingError
from pipelines.sources import kafka_client, stream_record
from pipelines.sources.base import Extracted, day

if TYPE_CHECKING:
    from confluent_kafka import Message

TOPIC_ID = "topic_id"
#: Most records that one call of the client returns, and how long the call may wait for them.
_CONSUMED_RECORDS, _CONSUME_SECONDS = 1_000, 0.1


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic whose new records are landed in files of bounded size, up to its end at the start of the extraction.

    Args:
        connection: The name of its address in GOLDPATH_SOURCES,
            `kafka://[user:password@]host:port[,host:port][?property=value]` with properties of librdkafka.
        topic: Its name.
        rows_per_file: Most records of one file, shared evenly by the partitions that have new records.
        bytes_per_file: Most bytes of one file, shared likewise; a single record may be larger.
        files_per_run: Most files of one extraction, the rest being left for the next one; None for no limit.
        wait_seconds: How long the brokers may take to answer.
        gap: What to do if retention has deleted records before they were landed: `refuse` raises LandingError,
            `report` continues behind them and says in the manifest which are lost.
    """

    connection: str
    topic: str
    rows_per_file: int = 100_000
    bytes_per_file: int = 64 * 1024 * 1024
    files_per_run: int | None = None
    wait_seconds: float = 30.0
    gap: Literal["refuse", "report"] = "refuse"

    @property
    def kind(self) -> str:
        return "kafka"

    def pending(self, position: Mapping[str, Any] | None, connection: str | None) -> int:
        """How many offsets there are behind a position: one for each record and for each end of a transaction.

        Raises:
            TransientError: if the brokers do not answer.
        """
        client = kafka_client.Client(self.connection, connection or "", self.wait_seconds)
        offsets = client.offsets(self.topic)
        return _backlog(_begin(position, offsets), offsets.end)

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The committed records behind a position.

        A file's position has the next offset by partition, whose number is text, and the topic's id. Its attributes
        have the first offsets (`begin`), the time of the newest record (`newest`), how many offsets were left
        (`backlog`), and what retention had deleted (`lost`), if anything.

        Raises:
            TransientError: if the brokers do not answer in time.
            LandingError: if records are lost, or the topic was deleted and created again, and `gap` is `refuse`.
            SettingsError: if the address, the user or the password is wrong.
        """
        client = kafka_client.Client(self.connection, connection or "", self.wait_seconds)
        offsets = client.offsets(self.topic)
        begin, lost = self._resume(position, offsets)
        files = 0
        with client.consumer() as consumer:
            while (lost or _backlog(begin, offsets.end)) and files != self.files_per_run:
                reading = _Reading(self, client, begin, offsets.end)
                reading.run(consumer)
                attributes: dict[str, Any] = {
                    "begin": {str(partition): offset for partition, offset in begin.items()},
                    "newest": stream_record.instant(reading.newest),
                    "backlog": _backlog(reading.next, offsets.end),
                }
                if lost:
                    attributes["lost"], lost = lost, {}
                yield Extracted(
                    interval=day(now),
                    name=f"offsets-{sum(begin.values()):012d}-{sum(reading.next.values()):012d}.jsonl",
                    content=b"".join(line for partition in sorted(begin) for line in reading.lines[partition]),
                    rows=sum(map(len, reading.lines.values())),
                    position={str(p): offset for p, offset in sorted(reading.next.items())}
                    | {TOPIC_ID: offsets.topic_id},
                    attributes=attributes,
                )
                begin, files = reading.next, files + 1

    def _resume(
        self, position: Mapping[str, Any] | None, offsets: kafka_client.Offsets
    ) -> tuple[dict[int, int], dict[str, Any]]:
        """The offsets to begin at, and what is lost before them: [first, last] offset by partition."""
        wanted = _begin(position, offsets)
        recreated = position is not None and position.get(TOPIC_ID) != offsets.topic_id
        lost: dict[str, Any] = {}
        losses = [f"it was deleted and created again (id {offsets.topic_id})"] if recreated else []
        begin = {}
        for partition, offset in wanted.items():
            low, end = offsets.low[partition], offsets.end[partition]
            begin[partition] = min(max(offset, low), end)
            if position is not None and offset < low:
                lost[str(partition)] = [offset, low - 1]
                losses.append(f"partition {partition}: offsets {offset} to {low - 1} are gone")
            elif offset > end:
                lost[str(partition)] = [end, offset - 1]
                losses.append(f"partition {partition} ends at offset {end}, and had been landed up to {offset - 1}")
        if recreated:
            lost[TOPIC_ID] = position and position.get(TOPIC_ID)
        if losses and self.gap == "refuse":
            raise LandingError(
                object=f"Kafka topic {self.topic}",
                observed="; ".join(losses),
                expected="every record behind the last landed one",
                next_step='have them produced again, or declare gap="report" to continue without them; '
                "then keep records longer than the longest pause between runs (retention.ms)",
            )
        return begin, lost


def _begin(position: Mapping[str, Any] | None, offsets: kafka_client.Offsets) -> dict[int, int]:
    """The next offset of each partition: without a position the first kept one, 0 for a partition that it lacks."""
    if position is None:
        return dict(offsets.low)
    known = position if position.get(TOPIC_ID) == offsets.topic_id else {}
    return {partition: known.get(str(partition), 0) for partition in offsets.low}


def _backlog(begin: Mapping[int, int], end: Mapping[int, int]) -> int:
    """The number of offsets between two places of all partitions."""
    return sum(abs(end[partition] - offset) for partition, offset in begin.items())


class _Reading:
    """The records of one file: the first so many of each partition, so that only the offsets decide which they are."""

    def __init__(self, source: KafkaTopic, client: kafka_client.Client, begin: dict[int, int], end: dict[int, int]):
        self.source, self.client, self.end = source, client, end
        self.begin, self.next = begin, dict(begin)
        self.lines: dict[int, list[bytes]] = {partition: [] for partition in begin}
        self.newest: int | None = None
        self._bytes = dict.fromkeys(begin, 0)
        self._open = {partition for partition, offset in begin.items() if offset < end[partition]}
        sharing = max(1, len(self._open))
        self._rows_each = max(1, source.rows_per_file // sharing)
        self._bytes_each = source.bytes_per_file // sharing

    def run(self, consumer: Any) -> None:
        """Reads until each partition has given its share or is at its end; raises if the brokers do not answer."""
        from confluent_kafka import TopicPartition

        topic = self.source.topic
        consumer.assign([TopicPartition(topic, partition, self.begin[partition]) for partition in sorted(self._open)])
        deadline = time.monotonic() + self.source.wait_seconds
        while self._open:
            before = set(self._open)
            for message in consumer.consume(_CONSUMED_RECORDS, _CONSUME_SECONDS):
                if self._take(message):
                    deadline = time.monotonic() + self.source.wait_seconds
            if closed := before - self._open:
                consumer.incremental_unassign([TopicPartition(topic, partition) for partition in sorted(closed)])
            if self._open and time.monotonic() > deadline:
                raise self.client.silent(f"Kafka topic {topic}, partition(s) {sorted(self._open)}")

    def _take(self, message: Message) -> bool:
        """Takes a message, and returns whether it advanced its partition."""
        from confluent_kafka import KafkaError

        error, partition = message.error(), message.partition()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self.client.note(error, self.source.topic)
            return False
        if partition not in self._open:
            return False
        offset, end = message.offset() or 0, self.end[partition]
        if error is not None or offset >= end:  # the offsets behind the last record are ends of transactions
            self.next[partition] = max(self.next[partition], min(offset, end))
        elif offset < self.next[partition]:
            return False
        else:
            self._add(message, partition, offset)
        full = len(self.lines[partition]) >= self._rows_each or self._bytes[partition] >= self._bytes_each
        if full or self.next[partition] >= end:
            self._open.discard(partition)
        return True

    def _add(self, message: Message, partition: int, offset: int) -> None:
        kind, milliseconds = message.timestamp()
        known = milliseconds if kind else None
        line = stream_record.line(
            message.value(), partition=partition, offset=offset, milliseconds=known, key=message.key()
        )
        self.lines[partition].append(line)
        self._bytes[partition] += len(line)
        self.next[partition] = offset + 1
        self.newest = max(self.newest or 0, known) if known is not None else self.newest
