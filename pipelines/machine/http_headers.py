"""A limit on the time in which an HTTP client sends the headers of a request, which uvicorn lacks.

Give the class to uvicorn as `http=HeadersInTime`. A server's own limit on bodies begins where this one ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: The longest time that a connection waits for the end of a request's headers is between one and two times this.
HEADER_SECONDS = 20.0


class HeadersInTime(AutoHTTPProtocol):  # ty: ignore[unsupported-base]
    """A connection that is closed while it has no request to answer, if that lasts too long however the bytes come."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look_again(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look_again(self, waiting_since: object) -> None:
        self._next_look: asyncio.TimerHandle = self.loop.call_later(HEADER_SECONDS, self._look, waiting_since)

    def _look(self, waiting_since: object) -> None:
        """Closes a connection that still waits for the request after this one; None before its first."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # it became a websocket
            return
        request = self.cycle
        waits = request is None or request.response_complete
        if waits and request is waiting_since:
            self.transport.close()
        else:
            self._look_again(request if waits else self)
