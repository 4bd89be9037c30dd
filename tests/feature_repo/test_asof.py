"""The as-of join against brute force: each spine row gets the last row that was known at its instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.asof import INDEX_BYTES, as_of_join
from feature_repo.asof_index import AT, HASH, HashCollision, Index
from feature_repo.feature_rows import FeatureRows
from pipelines.engine.arrow_rows import arrow_rows
from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError
from pipelines.governed.platform import Platform
from pipelines.lineage.column_lineage import SourceColumn, column_lineage
from pipelines.tables import TableId

BEGIN = datetime(2013, 3, 10, 6, 59, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
Row = dict[str, Any]

SPINE = pa.schema(
    [("row", pa.int64()), ("case", pa.int64()), ("airport", pa.string()), ("number", pa.int32()), ("asked_at", INSTANT)]
)
#: By airport, the latest created counts; by airport and number under other names, known from its creation, with a ttl of
#: ten minutes and its instant; by number of another type, with its instant.
WEATHER = pa.schema(
    [
        ("case", pa.int64()),
        ("airport", pa.string()),
        ("at", INSTANT),
        ("written", INSTANT),
        ("temp", pa.float64()),
        ("sky", pa.string()),
    ]
)
HISTORY = pa.schema(
    [
        ("case", pa.int64()),
        ("place", pa.string()),
        ("flight", pa.int32()),
        ("at", INSTANT),
        ("written", INSTANT),
        ("late", pa.int64()),
    ]
)
FLEET = pa.schema([("case", pa.int64()), ("number", pa.int64()), ("since", INSTANT), ("seats", pa.int32())])
TTL = timedelta(minutes=10)
#: How large the tables may be that are held in memory; none are, and windows find the rows.
Operator = Literal["index", "windows"]
BYTES: dict[Operator, int] = {"index": INDEX_BYTES, "windows": -1}


def frame(engine: Engine, rows: Sequence[Row], schema: pa.Schema) -> Any:
    if not rows:
        return engine.session.createDataFrame(pa.Table.from_pylist([{}], schema=schema)).limit(0)
    return engine.session.createDataFrame(pa.Table.from_pylist(list(rows), schema=schema))


def joined(
    engine: Engine,
    spine: list[Row],
    weather: list[Row],
    history: list[Row],
    fleet: list[Row],
    operator: Operator = "index",
) -> list[Row]:
    case = {"case": "case"}
    tables = [
        FeatureRows(
            frame(engine, weather, WEATHER), case | {"airport": "airport"}, "at", {"temp": "temp", "sky": "sky"},
            created="written",
        ),
        FeatureRows(
            frame(engine, history, HISTORY), case | {"airport": "place", "number": "flight"}, "at", {"late": "h__late"},
            ttl=TTL, known_at="h__at", created="written", known_from="creation",
        ),
        FeatureRows(
            frame(engine, fleet, FLEET), case | {"number": "number"}, "since", {"seats": "seats"}, known_at="seats_since"
        ),
    ]  # fmt: skip
    rows = as_of_join(frame(engine, spine, SPINE), tables, timestamp="asked_at", index_bytes=BYTES[operator])
    return sorted(arrow_rows(rows).to_pylist(), key=lambda row: row["row"])


def last_known(
    question: Row,
    rows: list[Row],
    keys: dict[str, str],
    timestamp: str,
    values: Sequence[str],
    *,
    by_creation: bool = False,
    ttl: timedelta | None = None,
) -> Row | None:
    """The last of the rows with the same keys that were known to the question, unless it is too old."""
    if question["asked_at"] is None or any(question[ours] is None for ours in keys):
        return None

    def known(row: Row) -> bool:
        instants = [row[timestamp], *([row["written"]] if by_creation else [])]
        return all(instant is not None and instant <= question["asked_at"] for instant in instants)

    def version(row: Row) -> list[tuple[bool, Any]]:  # null is before everything
        return [(row.get(name) is not None, row.get(name)) for name in (timestamp, "written", *values)]

    past = [row for row in rows if all(row[theirs] == question[ours] for ours, theirs in keys.items()) and known(row)]
    last = max(past, key=version, default=None)
    return None if last is None or (ttl is not None and question["asked_at"] - last[timestamp] > ttl) else last


def brute_force(spine: list[Row], weather: list[Row], history: list[Row], fleet: list[Row]) -> list[Row]:
    expected = []
    by_flight = {"case": "case", "airport": "place", "number": "flight"}
    for question in spine:
        sky = last_known(question, weather, {"case": "case", "airport": "airport"}, "at", ["temp", "sky"]) or {}
        late = last_known(question, history, by_flight, "at", ["late"], by_creation=True, ttl=TTL) or {}
        seats = last_known(question, fleet, {"case": "case", "number": "number"}, "since", ["seats"]) or {}
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
    """Rows, some of which have one key and instant, or are equal."""
    columns = keys | {timestamp: INSTANTS | st.none()} | dict.fromkeys(values, VALUES)
    return st.lists(st.fixed_dictionaries(columns), max_size=10)


CASE = st.tuples(
    st.lists(SPINES, min_size=1, max_size=6),
    rows_of({"airport": AIRPORTS, "written": INSTANTS | st.none()}, "at", ["temp", "sky"]),
    rows_of({"place": AIRPORTS, "flight": NUMBERS, "written": INSTANTS | st.none()}, "at", ["late"]),
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


@pytest.mark.parametrize("operator", get_args(Operator))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(CASE, min_size=20, max_size=40))
def test_every_spine_row_gets_the_values_of_brute_force(
    engine: Engine, operator: Operator, cases: list[tuple[list[Row], ...]]
) -> None:
    parts = together(cases)
    assert joined(engine, *parts, operator=operator) == brute_force(*parts)


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
    return {"case": 0, "airport": airport, "at": at(minutes), "written": at(minutes), "temp": temp, "sky": None}


def test_a_feature_row_of_the_same_instant_is_known(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 4.999), asked(1, 5), asked(2, 5.001)], [weather(5, 9.0)], [], [])
    assert [row["temp"] for row in rows] == [None, 9.0, 9.0]


def test_a_newer_null_is_not_filled_with_an_older_value(engine: Engine) -> None:
    rows = joined(engine, [asked(0, 9)], [weather(1, 9.0), weather(5, None)], [], [])
    assert rows[0]["temp"] is None


@pytest.mark.parametrize("operator", get_args(Operator))
def test_a_row_older_than_the_ttl_gives_no_value_and_no_instant(engine: Engine, operator: Operator) -> None:
    history = [{"case": 0, "place": "EWR", "flight": 1, "at": at(0), "written": at(0), "late": 7}]
    edge = TTL.total_seconds() / 60
    rows = joined(engine, [asked(0, edge), asked(1, edge + 1e-6)], [], history, [], operator)
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


def correction(written: float, late: int | None, minutes: float = 1) -> Row:
    return {"case": 0, "place": "EWR", "flight": 1, "at": at(minutes), "written": at(written), "late": late}


@pytest.mark.parametrize("operator", get_args(Operator))
def test_a_corrected_row_counts_from_its_creation_and_a_late_one_does_not_hide_a_newer_one(
    engine: Engine, operator: Operator
) -> None:
    history = [correction(1, 10), correction(5, 11), correction(7, 99, minutes=0)]
    rows = joined(engine, [asked(0, 4.9), asked(1, 5), asked(2, 8)], [], history, [], operator)
    assert [row["h__late"] for row in rows] == [10, 11, 11]


@pytest.mark.parametrize("operator", get_args(Operator))
def test_a_table_without_keys_answers_every_row(engine: Engine, operator: Operator) -> None:
    table = FeatureRows(frame(engine, [weather(1, 9.0), weather(5, 8.0)], WEATHER), {}, "at", {"temp": "temp"})
    spine = frame(engine, [asked(0, 0), asked(1, 4, airport=None), asked(2, 6), asked(3, None)], SPINE)
    rows = arrow_rows(as_of_join(spine, [table], timestamp="asked_at", index_bytes=BYTES[operator])).to_pylist()
    assert {row["row"]: row["temp"] for row in rows} == {0: None, 1: 9.0, 2: 8.0, 3: None}


@pytest.mark.parametrize("clock", ["timestamp_ntz", "string", "date"])
@pytest.mark.parametrize("place", ["asked_at", "at", "written"])
def test_times_without_a_zone_are_refused_wherever_they_stand(engine: Engine, place: str, clock: str) -> None:
    spine, rows = frame(engine, [asked(0, 5)], SPINE), frame(engine, [weather(1, 9.0)], WEATHER)
    spine, rows = (f.withColumn(place, f[place].cast(clock)) if place in f.columns else f for f in (spine, rows))
    table = FeatureRows(rows, {"airport": "airport"}, "at", {"temp": "temp"}, created="written")
    with pytest.raises(DefinitionError, match=rf"column {place}: {clock}\. .*F\.to_utc_timestamp\('{place}', ZONE\)"):
        as_of_join(spine, [table], timestamp="asked_at")


def test_keys_of_which_the_engine_decides_whether_they_are_equal_are_left_to_it(engine: Engine) -> None:
    spine = frame(engine, [asked(0, 5)], SPINE).selectExpr("row", "asked_at", "cast(number as decimal(5, 1)) as number")
    fleet = frame(engine, [{"case": 0, "number": 1, "since": at(1), "seats": 7}], FLEET)
    rows = as_of_join(
        spine, [FeatureRows(fleet, {"number": "number"}, "since", {"seats": "seats"})], timestamp="asked_at"
    )
    assert arrow_rows(rows)["seats"].to_pylist() == [7]


def test_columns_of_the_result_are_reached_by_the_frame_too(engine: Engine) -> None:
    table = FeatureRows(frame(engine, [weather(1, 9.0)], WEATHER), {"airport": "airport"}, "at", {"temp": "temp"})
    rows = as_of_join(frame(engine, [asked(0, 5)], SPINE), [table], timestamp="asked_at")
    assert rows.where(rows["temp"] > 8).select(rows["row"], (rows.temp + 1).alias("warmer")).collect() == [(0, 10.0)]


def test_lineage_names_the_columns_behind_each_feature_whichever_operator_runs(engine: Engine, tmp_path: Path) -> None:
    for name, rows, schema in (("spine", [asked(0, 5)], SPINE), ("weather", [weather(1, 9.0)], WEATHER)):
        frame(engine, rows, schema).write.parquet(str(tmp_path / name))
    spine, rows_ = (engine.session.read.parquet(str(tmp_path / name)) for name in ("spine", "weather"))
    table = FeatureRows(rows_, {"airport": "airport"}, "at", {"temp": "weather__temp"}, created="written")
    inputs = {str(tmp_path / name): f"gold/toy/{name}" for name in ("spine", "weather")}
    lineages = [
        column_lineage(
            as_of_join(spine, [table], timestamp="asked_at", index_bytes=bytes_).select("row", "weather__temp"), inputs
        )
        for bytes_ in BYTES.values()
    ]
    assert lineages[0] == lineages[1]
    assert lineages[0].columns == {
        "row": (SourceColumn("gold/toy/spine", "row", "identity"),),
        "weather__temp": (SourceColumn("gold/toy/weather", "temp", "identity"),),
    }


def test_two_keys_with_one_hash_are_refused_and_not_mixed() -> None:
    rows = pa.table({HASH: [5, 5, 5], AT: [1, 2, 3], "key": ["a", "a", "b"], "value": [1, 2, 3]})
    with pytest.raises(HashCollision):
        Index.of(rows, {"key": "key"}, ["value"], by_creation=False, ttl=None)
    index = Index.of(rows.slice(0, 2), {"key": "key"}, ["value"], by_creation=False, ttl=None)
    asked_ = pa.record_batch({"key": ["a", "b"]})
    assert index.known(asked_, pa.array([5, 5]), np.array([2, 2]))["value"].to_pylist() == [2, None]


def test_tables_of_one_entity_are_joined_by_its_text(platform: Platform) -> None:
    """Statistics of their files say that the key is one value, which the engine then reads as a literal."""
    table = TableId("gold", "toys", "one")
    instants = pa.array([BEGIN, BEGIN + timedelta(hours=1)], pa.timestamp("us", "UTC"))
    rows = pa.table({"item": ["brick"] * 2, "kind": ["ä"] * 2, "at": instants, "count": [1, 2]})
    write_deltalake(platform.lakehouse.path(table), rows)
    stored = platform.lakehouse.read(platform.lakehouse.current(table))
    features = FeatureRows(stored, {"item": "item", "kind": "kind"}, "at", {"count": "n"})
    joined = as_of_join(stored.select("item", "kind", "at"), [features], timestamp="at")
    assert sorted(joined.toArrow()["n"].to_pylist()) == [1, 2]
