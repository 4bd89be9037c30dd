"""An HTTP connection that waits for the headers of an answer as long as its time limit says, however they come.

The limit of a socket counts anew with each byte: a server that sends one now and then is waited for without end.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPException
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_TOO_SLOW = "the headers of the answer came too slowly"


class _InTime:
    """The part that the connections of both schemes share."""

    def getresponse(self) -> Any:
        """The answer, up to its body; raises TimeoutError where its headers did not come in time."""
        connected: socket.socket = self.sock  # ty: ignore[missing-attribute]
        late = threading.Event()

        def end() -> None:
            late.set()
            with contextlib.suppress(OSError):  # it has ended by itself
                connected.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(connected.gettimeout() or threading.TIMEOUT_MAX, end)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # ty: ignore[missing-attribute]
        except (OSError, HTTPException):
            if not late.is_set():
                raise
            raise TimeoutError(_TOO_SLOW) from None
        finally:
            timer.cancel()
        if late.is_set():  # what came until then passes for all of the headers
            answer.close()
            raise TimeoutError(_TOO_SLOW)
        return answer


class _Http(_InTime, HTTPConnection):
    pass


class _Https(_InTime, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls: Any = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _Https


class TimelyAdapter(HTTPAdapter):
    """Lets a session of requests use these connections."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        pools: Any = self.poolmanager
        pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
