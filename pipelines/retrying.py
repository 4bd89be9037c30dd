"""Retries: transient errors only, with exponential backoff and jitter, in one place.

What waits for another system (a source, a bucket, a broker) calls it through `Backoff.call`; an error that the same
input would meet again is raised at once.
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

#: Errors by their full name, so that no library is loaded to be asked: an error's own library is loaded already.
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
#: What a library counts among those although it never passes: a certificate, an address.
TERMINAL = frozenset({"requests.exceptions.SSLError", "httpx.UnsupportedProtocol"})
#: A database says these as operational errors; neither passes by itself.
REFUSED = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no such ", "permission denied")
#: Request timeout, too early, too many requests; besides every 5xx.
TRANSIENT_STATUS = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how patiently: after attempt n, a random time of up to first_seconds·2ⁿ⁻¹ (full jitter).

    A server's `Retry-After` is kept to; one longer than `longest_seconds` ends the attempts, since waiting is then the
    scheduler's business.
    """

    attempts: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def call(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, tried again while it fails transiently; then its last error."""
        from tenacity import Retrying, retry_if_exception

        return Retrying(
            retry=retry_if_exception(is_transient), wait=self._seconds, stop=self._ended, reraise=True
        )(work)  # fmt: skip

    def _seconds(self, state: RetryCallState) -> float:
        return self.seconds(state.attempt_number, _error(state))

    def seconds(self, attempt: int, error: BaseException | None) -> float:
        """How long to wait after attempt number `attempt`, counted from 1, that ended with an error."""
        return max(random.uniform(0, self.highest(attempt)), retry_after(error) or 0.0)

    def highest(self, attempt: int) -> float:
        """The longest random wait after that attempt, in seconds."""
        return min(self.longest_seconds, self.first_seconds * 2 ** (attempt - 1))

    def _ended(self, state: RetryCallState) -> bool:
        asked = retry_after(_error(state)) or 0.0
        return state.attempt_number >= self.attempts or asked > self.longest_seconds


def is_transient(error: BaseException) -> bool:
    """Whether the same input may pass later: a connection, a time limit, an overload, not a mistake."""
    if isinstance(error, GoldpathError):
        return isinstance(error, TransientError)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in TRANSIENT_STATUS or status >= 500
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if names & TERMINAL or not names & TRANSIENT:
        return False
    return not any(words in str(error) for words in REFUSED)


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
