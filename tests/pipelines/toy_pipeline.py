"""One toy source with its bronze, silver and gold tables, on a platform of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.contracts.delivery_properties import DELIVERY_PROPERTIES
from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, number, text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAY, NEXT = "2013-01-01", "2013-01-02"
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")
NOT_EMPTY = {"name": "some", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1}
LIGHT = {"name": "light", "type": "sql", "query": "max(weight)", "mustBeLessOrEqualTo": 100}
COLUMNS = [
    text("part", primaryKey=True, primaryKeyPosition=1, required=True),
    integer("holes", logicalTypeOptions={"minimum": 1}),
    number("weight"),
]
_names = itertools.count()


@dataclass(frozen=True, slots=True)
class ToyPipeline:
    """One source and its tables.

    Attributes:
        platform: A platform with a home folder of its own.
        materialize: Materializes assets in this process.
        name: The source's name, which no other test uses.
        bronze: The bronze asset.
        contract: The contract of the silver table; a test declares the asset with its own transform.
        folder: Where contracts are written.
    """

    platform: Platform
    materialize: Materialize
    name: str
    bronze: dg.AssetsDefinition
    contract: Contract
    folder: Path

    def land(self, content: str, *, day: str = DAY, name: str = "a.csv") -> None:
        """Lands one delivery of the source."""
        land(self.platform, self.name, content, day=day, name=name)

    def table(self, zone: Any) -> TableId:
        """The source's table in a zone."""
        return TableId(zone, "toys", self.name)

    def rows(self, zone: str) -> list[dict[str, Any]]:
        """The rows of the newest version in a zone, ordered by record id."""
        house = self.platform.lakehouse
        return sorted(house.snapshot(self.table(zone)).arrow().to_pylist(), key=lambda row: row["_record_id"])

    def parts(self, zone: str) -> list[str]:
        """The column `part` of the rows in a zone."""
        return [row["part"] for row in self.rows(zone)]

    def version(self, zone: str) -> int | None:
        """The newest version in a zone; None if nothing was published."""
        return self.platform.lakehouse.version(self.table(zone))

    def run(
        self, *assets: dg.AssetsDefinition, start: str | None = None, end: str | None = None
    ) -> dg.ExecuteInProcessResult:
        """Materializes assets; a failure is in the result."""
        return self.materialize(self.platform, list(assets), start, end, raise_on_error=False)

    def events(self, zone: str) -> list[str]:
        """The types of the lineage events of the asset in a zone, oldest first."""
        events = self.platform.lineage.events()
        return [event["eventType"] for event in events if event["job"]["name"] == str(self.table(zone))]

    def gold(self, **more: Any) -> Contract:
        """A contract for a gold table with the columns of the silver table."""
        contract = toy_contracts.contract(self.folder, f"gold/toys/{self.name}", COLUMNS, **more)
        self.platform.contracts[contract.table] = contract
        return contract


MakePipeline = Callable[..., ToyPipeline]


def pipeline_builder(engine: Engine, folder: Path, materialize: Materialize) -> MakePipeline:
    """A function that makes pipelines on an engine.

    Its arguments are the bronze asset's `partitions`, the silver table's `columns`, `silver` for properties of the
    silver contract, and any other properties, which both contracts get, but for those of deliveries.
    """

    def build(
        *,
        partitions: dg.PartitionsDefinition[str] | None = None,
        columns: list[dict[str, Any]] = COLUMNS,
        silver: dict[str, Any] | None = None,
        **more: Any,
    ) -> ToyPipeline:
        name = f"source_{next(_names)}"
        texts = [text(column["name"]) for column in columns]
        bronze = toy_contracts.contract(folder, f"bronze/toys/{name}", texts, **more)
        properties = {"quality": [NOT_EMPTY, LIGHT], "nullTokens": ["NA"], "winner": "_ingest_id desc"} | (silver or {})
        properties |= {key: value for key, value in more.items() if key not in DELIVERY_PROPERTIES}
        contract = toy_contracts.contract(folder, f"silver/toys/{name}", columns, **properties)
        settings = Settings(home=folder / f"home_{name}", profile="test", engine=engine.kind)
        platform = Platform(settings, lambda: {bronze.table: bronze, contract.table: contract})
        platform.engine = engine
        return ToyPipeline(platform, materialize, name, bronze_asset(bronze, partitions=partitions), contract, folder)

    return build


def land(platform: Platform, source: str, content: str, *, day: str, name: str) -> None:
    """Lands one delivery of a source of the toy domain."""
    platform.landing.deliver(domain="toys", source=source, interval=day, name=name, content=content.encode())


def as_arrived(rows: DataFrame) -> DataFrame:
    """Blocks as they arrived."""
    return rows


def redeclared_silver(
    pipeline: ToyPipeline, partitions: dg.PartitionsDefinition[str] | None, contract: Contract | None = None
) -> Callable[..., dg.AssetsDefinition]:
    """The decorator for the silver asset, declared again as after an edit of its code or its contract."""
    return silver_asset(contract or pipeline.contract, partitions=partitions)


def failure_message(result: dg.ExecuteInProcessResult) -> str:
    """The message of the only step that failed."""
    [event] = result.get_step_failure_events()
    return str(event.step_failure_data.error_display_string)


def contract_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    """The only evaluation of the check `contract`."""
    return _check(result, "contract")


def arrivals_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    """The only evaluation of the check `arrivals`."""
    return _check(result, "arrivals")


def _check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    [check] = [check for check in result.get_asset_check_evaluations() if check.check_name == name]
    return check
