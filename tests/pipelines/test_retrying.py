"""Retries: what may pass is tried again, patiently; a mistake is not."""

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

QUICK = Backoff(attempts=4, first_seconds=0.001, longest_seconds=0.01)
WORDS = {"object": "it", "observed": "this", "expected": "that", "next_step": "try"}


def refused(status: int, **headers: str) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return requests.HTTPError(response=response)


def failing(times: int, error: Exception) -> Callable[[], int]:
    """Work that fails so many times, and then says how often it was called."""
    calls = count(1)

    def work() -> int:
        number = next(calls)
        if number <= times:
            raise error
        return number

    return work


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status))


def operational(text: str) -> OperationalError:
    return OperationalError("SELECT 1", {}, sqlite3.OperationalError(text))


@pytest.mark.parametrize("error", [
    ConnectionResetError(), BrokenPipeError(), TimeoutError(), TransientError(**WORDS), CommitConflict(**WORDS),
    refused(429), refused(408), refused(500), refused(503), answered(502),
    requests.ConnectionError(), requests.ReadTimeout(), requests.exceptions.ChunkedEncodingError(),
    httpx.ConnectError("down"), httpx.ReadTimeout("slow"), operational("database is locked"),
    operational("the database system is starting up"),
], ids=repr)  # fmt: skip
def test_what_may_pass_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", [
    ValueError(), FileNotFoundError(), PermissionError(), LandingError(**WORDS), KeyboardInterrupt(),
    refused(400), refused(401), refused(404), refused(409), answered(403), requests.exceptions.SSLError(),
    requests.exceptions.InvalidURL(), httpx.UnsupportedProtocol("x"), operational("no such table: orders"),
    operational('FATAL: password authentication failed for user "shop"'),
    ProgrammingError("SELECT", {}, Exception("syntax")),
], ids=repr)  # fmt: skip
def test_a_mistake_is_not_transient(error: BaseException) -> None:
    assert not is_transient(error)


def test_work_is_tried_again_until_it_passes() -> None:
    assert QUICK.call(failing(3, ConnectionResetError())) == 4


def test_the_last_error_is_raised_when_the_attempts_are_used_up() -> None:
    work = failing(9, refused(503))
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    assert QUICK.call(work) == 10


def test_a_mistake_is_raised_at_once() -> None:
    work = failing(1, LandingError(**WORDS))
    with pytest.raises(LandingError):
        QUICK.call(work)
    assert work() == 2


def test_a_wait_that_is_too_long_ends_the_attempts() -> None:
    work = failing(2, refused(429, Retry_After="60"))
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    with pytest.raises(requests.HTTPError):
        QUICK.call(work)
    assert work() == 3


def test_a_wait_is_at_random_below_a_bound_that_doubles() -> None:
    backoff = Backoff(first_seconds=2, longest_seconds=10)
    for attempt, highest in ((1, 2), (2, 4), (3, 8), (4, 10), (60, 10)):
        waits = [backoff.seconds(attempt, ConnectionResetError()) for _ in range(200)]
        assert min(waits) >= 0
        assert highest / 2 < max(waits) <= highest
        assert len(set(waits)) > 100
    assert backoff.seconds(1, refused(429, Retry_After="9")) == 9


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after(refused(429, Retry_After="7")) == 7
    assert retry_after(refused(429, Retry_After="86400")) == 86400
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3590 < (retry_after(refused(429, Retry_After=later)) or 0) <= 3600
    assert retry_after(refused(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert retry_after(refused(503, Retry_After="soon")) is None
    assert retry_after(refused(503)) is None
    assert retry_after(ConnectionResetError()) is None
