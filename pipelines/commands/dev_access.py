"""Who may pass the door of `goldpath dev`: the browser of the person who opened the printed link, and nobody else.

A page of any other site, and any other account of the machine, can send requests to a loopback port. A browser says
with each request from which page it comes (Origin, Fetch Metadata) and to which host name; no page can change that.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

COOKIE = "goldpath_dev"
SAFE = ("GET", "HEAD", "OPTIONS")
HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not pass: the HTTP status, and a sentence for the person at the browser."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about itself.

    Attributes:
        method: The HTTP method; `WEBSOCKET` for the start of a websocket.
        path: The path, without the query.
        query: The query string.
        headers: The values by name, names in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, list[str]]:
        return parse_qs(self.query, keep_blank_values=True)

    @property
    def bearer(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return found.value if found else ""


class Access:
    """The rules for one session, whose token is in the link that is printed when the servers have started."""

    def __init__(self, token: str) -> None:
        self._token = token

    def is_token(self, presented: str) -> bool:
        """Whether this is the session's token; takes the same time for every wrong one."""
        return hmac.compare_digest(presented.encode(), self._token.encode())

    def opens(self, asked: Asked) -> bool:
        """Whether the request is the printed link: a GET with the token in its query."""
        return asked.method == "GET" and any(map(self.is_token, asked.parameters.get("token", [])))

    def refusal(self, asked: Asked, port: int) -> Refusal | None:
        """Why the request may not pass to the pages on `port`; None if it may."""
        return _foreign(asked, port) or self._unknown(asked) or _unsafe(asked)

    def _unknown(self, asked: Asked) -> Refusal | None:
        if self.is_token(asked.bearer) or self.opens(asked):
            return None
        if not self.is_token(asked.cookie):
            return Refusal(
                401, "Open the link with the token that `goldpath dev` printed; a new start prints a new one."
            )
        if asked.method not in SAFE and "origin" not in asked.headers:
            return Refusal(403, "A request that changes something says from which page it comes (Origin).")
        return None


def _foreign(asked: Asked, port: int) -> Refusal | None:
    """A request under another host name (DNS rebinding), or from a page of another site or port."""
    host = asked.headers.get("host", "")
    if host not in {f"{name}:{port}" for name in HOSTS}:
        return Refusal(421, f"These pages have the address http://{HOSTS[0]}:{port}.")
    if asked.headers.get("origin", f"http://{host}") != f"http://{host}":
        return Refusal(403, "The request comes from a page of another address.")
    site = asked.headers.get("sec-fetch-site", "none")
    followed_link = (
        asked.method == "GET"
        and asked.headers.get("sec-fetch-mode") == "navigate"
        and asked.headers.get("sec-fetch-dest") == "document"
    )
    if site not in ("same-origin", "none") and not followed_link:
        return Refusal(403, "The request comes from a page of another address.")
    return None


def _unsafe(asked: Asked) -> Refusal | None:
    """A change by GET: Dagster runs any operation of GraphQL that stands in a query string, mutations too."""
    in_query = {"query", "variables", "operationName"} & set(asked.parameters)
    if asked.path.rstrip("/").endswith("/graphql") and in_query and asked.method != "WEBSOCKET":
        return Refusal(405, "GraphQL is asked by POST, in the body.")
    return None
