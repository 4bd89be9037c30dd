"""Two small sources on their whole roads, for programs that are disturbed on the way.

Orders are a table of a database, extracted as increments and merged by key; parts are files, taken by days; gold is
derived from both. What arrives in a round is always the same, so runs can be compared.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import SecretStr

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.quarantine import decisions
from pipelines.quarantine.table import Quarantine
from pipelines.settings import Settings
from pipelines.sources.sql import SqlCursor
from pipelines.tables import TableId
from tests.pipelines import toy_contracts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: When a row was taken, and with which batch, may differ between a run that was disturbed and one that was not.
VOLATILE = {"_ingested_at", "_ingest_id", "_decided_at"}
#: Where several rounds are taken at once, a source may cut its rows into other files.
PLACES = {"_record_id", "_source_uri", "_source_row"}
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
    """The assets of both roads in the order in which they run, and their contracts."""

    orders: Sequence[dg.AssetsDefinition]
    parts: Sequence[dg.AssetsDefinition]
    gold: Sequence[dg.AssetsDefinition]
    contracts: Mapping[TableId, Contract]


@functools.cache
def assets() -> Assets:
    """Declares them, once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        made = [
            toy_contracts.contract(Path(folder), name, columns, **more)
            for name, columns, more in (
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
    orders, parts, typed, daily, totals = made
    both = {"orders": "silver/toys/orders", "parts": "silver/toys/parts"}
    source = SqlCursor("shop", "orders", rows_per_file=3)
    return Assets(
        (landing_asset(orders, source), bronze_asset(orders), silver_asset(typed)(_unchanged)),
        (bronze_asset(parts, partitions=DAYS), silver_asset(daily, partitions=DAYS)(_unchanged)),
        (gold_asset(totals, inputs=both)(_totals),),
        {contract.table: contract for contract in made},
    )


def _unchanged(rows: DataFrame) -> DataFrame:
    """Rows as they arrived."""
    return rows


def _totals(orders: DataFrame, parts: DataFrame) -> DataFrame:
    """How much of each part was ordered, and what it weighs."""
    from pyspark.sql import functions as F

    amounts = orders.groupBy("part").agg(F.sum("amount").cast("int").alias("holes"))
    return amounts.join(parts.groupBy("part").agg(F.max("weight").alias("weight")), "part", "left")


class Ingestion:
    """Both roads in one home; `more` are other settings."""

    def __init__(self, home: Path, **more: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        shop = SecretStr(f"sqlite:///{home / 'shop.db'}")
        settings = Settings(home=home, profile="test", clock="2013-01-07T00:00:00Z", sources={"shop": shop}, **more)
        self.platform = Platform(settings, lambda: dict(assets().contracts))

    def arrive(self, number: int) -> None:
        """What the sources have in a round; the same again where it was there already."""
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
        """One file of parts."""
        self.platform.landing.deliver(
            domain="toys", source="parts", interval=day, name=f"{name}.csv", content=content.encode()
        )

    def decide(self, number: int) -> None:
        """Corrects the part without holes of a round, once."""
        house, note = self.platform.lakehouse, f"round {number}"
        if any(made.note == note for made in decisions.recorded(house, PARTS)):
            return
        found = Quarantine.of(self.platform, PARTS).rows()
        [row] = [row for row in found if f"part {number}.0" in json.dumps(row, default=str)]
        records, values = {row["record_id"]: row["partition"]}, {row["record_id"]: {"holes": "7"}}
        decisions.record(house, PARTS, records, act="correct", note=note, by="test", values=values)

    def run(self) -> list[str]:
        """Materializes everything, road after road; what the failures say, none where all is well."""
        made = assets()
        return [words for road in (made.orders, made.parts, made.gold) for words in self.materialize(road)]

    def materialize(
        self, road: Sequence[dg.AssetsDefinition], first: str = "2013-01-01", last: str = "2013-01-07"
    ) -> list[str]:
        """Materializes some assets, of some days where they have days; what the failures say."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                road,
                instance=instance,
                resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(self.platform)},
                tags=tags if any(asset.partitions_def for asset in road) else {},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        return [str(event.step_failure_data.error_display_string) for event in result.get_step_failure_events()]

    def seen(self) -> dict[str, tuple[int, str, str]]:
        """What every table holds: how many rows, their digest, and the digest of their values alone."""
        from pipelines.lakehouse.content_digest import content_digest

        house, found = self.platform.lakehouse, {}
        for name in TABLES:
            rows = house.snapshot(TableId.parse(name)).arrow()
            rows = rows.select([column for column in rows.column_names if column not in VOLATILE])
            values = rows.select([column for column in rows.column_names if column not in PLACES])
            found[name] = (rows.num_rows, content_digest(rows), content_digest(values))
        return found

    def litter(self) -> list[str]:
        """What a reader of landing would take for a delivery and is none, and what lies staged."""
        landed = [d.uri for source in ("orders", "parts") for d in self.platform.landing.deliveries("toys", source)]
        staged = (self.platform.lakehouse.root / "_staging").rglob("*.parquet")
        return [uri for uri in landed if not NAMES.fullmatch(uri)] + [str(path) for path in staged]
