"""Which rows of a table have one key, and which of them stays: in every mode, however deliveries are cut into runs."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.medallion.decorators import silver_asset
from tests.pipelines.toy_contracts import integer, number, text
from tests.pipelines.toy_pipeline import DAY, DAYS, NEXT, MakePipeline, ToyPipeline, as_arrived, contract_check

Mode = Literal["increment", "snapshot", "days"]
MODES: tuple[Mode, ...] = ("increment", "snapshot", "days")
#: Names of columns that SQL takes only in quotes, or only as a word of its own.
NAMES = ["order id", "Id-Nr", "1st", "id'x", 'a"b', "größe", "select", "old", "a,b(c)", "50%", "{x}", "#1"]
#: Delta on Spark takes no column whose name has a space, a comma, a bracket or a brace.
NAMES_ON_SPARK = [name for name in NAMES if not set(name) & set(" ,;{}()")]


def content(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A CSV file in which NA is null."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([header, *[["NA" if v is None else v for v in r] for r in rows]])
    return lines.getvalue()


def build(make: MakePipeline, mode: Mode, **more: Any) -> tuple[ToyPipeline, Any]:
    """A pipeline whose tables are derived in one of the modes, and its silver asset."""
    days = DAYS if mode == "days" else None
    delivery = {"delivery": "snapshot"} if mode == "snapshot" else {}
    pipeline = make(partitions=days, **delivery, **more)
    return pipeline, silver_asset(pipeline.contract, partitions=days)(as_arrived)


def materialize(pipeline: ToyPipeline, silver: Any, mode: Mode) -> None:
    days = {"start": DAY, "end": NEXT} if mode == "days" else {}
    assert pipeline.run(pipeline.bronze, silver, **days).success


def assert_every_name_works(make: MakePipeline, mode: Mode, names: Sequence[str]) -> None:
    columns = [text(name, primaryKey=True, primaryKeyPosition=n + 1) for n, name in enumerate(names)]
    silver = {"winner": f"`{names[0]}` asc, _ingest_id desc", "quality": []}
    pipeline, asset = build(make, mode, columns=[*columns, integer("v")], silver=silver)
    for day, rows in ((DAY, [("a", 1), ("b", 2)]), (NEXT, [("A ", 3), ("b", 4), ("c", 5), ("c", 6)])):
        pipeline.land(content([*names, "v"], [[key] * len(names) + [v] for key, v in rows]), day=day)
        materialize(pipeline, asset, mode)
    values = sorted((row[names[0]], row["v"]) for row in pipeline.rows("silver"))
    second = [("A ", 3), ("b", 4), ("c", 6)]
    assert values == sorted(second + ([("a", 1), ("b", 2)] if mode == "days" else []))


@pytest.mark.parametrize("mode", MODES)
def test_columns_of_any_name_are_keys_and_winners(make_pipeline: MakePipeline, mode: Mode) -> None:
    assert_every_name_works(make_pipeline, mode, NAMES)


def test_columns_of_unusual_names_are_merged_on_each_engine(make_pipeline_each_engine: MakePipeline) -> None:
    assert_every_name_works(make_pipeline_each_engine, "increment", NAMES_ON_SPARK)


def test_keys_that_are_taken_for_another_spelling_are_a_warning(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline, silver = build(make_pipeline_each_engine, "increment", silver={"quality": []})
    descriptions = []
    for n, parts in enumerate((["brick", "plate"], ["Brick ", "tile", "Tile"], ["plate"])):
        pipeline.land(content(["part", "holes", "weight"], [(part, 1, n) for part in parts]), name=f"{n}.csv")
        check = contract_check(pipeline.run(pipeline.bronze, silver))
        descriptions.append((check.passed, "2 keys were taken for one of other case" in str(check.description)))
    assert descriptions == [(True, False), (False, True), (True, False)]
    assert sorted(pipeline.parts("silver")) == ["Brick ", "Tile", "plate"]


def test_the_row_count_is_that_of_the_table_also_after_a_run_that_took_nothing(make_pipeline: MakePipeline) -> None:
    pipeline, silver = build(make_pipeline, "increment", silver={"quality": []})
    pipeline.land(content(["part", "holes", "weight"], [("brick", 1, 1), ("plate", 1, 1), ("bad", 0, 1)]))
    for _ in range(2):
        events = pipeline.run(pipeline.bronze, silver).get_asset_materialization_events()
        counts = {
            e.materialization.asset_key.path[0]: e.materialization.metadata["dagster/row_count"].value for e in events
        }
        assert counts == {"bronze": 3, "silver": 2, "quarantine": 1}


Row = tuple[str | None, int | None, float | None]
ROWS = st.tuples(st.sampled_from(["a", "A ", "b", " B", None]), st.sampled_from([1, 2, None]), st.sampled_from([None, 1.0, 2.0]))  # fmt: skip
FILES = st.lists(st.tuples(st.sampled_from([DAY, NEXT]), st.lists(ROWS, min_size=1, max_size=4)), min_size=2, max_size=4)  # fmt: skip
WINNERS = ["", "_ingest_id desc", "_ingest_id asc", "weight desc"]
COLUMNS = [text("part", primaryKey=True), integer("holes", primaryKey=True, primaryKeyPosition=2), number("weight")]


def expected(files: Sequence[tuple[str, list[Row]]], winner: str, mode: Mode) -> list[Any]:
    """The rows that stay, by the rules in words: rows in the order of their arrival, each key of a day or table once."""
    arrived = [(n, m, day, row) for n, (day, rows) in enumerate(files) for m, row in enumerate(rows)]
    by_key: dict[Any, list[Any]] = {}
    for entry in arrived:
        part, holes, _ = entry[3]
        if part is not None and holes is not None:
            by_key.setdefault((part.strip().lower(), holes, entry[2] if mode == "days" else ""), []).append(entry)

    def rank(entry: tuple[int, int, str, Row]) -> tuple[Any, ...]:
        file, row, _, (_, _, weight) = entry
        return ({"_ingest_id asc": -file, "weight desc": weight or 0}.get(winner, file), file, row)

    return [(*max(entries, key=rank)[3], key[2]) for key, entries in by_key.items()]


@pytest.mark.parametrize("mode", ["increment", "days"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=FILES,
    runs_after=st.sets(st.integers(0, 3), max_size=2),
    touched=st.sets(st.integers(0, 3), max_size=2),
    winner=st.sampled_from(WINNERS),
)
def test_any_cut_of_deliveries_into_runs_gives_the_rows_that_arrived_last(
    make_pipeline: MakePipeline,
    mode: Mode,
    files: list[tuple[str, list[Row]]],
    runs_after: set[int],
    touched: set[int],
    winner: str,
) -> None:
    silver = {"quality": []} | ({"winner": winner} if winner else {"winner": None})
    pipeline, asset = build(make_pipeline, mode, columns=COLUMNS, silver=silver)
    paths: list[Path] = []
    for n, (day, rows) in enumerate(files):
        name = f"{9 - n}.csv"  # the order of names is not that of arrivals
        header, marker = ["part", "holes", "weight"], f"file {n}"  # no two files are equal
        pipeline.land(content([*header, "note"], [[*row, marker] for row in rows]), day=day, name=name)
        path = Path(pipeline.platform.landing.root) / f"toys/{pipeline.name}/dt={day}/{name}"
        os.utime(path, (1_700_000_000 + n, 1_700_000_000 + n))
        paths.append(path)
        if n in runs_after:
            materialize(pipeline, asset, mode)
            for again in touched & set(range(n + 1)):  # a file that was taken and is touched is no new delivery
                os.utime(paths[again], (1_700_001_000 + n, 1_700_001_000 + n))
    materialize(pipeline, asset, mode)
    stays = [
        (row["part"], row["holes"], row["weight"], row["_partition"] if mode == "days" else "")
        for row in pipeline.rows("silver")
    ]
    assert sorted(stays, key=str) == sorted(expected(files, winner, mode), key=str)
    without_key = [row for _, rows in files for row in rows if row[0] is None or row[1] is None]
    reasons = [{reason["code"] for reason in row["_reasons"]} for row in pipeline.rows("quarantine")]
    assert sum(bool(codes & {"part_required", "holes_required"}) for codes in reasons) == len(without_key)
