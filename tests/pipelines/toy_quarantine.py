"""A toy table with rejected rows, for tests of what people do about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.orchestration.replays import RowSelection, replay
from pipelines.quarantine.decisions import recorded
from pipelines.quarantine.table import Quarantine
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.pipelines.toy_pipeline import COLUMNS, DAY, as_arrived, land

LATER = "2013-01-04"
#: Brick is clean. Plate (row 3) has no holes, row 4 lacks its part, tile (row 5) has no number as its weight, and row 6
#: lacks columns.
LANDED = "part,holes,weight\nbrick,4,2.5\nplate,0,1\n,NA,1\ntile,NA,x\nragged\n"


@dataclass(slots=True)
class ToyQuarantine:
    """A silver table and its quarantine, on a platform and in a Dagster instance of their own.

    Attributes:
        platform: The platform.
        name: The table's name.
        folder: Where contracts are written.
        partitions: The table's partitions; None for a table without days.
        instance: The Dagster instance.
        bronze: The bronze asset.
        silver: The silver asset, of the newest contract.
    """

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
    ) -> ToyQuarantine:
        """Makes the platform and declares both assets; nothing has landed yet."""
        columns = [text(column["name"]) for column in COLUMNS]
        bronze = toy_contracts.contract(folder, f"bronze/toys/{name}", columns)
        settings = Settings(home=folder / "home", profile="test", engine=engine.kind)
        platform = Platform(settings, lambda: {bronze.table: bronze})
        platform.engine = engine
        toy = cls(platform, name, folder, partitions, instance)
        toy.bronze = bronze_asset(bronze, partitions=partitions)
        toy.change_contract(COLUMNS)
        return toy

    def change_contract(self, columns: Sequence[dict[str, Any]], **more: Any) -> None:
        """Declares the silver asset with a new contract; `more` as in `toy_contracts.document`."""
        properties = {"nullTokens": ["NA", ""], "winner": "_ingest_id desc", **more}
        contract = toy_contracts.contract(self.folder, str(self.table), columns, **properties)
        self.platform.contracts[self.table] = contract
        self.silver = silver_asset(contract, partitions=self.partitions)(as_arrived)

    @property
    def table(self) -> TableId:
        """The silver table."""
        return TableId("silver", "toys", self.name)

    @property
    def definitions(self) -> dg.Definitions:
        """A code location with both assets."""
        return dg.Definitions(
            assets=[self.bronze, self.silver], resources={"platform": self.platform}, executor=dg.in_process_executor
        )

    @property
    def quarantine(self) -> Quarantine:
        """The quarantine at its newest version, with the decisions that count now."""
        return Quarantine.of(self.platform, self.table)

    def land(self, content: str = LANDED, *, day: str = DAY, name: str = "a.csv") -> None:
        """Lands one delivery of the source."""
        land(self.platform, self.name, content, day=day, name=name)

    def run(self) -> None:
        """Materializes both tables, over all days if they have days; raises the error of a failed run."""
        tags = {}
        if self.partitions:
            days = self.partitions.get_partition_keys()
            tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
        resources = {"platform": dg.ResourceDefinition.hardcoded_resource(self.platform)}
        dg.materialize([self.bronze, self.silver], instance=self.instance, resources=resources, tags=tags)

    def replay(self, note: str = "again", by: str = "ann", **selection: Any) -> dict[str, Any]:
        """Judges rows again; `selection` are the attributes of `RowSelection`."""
        return replay(
            self.platform,
            self.table,
            RowSelection(**selection),
            note=note,
            by=by,
            definitions=self.definitions,
            instance=self.instance,
        )

    def rows(self, zone: Any) -> dict[str, dict[str, Any]]:
        """Record id to row, in a zone."""
        rows = self.platform.lakehouse.snapshot(TableId(zone, "toys", self.name)).arrow().to_pylist()
        return {row["_record_id"]: row for row in rows}

    def parts(self) -> list[Any]:
        """The column `part` of the clean rows, sorted."""
        return sorted(row["part"] for row in self.rows("silver").values())

    def record_id(self, number: int, *, day: str = DAY) -> str:
        """The record id of the row with a number in the file of a day."""
        place = (number, day)
        rows = self.rows("bronze").values()
        [record_id] = [row["_record_id"] for row in rows if (row["_source_row"], row["_partition"]) == place]
        return str(record_id)

    def every_row_is_in_one_table(self) -> bool:
        """Whether each bronze row is either in silver or in quarantine, and nothing else is there."""
        clean, rejected = set(self.rows("silver")), set(self.rows("quarantine"))
        return not clean & rejected and clean | rejected == set(self.rows("bronze"))

    def codes(self, record_id: str) -> list[str]:
        """The reasons of a rejected row."""
        return [reason["code"] for reason in self.rows("quarantine")[record_id]["_reasons"]]

    def acts(self) -> list[tuple[str, str]]:
        """Every act on record with its record id, oldest first."""
        return [(decision.act, decision.record_id) for decision in recorded(self.platform.lakehouse, self.table)]

    def metadata(self) -> dict[str, Any]:
        """The metadata of the newest materialization of the quarantine."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(["quarantine", "toys", self.name]))
        assert event is not None
        materialization = event.asset_materialization
        assert materialization is not None
        return {name: entry.value for name, entry in materialization.metadata.items()}
