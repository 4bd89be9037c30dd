"""The door of `goldpath dev` lets in the browser that has the session's token, and only its own pages' requests."""

from __future__ import annotations

import pytest

from pipelines.commands.dev_access import COOKIE, Access, Asked

ACCESS = Access("secret")
PORT = 3000
HERE = "http://127.0.0.1:3000"
COOKIES = {"cookie": f"theme=dark; {COOKIE}=secret"}
BEARER = {"authorization": "Bearer secret"}


def status(method: str = "GET", target: str = "/runs", host: str = "127.0.0.1:3000", **headers: str) -> int | None:
    """The status of the refusal; None where the request passes."""
    path, _, query = target.partition("?")
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = ACCESS.refusal(Asked(method, path, query, {"host": host} | names), PORT)
    return refusal.status if refusal else None


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", COOKIES),
        ("GET", COOKIES | {"sec-fetch-site": "same-origin"}),
        ("POST", COOKIES | {"origin": HERE, "sec-fetch-site": "same-origin"}),
        ("WEBSOCKET", COOKIES | {"origin": HERE}),
        ("POST", BEARER),
        ("GET", COOKIES | {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}),
    ],
)
def test_the_persons_browser_and_scripts_with_the_token_pass(method: str, headers: dict[str, str]) -> None:
    assert status(method, **headers) is None


@pytest.mark.parametrize("headers", [{}, {"cookie": f"{COOKIE}=other"}, {"cookie": "=;;"}, {"authorization": "Bearer x"},
                                     {"authorization": "Basic secret"}, {"cookie": "other=secret"}])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_without_the_token_nothing_passes(method: str, headers: dict[str, str]) -> None:
    assert status(method, origin=HERE, **headers) == 401


@pytest.mark.parametrize(
    "host", ["evil.test:3000", "127.0.0.1", "127.0.0.1:3001", "", "localhost.evil.test:3000", "[::1]:3000"]
)
def test_another_host_name_is_refused(host: str) -> None:
    assert status(host=host, **COOKIES) == 421


@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "http://127.0.0.1:3001", "https://127.0.0.1:3000", "http://localhost:3000"]
)
def test_a_page_of_another_origin_is_refused(method: str, origin: str) -> None:
    assert status(method, origin=origin, **COOKIES) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {},
    ],
)
def test_what_another_page_loads_is_refused(site: str, headers: dict[str, str]) -> None:
    assert status(sec_fetch_site=site, **headers, **COOKIES) == 403


@pytest.mark.parametrize("method", ["POST", "WEBSOCKET", "DELETE"])
def test_a_change_without_an_origin_is_refused_unless_a_script_makes_it(method: str) -> None:
    assert status(method, **COOKIES) == 403
    assert status(method, **BEARER) is None


@pytest.mark.parametrize(
    "target", ["/graphql?query=mutation{x}", "/graphql/?operationName=x&query={y}", "/p/graphql?query"]
)
@pytest.mark.parametrize("headers", [BEARER, COOKIES | {"origin": HERE}])
def test_no_operation_of_graphql_stands_in_a_query_string(target: str, headers: dict[str, str]) -> None:
    assert {status(method, target, **headers) for method in ("GET", "HEAD", "POST")} == {405}


def test_the_link_passes_and_is_the_only_query_that_does() -> None:
    assert status(target="/?token=secret") is None
    assert status(target="/?token=other") == 401
    assert status("POST", "/?token=secret", origin=HERE) == 401
