"""REST APIs for sources: pages through dlt's client, with Goldpath's retries, credentials and errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

from pipelines.errors import GoldpathError, LandingError, SettingsError, TransientError
from pipelines.retrying import Backoff, is_transient, retry_after

if TYPE_CHECKING:
    from requests import PreparedRequest, Request, Response, Session
    from requests.auth import AuthBase

#: A request for a page, JSON: `url` below the server's root, and `params`; it holds no secret.
PageRequest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """The records of one page, and the request for the next page; None for the last one."""

    records: list[Any]
    next: PageRequest | None


@dataclass(frozen=True, slots=True, repr=False)
class RestApi:
    """A server and its credentials; `source` is its name in errors, which never show the address."""

    address: SplitResult
    source: str
    backoff: Backoff
    timeout_seconds: float

    @classmethod
    def at(cls, address: str, *, source: str, backoff: Backoff, timeout_seconds: float) -> RestApi:
        """The API at `https://[user:password@ or :token@]host/base[?parameter=secret]`; raises SettingsError."""
        try:
            parts = urlsplit(address)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise SettingsError(
                object=source,
                observed="an address that is not the URL of an API",
                expected="https://host/base, with :token@ or user:password@ before the host if the API requires them",
                next_step="correct it in GOLDPATH_SOURCES",
            )
        return cls(parts, source, backoff, timeout_seconds)

    def pages(self, first: PageRequest, *, records: str, paginator: Mapping[str, Any]) -> Iterator[Page]:
        """The pages from a request on.

        Args:
            first: The request; its `url` is a path below the address, or one below the server's root as in `Page.next`.
            records: The JSON path of the records in an answer.
            paginator: dlt's configuration of a paginator.

        Raises:
            TransientError: if the server failed at every attempt.
            LandingError: if the server refuses, or answers without records.
        """
        from dlt.common.configuration.specs.runtime_configuration import RuntimeConfiguration
        from dlt.sources.helpers.rest_client import RESTClient
        from dlt.sources.helpers.rest_client.paginators import RangePaginator
        from dlt.sources.rest_api.config_setup import create_paginator

        params = dict(first["params"])
        paging: Any = create_paginator(dict(paginator))  # ty: ignore[invalid-argument-type]
        if isinstance(paging, RangePaginator) and paging.param_name in params:
            paging.initial_value = int(params[paging.param_name])
        root = f"{self.address.scheme}://{self.address.netloc.rpartition('@')[2]}"
        url = f"{root}{first['url']}" if first["url"].startswith("/") else first["url"]
        with self._session(records) as session:
            client = RESTClient(
                root + self.address.path,
                paginator=paging,
                auth=self._auth(),
                session=session,
                config=RuntimeConfiguration(dlthub_telemetry=False),
            )
            reading = client.paginate(
                url, params=params, data_selector=records, hooks={"response": []}, timeout=self.timeout_seconds
            )
            while True:
                try:
                    page = next(reading, None)
                except GoldpathError:
                    raise
                except (OSError, ValueError) as error:  # requests raises OSErrors, dlt's paginators ValueErrors
                    raise self._explained(error) from None
                if page is None:
                    return
                following = self._request(page.request, root) if page.paginator.has_next_page else None
                yield Page(list(page), following)

    def _session(self, records: str) -> Session:
        """A session that judges each answer and retries each request."""
        import requests
        from dlt.common import jsonpath

        from pipelines.sources.timely_http import TimelyAdapter

        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, TimelyAdapter())
        session.params = dict(self._secret_params)
        session.hooks["response"] = [self._refuse_other_servers, self._read_in_time]
        session.hooks["response"].append(_answered(jsonpath.compile_path(records), self.source))
        once = session.send

        def send(request: PreparedRequest, **kwargs: Any) -> Response:
            if kwargs.get("allow_redirects") is False:  # the request after a redirect, within the attempt of the first
                return once(request, **kwargs)
            return self.backoff.call(lambda: once(request, **kwargs))

        session.send = send
        return session

    def _refuse_other_servers(self, response: Response, **_: Any) -> None:
        """Raises LandingError for a redirect to another server, which would get the credentials."""
        if response.is_redirect:
            target = urlsplit(urljoin(response.url, response.headers["Location"]))
            if (target.scheme, target.netloc) != (self.address.scheme, self.address.netloc.rpartition("@")[2]):
                response.close()
                raise LandingError(
                    object=self.source,
                    observed=f"a redirect to {target.scheme}://{target.hostname}",
                    expected=f"answers from {self.address.scheme}://{self.address.hostname}, as the address says",
                    next_step="correct the address in GOLDPATH_SOURCES to the server that gives the pages",
                )

    def _read_in_time(self, response: Response, **_: Any) -> None:
        """Reads the answer's body, within `timeout_seconds` however slowly it comes; raises TransientError."""
        import requests
        from urllib3.exceptions import HTTPError

        deadline, parts = time.monotonic() + self.timeout_seconds, []
        while True:
            try:
                part = response.raw.read1(2**16, decode_content=True)
            except HTTPError as error:
                response.close()
                raise requests.exceptions.ChunkedEncodingError(error) from error
            if not part:
                break
            parts.append(part)
            if time.monotonic() > deadline:
                response.close()
                raise TransientError(
                    object=self.source,
                    observed=f"{sum(map(len, parts))} bytes of an answer in {self.timeout_seconds:g} s, and no end",
                    expected="a complete answer in that time",
                    next_step="run it again; declare smaller pages or a longer `timeout_seconds` if the server is slow",
                )
        response._content = b"".join(parts)

    def _auth(self) -> AuthBase | None:
        from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
        from requests.auth import HTTPBasicAuth

        user, password = unquote(self.address.username or ""), unquote(self.address.password or "")
        if user:
            return HTTPBasicAuth(user, password)
        return BearerTokenAuth(token=password) if password else None

    @property
    def _secret_params(self) -> list[tuple[str, str]]:
        return parse_qsl(self.address.query)

    def _request(self, request: Request, root: str) -> PageRequest:
        """A page's request without its secrets, as a position holds it.

        Raises:
            LandingError: if it is for another server, which would get the credentials.
        """
        parts = urlsplit(str(request.url))
        if f"{parts.scheme}://{parts.netloc}" != root:
            raise LandingError(
                object=self.source,
                observed=f"a next page at {parts.scheme}://{parts.hostname}",
                expected=f"one at {root}, which the credentials are for",
                next_step="correct the address in GOLDPATH_SOURCES to the server that gives the pages",
            )
        secret = {name for name, _ in self._secret_params}
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in secret])
        all_params: Any = request.params or {}  # a dictionary, as in `pages`
        params = {name: value for name, value in all_params.items() if name not in secret}
        return {"url": f"{parts.path}?{query}" if query else parts.path, "params": params}

    def _explained(self, error: Exception) -> GoldpathError:
        """An error of requests or dlt as Goldpath's, without secrets."""
        response: Response | None = getattr(error, "response", None)
        observed, expected, next_step = str(error), "an answer", "check that the server can be reached from here"
        if response is not None:
            path = urlsplit(response.url).path
            observed = f"{response.status_code} {response.reason} for {path}: {response.text[:200]}"
            expected = "an answer with status 200"
            next_step = "check the source's path and parameters"
            if response.status_code in (401, 403):
                next_step = "check the credentials in GOLDPATH_SOURCES"
            elif seconds := retry_after(error):
                next_step = f"run it again in {seconds:.0f} seconds, as the server asks"
        kind: type[GoldpathError] = TransientError if is_transient(error) else LandingError
        return kind(object=self.source, observed=self._masked(observed), expected=expected, next_step=next_step)

    def _masked(self, text: str) -> str:
        """A text of at most 500 characters, with the secrets replaced."""
        secrets = [self.address.password, *(value for _, value in self._secret_params)]
        for secret in filter(None, secrets):
            for form in (secret, quote(secret, safe=""), unquote(secret)):
                text = text.replace(form, "***")
        return " ".join(text.split())[:500]


def _answered(records: Any, source: str) -> Any:
    """A hook that raises for a bad answer within the attempt that got it, so that the attempt is retried."""
    import requests
    import simplejson
    from dlt.common import jsonpath

    def judge(response: Response, **_: Any) -> None:
        if response.is_redirect:
            return
        if response.status_code >= 400:
            raise requests.HTTPError(response=response)
        try:
            body = simplejson.loads(response.content, parse_float=simplejson.RawJSON)
        except ValueError as error:
            raise TransientError(
                object=source,
                observed=f"an answer of {len(response.content)} bytes that is not JSON: {error}",
                expected="complete JSON",
                next_step="run it again; if the error stays, check the source's path",
            ) from None
        if not jsonpath.find_values(records, body):
            members = ", ".join(body) if isinstance(body, dict) else type(body).__name__
            raise LandingError(
                object=source,
                observed=f"an answer without {records}: {members}",
                expected="the records under that JSON path, or an empty list",
                next_step="correct `records` in the source's declaration",
            )
        response.json = lambda **_: body

    return judge
