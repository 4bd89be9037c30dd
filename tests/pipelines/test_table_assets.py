"""A small table on its whole road: landed, typed, judged, published or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.contracts import Contract
from pipelines.engine import Engine
from pipelines.governed import GovernedRun, Written, governed_asset
from pipelines.lineage import Dataset
from pipelines.resources import Platform
from pipelines.settings import Settings
from pipelines.table_assets import bronze_asset, gold_asset, silver_asset
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toys
from tests.pipelines.toys import TAGS, number, text, whole

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAY, NEXT = "2013-01-01", "2013-01-02"
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")
_names = itertools.count()
SOME = {"name": "some", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1}
LIGHT = {"name": "light", "type": "sql", "query": "max(weight)", "mustBeLessOrEqualTo": 100}
COLUMNS = [
    text("part", primaryKey=True, primaryKeyPosition=1, required=True),
    whole("holes", logicalTypeOptions={"minimum": 1}),
    number("weight"),
]


@dataclass(frozen=True, slots=True)
class Road:
    """One source of a name of its own, with its tables and assets, on a platform of its own."""

    platform: Platform
    materialize: Materialize
    name: str
    bronze: dg.AssetsDefinition
    contract: Contract
    folder: Path

    def land(self, content: str, *, day: str = DAY, name: str = "a.csv") -> None:
        self.platform.landing.deliver(
            domain="toys", source=self.name, interval=day, name=name, content=content.encode()
        )

    def table(self, zone: Any) -> TableId:
        return TableId(zone, "toys", self.name)

    def rows(self, zone: str) -> list[dict[str, Any]]:
        house = self.platform.lakehouse
        return sorted(house.arrow(house.current(self.table(zone))).to_pylist(), key=lambda row: row["_record_id"])

    def parts(self, zone: str) -> list[str]:
        return [row["part"] for row in self.rows(zone)]

    def version(self, zone: str) -> int | None:
        return self.platform.lakehouse.version(self.table(zone))

    def run(
        self, *assets: dg.AssetsDefinition, start: str | None = None, end: str | None = None
    ) -> dg.ExecuteInProcessResult:
        return self.materialize(self.platform, list(assets), start, end, raise_on_error=False)

    def events(self, zone: str) -> list[str]:
        found = self.platform.lineage.events()
        return [event["eventType"] for event in found if event["job"]["name"] == str(self.table(zone))]

    def gold(self, **more: Any) -> Contract:
        """A contract of a table that is derived from the source's silver table."""
        made = toys.contract(self.folder, f"gold/toys/{self.name}", COLUMNS, **more)
        self.platform.contracts[made.table] = made
        return made


@pytest.fixture
def road(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., Road]:
    def build(*, partitions: dg.PartitionsDefinition[str] | None = None, **more: Any) -> Road:
        name = f"source_{next(_names)}"
        bronze = toys.contract(tmp_path, f"bronze/toys/{name}", [text(c["name"]) for c in COLUMNS], **more)
        silver = toys.contract(
            tmp_path,
            f"silver/toys/{name}",
            COLUMNS,
            quality=[SOME, LIGHT],
            nullTokens=["NA"],
            winner="_ingest_id desc",
            **more,
        )
        platform = Platform(
            Settings(home=tmp_path / "home", profile="test"), lambda: {bronze.table: bronze, silver.table: silver}
        )
        platform.engine = engine
        return Road(platform, materialize, name, bronze_asset(bronze, partitions=partitions), silver, tmp_path)

    return build


def unchanged(rows: DataFrame) -> DataFrame:
    """Blocks as they arrived."""
    return rows


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = result.get_step_failure_events()
    return str(event.step_failure_data.error_display_string)


def test_good_rows_are_published_and_bad_ones_are_kept_with_their_reasons(road: Callable[..., Road]) -> None:
    toy = road()
    silver = silver_asset(toy.contract)(unchanged)
    toy.land("part,holes,weight\nbrick,4,2.5\nplate,0,1\nNA,1,1\ntile,NA,0.5\nragged\n")
    result = toy.run(toy.bronze, silver)
    assert result.success
    assert (toy.parts("silver"), len(toy.rows("quarantine")), len(toy.rows("bronze"))) == (["brick", "tile"], 3, 5)
    reasons = {row["_source_row"]: [reason["code"] for reason in row["_reasons"]] for row in toy.rows("quarantine")}
    assert reasons == {3: ["holes_range"], 4: ["part_required"], 6: ["malformed_row", "part_required"]}
    [check] = result.get_asset_check_evaluations()
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
    [check] = result.get_asset_check_evaluations()
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
    assert checks == {"silver": True, "gold": False}
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
    ledger = toy.platform.ledger(toy.table("bronze"))
    ledger.plan(toy.platform.landing, toy.platform.landing.deliveries("toys", toy.name), committed=-1)
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


def test_a_file_that_cannot_be_read_takes_nothing_of_its_batch(road: Callable[..., Road]) -> None:
    toy = road(drift={"columns": "freeze"})
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    toy.land("part,price\nbrick,9\n", name="b.csv")
    result = toy.run(toy.bronze)
    assert "b.csv" in failure(result)
    assert toy.version("bronze") is None


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
    increments, snapshots = road(), road()
    for toy, delivery in ((increments, "increment"), (snapshots, "snapshot")):
        toy.land("part,holes,weight\nbrick,4,2.5\n", day=DAY)
        toy.land("part,holes,weight\nplate,2,1\n", day=NEXT)
        assert toy.run(toy.bronze, silver_asset(toy.contract, delivery=delivery)(unchanged)).success  # type: ignore[arg-type]
    assert (sorted(increments.parts("silver")), snapshots.parts("silver")) == (["brick", "plate"], ["plate"])


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
