"""Transient errors are retried with growing waits; other errors are raised at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count

import httpx
import pytest
import requests
from sqlalchemy.exc import OperationalError, ProgrammingError

from pipelines.errors import CommitConflict, LandingError, TransientError
from pipelines.retrying import Backoff, is_transient, retry_after

#: Its waits are short.
QUICK = Backoff(attempts=4, first_seconds=0.001, longest_seconds=0.01)
PARTS = {"object": "it", "observed": "this", "expected": "that", "next_step": "try"}


def requests_error(status: int, **headers: str) -> requests.HTTPError:
    """The error of requests about an HTTP response."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return requests.HTTPError(response=response)


def failing(times: int, error: Exception) -> Callable[[], int]:
    """Work that fails `times` times, and then returns how often it was called."""
    calls = count(1)

    def work() -> int:
        number = next(calls)
        if number <= times:
            raise error
        return number

    return work


def httpx_error(status: int) -> httpx.HTTPStatusError:
    """The error of httpx about an HTTP response."""
    request = httpx.Request("GET", "http://127.0.0.1")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status))


def operational(text: str) -> OperationalError:
    """The operational error of a database."""
    return OperationalError("SELECT 1", {}, sqlite3.OperationalError(text))


@pytest.mark.parametrize("error", [
    ConnectionResetError(), BrokenPipeError(), TimeoutError(), TransientError(**PARTS), CommitConflict(**PARTS),
    requests_error(429), requests_error(408), requests_error(500), requests_error(503), httpx_error(502),
    requests.ConnectionError(), requests.ReadTimeout(), requests.exceptions.ChunkedEncodingError(),
    httpx.ConnectError("down"), httpx.ReadTimeout("slow"), operational("database is locked"),
    operational("the database system is starting up"),
], ids=repr)  # fmt: skip
def test_lost_connections_timeouts_and_overloads_are_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", [
    ValueError(), FileNotFoundError(), PermissionError(), LandingError(**PARTS), KeyboardInterrupt(),
    requests_error(400), requests_error(401), requests_error(404), requests_error(409), httpx_error(403), requests.exceptions.SSLError(),
    requests.exceptions.InvalidURL(), httpx.UnsupportedProtocol("x"), operational("no such table: orders"),
    operational('FATAL: password authentication failed for user "shop"'),
    ProgrammingError("SELECT", {}, Exception("syntax")),
], ids=repr)  # fmt: skip
def test_mistakes_are_not_transient(error: BaseException) -> None:
    assert not is_transient(error)


def test_work_is_retried_until_it_succeeds() -> None:
    assert QUICK.call(failing(3, ConnectionResetError())) == 4


def test_after_the_last_attempt_its_error_is_raised() -> None:
    work = failing(9, requests_error(503))
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    assert QUICK.call(work) == 10


def test_a_mistake_is_raised_at_once() -> None:
    work = failing(1, LandingError(**PARTS))
    with pytest.raises(LandingError):
        QUICK.call(work)
    assert work() == 2


def test_a_retry_after_longer_than_the_longest_wait_ends_the_attempts() -> None:
    work = failing(2, requests_error(429, Retry_After="60"))
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    assert work() == 3


def test_waits_are_random_below_a_bound_that_doubles() -> None:
    backoff = Backoff(first_seconds=2, longest_seconds=10)
    for attempt, highest in ((1, 2), (2, 4), (3, 8), (4, 10), (60, 10)):
        waits = [backoff.seconds(attempt, ConnectionResetError()) for _ in range(200)]
        assert min(waits) >= 0
        assert highest / 2 < max(waits) <= highest
        assert len(set(waits)) > 100
    assert backoff.seconds(1, requests_error(429, Retry_After="9")) == 9


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after(requests_error(429, Retry_After="7")) == 7
    assert retry_after(requests_error(429, Retry_After="86400")) == 86400
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3590 < (retry_after(requests_error(429, Retry_After=later)) or 0) <= 3600
    assert retry_after(requests_error(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert retry_after(requests_error(503, Retry_After="soon")) is None
    assert retry_after(requests_error(503)) is None
    assert retry_after(ConnectionResetError()) is None
