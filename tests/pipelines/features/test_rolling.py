"""Rolling aggregates equal a brute-force computation of what was known by the end of each tick."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from pipelines.engine.session import Engine
from pipelines.features.rolling import TICK, TICK_SECONDS, all_so_far, clipped, last_hours, mean, tick_end, ticks
from pipelines.tables import RECORD_ID

BEGIN = datetime(2013, 3, 9, 20, tzinfo=UTC)
Event = dict[str, Any]


def events(seed: int) -> list[Event]:
    """Three days of events at two airports, and events at a third without a known instant.

    There are hours with many events and without any, events at the same instant, and nulls.
    """
    generator = random.Random(seed)
    rows = []
    for number in range(400):
        seconds = generator.choice(
            [generator.randrange(72 * 3_600), generator.randrange(0, 72 * 3_600, TICK_SECONDS), 5 * 3_600]
        )
        known = generator.random() > 0.1
        rows.append(
            {
                "airport": generator.choice(["EWR", "JFK"]) if known else generator.choice(["EWR", "LGA"]),
                "known_at": BEGIN + timedelta(seconds=seconds) if known else None,
                "delay": generator.choice([None, float(generator.randrange(-30, 300))]),
                RECORD_ID: f"r{number:04d}",
            }
        )
    return rows


def tick_of(instant: datetime) -> int:
    """The end of an instant's half hour, seconds since the epoch; an instant on the boundary belongs to the earlier one."""
    return math.ceil(instant.timestamp() / TICK_SECONDS) * TICK_SECONDS


def brute_force(rows: list[Event]) -> dict[tuple[str, int], Event]:
    """Airport and tick to the expected values."""
    known = [event for event in rows if event["known_at"] is not None]
    expected = {}
    for airport, tick in {(event["airport"], tick_of(event["known_at"])) for event in known}:
        past = [e for e in known if e["airport"] == airport and tick_of(e["known_at"]) <= tick]
        now = [event for event in past if tick_of(event["known_at"]) == tick]
        row: Event = {"n": len(now), RECORD_ID: max((e["known_at"], e[RECORD_ID]) for e in now)[1], "n_ever": len(past)}
        for hours in (1, 3):
            window = [e for e in past if tick_of(e["known_at"]) > tick - hours * 3_600]
            delays = [min(max(e["delay"], -15), 180) for e in window if e["delay"] is not None]
            row[f"n_{hours}h"] = len(window)
            row[f"mean_{hours}h"] = sum(delays) / len(delays) if delays else None
        expected[airport, tick] = row
    return expected


@pytest.fixture(scope="module")
def rolled(engine: Engine) -> Callable[[list[Event]], pa.Table]:
    """Computes the aggregates of events on the suite's engine."""

    def run(rows: list[Event]) -> pa.Table:
        schema = pa.schema(
            [
                ("airport", pa.string()),
                ("known_at", pa.timestamp("us", "UTC")),
                ("delay", pa.float64()),
                (RECORD_ID, pa.string()),
            ]
        )
        frame = engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=schema))
        counted = F.when(F.col("delay").isNotNull(), 1).otherwise(0)
        sums = {"n": F.lit(1), "counted": counted, "total": F.coalesce(clipped("delay", -15, 180), F.lit(0.0))}
        known = ticks(frame, keys=["airport"], known_at="known_at", sums=sums)
        hour, three, ever = last_hours(["airport"], 1), last_hours(["airport"], 3), all_so_far(["airport"])
        return known.select(
            "airport", TICK, "n", RECORD_ID, tick_end().alias("known_at"),
            F.sum("n").over(ever).alias("n_ever"),
            F.sum("n").over(hour).alias("n_1h"), mean("total", "counted", hour).alias("mean_1h"),
            F.sum("n").over(three).alias("n_3h"), mean("total", "counted", three).alias("mean_3h"),
        ).toArrow()  # fmt: skip

    return run


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_tick_equals_brute_force(rolled: Callable[[list[Event]], pa.Table], seed: int) -> None:
    rows = events(seed)
    expected = brute_force(rows)
    computed = {(row.pop("airport"), row.pop(TICK)): row for row in rolled(rows).to_pylist()}
    assert computed.keys() == expected.keys()
    for key, row in expected.items():
        assert computed[key].pop("known_at") == datetime.fromtimestamp(key[1], UTC)
        for name in ("mean_1h", "mean_3h"):
            assert computed[key].pop(name) == (None if row[name] is None else pytest.approx(row.pop(name))), (key, name)
        assert computed[key].items() <= row.items(), key


def test_an_event_counts_from_the_end_of_the_tick_in_which_it_became_known(
    rolled: Callable[[list[Event]], pa.Table],
) -> None:
    def at(seconds: int) -> Event:
        return {
            "airport": "EWR",
            "known_at": BEGIN + timedelta(seconds=seconds),
            "delay": 1.0,
            RECORD_ID: f"r{seconds}",
        }

    ticks_with_events = rolled([at(0), at(1), at(TICK_SECONDS - 1), at(TICK_SECONDS), at(TICK_SECONDS + 1)])
    assert {row["known_at"]: row["n"] for row in ticks_with_events.to_pylist()} == {
        BEGIN: 1, BEGIN + timedelta(minutes=30): 3, BEGIN + timedelta(minutes=60): 1,
    }  # fmt: skip


def test_a_window_excludes_a_tick_that_is_exactly_its_hours_old(rolled: Callable[[list[Event]], pa.Table]) -> None:
    rows = [
        {"airport": "EWR", "known_at": BEGIN + timedelta(minutes=minutes), "delay": 1.0, RECORD_ID: f"r{minutes}"}
        for minutes in (0, 30, 60)
    ]
    last = max(rolled(rows).to_pylist(), key=lambda row: row[TICK])
    assert (last["n_1h"], last["n_3h"]) == (2, 3)


def test_an_event_without_a_known_instant_makes_no_tick(rolled: Callable[[list[Event]], pa.Table]) -> None:
    assert rolled([{"airport": "EWR", "known_at": None, "delay": 1.0, RECORD_ID: "r"}]).num_rows == 0
