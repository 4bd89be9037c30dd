"""A REST API that answers in pages, as increments of JSON lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import DefinitionError, GoldpathError, LandingError
from pipelines.retrying import Backoff
from pipelines.sources.base import Extracted, day, file_stem, newest
from pipelines.sources.rest_api import Page, RestApi
from pipelines.sources.watermark import Lateness, earlier, is_ahead, latest

PAGINATORS = ("single_page", "header_link", "json_link", "header_cursor", "cursor", "offset", "page_number")
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True, slots=True)
class RestPages:
    """The records of one path, page by page; for `increment` silver tables.

    The position is the request for the next page. If a page fails, the pages before it are landed, and the next run
    begins with the failed page. After the last page, the next run asks for records that are newer than the newest
    cursor value; without `cursor_param` it reads all pages again, and lands the files that have changed. Numbers keep
    their digits. Deleted records are not detected.

    The address in GOLDPATH_SOURCES is `https://api.example.com/v1`. Each request carries the bearer token of
    `https://:TOKEN@…`, the credentials of `https://user:password@…` (basic), and the parameter of `…?key=SECRET`.

    Args:
        connection: Name of the address in GOLDPATH_SOURCES.
        path: Path below the address.
        records: The JSON path of the records in an answer.
        paginator: How a page leads to the next, as dlt configures it, such as `{"type": "cursor", "cursor_path":
            "next", "cursor_param": "after"}`; its type is one of PAGINATORS.
        params: Parameters of the first request.
        cursor_param: The parameter that asks for records from a cursor value on.
        cursor: The member of a record that holds its cursor value.
        lateness: How far behind the newest cursor value records may still appear, in the cursor's unit.
        pages_per_file: Most pages of one delivery.
        timeout_seconds: How long the server may take to begin an answer, and then to complete it.
        backoff: How often and how long to retry a request.
    """

    connection: str
    path: str
    records: str = "data"
    paginator: Mapping[str, Any] = field(default_factory=lambda: {"type": "single_page"})
    params: Mapping[str, Any] = field(default_factory=dict)
    cursor_param: str | None = None
    cursor: str = "updated_at"
    lateness: Lateness = timedelta(0)
    pages_per_file: int = 50
    timeout_seconds: float = 60.0
    kind: str = "rest"
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if self.paginator.get("type") not in PAGINATORS:
            raise DefinitionError(
                object=f"REST source {self.connection}/{self.path}",
                observed=f"paginator {self.paginator.get('type')!r}",
                expected=f"one of {', '.join(PAGINATORS)}",
                next_step="name the way in which a page leads to the next",
            )

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """The records behind a position, in files of at most `pages_per_file` pages.

        What was read before an error is yielded before the error is raised.
        """
        state = _State(**(position or {}))
        resumed = state.next is not None
        if not resumed:
            state.before, state.landed, state.ahead = state.landed, [], []
        api = RestApi.at(
            str(connection),
            source=f"connection {self.connection!r}",
            backoff=self.backoff,
            timeout_seconds=self.timeout_seconds,
        )
        reading = api.pages(state.next or self._first(state), records=self.records, paginator=self.paginator)
        held: list[Page] = []
        failure: GoldpathError | None = None
        open_pass = resumed  # a pass of which a file has landed needs a file with the position of its end
        while True:
            try:
                page = next(reading, None)
            except GoldpathError as error:
                page, failure = None, error
            # A full file waits for the page behind it: if that page is the last and empty, the file ends the pass.
            full = len(held) >= self.pages_per_file and page is not None and bool(page.records or page.next)
            if held and (page is None or full):
                extracted, changed = self._file(held, state, now)
                held = []
                if changed or open_pass:
                    open_pass = True
                    yield extracted
            if page is None:
                break
            held.append(page)
        if failure:
            raise failure

    def _first(self, state: _State) -> dict[str, Any]:
        """The first request of a pass."""
        since = {}
        if self.cursor_param and state.cursor is not None:
            start = earlier(state.cursor, self.lateness, cursor=self._name)
            if start != state.cursor and isinstance(start, str) and (offset := _OFFSET.search(state.cursor)):
                start += offset[0]
            since = {self.cursor_param: start}
        return {"url": self.path.lstrip("/"), "params": {**self.params, **since}}

    def _file(self, pages: list[Page], state: _State, now: datetime) -> tuple[Extracted, bool]:
        """The file of some pages, and whether the last pass had no equal file; advances the state behind them."""
        import simplejson

        records = [record for page in pages for record in page.records]
        encode = simplejson.JSONEncoder(ensure_ascii=False).encode
        content = "".join(f"{encode(record)}\n" for record in records).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        if records:
            state.landed = [*state.landed, sha256]
        if self.cursor_param:
            read = [self._value(record) for record in records]
            ahead = [value for value in read if is_ahead(value, self.lateness, now=now)]
            values = [value for value in (state.newest, *read) if value is not None and value not in ahead]
            state.newest = latest(values, cursor=self._name)
            state.ahead = [max([*state.ahead, *ahead])] if state.ahead or ahead else []
        state.next = pages[-1].next
        if state.next is None:
            values = [value for value in (state.cursor, state.newest) if value is not None]
            state.cursor, state.newest = latest(values, cursor=self._name), None
        lag = newest(state.newest if state.next else state.cursor)
        extracted = Extracted(day(now), f"{file_stem(self.path)}.jsonl", content, len(records), asdict(state), lag)
        return extracted, bool(records) and sha256 not in state.before

    @property
    def _name(self) -> str:
        return f"cursor {self.cursor!r} of {self.path}"

    def _value(self, record: Any) -> Any:
        """The cursor value of a record; raises LandingError if it has none."""
        value = record.get(self.cursor) if isinstance(record, dict) else None
        if value is None:
            raise LandingError(
                object=self._name,
                observed=f"a record without it: {str(record)[:200]}",
                expected="a value in each record, which each change of the record increases",
                next_step="correct `cursor` in the source's declaration",
            )
        return value if isinstance(value, (str, int)) else float(value.encoded_json)


@dataclass(slots=True)
class _State:
    """The position.

    Attributes:
        next: The request for the next page; None after the last page.
        cursor: The newest cursor value of the last complete pass.
        newest: The newest cursor value of this pass so far.
        landed: The SHA-256 of the files of this pass.
        before: The SHA-256 of the files of the pass before.
        ahead: The cursor value of this pass that is furthest in the future, where there is one.
    """

    next: Mapping[str, Any] | None = None
    cursor: Any = None
    newest: Any = None
    landed: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    ahead: list[Any] = field(default_factory=list)
