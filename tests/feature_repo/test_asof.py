"""The as-of join against brute force: each spine row gets the last row that was known at its instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.asof import FeatureRows, as_of_join
from pipelines.engine.session import Engine

BEGIN = datetime(2013, 3, 10, 6, 59, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
Row = dict[str, Any]

SPINE = pa.schema(
    [("row", pa.int64()), ("case", pa.int64()), ("airport", pa.string()), ("number", pa.int32()), ("asked_at", INSTANT)]
)
#: By airport; by airport and number under other names, with a ttl of ten minutes; by number, with its instant.
WEATHER = pa.schema(
    [("case", pa.int64()), ("airport", pa.string()), ("at", INSTANT), ("temp", pa.float64()), ("sky", pa.string())]
)
HISTORY = pa.schema(
    [("case", pa.int64()), ("place", pa.string()), ("flight", pa.int32()), ("at", INSTANT), ("late", pa.int64())]
)
FLEET = pa.schema([("case", pa.int64()), ("number", pa.int32()), ("since", INSTANT), ("seats", pa.int32())])
TTL = timedelta(minutes=10)


def frame(engine: Engine, rows: Sequence[Row], schema: pa.Schema) -> Any:
    if not rows:
        return engine.session.createDataFrame(pa.Table.from_pylist([{}], schema=schema)).limit(0)
    return engine.session.createDataFrame(pa.Table.from_pylist(list(rows), schema=schema))


def joined(engine: Engine, spine: list[Row], weather: list[Row], history: list[Row], fleet: list[Row]) -> list[Row]:
    case = {"case": "case"}
    tables = [
        FeatureRows(frame(engine, weather, WEATHER), case | {"airport": "airport"}, "at", {"temp": "temp", "sky": "sky"}),
        FeatureRows(
            frame(engine, history, HISTORY), case | {"airport": "place", "number": "flight"}, "at", {"late": "h__late"},
            ttl=TTL, known_at="h__at",
        ),
        FeatureRows(
            frame(engine, fleet, FLEET), case | {"number": "number"}, "since", {"seats": "seats"}, known_at="seats_since"
        ),
    ]  # fmt: skip
    rows = as_of_join(frame(engine, spine, SPINE), tables, timestamp="asked_at").toArrow()
    return sorted(rows.to_pylist(), key=lambda row: row["row"])


def last_known(
    question: Row, rows: list[Row], keys: dict[str, str], timestamp: str, ttl: timedelta | None = None
) -> Row | None:
    """The latest of the rows with the same keys and no later than the question, unless it is too old."""
    if question["asked_at"] is None or any(question[ours] is None for ours in keys):
        return None
    past = [
        row
        for row in rows
        if all(row[theirs] == question[ours] for ours, theirs in keys.items())
        and row[timestamp] is not None
        and row[timestamp] <= question["asked_at"]
    ]
    last = max(past, key=lambda row: row[timestamp], default=None)
    return None if last is None or (ttl is not None and question["asked_at"] - last[timestamp] > ttl) else last


def brute_force(spine: list[Row], weather: list[Row], history: list[Row], fleet: list[Row]) -> list[Row]:
    expected = []
    for question in spine:
        sky = last_known(question, weather, {"case": "case", "airport": "airport"}, "at") or {}
        late = last_known(question, history, {"case": "case", "airport": "place", "number": "flight"}, "at", TTL) or {}
        seats = last_known(question, fleet, {"case": "case", "number": "number"}, "since") or {}
        expected.append(
            question
            | {"temp": sky.get("temp"), "sky": sky.get("sky"), "h__late": late.get("late"), "h__at": late.get("at")}
            | {"seats": seats.get("seats"), "seats_since": seats.get("since")}
        )
    return sorted(expected, key=lambda row: row["row"])


#: Few instants, so that many are equal; some are a microsecond or a day apart; clocks change in New York within them.
INSTANTS = st.sampled_from([0, 1, 60_000_000, 60_000_001, 600_000_000, 600_000_001, 660_000_000, 86_400_000_000]).map(
    lambda microseconds: BEGIN + timedelta(microseconds=microseconds)
)
AIRPORTS, NUMBERS = st.sampled_from(["EWR", "JFK", "größe", None]), st.sampled_from([1, 2, None])
SPINES = st.fixed_dictionaries({"airport": AIRPORTS, "number": NUMBERS, "asked_at": INSTANTS | st.none()})
VALUES = st.sampled_from([0, 1, 2, None])


def rows_of(
    keys: dict[str, st.SearchStrategy[Any]], timestamp: str, values: Sequence[str]
) -> st.SearchStrategy[list[Row]]:
    """Rows of which no two have the same key and instant, as a feature table's contract says."""
    columns = keys | {timestamp: INSTANTS | st.none()} | dict.fromkeys(values, VALUES)
    return st.lists(
        st.fixed_dictionaries(columns), max_size=10, unique_by=lambda row: (*(row[k] for k in keys), row[timestamp])
    )


CASE = st.tuples(
    st.lists(SPINES, min_size=1, max_size=6),
    rows_of({"airport": AIRPORTS}, "at", ["temp", "sky"]),
    rows_of({"place": AIRPORTS, "flight": NUMBERS}, "at", ["late"]),
    rows_of({"number": NUMBERS}, "since", ["seats"]),
)


def together(cases: Sequence[tuple[list[Row], ...]]) -> tuple[list[Row], ...]:
    """Many cases as one, each with a key of its own, so that the engine runs once."""
    parts: tuple[list[Row], ...] = ([], [], [], [])
    for number, case in enumerate(cases):
        for part, rows in zip(parts, case, strict=True):
            part += [row | {"case": number} for row in rows]
    spine, weather, history, fleet = parts
    spine = [row | {"row": number} for number, row in enumerate(spine)]
    weather = [row | {"sky": None if row["sky"] is None else f"sky {row['sky']}"} for row in weather]
    return spine, weather, history, fleet


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(CASE, min_size=20, max_size=40))
def test_every_spine_row_gets_the_values_of_brute_force(engine: Engine, cases: list[tuple[list[Row], ...]]) -> None:
    parts = together(cases)
    assert joined(engine, *parts) == brute_force(*parts)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def asked(row: int, minutes: float | None, airport: str | None = "EWR", number: int | None = 1) -> Row:
    return {
        "row": row,
        "case": 0,
        "airport": airport,
        "number": number,
        "asked_at": None if minutes is None else at(minutes),
    }


def weather(minutes: float, temp: float | None, airport: str | None = "EWR") -> Row:
    return {"case": 0, "airport": airport, "at": at(minutes), "temp": temp, "sky": None}


def test_a_feature_row_of_the_same_instant_is_known(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 4.999), asked(1, 5), asked(2, 5.001)], [weather(5, 9.0)], [], [])
    assert [row["temp"] for row in rows] == [None, 9.0, 9.0]


def test_a_newer_null_is_not_filled_with_an_older_value(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 9)], [weather(1, 9.0), weather(5, None)], [], [])
    assert rows[0]["temp"] is None


def test_a_row_older_than_the_ttl_gives_no_value_and_no_instant(engine: Engine) -> None:
    history = [{"case": 0, "place": "EWR", "flight": 1, "at": at(0), "late": 7}]
    edge = TTL.total_seconds() / 60
    rows = joined(engine, [asked(0, edge), asked(1, edge + 1e-6)], [], history, [])
    assert [(row["h__late"], row["h__at"]) for row in rows] == [(7, at(0)), (None, None)]


def test_equal_spine_rows_stay_as_many_as_they_were(engine: Engine) -> None:
    questions = [asked(0, 5)] * 3 + [asked(0, 5, airport=None)] * 2
    rows = joined(engine, questions, [weather(1, 9.0), weather(1, 8.0, airport=None)], [], [])
    assert sorted(str(row["temp"]) for row in rows) == ["9.0", "9.0", "9.0", "None", "None"]


def test_empty_feature_tables_give_every_spine_row_nulls(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 5), asked(1, None)], [], [], [])
    assert [(row["row"], row["temp"], row["seats"]) for row in rows] == [(0, None, None), (1, None, None)]


def test_an_empty_spine_gives_no_rows(engine: Engine) -> None:
    assert joined(engine, [], [weather(1, 9.0)], [], []) == []


def test_columns_of_the_spine_come_first_and_no_inner_column_is_left(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 5)], [weather(1, 9.0)], [], [])
    names = ["row", "case", "airport", "number", "asked_at", "temp", "sky", "h__late", "h__at", "seats", "seats_since"]
    assert list(rows[0]) == names


@pytest.mark.parametrize("shift", [timedelta(0), timedelta(days=-365 * 60), timedelta(days=365 * 200)])
def test_instants_of_other_centuries_are_joined(engine: Engine, shift: timedelta) -> None:
    spine = [asked(0, 5) | {"asked_at": at(5) + shift}]
    rows = joined(engine, spine, [weather(1, 9.0) | {"at": at(1) + shift}], [], [])
    assert rows[0]["temp"] == 9.0
