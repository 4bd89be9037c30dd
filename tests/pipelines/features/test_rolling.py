"""Rolling aggregates against brute force: what had become known by the end of each tick."""

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
    """Three days of events at two airports and one where nothing is ever known; dense and empty hours, ties, nulls."""
    chosen = random.Random(seed)
    made = []
    for number in range(400):
        seconds = chosen.choice(
            [chosen.randrange(72 * 3_600), chosen.randrange(0, 72 * 3_600, TICK_SECONDS), 5 * 3_600]
        )
        known = chosen.random() > 0.1
        made.append(
            {
                "airport": chosen.choice(["EWR", "JFK"]) if known else chosen.choice(["EWR", "LGA"]),
                "known_at": BEGIN + timedelta(seconds=seconds) if known else None,
                "delay": chosen.choice([None, float(chosen.randrange(-30, 300))]),
                RECORD_ID: f"r{number:04d}",
            }
        )
    return made


def tick_of(instant: datetime) -> int:
    """The end of the half hour in which it lies, seconds since the epoch; an instant on the boundary ends its tick."""
    return math.ceil(instant.timestamp() / TICK_SECONDS) * TICK_SECONDS


def brute_force(made: list[Event]) -> dict[tuple[str, int], Event]:
    known = [event for event in made if event["known_at"] is not None]
    rows = {}
    for airport, tick in {(event["airport"], tick_of(event["known_at"])) for event in known}:
        past = [e for e in known if e["airport"] == airport and tick_of(e["known_at"]) <= tick]
        now = [event for event in past if tick_of(event["known_at"]) == tick]
        row: Event = {"n": len(now), RECORD_ID: max((e["known_at"], e[RECORD_ID]) for e in now)[1], "n_ever": len(past)}
        for hours in (1, 3):
            window = [e for e in past if tick_of(e["known_at"]) > tick - hours * 3_600]
            delays = [min(max(e["delay"], -15), 180) for e in window if e["delay"] is not None]
            row[f"n_{hours}h"] = len(window)
            row[f"mean_{hours}h"] = sum(delays) / len(delays) if delays else None
        rows[airport, tick] = row
    return rows


@pytest.fixture(scope="module")
def rolled(engine: Engine) -> Callable[[list[Event]], pa.Table]:
    def run(made: list[Event]) -> pa.Table:
        schema = pa.schema(
            [
                ("airport", pa.string()),
                ("known_at", pa.timestamp("us", "UTC")),
                ("delay", pa.float64()),
                (RECORD_ID, pa.string()),
            ]
        )
        frame = engine.session.createDataFrame(pa.Table.from_pylist(made, schema=schema))
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
def test_every_tick_holds_what_brute_force_finds(rolled: Callable[[list[Event]], pa.Table], seed: int) -> None:
    made = events(seed)
    expected = brute_force(made)
    found = {(row.pop("airport"), row.pop(TICK)): row for row in rolled(made).to_pylist()}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key].pop("known_at") == datetime.fromtimestamp(key[1], UTC)
        for name in ("mean_1h", "mean_3h"):
            assert found[key].pop(name) == (None if row[name] is None else pytest.approx(row.pop(name))), (key, name)
        assert found[key].items() <= row.items(), key


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

    found = rolled([at(0), at(1), at(TICK_SECONDS - 1), at(TICK_SECONDS), at(TICK_SECONDS + 1)])
    assert {row["known_at"]: row["n"] for row in found.to_pylist()} == {
        BEGIN: 1, BEGIN + timedelta(minutes=30): 3, BEGIN + timedelta(minutes=60): 1,
    }  # fmt: skip


def test_a_window_looks_back_exactly_its_hours(rolled: Callable[[list[Event]], pa.Table]) -> None:
    made = [
        {"airport": "EWR", "known_at": BEGIN + timedelta(minutes=minutes), "delay": 1.0, RECORD_ID: f"r{minutes}"}
        for minutes in (0, 30, 60)
    ]
    last = max(rolled(made).to_pylist(), key=lambda row: row[TICK])
    assert (last["n_1h"], last["n_3h"]) == (2, 3)


def test_without_a_known_event_there_is_no_tick(rolled: Callable[[list[Event]], pa.Table]) -> None:
    assert rolled([{"airport": "EWR", "known_at": None, "delay": 1.0, RECORD_ID: "r"}]).num_rows == 0
