"""A Redis stream as a source: its entries as JSON lines, from where the last landed delivery ended.

    RedisStream(connection="cache", stream="orders")     GOLDPATH_SOURCES: {"cache": "redis://:password@host:6379/0"}

There is no consumer group: the landed manifest is the only memory. Entries that were trimmed before they were landed
are detected.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pipelines.errors import GoldpathError, LandingError, SettingsError, TransientError
from pipelines.sources import stream_record
from pipelines.sources.base import Extracted, day
from pipelines.sources.redis_state import NO_ID, At, Id, State, parsed, shown

Fields = dict[bytes, bytes]
#: Most entries of one answer of the server.
_READ_ENTRIES = 1_000


@dataclass(frozen=True, slots=True)
class RedisStream:
    """A stream whose new entries are landed in files of bounded size, up to its end at the start of the extraction.

    Args:
        connection: The name of its address in GOLDPATH_SOURCES, `redis://` or `rediss://` (TLS).
        stream: The stream's key.
        payload: The field that holds the record as a JSON object; None if the entry's fields are the record's fields.
        rows_per_file: Most entries of one file.
        bytes_per_file: Most bytes of one file; a single entry may be larger.
        files_per_run: Most files of one extraction, the rest being left for the next one; None for no limit.
        wait_seconds: How long the server may take to answer.
        gap: What to do if entries were trimmed before they were landed: `refuse` raises LandingError, `report`
            continues behind them and says in the manifest how many are lost.
    """

    connection: str
    stream: str
    payload: str | None = None
    rows_per_file: int = 100_000
    bytes_per_file: int = 64 * 1024 * 1024
    files_per_run: int | None = None
    wait_seconds: float = 30.0
    gap: Literal["refuse", "report"] = "refuse"

    @property
    def kind(self) -> str:
        return "redis"

    def pending(self, position: Mapping[str, Any] | None, connection: str | None) -> int:
        """How many entries there are behind a position; an estimate if some were deleted one by one.

        Raises:
            TransientError: if the server does not answer.
        """
        with self._connected(connection) as client:
            state = self._state(client.xinfo_stream, self.stream)
            at = At.of(position, state)
            if at.id < state.last:
                return max(1, state.added - at.seen)
            return int(at.loss(state) is not None)

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The entries behind a position.

        A file's position has the id of its last entry (`id`) and how many entries had been added up to it (`seen`).
        Its attributes have the position's id before it (`begin`), the time of its newest entry (`newest`), about how
        many entries were left (`backlog`), and which entries had been trimmed (`lost`), if any.

        Raises:
            TransientError: if the server does not answer.
            LandingError: if entries are lost and `gap` is `refuse`.
            SettingsError: if the address, the user or the password is wrong.
        """
        with self._connected(connection) as client:
            state = self._state(client.xinfo_stream, self.stream)
            at, until = At.of(position, state), state.last
            lost = self._lost(at, state)
            at = (At.of(None, state) if state.given < at.id else at).settled(state)
            files = 0
            while (lost or at.id < until) and files != self.files_per_run:
                begin, lines, size, newest = at, [], 0, None
                while at.id < until and len(lines) < self.rows_per_file and size < self.bytes_per_file:
                    state, entries = self._read(client, at, until, min(_READ_ENTRIES, self.rows_per_file - len(lines)))
                    lost = lost or self._lost(at, state)
                    at = at.settled(state)
                    for identity, fields in entries:
                        lines.append(self._line(identity, fields))
                        size += len(lines[-1])
                        at, newest = At(identity, at.seen + 1), identity[0]
                        if size >= self.bytes_per_file:
                            break
                    at = (at if entries else At(max(at.id, until), at.seen)).settled(state)
                yield Extracted(
                    interval=day(now),
                    name=f"entries-{begin.text}-{at.text}.jsonl",
                    content=b"".join(lines),
                    rows=len(lines),
                    position={"id": at.text, "seen": at.seen},
                    attributes={
                        "begin": begin.text,
                        "newest": stream_record.instant(newest),
                        "backlog": max(0, state.added - at.seen),
                    }
                    | ({"lost": lost} if lost else {}),
                )
                lost, files = None, files + 1

    def _lost(self, at: At, state: State) -> str | None:
        """Which entries are lost, in words; raises LandingError if there are some and `gap` is `refuse`."""
        loss = at.loss(state)
        if loss is not None and self.gap == "refuse":
            raise LandingError(
                object=f"Redis stream {self.stream}",
                observed=loss,
                expected="every entry behind the last landed one",
                next_step='have them added again, or declare gap="report" to continue without them; '
                "then trim (MAXLEN, MINID) further back than the longest pause between runs",
            )
        return loss

    def _read(self, client: Any, at: At, until: Id, count: int) -> tuple[State, list[tuple[Id, Fields]]]:
        """The stream's state and the next entries, both of one moment."""
        with client.pipeline(transaction=True) as transaction:
            transaction.xinfo_stream(self.stream)
            transaction.xrange(self.stream, f"({at.text}", shown(until), count=count)
            answers = transaction.execute(raise_on_error=False)
        state = self._state(_answer, answers[0])
        return state, [(parsed(identity), fields) for identity, fields in _answer(answers[1])]

    def _state(self, request: Callable[[Any], Any], argument: Any) -> State:
        """The state that XINFO STREAM gives, as the result of `request(argument)`; of a missing stream an empty one."""
        import redis

        try:
            info = request(argument)
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return State(0, 0, NO_ID, NO_ID, NO_ID)
            raise
        if "entries-added" not in info:
            raise LandingError(
                object=f"Redis stream {self.stream}",
                observed="a server that does not count the entries that were added to a stream",
                expected="Redis 7 or newer, or Valkey: other servers do not show what is lost",
                next_step="update the server",
            )
        return State(
            added=info["entries-added"],
            kept=info["length"],
            last=parsed(info["last-entry"][0]) if info["last-entry"] else NO_ID,
            given=parsed(info["last-generated-id"]),
            deleted=parsed(info["max-deleted-entry-id"]),
        )

    def _line(self, identity: Id, fields: Fields) -> bytes:
        if self.payload is None:
            content = json.dumps({_text(name): _text(value) for name, value in fields.items()}).encode()
        else:
            content = fields.get(self.payload.encode())
        return stream_record.line(content, partition=0, offset=shown(identity), milliseconds=identity[0], key=None)

    @contextlib.contextmanager
    def _connected(self, url: str | None) -> Iterator[Any]:
        """A client of the server; its errors are raised as Goldpath's."""
        import redis

        try:
            client = redis.Redis.from_url(url or "", socket_timeout=self.wait_seconds)
        except ValueError:
            raise self._refused("no address that begins with redis:// or rediss://") from None
        try:
            with client:
                yield client
        except redis.AuthenticationError as error:
            raise self._refused(str(error)) from None
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise TransientError(
                object=f"Redis stream {self.stream}",
                observed=f"{type(error).__name__}: {error}",
                expected=f"the server of connection {self.connection!r} to answer within {self.wait_seconds:g} s",
                next_step="check that it runs and can be reached from here, then run again: nothing is lost",
            ) from None
        except redis.ResponseError as error:
            raise LandingError(
                object=f"Redis stream {self.stream}",
                observed=str(error),
                expected="a stream that this user may read",
                next_step="correct the key, or what the server allows the user",
            ) from None

    def _refused(self, observed: str) -> GoldpathError:
        return SettingsError(
            object=f"connection {self.connection!r} in GOLDPATH_SOURCES",
            observed=observed,
            expected="an address and a password that the server accepts",
            next_step="correct redis://user:password@host:port/0",
        )


def _answer(answer: Any) -> Any:
    """The answer to one command of a transaction; raises its error."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def _text(content: bytes) -> str:
    """UTF-8 as text; other bytes as `base64:` and their base64."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(content).decode()
