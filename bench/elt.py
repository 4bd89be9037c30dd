"""LakeBench's ELT mode against governed assets: five TPC-DS tables (scale 1), a fact table, merges, upkeep, a query.

LakeBench's engines read files, cast them by their schema and write tables. The governed assets land the same files,
keep every value as it arrived in bronze, judge it, publish it in silver, and derive the fact table as gold. A merge of
LakeBench adds 0.1 % of the sales to the fact table; the governed one lands as many sales, merges them by key into
silver, and derives the fact table again. LakeBench has its own environment, `.tools/lakebench`; its DuckDB engine needs
an extension that is on no package index, so only Polars and Sail are measured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from bench.elt_peer import TABLES
from bench.pairs import Row, seconds
from bench.scaled import contract_of, materialize, unchanged
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, gold_asset, silver_asset
from pipelines.provenance.pins import Pins
from pipelines.settings import PROJECT, Settings
from pipelines.tables import TableId
from pipelines.upkeep.maintenance import compact, vacuum

LAKEBENCH = PROJECT / ".tools/lakebench"
PACKAGES = ("lakebench[polars,sail,tpcds-duckdb-datagen]==2.2.0", "pyspark[connect]==4.2.0", "pandas<3")
PEERS = ("Polars", "Sail")
KEYS = {"store_sales": ("ss_item_sk", "ss_ticket_number")}
#: Each merge has every thousandth sale.
MERGES, EVERY = 3, 1_000
FACT = TableId("gold", "bench", "total_sales_fact")
LOAD, CREATE, MERGE = "Read parquet, write delta (x5)", "Create fact table", "Merge 0.1% into fact table (3x)"
QUERY = "Ad-hoc query (small result aggregation)"


def measure(settings: Settings) -> list[Row]:
    files = _prepare()
    peers = {name: json.loads(_lakebench(name, files)) for name in PEERS}
    ours = _ours(settings, files)
    rows = []
    for name, theirs in peers.items():
        for phase in ours:
            note = "bronze, verdict, silver, lineage, cost" if phase == LOAD else ""
            rows.append(_row(f"ELT, LakeBench's {name}: {phase}", ours[phase], theirs[phase], note))
        rows.append(_row(f"ELT, LakeBench's {name}: whole", sum(ours.values()), sum(theirs.values())))
    return rows


def _row(name: str, ours: float, theirs: float, note: str = "") -> Row:
    return Row(name, f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs if theirs >= 0.1 else None, note)


def _prepare() -> Path:
    """Creates LakeBench's environment and its TPC-DS files, unless they exist; returns the folder of the files."""
    files, python = LAKEBENCH / "tpcds", LAKEBENCH / "bin/python"
    if not files.exists():
        uv = [str(PROJECT / ".tools/uv/bin/uv")]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(LAKEBENCH)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES], check=True)
        _lakebench("data", LAKEBENCH / "tpcds.part")
        (LAKEBENCH / "tpcds.part").rename(files)
    return files


def _lakebench(task: str, folder: Path) -> str:
    """Runs elt_peer.py in LakeBench's environment; returns what it printed."""
    command = [str(LAKEBENCH / "bin/python"), str(PROJECT / "bench/elt_peer.py"), task, str(folder)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout


def _ours(settings: Settings, files: Path) -> dict[str, float]:
    """Seconds of each phase with governed assets, in a temporary home folder."""
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), dict)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            return _phases(platform, instance, home, files)
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _phases(platform: Platform, instance: dg.DagsterInstance, home: Path, files: Path) -> dict[str, float]:
    assets = {table: _assets(platform, home, table, files) for table in TABLES}
    fact = _fact(platform, home)

    def load() -> None:
        for table in TABLES:
            _land(platform, table, 0, next((files / table).glob("*.parquet")))
        materialize(platform, instance, [asset for pair in assets.values() for asset in pair])

    changes = [_changed_sales(files, home, number) for number in range(1, MERGES + 1)]

    def merge(number: int) -> None:
        _land(platform, "store_sales", number, changes[number - 1])
        materialize(platform, instance, [*assets["store_sales"], fact])

    _warm_up(platform)
    phases = {LOAD: seconds(load), CREATE: seconds(lambda: materialize(platform, instance, [fact]))}
    phases[MERGE] = sum(seconds(lambda number=number: merge(number)) for number in range(1, MERGES + 1))
    phases["OPTIMIZE"] = seconds(lambda: compact(platform, commit_metadata={}))
    phases["VACUUM"] = seconds(lambda: vacuum(platform, Pins(), commit_metadata={}, keep=timedelta(0)))
    phases[QUERY] = seconds(lambda: _query(platform))
    return phases


def _warm_up(platform: Platform) -> None:
    """Starts the engine, which LakeBench measures in no phase either."""
    platform.lakehouse.session.range(1).collect()


def _assets(platform: Platform, home: Path, table: str, files: Path) -> list[dg.AssetsDefinition]:
    """The bronze and silver assets of a TPC-DS table."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(next((files / table).glob("*.parquet")))
    keys = KEYS.get(table, (schema.names[0],))
    typed = [contract_property(field, keys) for field in schema]
    texts = [{"name": name, "description": name, "logicalType": "string"} for name in schema.names]
    delivery = "increment" if table in KEYS else "snapshot"
    bronze = contract_of(platform, home, f"bronze/bench/{table}", texts, file="parquet", delivery=delivery)
    silver = contract_of(platform, home, f"silver/bench/{table}", typed, winner="_ingest_id desc")
    return [bronze_asset(bronze), silver_asset(silver)(unchanged)]


def contract_property(field: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """The contract's property for an Arrow field."""
    kinds = {"int32": ("integer", "int"), "int64": ("integer", "bigint"), "date32[day]": ("date", "date")}
    text = str(field.type)
    logical, physical = kinds.get(text, ("string", "string"))
    if text.startswith("decimal"):
        logical, physical = "number", text.replace("decimal128", "decimal").replace(" ", "")
    entry = {"name": field.name, "description": field.name, "logicalType": logical, "physicalType": physical}
    if field.name in keys:
        entry |= {"primaryKey": True, "primaryKeyPosition": keys.index(field.name) + 1, "required": True}
    return entry


def _fact(platform: Platform, home: Path) -> dg.AssetsDefinition:
    """The gold asset of LakeBench's fact table."""
    kinds = {"s_store_id": "string", "i_item_id": "string", "c_customer_id": "string", "sale_date": "date"}
    sums = {"total_quantity": "bigint", "total_net_paid": "decimal(17,2)", "total_net_profit": "decimal(17,2)"}
    properties: list[dict[str, Any]] = [
        {"name": name, "description": name, "logicalType": kind, "primaryKey": True, "primaryKeyPosition": position}
        for position, (name, kind) in enumerate(kinds.items(), 1)
    ]
    properties += [
        {"name": name, "description": name, "logicalType": "number", "physicalType": kind}
        for name, kind in sums.items()
    ]
    contract = contract_of(platform, home, str(FACT), properties)

    @gold_asset(contract, inputs={table: f"silver/bench/{table}" for table in TABLES})
    def total_sales_fact(store_sales: Any, date_dim: Any, store: Any, item: Any, customer: Any) -> Any:
        """Sales of 2001, as LakeBench's fact table has them. Grain: one row per store, item, customer and day."""
        from pyspark.sql import functions as F

        joined = store_sales.join(date_dim, F.expr("ss_sold_date_sk = d_date_sk"))
        joined = joined.join(store, F.expr("ss_store_sk = s_store_sk")).join(item, F.expr("ss_item_sk = i_item_sk"))
        joined = joined.join(customer, F.expr("ss_customer_sk = c_customer_sk")).where("d_year = 2001")
        grouped = joined.groupBy("s_store_id", "i_item_id", "c_customer_id", F.col("d_date").alias("sale_date"))
        return grouped.agg(
            F.sum("ss_quantity").alias("total_quantity"),
            F.sum("ss_net_paid").cast("decimal(17,2)").alias("total_net_paid"),
            F.sum("ss_net_profit").cast("decimal(17,2)").alias("total_net_profit"),
        )

    return total_sales_fact


def _land(platform: Platform, table: str, number: int, file: Path) -> None:
    platform.landing.deliver(
        domain="bench", source=table, interval=f"2013-01-{1 + number:02d}", name=f"{number}.parquet", content=file
    )


def _changed_sales(files: Path, home: Path, number: int) -> Path:
    """Writes every thousandth sale to a file, half of them with a new ticket number; returns its path."""
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see
    sales = pq.read_table(next((files / "store_sales").glob("*.parquet")))
    sales = sales.take(pa.array(range(number, sales.num_rows, EVERY)))
    position = sales.schema.get_field_index("ss_ticket_number")
    tickets = pc.add(sales["ss_ticket_number"], pa.array([n % 2 * 10**9 for n in range(sales.num_rows)]))
    path = home / f"sales_{number}.parquet"
    pq.write_table(sales.set_column(position, sales.schema.field(position), tickets), path)
    return path


def _query(platform: Platform) -> None:
    from pyspark.sql import functions as F

    house = platform.lakehouse
    fact = house.read(house.current(FACT)).groupBy(F.year("sale_date"))
    fact.agg(F.sum("total_net_profit")).collect()
