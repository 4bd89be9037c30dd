"""Pages of an API: pages land whatever fails behind them, nothing is lost, and nothing is requested needlessly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DefinitionError, LandingError, SettingsError, TransientError
from pipelines.retrying import Backoff
from pipelines.sources.rest import RestPages
from tests.pipelines.sources.landed import NOW, Landed, ids, records
from tests.pipelines.sources.rest_server import RestServer, cut, serving, status, truncated

QUICK = Backoff(attempts=3, first_seconds=0.01, longest_seconds=5)
CURSOR = {"type": "cursor", "cursor_path": "next", "cursor_param": "after"}
PAGINATORS: list[dict[str, Any]] = [
    CURSOR,
    {"type": "header_link"},
    {"type": "json_link", "next_url_path": "links.next"},
    {"type": "offset", "limit": 2, "total_path": None},
    {"type": "offset", "limit": 2, "total_path": "total"},
    {"type": "page_number", "base_page": 1, "total_path": None},
]
SOURCE = RestPages("shop", "orders", paginator=CURSOR, cursor_param="since", pages_per_file=1, backoff=QUICK)


@pytest.fixture
def api() -> Iterator[RestServer]:
    with serving() as server:
        server.add(*((id, f"2013-11-01T00:0{id}:00Z") for id in range(1, 6)))
        yield server


@pytest.fixture
def landed(api: RestServer) -> Landed:
    return Landed(api.address)


def test_records_land_page_by_page_with_their_digits(landed: Landed) -> None:
    assert ids(landed.take(SOURCE)) == [[1, 2], [3, 4], [5]]
    assert landed.contents[0].splitlines()[0] == b'{"id": 1, "amount": 1.50, "updated_at": "2013-11-01T00:01:00Z"}'
    assert (landed.names[0], landed.intervals[0]) == ("orders.jsonl", "2013-11-01")


def test_a_file_has_a_bounded_number_of_pages(landed: Landed) -> None:
    assert ids(landed.take(replace(SOURCE, pages_per_file=2))) == [[1, 2, 3, 4], [5]]


@pytest.mark.parametrize("paginator", PAGINATORS, ids=lambda p: f"{p['type']} {p.get('total_path', '')}")
def test_the_next_run_begins_at_the_failed_page_with_every_paginator(
    api: RestServer, landed: Landed, paginator: dict[str, Any]
) -> None:
    source = replace(SOURCE, paginator=paginator)
    api.fail(4, *[status(503)] * 3)
    with pytest.raises(TransientError, match="connection 'shop': 503 Service Unavailable for /v1/orders"):
        landed.take(source)
    assert ids(landed.contents) == [[1, 2], [3, 4]]
    api.requests.clear()
    assert ids(landed.take(source)) == [[5]]
    assert not any("page=1" in path or path.endswith("/orders") for path in api.requests)
    api.add((6, "2013-11-01T00:06:00Z"))
    assert ids(landed.take(source)) == [[5, 6]]


def test_after_a_killed_run_the_next_lands_the_rest(landed: Landed) -> None:
    assert ids(landed.take(SOURCE, stop_after=1)) == [[1, 2]]
    assert ids(landed.take(SOURCE)) == [[3, 4], [5]]


@pytest.mark.parametrize("fault", [cut, truncated, status(500), status(429)])
def test_a_fault_that_passes_is_retried(api: RestServer, landed: Landed, fault: Any) -> None:
    api.fail(2, fault, fault)
    assert ids(landed.take(SOURCE)) == [[1, 2], [3, 4], [5]]
    assert [path for path in api.requests if "after=2" in path] == ["/v1/orders?after=2"] * 3


@pytest.mark.parametrize("fault", [cut, truncated])
def test_after_an_answer_that_stays_incomplete_the_pages_before_it_have_landed(
    api: RestServer, landed: Landed, fault: Any
) -> None:
    api.fail(2, *[fault] * 3)
    with pytest.raises(TransientError, match="connection 'shop'"):
        landed.take(SOURCE)
    assert ids(landed.contents) == [[1, 2]]
    assert ids(landed.take(SOURCE)) == [[3, 4], [5]]


def test_a_server_that_asks_to_wait_is_retried_after_that_time(api: RestServer, landed: Landed) -> None:
    api.fail(2, status(429, Retry_After="1"))
    assert ids(landed.take(SOURCE)) == [[1, 2], [3, 4], [5]]


def test_a_wait_that_is_too_long_ends_the_run(api: RestServer, landed: Landed) -> None:
    api.fail(2, status(429, Retry_After="3600"))
    with pytest.raises(TransientError, match="run it again in 3600 seconds, as the server asks"):
        landed.take(SOURCE)
    assert len(api.requests) == 2


@pytest.mark.parametrize("code", [400, 404, 410])
def test_a_refusal_is_not_retried(api: RestServer, landed: Landed, code: int) -> None:
    api.fail(2, status(code))
    with pytest.raises(LandingError, match=f'{code} .* for /v1/orders: {{"error": "not now"}}'):
        landed.take(SOURCE)
    assert ids(landed.contents) == [[1, 2]]
    assert len(api.requests) == 2


def test_without_new_records_the_last_page_lands_once_more_and_then_nothing(api: RestServer, landed: Landed) -> None:
    source = replace(SOURCE, pages_per_file=9)
    assert ids(landed.take(source)) == [[1, 2, 3, 4, 5]]
    assert ids(landed.take(source)) == [[5]]
    assert landed.take(source) == []
    assert api.requests[-1] == "/v1/orders?since=2013-11-01T00%3A05%3A00Z"


def test_records_that_appear_late_land_within_the_lateness(api: RestServer, landed: Landed) -> None:
    source = replace(SOURCE, lateness=timedelta(minutes=2), pages_per_file=9)
    landed.take(source)
    api.add((6, "2013-11-01T00:03:30Z"))
    assert ids(landed.take(source)) == [[3, 6, 4, 5]]
    assert api.requests[-2].startswith("/v1/orders?since=2013-11-01T00%3A03%3A00Z")
    assert landed.take(source) == []


def test_without_a_cursor_all_pages_are_read_again_and_land_if_they_changed(api: RestServer, landed: Landed) -> None:
    source = replace(SOURCE, cursor_param=None)
    landed.take(source)
    assert landed.take(source) == []
    api.add((6, "2013-11-01T00:06:00Z"))
    assert ids(landed.take(source)) == [[5, 6]]
    assert landed.take(source) == []
    api.records[0] = api.records[0].replace("1.50", "1.75")
    changed, *_ = records(landed.take(source))
    assert [record["amount"] for record in changed] == [1.75, 2.5]
    assert landed.take(source) == []


def test_a_pass_whose_last_page_has_become_empty_ends(api: RestServer, landed: Landed) -> None:
    source = replace(SOURCE, paginator={"type": "page_number", "base_page": 1, "total_path": None})
    landed.take(source, stop_after=2)
    api.records.pop()
    assert ids(landed.take(source)) == [[]]
    api.add((7, "2013-11-01T00:07:00Z"))
    assert ids(landed.take(source)) == [[4, 7]]


def test_an_api_without_records_lands_nothing(api: RestServer, landed: Landed) -> None:
    api.records.clear()
    assert landed.take(SOURCE) == []
    api.add((1, "2013-11-01T00:01:00Z"))
    assert ids(landed.take(SOURCE)) == [[1]]


def test_records_under_another_path_are_an_error_and_not_an_empty_page(landed: Landed) -> None:
    with pytest.raises(LandingError, match="an answer without items: data, next, links, total"):
        landed.take(replace(SOURCE, records="items"))


def test_a_record_without_the_cursor_is_an_error(landed: Landed) -> None:
    with pytest.raises(LandingError, match="cursor 'changed' of orders: a record without it"):
        landed.take(replace(SOURCE, cursor="changed"))


@pytest.mark.parametrize(
    ("token", "user"), [("Bearer s3cr/t%", ":s3cr%2Ft%25@"), ("Basic dXNlcjpzM2NyL3Ql", "user:s3cr%2Ft%25@")]
)
def test_credentials_are_in_each_request_and_in_no_error(
    api: RestServer, landed: Landed, token: str, user: str
) -> None:
    api.token = token
    landed.address = api.address.replace("//", f"//{user}")
    assert ids(landed.take(SOURCE)) == [[1, 2], [3, 4], [5]]
    assert "s3cr" not in str(landed.position)
    api.token = "another"
    with pytest.raises(LandingError, match="check the credentials in GOLDPATH_SOURCES") as caught:
        landed.take(SOURCE)
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("paginator", [CURSOR, {"type": "header_link"}])
def test_a_secret_parameter_is_in_each_request_and_in_no_position_and_no_error(
    api: RestServer, landed: Landed, paginator: dict[str, Any]
) -> None:
    api.key = "s3cret"
    landed.address = f"{api.address}?key=s3cret"
    source = replace(SOURCE, paginator=paginator)
    landed.take(source, stop_after=1)
    assert "after=2" in str(landed.position) or "'after': '2'" in str(landed.position)
    assert "s3cret" not in str(landed.position)
    assert ids(landed.take(source)) == [[3, 4], [5]]
    api.key = "another"
    with pytest.raises(LandingError) as refused:
        landed.take(source)
    landed.address = "http://127.0.0.1:1/v1?key=s3cret"
    with pytest.raises(TransientError) as unreachable:
        landed.take(source)
    assert (
        "s3cret" not in f"{refused.value} {refused.value.__cause__} {unreachable.value} {unreachable.value.__cause__}"
    )


def test_a_next_page_at_another_server_is_refused(api: RestServer, landed: Landed) -> None:
    def elsewhere(handler: Any) -> None:
        handler.answer(200, '{"data": [{"id": 1}], "next": "http://localhost:1/v1/orders"}')

    api.fail(0, elsewhere)
    source = replace(SOURCE, paginator={"type": "json_link", "next_url_path": "next"}, cursor_param=None)
    with pytest.raises(LandingError, match="a next page at http://localhost"):
        landed.take(source)


@pytest.mark.parametrize("address", ["ftp://host/x", "host/x", "http://", "http://host:port/x?key=s3cret"])
def test_an_error_does_not_show_the_address(address: str) -> None:
    with pytest.raises(SettingsError, match="connection 'shop': an address that is not the URL") as caught:
        list(SOURCE.extract(None, connection=address, now=NOW))
    assert address not in str(caught.value)


def test_an_unknown_paginator_is_refused() -> None:
    with pytest.raises(DefinitionError, match="paginator 'auto'.*one of single_page"):
        replace(SOURCE, paginator={"type": "auto"})


def test_an_extraction_writes_nothing_to_the_users_home(
    landed: Landed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    landed.take(SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_the_future_hides_no_later_record(api: RestServer, landed: Landed) -> None:
    source = replace(SOURCE, pages_per_file=9)
    api.add((9, "2099-01-01T00:00:00Z"))
    assert ids(landed.take(source)) == [[1, 2, 3, 4, 5, 9]]
    assert landed.position is not None
    assert (landed.position["cursor"], landed.position["ahead"]) == ("2013-11-01T00:05:00Z", ["2099-01-01T00:00:00Z"])
    api.add((6, "2013-11-01T00:06:00Z"))
    assert ids(landed.take(source)) == [[5, 6, 9]]


def test_timestamps_of_several_forms_are_compared_as_instants(api: RestServer, landed: Landed) -> None:
    api.add((8, "2013-11-01T01:00:00+02:00"), (7, "2013-11-01 00:01:30"))
    landed.take(replace(SOURCE, pages_per_file=9))
    assert landed.position is not None
    assert landed.position["cursor"] == "2013-11-01T00:05:00Z"


def test_a_redirect_to_another_server_is_refused_and_gets_no_credentials(api: RestServer) -> None:
    api.token = "Bearer s3cret"
    with serving() as other:
        api.fail(0, lambda handler: redirect(handler, f"{other.address}/orders"))
        with pytest.raises(LandingError, match="a redirect to http://") as refused:
            Landed(api.address.replace("//", "//:s3cret@")).take(SOURCE)
        assert other.requests == []
    assert "s3cret" not in str(refused.value)


def redirect(handler: Any, location: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", location)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_body_that_comes_too_slowly_is_cut_off(api: RestServer, landed: Landed) -> None:
    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(b" ")
                time.sleep(0.02)

    api.fail(0, drip, drip, drip)
    with pytest.raises(TransientError, match="bytes of an answer in 0.3 s, and no end"):
        landed.take(replace(SOURCE, timeout_seconds=0.3))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Long: "], ids=["status", "header"])
def test_headers_that_come_too_slowly_are_cut_off(api: RestServer, landed: Landed, start: bytes) -> None:
    def drip(handler: Any) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(start)
            for _ in range(500):
                handler.wfile.write(b"H")
                time.sleep(0.02)

    api.fail(0, drip, drip, drip)
    with pytest.raises(TransientError, match="timed out"):
        landed.take(replace(SOURCE, timeout_seconds=0.3))
    api.fail(0, drip)  # the next attempt is answered
    assert landed.take(replace(SOURCE, timeout_seconds=0.3))
