"""Takes pushed events: syncs them to the log, applies them to the online features, acknowledges them, delivers them.

An event has an id: its own `event_id`, else the request's `Idempotency-Key` with its place in the request, else one
that is generated here. An event that is sent again under its id is acknowledged again and kept once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from pipelines.errors import GoldpathError
from pipelines.landing.delivery import Manifest
from pipelines.landing.zone import Landing
from pipelines.machine.ids import uuid7
from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT, PushSource
from serving.door.grouped import Grouped
from serving.errors import PushRefused, RequestError
from serving.push.log import PushLog, Segment, fingerprint
from serving.push.online import OnlinePath

POLL_SECONDS = 0.25
RETRY_SECONDS = 5.0
logger = logging.getLogger(__name__)
Durable: TypeAlias = tuple[int, float]
"""The position of an event in its log, and when it was synced to the disk, in seconds of `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How much may wait, and when it goes to landing.

    Attributes:
        waiting_events: Events that are not on the disk or not applied yet; with more, requests are refused for now.
        waiting_bytes: Bytes of one source that landing does not have yet; with more, requests are refused for now.
        segment_bytes: A segment of this size is delivered to landing.
        segment_seconds: A segment of this age is delivered to landing.
        online_seconds: How long an acknowledgement waits for the online store.
    """

    waiting_events: int = 20_000
    waiting_bytes: int = 256 * 2**20
    segment_bytes: int = 8 * 2**20
    segment_seconds: float = 60.0
    online_seconds: float = 5.0


class EventConflict(RequestError):
    """Another event was taken under the id of this event."""


class Receiver:
    """Takes the events of one pushed source into its log, and delivers them from there to landing."""

    def __init__(
        self, source: PushSource, log: PushLog, landing: Landing, online: OnlinePath, limits: PushLimits
    ) -> None:
        self.source = source
        self._log = log
        self._landing = landing
        self._online = online
        self._limits = limits
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="push-log")
        self._commit: Grouped[bytes, Durable] = Grouped(self._append, self._writer)
        self._in_flight: dict[str, tuple[bytes, asyncio.Future[list[Durable]]]] = {}
        self._delivering = asyncio.Lock()
        self._landing_problem: str | None = None

    async def accept(self, events: Sequence[dict[str, Any]], key: str | None) -> list[dict[str, Any]]:
        """The acknowledgements of the events, in their order; every event is on the disk when this returns.

        Args:
            events: Of one request; `event_id` and `received_at` are filled in.
            key: The request's idempotency key.

        Raises:
            EventConflict: if another event was taken under the id of one of them; then none of them is taken.
            PushRefused: if too much waits, or the disk cannot be written; the same request may be sent again.
        """
        received_at = datetime.now(UTC).isoformat()
        for place, event in enumerate(events):
            event.setdefault(EVENT_ID, f"{key}:{place}" if key else str(uuid7()))
            event[RECEIVED_AT] = received_at
        ids = [event[EVENT_ID] for event in events]
        marks = [fingerprint(event) for event in events]
        new = self._new(ids, marks)
        if new:
            self._require_room(len(new))
            lines = [json.dumps(events[place], allow_nan=False).encode() for place in new.values()]
            committed = self._commit.add(lines)
            new_marks = {event_id: marks[place] for event_id, place in new.items()}
            self._in_flight |= {event_id: (mark, committed) for event_id, mark in new_marks.items()}
            committed.add_done_callback(lambda done: self._settle(new_marks, done))
        commits = dict.fromkeys(self._in_flight[event_id][1] for event_id in ids if event_id in self._in_flight)
        durable_at = [await _durable(commit, self.source) for commit in commits]
        outcomes = await self._online.move(self.source, events, max(durable_at, default=None))
        return [
            {
                "event_id": event_id,
                "position": self._log.events[event_id].position,
                "duplicate": new.get(event_id) != place,
                **outcome,
            }
            for place, (event_id, outcome) in enumerate(zip(ids, outcomes, strict=True))
        ]

    def _new(self, ids: Sequence[str], marks: Sequence[bytes]) -> dict[str, int]:
        """The ids that the log does not know, each with the place of its event in the request."""
        new: dict[str, int] = {}
        for place, (event_id, mark) in enumerate(zip(ids, marks, strict=True)):
            if event_id in self._log.events:
                known = self._log.events[event_id].fingerprint
            elif event_id in self._in_flight:
                known = self._in_flight[event_id][0]
            else:
                known = marks[new.setdefault(event_id, place)]
            if known != mark:
                raise EventConflict(
                    object=f"event {place}",
                    observed=f"another event was taken as {event_id!r}",
                    expected="an id, or an Idempotency-Key, that stands for one event for ever",
                    next_step="send the event that was sent first, or send this one under a new id",
                )
        return new

    def _require_room(self, events: int) -> None:
        waiting = self._commit.depth + self._online.depth
        if waiting and waiting + events > self._limits.waiting_events:
            raise self._refusal(f"{waiting} events wait", f"at most {self._limits.waiting_events}")
        unlanded = self._log.waiting_bytes
        if unlanded >= self._limits.waiting_bytes:
            why = f"; landing: {self._landing_problem}" if self._landing_problem else ""
            raise self._refusal(f"{unlanded} bytes have not landed{why}", f"less than {self._limits.waiting_bytes}")

    def _refusal(self, observed: str, expected: str) -> PushRefused:
        domain, name = self.source.name
        return PushRefused(
            object=f"source {domain}/{name}",
            observed=observed,
            expected=expected,
            next_step="send the same events again later, with the same ids",
        )

    def _append(self, lines: list[bytes]) -> Sequence[Durable]:
        first = self._log.append(lines)
        now = time.monotonic()
        return [(position, now) for position in range(first, first + len(lines))]

    def _settle(self, marks: Mapping[str, bytes], done: asyncio.Future[list[Durable]]) -> None:
        """Remembers the fingerprints of new events by their ids, once their lines are on the disk."""
        if not done.cancelled() and done.exception() is None:
            self._log.remember(list(marks), done.result()[0][0], list(marks.values()))
        for event_id in marks:
            del self._in_flight[event_id]

    def status(self) -> dict[str, Any]:
        """The position of the newest durable event, the bytes that have not landed, and why landing failed last."""
        return {
            "position": self._log.last,
            "waiting_bytes": self._log.waiting_bytes,
            "landing_problem": self._landing_problem,
        }

    async def replay(self) -> None:
        """Applies the events that an earlier process may not have applied; to apply an event again changes nothing."""
        for segment in list(self._log.sealed):
            await self._online.move(self.source, [json.loads(line) for line in segment.lines()])

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers segments to landing when they are large or old enough, until `stop` is set."""
        while not stop.is_set():
            await _wait(stop, POLL_SECONDS)
            old = time.monotonic() - self._log.opened_at >= self._limits.segment_seconds
            if self._log.sealed or (self._log.size and (old or self._log.size >= self._limits.segment_bytes)):
                try:
                    await self.deliver()
                except (GoldpathError, OSError):
                    await _wait(stop, min(RETRY_SECONDS, self._limits.segment_seconds))

    async def deliver(self) -> list[str]:
        """Delivers all durable events to landing now; returns the URIs of the new files.

        Raises:
            GoldpathError, OSError: if landing does not take them; `run` tries again later.
        """
        loop = asyncio.get_running_loop()
        uris: list[str] = []
        async with self._delivering:
            try:
                await loop.run_in_executor(self._writer, self._log.seal)
                sealed = list(self._log.sealed)
                if sealed:
                    await asyncio.to_thread(self._online.settle, self.source)
                for segment in sealed:
                    uris += await asyncio.to_thread(self._land, segment)
                    await loop.run_in_executor(self._writer, self._log.forget, segment)
            except (GoldpathError, OSError) as error:
                if str(error) != self._landing_problem:
                    logger.warning("%s/%s: %s", *self.source.name, error)
                self._landing_problem = str(error)
                raise
            self._landing_problem = None
        return uris

    def _land(self, segment: Segment) -> list[str]:
        """Delivers one file for each day of the segment: the same files each time, so a killed delivery is repeated."""
        domain, name = self.source.name
        days: dict[str, list[bytes]] = {}
        for line in segment.lines():
            days.setdefault(_day(json.loads(line), self.source.day), []).append(line + b"\n")
        uris = []
        for day, lines in sorted(days.items()):
            content = b"".join(lines)
            position = {"first": segment.first, "last": segment.last}
            manifest = Manifest.of(content, rows=len(lines), sequence=segment.number, position=position)
            uris.append(
                self._landing.deliver(
                    domain=domain, source=name, interval=day, name=f"{name}.jsonl", content=content, manifest=manifest
                )
            )
        return uris

    async def close(self) -> None:
        """Delivers what landing takes, and releases the log for another process."""
        await self._commit.finish()
        try:
            await self.deliver()
        except (GoldpathError, OSError):
            logger.warning("%s/%s stays in its log until the next start", *self.source.name)
        await asyncio.get_running_loop().run_in_executor(self._writer, self._log.close)
        self._writer.shutdown()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Waits for some seconds, or until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _durable(future: asyncio.Future[list[Durable]], source: PushSource) -> float:
    """When the events of a commit were on the disk; raises PushRefused if they could not be written."""
    try:
        return (await asyncio.shield(future))[0][1]
    except OSError as error:
        domain, name = source.name
        raise PushRefused(
            object=f"log of {domain}/{name}",
            observed=f"{type(error).__name__}: {error.strerror or error}",
            expected="events on the disk before they are acknowledged",
            next_step="send the same events again; if that fails too, see whether the disk is full",
        ) from error


def _day(event: Mapping[str, Any], column: str | None) -> str:
    """The day that the event declares in `column`, if it is a valid one; else the UTC day on which it was received."""
    declared = event.get(column) if column else None
    try:
        return date.fromisoformat(str(declared)).isoformat()
    except ValueError:
        return str(event[RECEIVED_AT])[:10]
