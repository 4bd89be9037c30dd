"""The route of a service as one replica knows it: read again when its file has changed."""

from __future__ import annotations

import time

from pipelines.rollout import routes
from pipelines.rollout.routes import LEASE_SECONDS, LOOK_SECONDS, Route
from pipelines.settings import Settings


class RouteFile:
    """Looks at the file at most every `LOOK_SECONDS`, when it is asked: a look takes some microseconds.

    A route that cannot be read, or that nobody renews, is none: the version that serves answers everything.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings, self._service = settings, service
        self._path = routes.path(settings, service)
        self._next_look = 0.0
        self._seen: tuple[int, ...] | None = None
        self._read: Route | None = None
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
            status = self._path.stat()
            seen = status.st_ino, status.st_mtime_ns, status.st_size
            if seen != self._seen:
                self._read = routes.read(self._settings, self._service)
                self._seen = seen
            held = time.time() - status.st_mtime <= LEASE_SECONDS
            self._route = self._read if held else None
        except OSError:
            self._seen = self._route = None
