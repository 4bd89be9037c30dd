"""The route of a service as one replica knows it: read again when its file has changed."""

from __future__ import annotations

import time
from pathlib import Path

from pipelines.rollout import routes
from pipelines.rollout.routes import LOOK_SECONDS, Route
from pipelines.settings import Settings


class RouteFile:
    """Looks at the file at most every `LOOK_SECONDS`, when it is asked: a look takes some microseconds.

    A route that cannot be read is none, so that the version that serves answers everything.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings, self._service = settings, service
        self._path = routes.path(settings, service)
        self._next_look = 0.0
        self._seen: tuple[int, ...] | None = None
        self._route: Route | None = None

    def current(self) -> Route | None:
        """The route that holds now; None without a rollout."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        return self._route

    def _look(self) -> None:
        try:
            seen = _version(self._path)
            if seen != self._seen:
                self._route = routes.read(self._settings, self._service)
                self._seen = seen
        except OSError:
            self._seen = self._route = None


def _version(path: Path) -> tuple[int, ...]:
    """What differs between a file and its replacement."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
