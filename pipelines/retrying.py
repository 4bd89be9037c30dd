"""Retries of transient errors, with exponential backoff and jitter.

A call to another system (a source, a bucket, a broker) goes through `Backoff.call`; an error that the same input would
cause again is raised at once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pipelines.errors import GoldpathError, TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

#: Transient errors, by full class name, so that comparing does not import the libraries that define them.
TRANSIENT = frozenset({
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "httpx.TransportError",
    "urllib3.exceptions.ProtocolError",
    "botocore.exceptions.HTTPClientError",
    "sqlalchemy.exc.OperationalError",
})  # fmt: skip
#: Subclasses of the transient errors that a retry does not mend: a refused certificate, a malformed address.
TERMINAL = frozenset({"requests.exceptions.SSLError", "httpx.UnsupportedProtocol"})
#: Parts of messages of operational errors of databases that a retry does not mend.
REFUSED = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no such ", "permission denied")
#: HTTP status codes that are transient beside every 5xx: request timeout, too early, too many requests.
TRANSIENT_STATUS = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often work is tried, and how long to wait between attempts.

    After attempt n the wait is random between 0 and first_seconds·2ⁿ⁻¹ ("full jitter"), at most `longest_seconds`. If
    the server sends `Retry-After`, the wait is at least that long; if that is longer than `longest_seconds`, no further
    attempt is made, because a wait of that length belongs to the scheduler.
    """

    attempts: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def call(self, work: Callable[[], Result]) -> Result:
        """Calls `work` until it succeeds; raises its last error after `attempts` calls, or at once if not transient."""
        from tenacity import Retrying, retry_if_exception

        return Retrying(
            retry=retry_if_exception(is_transient), wait=self._seconds, stop=self._ended, reraise=True
        )(work)  # fmt: skip

    def _seconds(self, state: RetryCallState) -> float:
        return self.seconds(state.attempt_number, _error(state))

    def seconds(self, attempt: int, error: BaseException | None) -> float:
        """Seconds to wait after the failed attempt number `attempt`, counted from 1."""
        return max(random.uniform(0, self.highest(attempt)), retry_after(error) or 0.0)

    def highest(self, attempt: int) -> float:
        """The longest random wait after attempt number `attempt`, in seconds."""
        return min(self.longest_seconds, self.first_seconds * 2 ** (attempt - 1))

    def _ended(self, state: RetryCallState) -> bool:
        requested_seconds = retry_after(_error(state)) or 0.0
        return state.attempt_number >= self.attempts or requested_seconds > self.longest_seconds


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: after a lost connection, a timeout or an overload, not a mistake."""
    if isinstance(error, GoldpathError):
        return isinstance(error, TransientError)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in TRANSIENT_STATUS or status >= 500
    names = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    if names & TERMINAL or not names & TRANSIENT:
        return False
    return not any(message in str(error) for message in REFUSED)


def retry_after(error: BaseException | None) -> float | None:
    """The seconds that the `Retry-After` of an HTTP response asks for; None without one that can be read."""
    header = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After")
    if not header:
        return None
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return float(Retry(retry_after_max=sys.maxsize).parse_retry_after(header))
    except (InvalidHeader, ValueError, TypeError, OverflowError):
        return None


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
