"""A small table with rejected rows, its assets and the contract that can be mended, for tests of what people do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.orchestration.replays import RowSelection, replay
from pipelines.quarantine.decisions import recorded
from pipelines.quarantine.table import Quarantine
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import number, text, whole

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAY, NEXT, LATER = "2013-01-01", "2013-01-02", "2013-01-04"
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")
COLUMNS = [
    text("part", primaryKey=True, primaryKeyPosition=1, required=True),
    whole("holes", logicalTypeOptions={"minimum": 1}),
    number("weight"),
]
LANDED = "part,holes,weight\nbrick,4,2.5\nplate,0,1\n,NA,1\ntile,NA,x\nragged\n"


def unchanged(rows: DataFrame) -> DataFrame:
    """Blocks as they arrived."""
    return rows


@dataclass(slots=True)
class Bench:
    """One table on a platform of its own, in a Dagster of its own."""

    platform: Platform
    name: str
    folder: Path
    partitions: dg.PartitionsDefinition[str] | None
    instance: dg.DagsterInstance
    bronze: dg.AssetsDefinition = field(init=False)
    silver: dg.AssetsDefinition = field(init=False)

    @classmethod
    def build(
        cls,
        engine: Engine,
        folder: Path,
        instance: dg.DagsterInstance,
        *,
        name: str,
        partitions: dg.PartitionsDefinition[str] | None = None,
    ) -> Bench:
        bronze = toys.contract(folder, f"bronze/toys/{name}", [text(c["name"]) for c in COLUMNS])
        platform = Platform(
            Settings(home=folder / "home", profile="test", engine=engine.kind), lambda: {bronze.table: bronze}
        )
        platform.engine = engine
        made = cls(platform, name, folder, partitions, instance)
        made.bronze = bronze_asset(bronze, partitions=partitions)
        made.agree(COLUMNS)
        return made

    def agree(self, columns: Sequence[dict[str, Any]], **more: Any) -> None:
        """Another version of the silver contract; as after a deployment, no asset is declared yet."""
        table = TableId("silver", "toys", self.name)
        made: Contract = toys.contract(
            self.folder, str(table), columns, nullTokens=["NA", ""], winner="_ingest_id desc", **more
        )
        self.platform.contracts[table] = made
        self.silver = silver_asset(made, partitions=self.partitions)(unchanged)

    @property
    def table(self) -> TableId:
        return TableId("silver", "toys", self.name)

    @property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions(
            assets=[self.bronze, self.silver], resources={"platform": self.platform}, executor=dg.in_process_executor
        )

    @property
    def quarantine(self) -> Quarantine:
        return Quarantine.of(self.platform, self.table)

    def land(self, content: str = LANDED, *, day: str = DAY, name: str = "a.csv") -> None:
        self.platform.landing.deliver(
            domain="toys", source=self.name, interval=day, name=name, content=content.encode()
        )

    def run(self, start: str | None = None, end: str | None = None) -> None:
        """An ordinary run of both tables."""
        tags = {}
        if self.partitions:
            tags = {
                "dagster/asset_partition_range_start": start or DAY,
                "dagster/asset_partition_range_end": end or start or "2013-01-07",
            }
        resources = {"platform": dg.ResourceDefinition.hardcoded_resource(self.platform)}
        dg.materialize([self.bronze, self.silver], instance=self.instance, resources=resources, tags=tags)

    def replay(self, note: str = "again", by: str = "ann", **which: Any) -> dict[str, Any]:
        return replay(
            self.platform,
            self.table,
            RowSelection(**which),
            note=note,
            by=by,
            definitions=self.definitions,
            instance=self.instance,
        )

    def rows(self, zone: Any) -> dict[str, dict[str, Any]]:
        """Row by record id."""
        house = self.platform.lakehouse
        rows = house.snapshot(TableId(zone, "toys", self.name)).arrow().to_pylist()
        return {row["_record_id"]: row for row in rows}

    def parts(self) -> list[Any]:
        return sorted(row["part"] for row in self.rows("silver").values())

    def rejected(self, number: int, *, day: str = DAY) -> str:
        """The record id of the rejected row that stood at `number` in its file of that day."""
        rows = self.rows("bronze").values()
        [found] = [row["_record_id"] for row in rows if (row["_source_row"], row["_partition"]) == (number, day)]
        return str(found)

    def balanced(self) -> bool:
        """Whether every row that came in stands in exactly one of both tables."""
        clean, bad = set(self.rows("silver")), set(self.rows("quarantine"))
        return not clean & bad and clean | bad == set(self.rows("bronze"))

    def codes(self, record: str) -> list[str]:
        return [reason["code"] for reason in self.rows("quarantine")[record]["_reasons"]]

    def acts(self) -> list[tuple[str, str]]:
        return [(made.act, made.record_id) for made in recorded(self.platform.lakehouse, self.table)]
