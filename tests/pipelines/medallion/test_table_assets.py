"""A small table on its whole road: landed, typed, judged, published or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.landing.edge import Edge
from pipelines.landing.findings import FINDINGS
from pipelines.lineage.events import Dataset
from pipelines.medallion.decorators import gold_asset, silver_asset
from tests.pipelines.roads import (
    DAY,
    DAYS,
    NEXT,
    Road,
    again,
    arrivals_check,
    contract_check,
    failure,
    unchanged,
)
from tests.pipelines.toys import TAGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def test_good_rows_are_published_and_bad_ones_are_kept_with_their_reasons(road: Callable[..., Road]) -> None:
    toy = road()
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nplate,0,1\nNA,1,1\ntile,NA,0.5\nragged\n")
    result = toy.run(toy.bronze, silver)
    assert result.success
    assert (toy.parts("silver"), len(toy.rows("quarantine")), len(toy.rows("bronze"))) == (["brick", "tile"], 3, 5)
    reasons = {row["_source_row"]: [reason["code"] for reason in row["_reasons"]] for row in toy.rows("quarantine")}
    assert reasons == {3: ["holes_range"], 4: ["part_required"], 6: ["malformed_row"]}
    check = contract_check(result)
    assert check.passed
    assert {name: check.metadata[name].value for name in ("rows_in", "rows_clean", "rows_quarantined")} == {
        "rows_in": 5, "rows_clean": 2, "rows_quarantined": 3,
    }  # fmt: skip


def test_a_table_rule_that_fails_leaves_the_version_before_published(road: Callable[..., Road]) -> None:
    toy = road()
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    assert toy.run(toy.bronze, silver).success
    before = toy.version("silver"), toy.version("quarantine"), toy.rows("silver")
    toy.land("part,holes,weight\nanvil,1,9000\nbad,0,1\n", day=NEXT)
    result = toy.run(toy.bronze, silver)
    assert not result.success
    check = contract_check(result)
    assert (check.passed, check.description) == (False, "light saw 9000.0")
    assert "light saw 9000.0" in failure(result)
    assert (toy.version("silver"), toy.version("quarantine"), toy.rows("silver")) == before
    assert toy.events("silver") == ["START", "COMPLETE", "START", "FAIL"]
    assert len(toy.rows("bronze")) == 3


def test_the_first_version_is_not_published_either(road: Callable[..., Road]) -> None:
    toy = road()
    toy.land("part,holes,weight\nanvil,1,9000\n")
    assert not toy.run(toy.bronze, silver_asset(toy.contract)(unchanged)).success
    assert (toy.version("silver"), toy.version("quarantine")) == (None, None)


def drops(rows: DataFrame) -> DataFrame:
    return rows.where("part <> 'plate'")


def doubles(rows: DataFrame) -> DataFrame:
    return rows.unionByName(rows.where("part = 'plate'"))


def drops_one_and_doubles_another(rows: DataFrame) -> DataFrame:
    return rows.where("part <> 'brick'").unionByName(rows.where("part = 'plate'"))


@pytest.mark.parametrize("transform", [drops, doubles, drops_one_and_doubles_another])
def test_a_transform_that_does_not_keep_every_row_is_refused(
    road: Callable[..., Road], transform: Callable[[DataFrame], DataFrame]
) -> None:
    toy = road()
    toy.land("part,holes,weight\nbrick,4,2.5\nplate,1,1\n")
    result = toy.run(toy.bronze, silver_asset(toy.contract)(transform))
    assert not result.success
    assert "no row may vanish or double" in failure(result)
    assert toy.version("silver") is None


def test_a_transform_that_forgets_a_column_is_refused_by_its_name(road: Callable[..., Road]) -> None:
    toy = road()
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    result = toy.run(toy.bronze, silver_asset(toy.contract)(lambda rows: rows.drop("holes")))
    assert "returns no column holes" in failure(result)


def test_a_gold_row_that_breaks_a_rule_is_named_and_nothing_is_published(road: Callable[..., Road]) -> None:
    toy = road()
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\n")

    def negative(rows: DataFrame) -> DataFrame:
        """Wrong by design."""
        return rows.selectExpr("part", "-holes as holes", "weight")

    gold = gold_asset(toy.gold(), inputs={"rows": f"silver/toys/{toy.name}"})(negative)
    result = toy.run(toy.bronze, silver, gold)
    assert not result.success
    assert "holes_range" in failure(result)
    checks = {check.asset_key.path[0]: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"bronze": True, "silver": True, "gold": False}
    assert toy.version("gold") is None


def test_gold_is_a_function_of_its_inputs(road: Callable[..., Road]) -> None:
    toy = road()
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nplate,2,1\n")

    def heavy(rows: DataFrame) -> DataFrame:
        """The heavy ones."""
        return rows.where("weight > 2")

    gold = gold_asset(toy.gold(), inputs={"rows": f"silver/toys/{toy.name}"})(heavy)
    assert toy.run(toy.bronze, silver, gold).success
    assert toy.run(gold).success
    assert toy.parts("gold") == ["brick"]


def test_a_batch_that_a_killed_run_had_planned_is_taken_once_and_as_planned(road: Callable[..., Road]) -> None:
    toy = road()
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    landing, ledger = toy.platform.landing, toy.platform.ledger(toy.table("bronze"))
    assert Edge(landing, ledger, toy.platform.contracts[toy.table("bronze")]).next_batch(None, committed=-1)
    toy.land("part,holes,weight\nplate,2,1\n", name="b.csv")
    assert toy.run(toy.bronze).success
    assert [(row["part"], row["_ingest_id"]) for row in toy.rows("bronze")] in (
        [("brick", "00000000"), ("plate", "00000001")], [("plate", "00000001"), ("brick", "00000000")],
    )  # fmt: skip
    before = toy.rows("bronze")
    assert toy.run(toy.bronze).success
    assert toy.rows("bronze") == before


def test_a_source_that_never_delivered_has_an_empty_table(road: Callable[..., Road]) -> None:
    toy = road()
    assert toy.run(toy.bronze).success
    assert toy.rows("bronze") == []


def test_a_file_that_cannot_be_read_is_refused_and_the_others_are_taken(road: Callable[..., Road]) -> None:
    toy = road(drift={"columns": "freeze"})
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    toy.land("part,price\nbrick,9\n", name="b.csv")
    result = toy.run(toy.bronze)
    check = arrivals_check(result)
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    words = "1 file with 1 row taken; frozen_columns: added: price; missing: holes, weight; 1 refused and still there"
    assert check.description == words
    assert toy.parts("bronze") == ["brick"]
    noted = toy.platform.lakehouse.snapshot(FINDINGS).arrow().to_pylist()
    assert [(Path(row["delivery"]).name, row["code"], row["treatment"]) for row in noted] == [
        ("b.csv", "frozen_columns", "refused")
    ]
    assert not arrivals_check(toy.run(toy.bronze)).passed
    (Path(toy.platform.landing.root) / noted[0]["delivery"]).unlink()
    assert arrivals_check(toy.run(toy.bronze)).passed


def test_a_delivery_of_refused_files_alone_leaves_an_empty_table(road: Callable[..., Road]) -> None:
    toy = road()
    toy.land("")
    assert not arrivals_check(toy.run(toy.bronze)).passed
    assert toy.rows("bronze") == []
    toy.land("part,holes,weight\nbrick,4,2.5\n", name="b.csv")
    assert toy.run(toy.bronze).success
    assert toy.parts("bronze") == ["brick"]


@pytest.mark.parametrize("delivery", ["increment", "snapshot"])
def test_a_ledger_that_was_lost_is_made_again_and_nothing_is_taken_twice(
    road: Callable[..., Road], delivery: str
) -> None:
    toy = road(delivery=delivery)
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    assert toy.run(toy.bronze, silver).success
    toy.land("part,holes,weight\nplate,2,1\n", day=NEXT)
    assert toy.run(toy.bronze, silver).success
    before = toy.rows("bronze"), toy.parts("silver")
    toy.platform.ledger(toy.table("bronze")).path.unlink()
    assert toy.run(toy.bronze, silver).success
    assert (toy.rows("bronze"), toy.parts("silver")) == before
    toy.land("part,holes,weight\ntile,1,1\n", day="2013-01-03")
    assert toy.run(toy.bronze, silver).success
    assert [row["part"] for row in toy.rows("bronze") if row["_ingest_id"] == "00000002"] == ["tile"]


def test_where_columns_evolve_the_table_gets_the_new_one(road: Callable[..., Road]) -> None:
    toy = road(drift={"columns": "evolve"})
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    assert toy.run(toy.bronze).success
    toy.land("part,holes,weight,price\nplate,1,1,9\n", name="b.csv")
    check = arrivals_check(toy.run(toy.bronze))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "column_drift" in str(check.description)
    prices = {row["part"]: row["price"] for row in toy.rows("bronze")}
    assert prices == {"brick": None, "plate": "9"}
    assert toy.run(silver_asset(toy.contract)(unchanged)).success


def test_a_run_replaces_its_days_and_no_others(road: Callable[..., Road]) -> None:
    toy = road(partitions=DAYS)
    silver = silver_asset(toy.contract, partitions=DAYS)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n", day=DAY)
    toy.land("part,holes,weight\nplate,2,1\nworse,0,1\n", day=NEXT)
    assert toy.run(toy.bronze, silver, start=DAY, end=NEXT).success
    assert (sorted(toy.parts("silver")), len(toy.rows("quarantine"))) == (["brick", "plate"], 2)
    toy.land("part,holes,weight\nbrick,3,2.5\n", day=DAY, name="correction.csv")
    assert toy.run(toy.bronze, silver, start=DAY).success
    holes = {row["part"]: row["holes"] for row in toy.rows("silver")}
    assert holes == {"brick": 3, "plate": 2}
    assert sorted(row["_reasons"][0]["code"] for row in toy.rows("quarantine")) == [
        "duplicate_key", "holes_range", "holes_range",
    ]  # fmt: skip


def test_increments_are_all_read_and_snapshots_only_the_newest(road: Callable[..., Road]) -> None:
    increments, snapshots = road(), road(delivery="snapshot")
    for toy in (increments, snapshots):
        toy.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
        toy.land("part,holes,weight\nplate,2,1\n", day=NEXT)
        assert toy.run(toy.bronze, silver_asset(toy.contract)(unchanged)).success
    assert (sorted(increments.parts("silver")), snapshots.parts("silver")) == (["brick", "plate"], ["plate"])


def test_what_a_snapshot_lacks_is_gone_and_may_come_back(road: Callable[..., Road]) -> None:
    toy = road(delivery="snapshot")
    silver = silver_asset(toy.contract)(unchanged)
    both, one = "part,holes,weight\nbrick,4,2.5\nplate,2,1\n", "part,holes,weight\nbrick,4,2.5\n"
    seen = []
    for day, content in (("2013-01-01", both), ("2013-01-02", one), ("2013-01-03", both)):
        toy.land(content, day=day)
        assert toy.run(toy.bronze, silver).success
        seen.append(sorted(toy.parts("silver")))
    assert seen == [["brick", "plate"], ["brick"], ["brick", "plate"]]


def test_a_snapshot_without_rows_empties_the_table(road: Callable[..., Road]) -> None:
    toy = road(delivery="snapshot", silver={"quality": []})
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
    assert toy.run(toy.bronze, silver).success
    toy.land("part,holes,weight\n", day=NEXT)
    assert toy.run(toy.bronze, silver).success
    assert toy.rows("silver") == []


def test_a_run_with_nothing_new_publishes_nothing(road: Callable[..., Road]) -> None:
    toy = road(partitions=DAYS)
    silver = silver_asset(toy.contract, partitions=DAYS)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n")
    assert toy.run(toy.bronze, silver, start=DAY, end=NEXT).success
    before = [(toy.version(zone), toy.rows(zone)) for zone in ("bronze", "silver", "quarantine")]
    result = toy.run(toy.bronze, silver, start=DAY, end=NEXT)
    assert result.success
    assert [(toy.version(zone), toy.rows(zone)) for zone in ("bronze", "silver", "quarantine")] == before
    assert contract_check(result).description == f"nothing new: version {before[1][0]} was judged when it was published"
    toy.land("part,holes,weight\nplate,2,1\n", day=NEXT)
    assert toy.run(toy.bronze, silver, start=DAY, end=NEXT).success
    assert sorted(toy.parts("silver")) == ["brick", "plate"]


def test_upkeep_is_nothing_new_and_other_rows_are(road: Callable[..., Road]) -> None:
    toy = road(partitions=DAYS)
    silver = silver_asset(toy.contract, partitions=DAYS)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nplate,1,1\n")
    assert toy.run(toy.bronze, silver, start=DAY).success
    table = toy.platform.lakehouse.snapshot(toy.table("silver")).delta
    table.optimize.z_order(["part"])
    compacted = toy.version("silver")
    assert toy.run(toy.bronze, silver, start=DAY).success
    assert toy.version("silver") == compacted
    toy.platform.lakehouse.snapshot(toy.table("silver")).delta.delete("part = 'plate'")
    assert toy.run(toy.bronze, silver, start=DAY).success
    assert sorted(toy.parts("silver")) == ["brick", "plate"]


def test_another_transform_derives_the_days_anew(road: Callable[..., Road]) -> None:
    toy = road(partitions=DAYS)
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    assert toy.run(toy.bronze, silver_asset(toy.contract, partitions=DAYS)(unchanged), start=DAY).success

    def doubled(rows: DataFrame) -> DataFrame:
        """Twice the holes."""
        return rows.withColumn("holes", rows.holes * 2)

    assert toy.run(again(toy, DAYS)(doubled), start=DAY).success
    assert [row["holes"] for row in toy.rows("silver")] == [8]


def test_many_days_are_judged_slice_by_slice_and_published_at_once(
    road: Callable[..., Road], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.medallion.silver_days.SLICE_ROWS", 3)
    toy = road(partitions=DAYS)
    days = [f"2013-01-0{n}" for n in range(1, 6)]
    for n, day in enumerate(days):
        toy.land(f"part,holes,weight\na{n},1,1\nb{n},0,1\na{n},2,2\n", day=day)
    result = toy.run(toy.bronze, silver_asset(toy.contract, partitions=DAYS)(unchanged), start=days[0], end=days[-1])
    assert result.success
    metadata = contract_check(result).metadata
    assert [metadata[name].value for name in ("rows_in", "rows_clean", "rows_quarantined")] == [15, 5, 10]
    assert sorted(toy.parts("silver")) == [f"a{n}" for n in range(5)]
    before = toy.version("silver"), toy.version("quarantine")
    assert len(toy.rows("quarantine")) == 10
    toy.land("part,holes,weight\nanvil,1,9000\n", day=days[-1], name="b.csv")
    toy.land("part,holes,weight\nplate,1,1\n", day=days[0], name="b.csv")
    refused = toy.run(toy.bronze, again(toy, DAYS)(unchanged), start=days[0], end=days[-1])
    assert "light saw 9000.0" in failure(refused)
    assert (toy.version("silver"), toy.version("quarantine")) == before


def test_lineage_names_the_source_column_of_each_published_column(road: Callable[..., Road]) -> None:
    toy = road()
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    toy.run(toy.bronze, silver_asset(toy.contract)(unchanged))
    event = toy.platform.lineage.producer_of(str(toy.table("silver")))
    assert event is not None
    output = next(output for output in event["outputs"] if output["name"] == str(toy.table("silver")))
    sources = output["facets"]["columnLineage"]["fields"]["weight"]["inputFields"]
    assert [(source["name"], source["field"]) for source in sources] == [(str(toy.table("bronze")), "weight")]
    assert {output["name"].split("/")[0] for output in event["outputs"]} == {"silver", "quarantine"}


def test_a_quarantine_is_as_protected_as_its_table(road: Callable[..., Road]) -> None:
    toy = road(tags={"data_class": "restricted"})
    toy.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n")
    assert toy.run(toy.bronze, silver_asset(toy.contract)(unchanged)).success

    def leak(run: GovernedRun) -> Iterator[Written]:
        """Reads what was rejected. Grain: none."""
        yield Written(Dataset(run.declaration.name, str(run.input("rows").count())))

    asset = governed_asset(
        key=("ops", "toys", toy.name), kind="ops", owner="toy-data", tags=TAGS, kinds=(),
        inputs={"rows": f"quarantine/toys/{toy.name}"},
    )(leak)  # fmt: skip
    assert "which is 'restricted'" in failure(toy.run(asset))
