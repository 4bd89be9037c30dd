"""Increments are merged by key: each batch once, with the same winner whatever the order and however they are batched."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
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
    MakePipeline,
    ToyPipeline,
    as_arrived,
    contract_check,
    failure_message,
    redeclared_silver,
)

Row = tuple[str, int, float | None]
LATEST = {"winner": "weight desc"}


def csv(rows: Sequence[Row]) -> str:
    """The content of a delivery."""
    lines = (f"{part},{holes},{'NA' if weight is None else weight}" for part, holes, weight in rows)
    return "\n".join(["part,holes,weight", *lines, ""])


def state(pipeline: ToyPipeline) -> list[Row]:
    """The clean rows, sorted."""
    return sorted((row["part"], row["holes"], row["weight"]) for row in pipeline.rows("silver"))


def test_a_batch_replaces_rows_with_its_keys_and_keeps_the_others(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 4, 2.5), ("plate", 2, 1)]))
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land(csv([("brick", 8, 2.5), ("tile", 1, 1), ("bad", 0, 1)]), day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    assert state(pipeline) == [("brick", 8, 2.5), ("plate", 2, 1), ("tile", 1, 1)]
    assert [row["_source_row"] for row in pipeline.rows("quarantine")] == [4]


def test_a_batch_without_clean_rows_is_judged_once(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine(silver={"quality": []})
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 4, 2.5)]))
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land(csv([("bad", 0, 1)]), day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.version("silver")
    assert contract_check(pipeline.run(pipeline.bronze, silver)).metadata["nothing_new"].value
    assert (pipeline.version("silver"), state(pipeline), len(pipeline.rows("quarantine"))) == (
        before,
        [("brick", 4, 2.5)],
        1,
    )


def test_records_of_merged_batches_have_their_places(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    for day, rows in ((DAY, [("brick", 4, 2.5), ("plate", 2, 1)]), (NEXT, [("brick", 8, 2.5), ("tile", 1, 1)])):
        pipeline.land(csv(rows), day=day)
        assert pipeline.run(pipeline.bronze, silver).success
    quarantine = Quarantine.of(pipeline.platform, pipeline.contract.table)
    places = quarantine.places([row["_record_id"] for row in pipeline.rows("bronze")])
    assert sorted(places.values()) == [(DAY, "clean"), (DAY, "unjudged"), (NEXT, "clean"), (NEXT, "clean")]


def test_a_late_row_does_not_replace_the_winner(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine(silver=LATEST)
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 4, 2.0), ("plate", 2, None)]))
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land(csv([("brick", 3, 1.0), ("plate", 1, 1.0), ("tile", 1, 1.0)]), day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    assert state(pipeline) == [("brick", 4, 2.0), ("plate", 1, 1.0), ("tile", 1, 1.0)]


def test_of_rows_with_one_key_in_a_batch_the_winner_is_merged(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine(silver=LATEST)
    pipeline.land(csv([("brick", 1, 1.0), ("brick", 3, 3.0), ("brick", 2, 2.0), ("plate", 1, None)]))
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)).success
    assert state(pipeline) == [("brick", 3, 3.0), ("plate", 1, None)]
    assert pipeline.rows("quarantine") == []


def test_the_last_row_of_a_file_wins_if_the_contract_orders_by_row_number(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(silver={"winner": "_ingest_id desc, _source_uri desc, _source_row desc"})
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 1, 1.0), ("brick", 3, 1.0), ("brick", 2, 1.0)]))
    assert pipeline.run(pipeline.bronze, silver).success
    assert state(pipeline) == [("brick", 2, 1.0)]
    pipeline.land(csv([("brick", 7, 1.0), ("brick", 5, 1.0)]), name="b.csv")
    assert pipeline.run(pipeline.bronze, silver).success
    assert state(pipeline) == [("brick", 5, 1.0)]


def test_a_second_run_merges_no_batch_again(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 4, 2.5), ("bad", 0, 1)]))
    assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.version("silver"), pipeline.version("quarantine"), pipeline.rows("silver")
    assert pipeline.run(pipeline.bronze, silver).success
    assert (pipeline.version("silver"), pipeline.version("quarantine"), pipeline.rows("silver")) == before


def test_a_table_without_a_key_keeps_every_row(make_pipeline_each_engine: MakePipeline) -> None:
    pipeline = make_pipeline_each_engine(
        columns=[text("part"), integer("holes"), number("weight")], silver={"winner": None}
    )
    silver = silver_asset(pipeline.contract)(as_arrived)
    for n in range(3):
        pipeline.land(csv([("brick", 4, n), ("brick", 4, n)]), name=f"{n}.csv")
        assert pipeline.run(pipeline.bronze, silver).success
    assert len(state(pipeline)) == 6


def test_a_refused_batch_is_merged_after_the_rule_was_removed_from_the_contract(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land(csv([("brick", 4, 2.5)]))
    silver = silver_asset(pipeline.contract)(as_arrived)
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land(csv([("anvil", 1, 9000)]), day=NEXT)
    assert "light saw 9000.0" in failure_message(pipeline.run(pipeline.bronze, silver))
    assert state(pipeline) == [("brick", 4, 2.5)]
    contract = without_table_rules(pipeline)
    assert pipeline.run(redeclared_silver(pipeline, None, contract)(as_arrived)).success
    assert state(pipeline) == [("anvil", 1, 9000), ("brick", 4, 2.5)]


def without_table_rules(
    pipeline: ToyPipeline, columns: Sequence[dict[str, Any]] = COLUMNS, null_tokens: Sequence[str] = ("NA",)
) -> Contract:
    """A contract of the pipeline's silver table without table rules, and with other columns or null tokens."""
    table, tokens = str(pipeline.contract.table), list(null_tokens)
    return toy_contracts.contract(pipeline.folder, table, columns, nullTokens=tokens, winner="_ingest_id desc")


def test_a_changed_contract_derives_the_table_from_all_batches_again(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    for n, rows in enumerate(([("brick", 4, 2.5), ("bad", 0, 1.0)], [("plate", 1, 1.0)])):
        pipeline.land(csv(rows), name=f"{n}.csv")
        assert pipeline.run(pipeline.bronze, silver).success
    columns = [text("part", primaryKey=True, required=True), integer("holes"), number("weight")]
    contract = without_table_rules(pipeline, columns)
    assert pipeline.run(redeclared_silver(pipeline, None, contract)(as_arrived)).success
    assert state(pipeline) == [("bad", 0, 1.0), ("brick", 4, 2.5), ("plate", 1, 1.0)]
    assert pipeline.rows("quarantine") == []


def test_a_return_to_an_earlier_contract_derives_the_table_again(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    strict, loose = pipeline.contract, without_table_rules(pipeline)
    brick_is_null = without_table_rules(pipeline, null_tokens=("NA", "brick"))
    for n, contract in enumerate((strict, brick_is_null, strict, brick_is_null, loose)):
        pipeline.land(csv([(f"brick{n}", 4, 2.5), ("brick", 1, 1.0)]), name=f"{n}.csv")
        assert pipeline.run(pipeline.bronze, redeclared_silver(pipeline, None, contract)(as_arrived)).success
        parts = [f"brick{k}" for k in range(n + 1)] + ([] if contract is brick_is_null else ["brick"])
        assert sorted(pipeline.parts("silver")) == sorted(parts)
        assert len(pipeline.rows("quarantine")) == (n + 1 if contract is brick_is_null else 0)


@pytest.mark.parametrize("first_run", [False, True])
def test_after_a_run_that_ended_between_quarantine_and_table_each_batch_is_merged_once(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch, first_run: bool
) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(csv([("brick", 4, 2.5)]), name="0.csv")
    assert pipeline.run(pipeline.bronze, *([] if first_run else [silver])).success
    pipeline.land(csv([("plate", 1, 1.0), ("bad", 0, 1.0)]), name="1.csv")
    house = pipeline.platform.lakehouse
    with monkeypatch.context() as failing:
        commit = house.commit

        def commit_or_die(table: Any, *arguments: Any, **more: Any) -> Any:
            if table == pipeline.table("silver"):
                raise OSError("the power went")
            return commit(table, *arguments, **more)

        failing.setattr(house, "commit", commit_or_die)
        assert "the power went" in failure_message(pipeline.run(pipeline.bronze, silver))
    assert len(pipeline.rows("quarantine")) == 1
    assert (house.version(pipeline.table("silver")) is None) == first_run
    pipeline.land(csv([("tile", 1, 1.0), ("worse", 0, 1.0)]), name="2.csv")
    assert pipeline.run(pipeline.bronze, silver).success
    assert state(pipeline) == [("brick", 4, 2.5), ("plate", 1, 1.0), ("tile", 1, 1.0)]
    assert sorted(json.loads(row["_row"])["part"] for row in pipeline.rows("quarantine")) == ["bad", "worse"]


def test_a_winner_by_an_unpublished_column_is_refused(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(silver={"winner": "_source_row desc"})
    pipeline.land(csv([("brick", 4, 2.5)]))
    result = pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived))
    assert "_source_row, which the table does not hold" in failure_message(result)


@pytest.mark.parametrize(
    ("winner", "sql"),
    [
        ("_ingest_id desc", "(true)"),
        ("_ingested_at asc", "(false)"),
        (None, "(true)"),
        (
            "holes desc, _ingest_id desc",
            (
                "((new.`holes` > old.`holes` OR (new.`holes` IS NOT NULL AND old.`holes` IS NULL))) OR "
                "((new.`holes` = old.`holes` OR (new.`holes` IS NULL AND old.`holes` IS NULL)) AND true)"
            ),
        ),
    ],
)
def test_newcomer_wins_compares_rows_by_the_winner_of_the_contract(tmp_path: Any, winner: str | None, sql: str) -> None:
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", COLUMNS, winner=winner)
    assert newcomer_wins(contract) == sql


ROWS = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([None, 1.0, 2.0]))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=8), cuts=st.sets(st.integers(1, 7), max_size=2))
def test_one_run_per_batch_and_one_run_for_all_batches_give_the_same_table(
    make_pipeline: MakePipeline, rows: list[Row], cuts: set[int]
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    batches = [rows[a:b] for a, b in itertools.pairwise(edges)]
    outcomes = []
    for in_one_run in (False, True):
        pipeline = make_pipeline(silver=LATEST | {"quality": []})
        silver = silver_asset(pipeline.contract)(as_arrived)
        for n, batch in enumerate(batches):
            pipeline.land(csv(batch), name=f"{n}.csv", day=f"2013-01-0{n + 1}")
            if not in_one_run:
                assert pipeline.run(pipeline.bronze, silver).success
        if in_one_run:
            assert pipeline.run(pipeline.bronze, silver).success
        rejected = sorted(row["_record_id"] for row in pipeline.rows("quarantine"))
        outcomes.append((state(pipeline), rejected, sorted(row["_record_id"] for row in pipeline.rows("silver"))))
    assert outcomes[0] == outcomes[1]
    winners = {part: weight for part, holes, weight in sorted(rows, key=lambda r: r[2] or 0) if holes > 0}
    assert [(part, weight) for part, _, weight in outcomes[0][0]] == sorted(winners.items())
