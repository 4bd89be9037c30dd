"""Sends the events of the lineage log to an OpenLineage HTTP endpoint: in order, each at least once, none lost.

The log itself is the outbox; `<home>/lineage/sent.json` holds how far the endpoint has it, as a byte offset. A run
never waits long for the endpoint and never fails because of it: what was not sent is sent by a later event. An event
that the endpoint refuses for good (HTTP 400, 413, 422) would stop all later ones: it is passed over, and listed in that
file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

from pipelines.machine import files, json_lines, locks
from pipelines.settings import Settings

#: The longest time of one delivery, of one request in it, and between a failed delivery and the next, in seconds.
DELIVERY_SECONDS, REQUEST_SECONDS, PAUSE_SECONDS = 10.0, 5.0, 60.0
REFUSALS = (400, 413, 422)
logger = logging.getLogger(__name__)


class Outbox:
    """What an endpoint still has to get of a log.

    Attributes:
        problem: Why the last delivery of this process failed; None if it did not.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self.problem: str | None = None
        self._log = log
        self._url = f"{str(settings.lineage_url).rstrip('/')}/api/v1/lineage"
        self._key = settings.lineage_api_key
        self._endpoint = hashlib.sha256(self._url.encode()).hexdigest()[:16]
        self._next_try = 0.0

    @property
    def _file(self) -> Path:
        return self._log.parent / "sent.json"

    def _state(self) -> dict[str, Any]:
        """`offset` and `refused` of this endpoint; empty before the first event for it."""
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))[self._endpoint]
            return {"offset": int(state["offset"]), "refused": [int(end) for end in state["refused"]]}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            logger.warning("%s is damaged or of another endpoint: events are sent from now on", self._file)
            return {}

    def _note(self, state: dict[str, Any]) -> None:
        files.replace(self._file, json.dumps({self._endpoint: state}))

    def begin(self) -> None:
        """Notes, before the first event for an endpoint, where the log ends: events before it are not sent."""
        if not self._state():
            self._note({"offset": self._log.stat().st_size if self._log.exists() else 0, "refused": []})

    def backlog(self) -> int:
        """How many events were not sent yet."""
        return sum(1 for _ in json_lines.read_from(self._log, self._state().get("offset", 0)))

    def refused(self) -> int:
        """How many events the endpoint refused for good."""
        return len(self._state().get("refused", []))

    def deliver(self) -> None:
        """Sends what was not sent yet, within a bounded time; a failure is logged and noted in `problem`."""
        import httpx

        if time.monotonic() < self._next_try:
            return
        deadline, self.problem = time.monotonic() + DELIVERY_SECONDS, None
        try:
            with (
                locks.held(self._file.with_suffix(".lock"), purpose="lineage delivery", wait_seconds=REQUEST_SECONDS),
                httpx.Client(timeout=REQUEST_SECONDS, headers=self._headers()) as client,
            ):
                self._send(client, deadline)
        except (httpx.HTTPError, locks.LockTimeout) as error:
            self.problem = f"{type(error).__name__}: {error}"
            self._next_try = time.monotonic() + PAUSE_SECONDS
            logger.warning("lineage is in %s and was not sent to its endpoint: %s", self._log, self.problem)

    def _send(self, client: Any, deadline: float) -> None:
        """Sends one event after another, and notes each; raises httpx.HTTPError."""
        state = self._state()
        for end, event in json_lines.read_from(self._log, state.get("offset", 0)):
            with client.stream("POST", self._url, json=event) as answer:  # the body of an answer is not waited for
                if answer.status_code in REFUSALS:
                    state["refused"] = [*state["refused"], end]
                    logger.warning("the lineage endpoint refused an event: HTTP %d", answer.status_code)
                elif not answer.is_success:
                    answer.raise_for_status()
            state["offset"] = end
            self._note(state)
            if time.monotonic() > deadline:
                return

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
