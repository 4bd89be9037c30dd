"""Increments are merged by key: each batch once, the winner whatever the order, the same as from all batches at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts.model import Contract
from pipelines.medallion.decorators import silver_asset
from pipelines.quarantine.table import Quarantine
from pipelines.verdict.winner import newcomer_wins
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, number, text
from tests.pipelines.toy_pipeline import (
    COLUMNS,
    DAY,
    NEXT,
    ToyPipeline,
    as_arrived,
    contract_check,
    failure_message,
    redeclared_silver,
)

Row = tuple[str, int, float | None]
VERSIONED = [
    text("part", primaryKey=True, required=True),
    integer("holes", logicalTypeOptions={"minimum": 1}),
    number("weight"),
]
LATEST = {"winner": "weight desc"}


def csv(rows: Sequence[Row]) -> str:
    lines = (f"{part},{holes},{'NA' if weight is None else weight}" for part, holes, weight in rows)
    return "\n".join(["part,holes,weight", *lines, ""])


def state(toy: ToyPipeline) -> list[Row]:
    return sorted((row["part"], row["holes"], row["weight"]) for row in toy.rows("silver"))


def test_a_batch_replaces_what_it_corrects_and_keeps_the_rest(
    make_pipeline_each_engine: Callable[..., ToyPipeline],
) -> None:
    toy = make_pipeline_each_engine()
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 4, 2.5), ("plate", 2, 1)]))
    assert toy.run(toy.bronze, silver).success
    toy.land(csv([("brick", 8, 2.5), ("tile", 1, 1), ("bad", 0, 1)]), day=NEXT)
    assert toy.run(toy.bronze, silver).success
    assert state(toy) == [("brick", 8, 2.5), ("plate", 2, 1), ("tile", 1, 1)]
    assert [row["_source_row"] for row in toy.rows("quarantine")] == [4]


def test_a_batch_of_which_no_row_is_clean_is_judged_once(make_pipeline_each_engine: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline_each_engine(silver={"quality": []})
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 4, 2.5)]))
    assert toy.run(toy.bronze, silver).success
    toy.land(csv([("bad", 0, 1)]), day=NEXT)
    assert toy.run(toy.bronze, silver).success
    before = toy.version("silver")
    assert contract_check(toy.run(toy.bronze, silver)).metadata["nothing_new"].value
    assert (toy.version("silver"), state(toy), len(toy.rows("quarantine"))) == (before, [("brick", 4, 2.5)], 1)


def test_merged_rows_are_found_by_their_record_ids(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    silver = silver_asset(toy.contract)(as_arrived)
    for day, rows in ((DAY, [("brick", 4, 2.5), ("plate", 2, 1)]), (NEXT, [("brick", 8, 2.5), ("tile", 1, 1)])):
        toy.land(csv(rows), day=day)
        assert toy.run(toy.bronze, silver).success
    here = Quarantine.of(toy.platform, toy.contract.table)
    found = here.places([row["_record_id"] for row in toy.rows("bronze")])
    assert sorted(found.values()) == [(DAY, "clean"), (DAY, "unjudged"), (NEXT, "clean"), (NEXT, "clean")]


def test_a_late_row_does_not_replace_a_newer_one(make_pipeline_each_engine: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline_each_engine(columns=VERSIONED, silver=LATEST)
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 4, 2.0), ("plate", 2, None)]))
    assert toy.run(toy.bronze, silver).success
    toy.land(csv([("brick", 3, 1.0), ("plate", 1, 1.0), ("tile", 1, 1.0)]), day=NEXT)
    assert toy.run(toy.bronze, silver).success
    assert state(toy) == [("brick", 4, 2.0), ("plate", 1, 1.0), ("tile", 1, 1.0)]


def test_of_several_rows_in_a_batch_the_winner_is_merged(make_pipeline_each_engine: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline_each_engine(columns=VERSIONED, silver=LATEST)
    toy.land(csv([("brick", 1, 1.0), ("brick", 3, 3.0), ("brick", 2, 2.0), ("plate", 1, None)]))
    assert toy.run(toy.bronze, silver_asset(toy.contract)(as_arrived)).success
    assert state(toy) == [("brick", 3, 3.0), ("plate", 1, None)]
    assert toy.rows("quarantine") == []


def test_within_a_batch_the_later_row_of_a_file_may_win(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline(silver={"winner": "_ingest_id desc, _source_uri desc, _source_row desc"})
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 1, 1.0), ("brick", 3, 1.0), ("brick", 2, 1.0)]))
    assert toy.run(toy.bronze, silver).success
    assert state(toy) == [("brick", 2, 1.0)]
    toy.land(csv([("brick", 7, 1.0), ("brick", 5, 1.0)]), name="b.csv")
    assert toy.run(toy.bronze, silver).success
    assert state(toy) == [("brick", 5, 1.0)]


def test_a_batch_is_merged_once(make_pipeline_each_engine: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline_each_engine()
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 4, 2.5), ("bad", 0, 1)]))
    assert toy.run(toy.bronze, silver).success
    before = toy.version("silver"), toy.version("quarantine"), toy.rows("silver")
    assert toy.run(toy.bronze, silver).success
    assert (toy.version("silver"), toy.version("quarantine"), toy.rows("silver")) == before


def test_without_a_key_every_row_stays(make_pipeline_each_engine: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline_each_engine(columns=[text("part"), integer("holes"), number("weight")], silver={"winner": None})
    silver = silver_asset(toy.contract)(as_arrived)
    for n in range(3):
        toy.land(csv([("brick", 4, n), ("brick", 4, n)]), name=f"{n}.csv")
        assert toy.run(toy.bronze, silver).success
    assert len(state(toy)) == 6


def test_a_refused_batch_is_merged_once_the_contract_is_mended(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    toy.land(csv([("brick", 4, 2.5)]))
    silver = silver_asset(toy.contract)(as_arrived)
    assert toy.run(toy.bronze, silver).success
    toy.land(csv([("anvil", 1, 9000)]), day=NEXT)
    assert "light saw 9000.0" in failure_message(toy.run(toy.bronze, silver))
    assert state(toy) == [("brick", 4, 2.5)]
    wider = relaxed(toy)
    assert toy.run(redeclared_silver(toy, None, wider)(as_arrived)).success
    assert state(toy) == [("anvil", 1, 9000), ("brick", 4, 2.5)]


def relaxed(toy: ToyPipeline) -> Contract:
    """The contract without its table rules."""
    made = toy_contracts.contract(
        toy.folder, str(toy.contract.table), COLUMNS, nullTokens=["NA"], winner="_ingest_id desc"
    )
    toy.platform.contracts[made.table] = made
    return made


def test_another_contract_derives_the_table_from_all_batches_anew(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    silver = silver_asset(toy.contract)(as_arrived)
    for n, rows in enumerate(([("brick", 4, 2.5), ("bad", 0, 1.0)], [("plate", 1, 1.0)])):
        toy.land(csv(rows), name=f"{n}.csv")
        assert toy.run(toy.bronze, silver).success
    columns = [text("part", primaryKey=True, required=True), integer("holes"), number("weight")]
    made = toy_contracts.contract(
        toy.folder, str(toy.contract.table), columns, nullTokens=["NA"], winner="_ingest_id desc"
    )
    assert toy.run(redeclared_silver(toy, None, made)(as_arrived)).success
    assert state(toy) == [("bad", 0, 1.0), ("brick", 4, 2.5), ("plate", 1, 1.0)]
    assert toy.rows("quarantine") == []


def test_going_back_to_an_earlier_contract_derives_the_table_anew(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    strict, loose = toy.contract, relaxed(toy)
    halved = toy_contracts.contract(
        toy.folder, str(toy.contract.table), COLUMNS, nullTokens=["NA", "brick"], winner="_ingest_id desc"
    )
    for n, contract in enumerate((strict, halved, strict, halved, loose)):
        toy.land(csv([(f"brick{n}", 4, 2.5), ("brick", 1, 1.0)]), name=f"{n}.csv")
        assert toy.run(toy.bronze, redeclared_silver(toy, None, contract)(as_arrived)).success
        parts = [f"brick{k}" for k in range(n + 1)] + ([] if contract is halved else ["brick"])
        assert sorted(toy.parts("silver")) == sorted(parts)
        assert len(toy.rows("quarantine")) == (n + 1 if contract is halved else 0)


def test_a_run_killed_between_quarantine_and_table_merges_each_batch_once(
    make_pipeline: Callable[..., ToyPipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = make_pipeline()
    silver = silver_asset(toy.contract)(as_arrived)
    toy.land(csv([("brick", 4, 2.5)]), name="0.csv")
    assert toy.run(toy.bronze, silver).success
    toy.land(csv([("plate", 1, 1.0), ("bad", 0, 1.0)]), name="1.csv")
    house = toy.platform.lakehouse
    with monkeypatch.context() as failing:
        commit = house.commit

        def dies(table: Any, *arguments: Any, **more: Any) -> Any:
            if table == toy.table("silver"):
                raise OSError("the power went")
            return commit(table, *arguments, **more)

        failing.setattr(house, "commit", dies)
        assert "the power went" in failure_message(toy.run(toy.bronze, silver))
    assert (state(toy), len(toy.rows("quarantine"))) == ([("brick", 4, 2.5)], 1)
    toy.land(csv([("tile", 1, 1.0), ("worse", 0, 1.0)]), name="2.csv")
    assert toy.run(toy.bronze, silver).success
    assert state(toy) == [("brick", 4, 2.5), ("plate", 1, 1.0), ("tile", 1, 1.0)]
    assert sorted(json.loads(row["_row"])["part"] for row in toy.rows("quarantine")) == ["bad", "worse"]


def test_a_winner_that_the_table_does_not_hold_is_refused(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline(silver={"winner": "_source_row desc"})
    toy.land(csv([("brick", 4, 2.5)]))
    result = toy.run(toy.bronze, silver_asset(toy.contract)(as_arrived))
    assert "_source_row, which the table does not hold" in failure_message(result)


@pytest.mark.parametrize(
    ("winner", "sql"),
    [
        ("_ingest_id desc", "(true)"),
        ("_ingested_at asc", "(false)"),
        (None, "(new._record_id < old._record_id)"),
        (
            "holes desc, _ingest_id desc",
            (
                "((new.holes > old.holes OR (new.holes IS NOT NULL AND old.holes IS NULL))) OR "
                "((new.holes = old.holes OR (new.holes IS NULL AND old.holes IS NULL)) AND true)"
            ),
        ),
    ],
)
def test_two_rows_are_compared_as_the_contract_orders_them(tmp_path: Any, winner: str | None, sql: str) -> None:
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", COLUMNS, winner=winner)
    assert newcomer_wins(contract) == sql


ROWS = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([None, 1.0, 2.0]))
_names = itertools.count()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=8), cuts=st.sets(st.integers(1, 7), max_size=2))
def test_however_rows_are_batched_the_table_is_the_same(
    make_pipeline: Callable[..., ToyPipeline], rows: list[Row], cuts: set[int]
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    batches = [rows[a:b] for a, b in itertools.pairwise(edges)]
    found = []
    for together in (False, True):
        toy = make_pipeline(columns=VERSIONED, silver=LATEST | {"quality": []})
        silver = silver_asset(toy.contract)(as_arrived)
        for n, batch in enumerate(batches):
            toy.land(f"{csv(batch)}", name=f"{n}.csv", day=f"2013-01-0{n + 1}")
            if not together:
                assert toy.run(toy.bronze, silver).success
        if together:
            assert toy.run(toy.bronze, silver).success
        rejected = sorted(row["_record_id"] for row in toy.rows("quarantine"))
        found.append((state(toy), rejected, sorted(row["_record_id"] for row in toy.rows("silver"))))
    assert found[0] == found[1]
    good = {part: weight for part, holes, weight in sorted(rows, key=lambda r: r[2] or 0) if holes > 0}
    assert [(part, weight) for part, _, weight in found[0][0]] == sorted(good.items())
