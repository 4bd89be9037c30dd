"""Takes pushed events: on the disk first, then to the online features, then acknowledged; to landing in good time.

An event has an id: its own `event_id`, else its place under the request's `Idempotency-Key`, else one that is made
here. An event that comes again under its id is acknowledged again and kept once.
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
from typing import Any

from pipelines.errors import GoldpathError
from pipelines.landing.zone import Landing, Manifest
from pipelines.medallion.push_source import EVENT_ID, RECEIVED_AT, PushSource
from serving.door.grouped import Grouped
from serving.door.ids import uuid7
from serving.errors import PushRefused, RequestError
from serving.push.log import PushLog, Segment, fingerprint
from serving.push.online import OnlinePath

LOOK_SECONDS = 0.25
RETRY_SECONDS = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How much is taken at once, how much may wait, and when it goes to landing.

    Attributes:
        waiting_events: Events that are not on the disk or not applied yet; beyond it callers are asked to wait.
        waiting_bytes: Bytes of one source that landing does not have yet; likewise.
        segment_bytes: A segment of this size goes to landing.
        segment_seconds: A segment of this age does.
        online_seconds: How long an acknowledgement waits for the online store.
    """

    waiting_events: int = 20_000
    waiting_bytes: int = 256 * 2**20
    segment_bytes: int = 8 * 2**20
    segment_seconds: float = 60.0
    online_seconds: float = 5.0


class EventConflict(RequestError):
    """An id under which another event was taken before."""


class Receiver:
    """One pushed source: its log, and the way from there to landing."""

    def __init__(
        self, source: PushSource, log: PushLog, landing: Landing, online: OnlinePath, limits: PushLimits
    ) -> None:
        self.source = source
        self._log = log
        self._landing = landing
        self._online = online
        self._limits = limits
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="push-log")
        self._commit: Grouped[bytes, int] = Grouped(self._append, self._writer)
        self._flying: dict[str, tuple[bytes, asyncio.Future[list[int]]]] = {}
        self._delivering = asyncio.Lock()
        self._problem: str | None = None

    async def accept(self, events: Sequence[dict[str, Any]], key: str | None) -> list[dict[str, Any]]:
        """Acknowledges the events, in their order; each is on the disk when this returns.

        Args:
            events: As they came; `event_id` and `received_at` are filled in.
            key: The request's idempotency key.

        Raises:
            EventConflict: if another event was taken under an id; then none of these is taken.
            PushRefused: if too much waits, or the disk refuses; the same request may come again.
        """
        arrived = datetime.now(UTC).isoformat()
        for place, event in enumerate(events):
            event.setdefault(EVENT_ID, f"{key}:{place}" if key else str(uuid7()))
            event[RECEIVED_AT] = arrived
        ids = [event[EVENT_ID] for event in events]
        marks = [fingerprint(event) for event in events]
        new = self._new(ids, marks)
        if new:
            self._require_room(len(new))
            lines = [json.dumps(events[place], allow_nan=False).encode() for place in new.values()]
            committed = self._commit.add(lines)
            names = list(new)
            self._flying |= {name: (marks[place], committed) for name, place in new.items()}
            committed.add_done_callback(lambda done: self._settle(names, [marks[new[n]] for n in names], done))
        for future in dict.fromkeys(self._flying[name][1] for name in ids if name in self._flying):
            await _durable(future, self.source)
        told = await self._online.move(self.source, events)
        return [
            {
                "event_id": name,
                "position": self._log.seen[name].position,
                "duplicate": new.get(name) != place,
                **each,
            }
            for place, (name, each) in enumerate(zip(ids, told, strict=True))
        ]

    def _new(self, ids: Sequence[str], marks: Sequence[bytes]) -> dict[str, int]:
        """The ids that were not seen before, each with its event's place in the request."""
        new: dict[str, int] = {}
        for place, (name, mark) in enumerate(zip(ids, marks, strict=True)):
            if name in self._log.seen:
                before = self._log.seen[name].fingerprint
            elif name in self._flying:
                before = self._flying[name][0]
            else:
                before = marks[new.setdefault(name, place)]
            if before != mark:
                raise EventConflict(
                    object=f"event {place}",
                    observed=f"another event was taken as {name!r}",
                    expected="an id, or an Idempotency-Key, that stands for one event for ever",
                    next_step="send the event that was sent first, or this one under a new id",
                )
        return new

    def _require_room(self, events: int) -> None:
        waiting = self._commit.depth + self._online.depth
        if waiting and waiting + events > self._limits.waiting_events:
            raise self._refusal(f"{waiting} events wait", f"at most {self._limits.waiting_events}")
        unlanded = self._log.waiting_bytes
        if unlanded >= self._limits.waiting_bytes:
            why = f"; landing: {self._problem}" if self._problem else ""
            raise self._refusal(f"{unlanded} bytes have not landed{why}", f"less than {self._limits.waiting_bytes}")

    def _refusal(self, observed: str, expected: str) -> PushRefused:
        domain, name = self.source.name
        return PushRefused(
            object=f"source {domain}/{name}",
            observed=observed,
            expected=expected,
            next_step="send the same events again later, under the same ids",
        )

    def _append(self, lines: list[bytes]) -> Sequence[int]:
        first = self._log.append(lines)
        return range(first, first + len(lines))

    def _settle(self, names: list[str], marks: list[bytes], done: asyncio.Future[list[int]]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._log.remember(names, done.result()[0], marks)
        for name in names:
            del self._flying[name]

    def status(self) -> dict[str, Any]:
        """The position of the newest durable event, what has not landed, and why if that failed."""
        return {
            "position": self._log.last,
            "waiting_bytes": self._log.waiting_bytes,
            "landing_problem": self._problem,
        }

    async def replay(self) -> None:
        """Applies what an earlier process may have acknowledged and not applied; twice does no harm."""
        for segment in list(self._log.sealed):
            await self._online.move(self.source, [json.loads(line) for line in segment.lines()])

    async def run(self, stop: asyncio.Event) -> None:
        """Brings segments to landing when they are large or old enough, until it is to stop."""
        while not stop.is_set():
            await _either(stop, LOOK_SECONDS)
            old = time.monotonic() - self._log.begun >= self._limits.segment_seconds
            if self._log.sealed or (self._log.size and (old or self._log.size >= self._limits.segment_bytes)):
                try:
                    await self.deliver()
                except (GoldpathError, OSError):
                    await _either(stop, min(RETRY_SECONDS, self._limits.segment_seconds))

    async def deliver(self) -> list[str]:
        """Brings everything that is durable to landing now; returns the uris.

        Raises:
            GoldpathError, OSError: if landing does not take it; then it is tried again later.
        """
        loop = asyncio.get_running_loop()
        uris: list[str] = []
        async with self._delivering:
            try:
                await loop.run_in_executor(self._writer, self._log.seal)
                for segment in list(self._log.sealed):
                    uris += await asyncio.to_thread(self._land, segment)
                    await loop.run_in_executor(self._writer, self._log.forget, segment)
            except (GoldpathError, OSError) as error:
                if str(error) != self._problem:
                    logger.warning("%s/%s: %s", *self.source.name, error)
                self._problem = str(error)
                raise
            self._problem = None
        return uris

    def _land(self, segment: Segment) -> list[str]:
        """One file for each day of the segment; the same ones each time, so a killed delivery is simply repeated."""
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
        """Delivers what it can, and lets another process have the log."""
        await self._commit.finish()
        try:
            await self.deliver()
        except (GoldpathError, OSError):
            logger.warning("%s/%s stays in its log until the next start", *self.source.name)
        await asyncio.get_running_loop().run_in_executor(self._writer, self._log.close)
        self._writer.shutdown()


async def _either(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _durable(future: asyncio.Future[list[int]], source: PushSource) -> None:
    try:
        await asyncio.shield(future)
    except OSError as error:
        domain, name = source.name
        raise PushRefused(
            object=f"log of {domain}/{name}",
            observed=f"{type(error).__name__}: {error.strerror or error}",
            expected="events on the disk before they are acknowledged",
            next_step="send the same events again; if it stays, see whether the disk is full",
        ) from error


def _day(event: Mapping[str, Any], column: str | None) -> str:
    """The day that the event declares, if it is one; else the day on which it came."""
    declared = event.get(column) if column else None
    try:
        return date.fromisoformat(str(declared)).isoformat()
    except ValueError:
        return str(event[RECEIVED_AT])[:10]
