"""A source of a name of its own, with its tables and assets, on a platform of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toys
from tests.pipelines.toys import number, text, whole

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
        return sorted(house.snapshot(self.table(zone)).arrow().to_pylist(), key=lambda row: row["_record_id"])

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


def builder(engine: Engine, folder: Path, materialize: Materialize) -> Callable[..., Road]:
    """Makes roads on an engine; `silver` are properties of the silver contract alone, `more` of both."""

    def build(
        *,
        partitions: dg.PartitionsDefinition[str] | None = None,
        columns: list[dict[str, Any]] = COLUMNS,
        silver: dict[str, Any] | None = None,
        **more: Any,
    ) -> Road:
        name = f"source_{next(_names)}"
        texts = [text(column["name"]) for column in columns]
        bronze = toys.contract(folder, f"bronze/toys/{name}", texts, **more)
        typed = {"quality": [SOME, LIGHT], "nullTokens": ["NA"], "winner": "_ingest_id desc"} | (silver or {})
        contract = toys.contract(folder, f"silver/toys/{name}", columns, **typed, **more)
        settings = Settings(home=folder / f"home_{name}", profile="test", engine=engine.kind)
        platform = Platform(settings, lambda: {bronze.table: bronze, contract.table: contract})
        platform.engine = engine
        return Road(platform, materialize, name, bronze_asset(bronze, partitions=partitions), contract, folder)

    return build


def unchanged(rows: DataFrame) -> DataFrame:
    """Blocks as they arrived."""
    return rows


def again(
    toy: Road, partitions: dg.PartitionsDefinition[str] | None, contract: Contract | None = None
) -> Callable[..., dg.AssetsDefinition]:
    """The decorator of the same table once more, as after an edit of the code or the contract."""
    return silver_asset(contract or toy.contract, partitions=partitions)


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = result.get_step_failure_events()
    return str(event.step_failure_data.error_display_string)


def contract_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [check] = [check for check in result.get_asset_check_evaluations() if check.check_name == "contract"]
    return check


def arrivals_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [check] = [check for check in result.get_asset_check_evaluations() if check.check_name == "arrivals"]
    return check
