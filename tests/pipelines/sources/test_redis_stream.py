"""Redis streams: entries land in order and once, in files of bounded size; every loss is reported."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from pipelines.errors import LandingError, SettingsError, TransientError
from pipelines.sources.base import Extracted
from pipelines.sources.redis_stream import RedisStream
from tests.servers import redis as redis_server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of one test, and a source that reads it."""

    url: str
    client: redis.Redis
    source: RedisStream

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.client.xadd(self.source.stream, {"n": number})

    def extract(self, position: Mapping[str, Any] | None = None, **changes: Any) -> list[Extracted]:
        return list(replace(self.source, **changes).extract(position, connection=self.url, now=NOW))

    def pending(self, position: Mapping[str, Any] | None = None) -> int:
        return self.source.pending(position, self.url)


@pytest.fixture
def stream(server: redis_server.RedisServer) -> Iterator[Stream]:
    with redis.Redis.from_url(server.url) as client:
        yield Stream(server.url, client, RedisStream("cache", f"orders-{uuid.uuid4()}", wait_seconds=5))


def records(files: Sequence[Extracted]) -> list[dict[str, Any]]:
    contents = [file.content for file in files if isinstance(file.content, bytes)]
    return [json.loads(line) for content in contents for line in content.splitlines()]


def numbers(files: Sequence[Extracted]) -> list[int]:
    return [int(record["n"]) for record in records(files)]


def test_an_entry_has_its_place(stream: Stream) -> None:
    stream.client.xadd(stream.source.stream, {"n": 1, "name": "Zoë\x00", "raw": b"\xff\x00"}, id="1767225600123-4")
    [file] = stream.extract()
    assert records([file]) == [
        {
            "n": "1",
            "name": "Zoë\x00",
            "raw": "base64:/wA=",
            "_stream": {
                "partition": 0,
                "offset": "1767225600123-4",
                "timestamp": "2026-01-01T00:00:00.123+00:00",
                "key": None,
            },
        }
    ]
    assert (file.rows, file.interval, file.attributes["newest"]) == (1, "2026-03-01", "2026-01-01T00:00:00.123+00:00")


def test_a_payload_field_is_the_record_and_one_that_is_not_json_stays_a_line(stream: Stream) -> None:
    stream.client.xadd(stream.source.stream, {"data": '{"price": 1.10}', "trace": "x"})
    stream.client.xadd(stream.source.stream, {"data": "not json"})
    stream.client.xadd(stream.source.stream, {"other": "no data"})
    [file] = stream.extract(payload="data")
    assert isinstance(file.content, bytes)
    record, not_json, without_payload = file.content.splitlines()
    assert record.startswith(b'{"price": 1.10, "_stream"')
    assert (not_json, json.loads(without_payload)["_stream"]["tombstone"]) == (b"not json", True)


def test_an_extraction_begins_where_the_last_one_ended(stream: Stream) -> None:
    stream.add(1, 2)
    [first] = stream.extract()
    stream.add(3)
    assert stream.pending(first.position) == 1
    [second] = stream.extract(first.position)
    assert (numbers([first]), numbers([second])) == ([1, 2], [3])
    assert (stream.extract(second.position), stream.pending(second.position)) == ([], 0)


def test_a_missing_stream_gives_nothing(stream: Stream) -> None:
    assert (stream.extract(), stream.pending()) == ([], 0)


def test_files_are_bounded_and_the_same_position_gives_the_same_bytes(stream: Stream) -> None:
    stream.add(*range(2_500))
    once, again = stream.extract(rows_per_file=1_200), stream.extract(rows_per_file=1_200)
    assert once == again
    assert ([file.rows for file in once], numbers(once)) == ([1_200, 1_200, 100], list(range(2_500)))
    assert [file.attributes["backlog"] for file in once] == [1_300, 100, 0]
    [first] = stream.extract(rows_per_file=10, files_per_run=1)
    assert (numbers([first]), stream.pending(first.position)) == (list(range(10)), 2_490)
    assert [file.rows for file in stream.extract(rows_per_file=10, bytes_per_file=1, files_per_run=2)] == [1, 1]


def test_after_an_interrupted_extraction_the_next_begins_behind_its_last_file(stream: Stream) -> None:
    stream.add(*range(25))
    first = next(replace(stream.source, rows_per_file=10).extract(None, connection=stream.url, now=NOW))
    stream.add(25)
    assert numbers([first, *stream.extract(first.position, rows_per_file=10)]) == list(range(26))


def test_entries_that_are_added_during_an_extraction_are_left_for_the_next(stream: Stream) -> None:
    stream.add(1, 2)
    extraction = replace(stream.source, rows_per_file=1).extract(None, connection=stream.url, now=NOW)
    first = next(extraction)
    stream.add(3)
    files = [first, *extraction]
    assert (numbers(files), stream.pending(files[-1].position)) == ([1, 2], 1)


def test_trimming_landed_entries_loses_nothing(stream: Stream) -> None:
    stream.add(1, 2, 3)
    [first] = stream.extract()
    stream.client.xtrim(stream.source.stream, maxlen=0, approximate=False)
    assert (stream.extract(first.position), stream.pending(first.position)) == ([], 0)
    stream.add(4)
    assert numbers(stream.extract(first.position)) == [4]


def test_entries_that_were_trimmed_before_they_landed_are_refused_or_reported(stream: Stream) -> None:
    stream.add(1, 2)
    [first] = stream.extract()
    stream.add(3, 4, 5)
    stream.client.xtrim(stream.source.stream, maxlen=1, approximate=False)
    with pytest.raises(LandingError, match=rf"2 entries behind {first.position['id']} were trimmed.*gap=\"report\""):
        stream.extract(first.position)
    [after] = stream.extract(first.position, gap="report")
    assert (numbers([after]), "2 entries" in after.attributes["lost"]) == ([5], True)
    assert (stream.extract(after.position), stream.pending(after.position)) == ([], 0)


def test_the_loss_of_all_new_entries_is_reported_once(stream: Stream) -> None:
    stream.add(1)
    [first] = stream.extract()
    stream.add(2)
    stream.client.xtrim(stream.source.stream, maxlen=0, approximate=False)
    assert stream.pending(first.position) == 1
    [empty] = stream.extract(first.position, gap="report")
    assert (empty.rows, "1 entries" in empty.attributes["lost"]) == (0, True)
    assert (stream.extract(empty.position), stream.pending(empty.position)) == ([], 0)


def test_an_entry_that_was_deleted_before_it_landed_is_refused_or_skipped(stream: Stream) -> None:
    stream.add(1)
    [first] = stream.extract()
    stream.client.xadd(stream.source.stream, {"n": 2}, id="9999999999999-0")
    stream.client.xadd(stream.source.stream, {"n": 3}, id="9999999999999-1")
    stream.client.xdel(stream.source.stream, "9999999999999-0")
    with pytest.raises(LandingError, match="were deleted before they were landed"):
        stream.extract(first.position)
    [after] = stream.extract(first.position, gap="report")
    assert (numbers([after]), stream.pending(after.position)) == ([3], 0)


def test_a_last_entry_that_was_deleted_before_it_landed_is_reported_once(stream: Stream) -> None:
    stream.add(1)
    [first] = stream.extract()
    stream.client.xadd(stream.source.stream, {"n": 2}, id="9999999999999-0")
    stream.client.xdel(stream.source.stream, "9999999999999-0")
    [empty] = stream.extract(first.position, gap="report")
    assert (empty.rows, stream.extract(empty.position), stream.pending(empty.position)) == (0, [], 0)


def test_entries_that_were_trimmed_between_two_files_are_refused(stream: Stream) -> None:
    stream.add(*range(10))
    extraction = replace(stream.source, rows_per_file=4).extract(None, connection=stream.url, now=NOW)
    assert numbers([next(extraction)]) == [0, 1, 2, 3]
    stream.client.xtrim(stream.source.stream, maxlen=3, approximate=False)
    with pytest.raises(LandingError, match="3 entries behind"):
        next(extraction)


def test_a_deleted_stream_is_refused_or_reported(stream: Stream) -> None:
    stream.add(1, 2)
    [first] = stream.extract()
    stream.client.delete(stream.source.stream)
    assert stream.pending(first.position) == 1
    with pytest.raises(LandingError, match="deleted or restored"):
        stream.extract(first.position)
    stream.client.xadd(stream.source.stream, {"n": 3}, id="5-0")
    [after] = stream.extract(first.position, gap="report")
    assert (numbers([after]), stream.pending(after.position)) == ([3], 0)


def test_a_key_that_is_not_a_stream_is_refused(stream: Stream) -> None:
    stream.client.set(stream.source.stream, "text")
    with pytest.raises(LandingError, match="WRONGTYPE"):
        stream.extract()


def test_a_wrong_password_is_refused_and_not_shown(server: redis_server.RedisServer) -> None:
    wrong = server.url.replace(server.password, "wrong-password")
    with pytest.raises(SettingsError, match="connection 'cache'") as caught:
        RedisStream("cache", "orders").pending(None, wrong)
    assert "wrong-password" not in str(caught.value)
    with pytest.raises(SettingsError, match="no address that begins with redis://"):
        RedisStream("cache", "orders").pending(None, "http://:wrong-password@127.0.0.1")


def test_a_server_that_does_not_answer_raises_a_transient_error() -> None:
    source = RedisStream("cache", "orders", wait_seconds=1)
    with pytest.raises(TransientError, match="nothing is lost"):
        list(source.extract(None, connection="redis://:secret@127.0.0.1:1/0", now=NOW))
