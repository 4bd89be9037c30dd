"""Two small sources with all their tables from landing to gold, for programs that disturb their runs.

Orders are a table of a database, extracted as increments and merged by key; parts are files, replaced by day; gold is
derived from both. The deliveries of a round are always the same, so that the tables of two runs can be compared.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import SecretStr

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.orchestration.runs import range_tags
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine
from pipelines.settings import Settings
from pipelines.sources.sql import SqlCursor
from pipelines.tables import TableId
from tests.pipelines import toy_contracts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Columns with the time and the batch of a row, which can differ between a disturbed and an undisturbed run.
VOLATILE = {"_ingested_at", "_ingest_id", "_decided_at"}
#: Columns that differ where a source divided the same rows into other files, such as for several rounds at once.
PLACES = {"_record_id", "_source_uri", "_source_row"}
#: The URIs of all deliveries of the two sources.
NAMES = re.compile(r"toys/(parts/.*/\w+-\w+\.csv|orders/.*/\d{8}-orders_[^/]*\.jsonl)")
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")
PARTS = TableId("silver", "toys", "parts")
TABLES = [f"{zone}/toys/{name}" for name in ("orders", "parts") for zone in ("bronze", "silver", "quarantine")]
TABLES.append("gold/toys/totals")
PART = [
    toy_contracts.text("part", primaryKey=True, required=True),
    toy_contracts.integer("holes", logicalTypeOptions={"minimum": 1}),
    toy_contracts.number("weight"),
]
ORDER = [
    toy_contracts.integer("id", primaryKey=True, required=True),
    toy_contracts.text("part"),
    toy_contracts.integer("amount", logicalTypeOptions={"minimum": 1}),
    toy_contracts.text("updated_at", required=True),
]


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of both sources in the order in which they run, and their contracts."""

    orders: Sequence[dg.AssetsDefinition]
    parts: Sequence[dg.AssetsDefinition]
    gold: Sequence[dg.AssetsDefinition]
    contracts: Mapping[TableId, Contract]


@functools.cache
def assets() -> Assets:
    """The assets and contracts, declared once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        contracts = [
            toy_contracts.contract(Path(folder), name, columns, **properties)
            for name, columns, properties in (
                ("bronze/toys/orders", [toy_contracts.text(c["name"]) for c in ORDER], {"format": "jsonl"}),
                ("bronze/toys/parts", [toy_contracts.text(c["name"]) for c in PART], {}),
                ("silver/toys/orders", ORDER, {"winner": "updated_at desc"}),
                ("silver/toys/parts", PART, {"winner": "weight desc"}),
                (
                    "gold/toys/totals",
                    [toy_contracts.text("part"), toy_contracts.integer("holes"), toy_contracts.number("weight")],
                    {},
                ),
            )
        ]
    bronze_orders, bronze_parts, silver_orders, silver_parts, totals = contracts
    inputs = {"orders": "silver/toys/orders", "parts": "silver/toys/parts"}
    # Within two minutes before the end of a round there is no order that a later round changes: a run that takes two
    # rounds lands the same rows as two runs.
    source = SqlCursor("shop", "orders", lateness=timedelta(minutes=2), rows_per_file=3)
    return Assets(
        orders=(
            landing_asset(bronze_orders, source),
            bronze_asset(bronze_orders),
            silver_asset(silver_orders)(_unchanged),
        ),
        parts=(
            bronze_asset(bronze_parts, partitions=DAYS),
            silver_asset(silver_parts, partitions=DAYS)(_unchanged),
        ),
        gold=(gold_asset(totals, inputs=inputs)(_totals),),
        contracts={contract.table: contract for contract in contracts},
    )


def _unchanged(rows: DataFrame) -> DataFrame:
    """Rows as they arrived. Grain: one row per key."""
    return rows


def _totals(orders: DataFrame, parts: DataFrame) -> DataFrame:
    """The ordered amount and the weight of each part. Grain: one row per part."""
    from pyspark.sql import functions as F

    amounts = orders.groupBy("part").agg(F.sum("amount").cast("int").alias("holes"))
    return amounts.join(parts.groupBy("part").agg(F.max("weight").alias("weight")), "part", "left")


class Ingestion:
    """Both sources in one home folder.

    Args:
        home: The home folder; it is created.
        options: Other settings.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        shop = SecretStr(f"sqlite:///{home / 'shop.db'}")
        settings = Settings(home=home, profile="test", clock="2013-01-07T00:00:00Z", sources={"shop": shop}, **options)
        self.platform = Platform(settings, lambda: dict(assets().contracts))

    def arrive(self, number: int) -> None:
        """Writes the orders and delivers the parts of a round; a second call for the round changes nothing."""
        day = f"2013-01-0{number + 1}"
        rows = [(10 * number + n, f"part {n}", n, f"{day}T00:0{n}:00Z") for n in range(5)]
        if number > 1:  # an order of an earlier round is changed
            rows.append((10 * (number - 2) + 1, "part 1", 100 + number, f"{day}T00:09:00Z"))
        with closing(sqlite3.connect(self.home / "shop.db")) as shop, shop:
            columns = "id INTEGER PRIMARY KEY, part TEXT, amount INTEGER, updated_at TEXT NOT NULL"
            shop.execute(f"CREATE TABLE IF NOT EXISTS orders ({columns})")
            shop.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", rows)
        lines = "".join(f"part {number}.{n},{n},{n}.5\n" for n in range(4)) + "ragged\n"
        day = f"2013-01-0{1 + number % 3}"
        self.land(f"{number}-a", f"part,holes,weight\n{lines}", day=day)
        self.land(f"{number}-again", f"part,holes,weight\n{lines}", day=day)
        self.land(f"{number}-other", f"nothing,that,is known\n{number},2,3\n", day=day)
        self.land(f"{number}-late", f"part,holes,weight\nlate {number},1,1\n")

    def land(self, name: str, content: str, *, day: str = "2013-01-01") -> None:
        """Delivers one file of parts."""
        self.platform.landing.deliver(
            domain="toys", source="parts", interval=day, name=f"{name}.csv", content=content.encode()
        )

    def decide(self, number: int) -> None:
        """Corrects the part without holes of a round, unless it was corrected before."""
        house, note = self.platform.lakehouse, f"round {number}"
        if any(decision.note == note for decision in decisions.recorded(house, PARTS)):
            return
        rejected = Quarantine.of(self.platform, PARTS).rows()
        [row] = [row for row in rejected if f"part {number}.0" in json.dumps(row, default=str)]
        records, values = {row["record_id"]: row["partition"]}, {row["record_id"]: {"holes": "7"}}
        decisions.record(house, PARTS, records, act="correct", note=note, by="test", values=values)

    def run(self) -> list[str]:
        """Materializes the orders' assets, then the parts', then gold; returns the messages of failures."""
        groups = (assets().orders, assets().parts, assets().gold)
        return [message for group in groups for message in self.materialize(group)]

    def materialize(
        self, group: Sequence[dg.AssetsDefinition], first: str = "2013-01-01", last: str = "2013-01-07"
    ) -> list[str]:
        """Materializes assets in one run, over days if they have partitions; returns the messages of failures."""
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                group,
                instance=instance,
                resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(self.platform)},
                tags=range_tags([first, last]) if any(asset.partitions_def for asset in group) else {},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        return [str(event.step_failure_data.error_display_string) for event in result.get_step_failure_events()]

    def contents(self) -> dict[str, tuple[int, str, str]]:
        """Each table's number of rows, their digest without VOLATILE columns, and their digest without PLACES too."""
        from pipelines.lakehouse.content_digest import content_digest

        house, contents = self.platform.lakehouse, {}
        for name in TABLES:
            rows = house.snapshot(TableId.parse(name)).arrow()
            rows = rows.select([column for column in rows.column_names if column not in VOLATILE])
            values = rows.select([column for column in rows.column_names if column not in PLACES])
            contents[name] = (rows.num_rows, content_digest(rows), content_digest(values))
        return contents

    def leftovers(self) -> list[str]:
        """Unfinished files: those that landing lists as deliveries and are none, and staged ones."""
        landed = [d.uri for source in ("orders", "parts") for d in self.platform.landing.deliveries("toys", source)]
        for thread in threading.enumerate():
            if thread.name.startswith("staged files"):  # a writer's are removed while its process goes on
                thread.join()
        staged = (self.platform.lakehouse.root / "_staging").rglob("*.parquet")
        return [uri for uri in landed if not NAMES.fullmatch(uri)] + [str(path) for path in staged]
