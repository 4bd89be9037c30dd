"""Table assets, from landed files to published versions: what is typed, judged, published, quarantined, derived again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import DefinitionError
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.landing.edge import Edge
from pipelines.landing.findings import FINDINGS
from pipelines.lineage.events import Dataset
from pipelines.medallion.decorators import gold_asset, silver_asset
from pipelines.medallion.judging import in_contract_types
from tests.pipelines.toy_contracts import TAGS, contract, text
from tests.pipelines.toy_pipeline import (
    DAY,
    DAYS,
    NEXT,
    MakePipeline,
    arrivals_check,
    as_arrived,
    contract_check,
    failure_message,
    redeclared_silver,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def test_clean_rows_are_published_and_rejected_rows_are_quarantined_with_their_reasons(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nplate,0,1\nNA,1,1\ntile,NA,0.5\nragged\n")
    result = pipeline.run(pipeline.bronze, silver)
    assert result.success
    assert (pipeline.parts("silver"), len(pipeline.rows("quarantine")), len(pipeline.rows("bronze"))) == (
        ["brick", "tile"],
        3,
        5,
    )
    reasons = {
        row["_source_row"]: [reason["code"] for reason in row["_reasons"]] for row in pipeline.rows("quarantine")
    }
    assert reasons == {3: ["holes_range"], 4: ["part_required"], 6: ["malformed_row"]}
    check = contract_check(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == "2 of 5 rows clean, 3 in quarantine; 2 in the table; 60% were rejected"
    assert {name: check.metadata[name].value for name in ("rows_in", "rows_clean", "rows_quarantined")} == {
        "rows_in": 5, "rows_clean": 2, "rows_quarantined": 3,
    }  # fmt: skip


def test_a_broken_table_rule_leaves_the_previous_version_published(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.version("silver"), pipeline.rows("silver")
    pipeline.land("part,holes,weight\nanvil,1,9000\nbad,0,1\n", day=NEXT)
    result = pipeline.run(pipeline.bronze, silver)
    assert not result.success
    check = contract_check(result)
    described = "light saw 9000.0; 1 of 2 rows clean, 1 in quarantine; 50% were rejected"
    assert (check.passed, check.severity, check.description) == (False, dg.AssetCheckSeverity.ERROR, described)
    assert "light saw 9000.0" in failure_message(result)
    assert (pipeline.version("silver"), pipeline.rows("silver")) == before
    assert pipeline.events("silver") == ["START", "COMPLETE", "START", "FAIL"]
    assert len(pipeline.rows("bronze")) == 3


def test_a_first_version_that_breaks_a_table_rule_is_not_published(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\nanvil,1,9000\n")
    assert not pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)).success
    assert (pipeline.version("silver"), pipeline.version("quarantine")) == (None, None)


@pytest.mark.parametrize("column", ["holes", "_record_id", "_partition"])
def test_a_transform_that_lacks_a_column_is_refused_with_the_name_of_the_column(
    make_pipeline: MakePipeline, column: str
) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    silver = silver_asset(pipeline.contract, partitions=DAYS)(lambda rows: rows.drop(column))
    result = pipeline.run(pipeline.bronze, silver, start=DAY, end=DAY)
    assert f"returns no column {column}" in failure_message(result)


def test_times_without_a_zone_are_no_instants_of_a_contract(engine: Engine, tmp_path: Path) -> None:
    columns = [text("part"), {"name": "at", "logicalType": "timestamp", "description": "When it was sold."}]
    clocks = engine.session.sql("SELECT 'brick' AS part, timestamp_ntz'2026-03-01 12:00:00' AS at")
    with pytest.raises(DefinitionError, match=r"gold/toys/sales: at: type timestamp_ntz.*F\.to_utc_timestamp"):
        in_contract_types(contract(tmp_path, "gold/toys/sales", columns), clocks, ())
    instants = clocks.selectExpr("part", "to_utc_timestamp(at, 'America/New_York') AS at")
    assert in_contract_types(contract(tmp_path, "gold/toys/sales", columns), instants, ()).dtypes[1] == (
        "at",
        "timestamp",
    )


def test_a_gold_row_that_breaks_a_rule_fails_the_run_with_the_rule_and_publishes_nothing(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")

    def negative(rows: DataFrame) -> DataFrame:
        """Wrong by design."""
        return rows.selectExpr("part", "-holes as holes", "weight")

    gold = gold_asset(pipeline.gold(), inputs={"rows": f"silver/toys/{pipeline.name}"})(negative)
    result = pipeline.run(pipeline.bronze, silver, gold)
    assert not result.success
    assert "holes_range" in failure_message(result)
    checks = {check.asset_key.path[0]: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"bronze": True, "silver": True, "gold": False}
    assert pipeline.version("gold") is None


def test_a_gold_table_has_the_rows_that_its_transform_returns(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nplate,2,1\n")

    def heavy(rows: DataFrame) -> DataFrame:
        """The heavy ones."""
        return rows.where("weight > 2")

    gold = gold_asset(pipeline.gold(), inputs={"rows": f"silver/toys/{pipeline.name}"})(heavy)
    assert pipeline.run(pipeline.bronze, silver, gold).success
    assert pipeline.run(gold).success
    assert pipeline.parts("gold") == ["brick"]


def test_a_batch_that_a_killed_run_planned_is_taken_as_planned_and_once(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    landing, ledger = pipeline.platform.landing, pipeline.platform.ledger(pipeline.table("bronze"))
    assert Edge(landing, ledger, pipeline.platform.contracts[pipeline.table("bronze")]).next_batch(None, committed=-1)
    pipeline.land("part,holes,weight\nplate,2,1\n", name="b.csv")
    assert pipeline.run(pipeline.bronze).success
    assert [(row["part"], row["_ingest_id"]) for row in pipeline.rows("bronze")] in (
        [("brick", "00000000"), ("plate", "00000001")], [("plate", "00000001"), ("brick", "00000000")],
    )  # fmt: skip
    before = pipeline.rows("bronze")
    assert pipeline.run(pipeline.bronze).success
    assert pipeline.rows("bronze") == before


def test_a_source_without_deliveries_has_an_empty_table(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    assert pipeline.run(pipeline.bronze).success
    assert pipeline.rows("bronze") == []


def test_a_file_with_other_columns_is_refused_if_columns_are_frozen_and_other_files_are_taken(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline(drift={"columns": "freeze"})
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    pipeline.land("part,price\nbrick,9\n", name="b.csv")
    result = pipeline.run(pipeline.bronze)
    check = arrivals_check(result)
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    description = "1 file with 1 row taken; frozen_columns: dt=2013-01-01/b.csv: added: price; missing: holes, weight; 1 refused and still there"
    assert check.description == description
    assert pipeline.parts("bronze") == ["brick"]
    findings = pipeline.platform.lakehouse.snapshot(FINDINGS).arrow().to_pylist()
    assert [(Path(row["delivery"]).name, row["code"], row["treatment"]) for row in findings] == [
        ("b.csv", "frozen_columns", "refused")
    ]
    assert not arrivals_check(pipeline.run(pipeline.bronze)).passed
    (Path(pipeline.platform.landing.root) / findings[0]["delivery"]).unlink()
    assert arrivals_check(pipeline.run(pipeline.bronze)).passed


def test_only_refused_files_leave_an_empty_table_and_a_later_file_is_taken(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    pipeline.land("")
    assert not arrivals_check(pipeline.run(pipeline.bronze)).passed
    assert pipeline.rows("bronze") == []
    pipeline.land("part,holes,weight\nbrick,4,2.5\n", name="b.csv")
    assert pipeline.run(pipeline.bronze).success
    assert pipeline.parts("bronze") == ["brick"]


@pytest.mark.parametrize("delivery", ["increment", "snapshot"])
def test_a_lost_ledger_is_recovered_and_no_delivery_is_taken_twice(make_pipeline: MakePipeline, delivery: str) -> None:
    pipeline = make_pipeline(delivery=delivery)
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land("part,holes,weight\nplate,2,1\n", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    before = pipeline.rows("bronze"), pipeline.parts("silver")
    pipeline.platform.ledger(pipeline.table("bronze")).path.unlink()
    assert pipeline.run(pipeline.bronze, silver).success
    assert (pipeline.rows("bronze"), pipeline.parts("silver")) == before
    pipeline.land("part,holes,weight\ntile,1,1\n", day="2013-01-03")
    assert pipeline.run(pipeline.bronze, silver).success
    assert [row["part"] for row in pipeline.rows("bronze") if row["_ingest_id"] == "00000002"] == ["tile"]


def test_a_new_column_is_added_to_the_table_if_columns_evolve(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(drift={"columns": "evolve"})
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    assert pipeline.run(pipeline.bronze).success
    pipeline.land("part,holes,weight,price\nplate,1,1,9\n", name="b.csv")
    check = arrivals_check(pipeline.run(pipeline.bronze))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "column_drift" in str(check.description)
    prices = {row["part"]: row["price"] for row in pipeline.rows("bronze")}
    assert prices == {"brick": None, "plate": "9"}
    assert pipeline.run(silver_asset(pipeline.contract)(as_arrived)).success


def test_a_run_replaces_only_its_days(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n", day=DAY)
    pipeline.land("part,holes,weight\nplate,2,1\nworse,0,1\n", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT).success
    assert (sorted(pipeline.parts("silver")), len(pipeline.rows("quarantine"))) == (["brick", "plate"], 2)
    pipeline.land("part,holes,weight\nbrick,3,2.5\n", day=DAY, name="correction.csv")
    assert pipeline.run(pipeline.bronze, silver, start=DAY).success
    holes = {row["part"]: row["holes"] for row in pipeline.rows("silver")}
    assert holes == {"brick": 3, "plate": 2}
    assert sorted(row["_reasons"][0]["code"] for row in pipeline.rows("quarantine")) == [
        "duplicate_key", "holes_range", "holes_range",
    ]  # fmt: skip


def test_a_table_holds_all_increments_but_only_the_newest_snapshot(make_pipeline: MakePipeline) -> None:
    increments, snapshots = make_pipeline(), make_pipeline(delivery="snapshot")
    for pipeline in (increments, snapshots):
        pipeline.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
        pipeline.land("part,holes,weight\nplate,2,1\n", day=NEXT)
        assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)).success
    assert (sorted(increments.parts("silver")), snapshots.parts("silver")) == (["brick", "plate"], ["plate"])


def test_a_row_that_a_snapshot_lacks_is_removed_and_returns_with_a_later_snapshot(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(delivery="snapshot")
    silver = silver_asset(pipeline.contract)(as_arrived)
    both, one = "part,holes,weight\nbrick,4,2.5\nplate,2,1\n", "part,holes,weight\nbrick,4,2.5\n"
    parts_by_run = []
    for day, content in (("2013-01-01", both), ("2013-01-02", one), ("2013-01-03", both)):
        pipeline.land(content, day=day)
        assert pipeline.run(pipeline.bronze, silver).success
        parts_by_run.append(sorted(pipeline.parts("silver")))
    assert parts_by_run == [["brick", "plate"], ["brick"], ["brick", "plate"]]


def test_a_snapshot_without_rows_empties_the_table(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(delivery="snapshot", silver={"quality": []})
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land("part,holes,weight\n", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    assert pipeline.rows("silver") == []


def test_a_run_without_new_deliveries_publishes_no_version(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS, silver={"quality": []})
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n")
    assert pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT).success
    before = [(pipeline.version(zone), pipeline.rows(zone)) for zone in ("bronze", "silver", "quarantine")]
    result = pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT)
    assert result.success
    assert [(pipeline.version(zone), pipeline.rows(zone)) for zone in ("bronze", "silver", "quarantine")] == before
    assert contract_check(result).description == f"nothing new: version {before[1][0]} was judged when it was published"
    pipeline.land("part,holes,weight\nplate,2,1\n", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT).success
    assert sorted(pipeline.parts("silver")) == ["brick", "plate"]


def test_a_compacted_table_is_left_alone_and_a_table_that_lost_rows_is_derived_again(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    pipeline.land("part,holes,weight\nbrick,4,2.5\nplate,1,1\n")
    assert pipeline.run(pipeline.bronze, silver, start=DAY).success
    table = pipeline.platform.lakehouse.snapshot(pipeline.table("silver")).delta
    table.optimize.z_order(["part"])
    compacted = pipeline.version("silver")
    assert pipeline.run(pipeline.bronze, silver, start=DAY).success
    assert pipeline.version("silver") == compacted
    pipeline.platform.lakehouse.snapshot(pipeline.table("silver")).delta.delete("part = 'plate'")
    assert pipeline.run(pipeline.bronze, silver, start=DAY).success
    assert sorted(pipeline.parts("silver")) == ["brick", "plate"]


def test_a_changed_transform_derives_the_days_again(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    pipeline.land("part,holes,weight\nbrick,4,2.5\n")
    assert pipeline.run(
        pipeline.bronze, silver_asset(pipeline.contract, partitions=DAYS)(as_arrived), start=DAY
    ).success

    def doubled(rows: DataFrame) -> DataFrame:
        """Twice the holes."""
        return rows.withColumn("holes", rows.holes * 2)

    assert pipeline.run(redeclared_silver(pipeline, DAYS)(doubled), start=DAY).success
    assert [row["holes"] for row in pipeline.rows("silver")] == [8]


def test_many_days_are_judged_in_slices_and_published_in_one_version(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.medallion.silver_days.SLICE_ROWS", 3)
    pipeline = make_pipeline(partitions=DAYS)
    days = [f"2013-01-0{n}" for n in range(1, 6)]
    for n, day in enumerate(days):
        pipeline.land(f"part,holes,weight\na{n},1,1\nb{n},0,1\na{n},2,2\n", day=day)
    result = pipeline.run(
        pipeline.bronze, silver_asset(pipeline.contract, partitions=DAYS)(as_arrived), start=days[0], end=days[-1]
    )
    assert result.success
    metadata = contract_check(result).metadata
    assert [metadata[name].value for name in ("rows_in", "rows_clean", "rows_quarantined")] == [15, 5, 10]
    assert sorted(pipeline.parts("silver")) == [f"a{n}" for n in range(5)]
    before = pipeline.version("silver") or 0, pipeline.version("quarantine") or 0
    assert len(pipeline.rows("quarantine")) == 10
    pipeline.land("part,holes,weight\nanvil,1,9000\n", day=days[-1], name="b.csv")
    pipeline.land("part,holes,weight\nplate,1,1\n", day=days[0], name="b.csv")
    refused = pipeline.run(pipeline.bronze, redeclared_silver(pipeline, DAYS)(as_arrived), start=days[0], end=days[-1])
    assert "light saw 9000.0" in failure_message(refused)
    assert "light saw 9000.0 on 2013-01-05" in str(contract_check(refused).description)
    assert (pipeline.version("silver"), pipeline.version("quarantine")) == (before[0] + 1, before[1] + 1)
    assert sorted(pipeline.parts("silver")) == [*(f"a{n}" for n in range(5)), "plate"]


def test_a_transform_that_names_a_view_gets_the_rows_of_its_own_slice(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.medallion.silver_days.SLICE_ROWS", 2)
    pipeline = make_pipeline(partitions=DAYS)
    days = [f"2013-01-0{n}" for n in range(1, 6)]
    for n, day in enumerate(days):
        pipeline.land(f"part,holes,weight\na{n},1,1\nb{n},2,1\n", day=day)

    def through_a_view(rows: DataFrame) -> DataFrame:
        """The rows, by a view of a name that every slice takes."""
        rows.createOrReplaceTempView("blocks_of_this_run")
        return rows.sparkSession.sql("SELECT * FROM blocks_of_this_run")

    silver = silver_asset(pipeline.contract, partitions=DAYS)(through_a_view)
    assert pipeline.run(pipeline.bronze, silver, start=days[0], end=days[-1]).success
    assert sorted(pipeline.parts("silver")) == [f"{part}{n}" for part in "ab" for n in range(5)]


def test_lineage_names_the_source_column_of_each_published_column(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    bronze, silver = str(pipeline.table("bronze")), str(pipeline.table("silver"))
    for content, found in (("brick,4,2.5\n", ["weight"]), ("plate,4,2.5\nragged\n", ["_rescued", "weight"])):
        pipeline.land(f"part,holes,weight\n{content}", name=f"{len(found)}.csv")
        pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived))
        event = pipeline.platform.lineage.producer_of(silver)
        assert event is not None
        output = next(output for output in event["outputs"] if output["name"] == silver)
        sources = output["facets"]["columnLineage"]["fields"]["weight"]["inputFields"]
        # Where a row has something in `_rescued`, it may be the value of a column that was declared later.
        assert [(source["name"], source["field"]) for source in sources] == [(bronze, name) for name in found]
        assert {output["name"].split("/")[0] for output in event["outputs"]} == {"silver", "quarantine"}


def test_a_quarantine_has_the_data_class_of_its_table(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(tags={"data_class": "restricted"})
    pipeline.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n")
    assert pipeline.run(pipeline.bronze, silver_asset(pipeline.contract)(as_arrived)).success

    def leak(run: GovernedRun) -> Iterator[Written]:
        """Reads what was rejected. Grain: none."""
        yield Written(Dataset(run.declaration.name, str(run.input("rows").count())))

    asset = governed_asset(
        key=("ops", "toys", pipeline.name), kind="ops", owner="toy-data", tags=TAGS, kinds=(),
        inputs={"rows": f"quarantine/toys/{pipeline.name}"},
    )(leak)  # fmt: skip
    assert "which is 'restricted'" in failure_message(pipeline.run(asset))
