"""A merge of 0.1 % into 2.9 million rows of 23 columns, governed, against a bare merge by delta-rs of the same rows.

The rows are made up after TPC-DS's store_sales: tickets grow with time, items are drawn. Half of a change has new
tickets, half updates rows: `scattered` ones of the whole table, or `recent` ones of its last hundredth. Ours takes the
landed file to bronze, judges it and merges it; the peer reads the same file and merges it into a table that
write_deltalake wrote. `python -m bench.late_merges --rounds 5` prints the rows as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

import pipelines.settings
from bench.elt import contract_property
from bench.pairs import Row, seconds
from bench.scaled import contract_of, materialize, unchanged
from pipelines.contracts.model import Contract
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.settings import Settings

pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see
ROWS, EVERY, ROWS_PER_TICKET = 2_880_000, 1_000, 12
KEY = ("item", "ticket")
NUMBERS = ("sold_date", "sold_time", "customer", "demography", "household", "address", "store", "promotion", "quantity")
AMOUNTS = ("wholesale", "list_price", "sales_price", "discount", "sales", "wholesale_sum", "list_sum", "tax", "coupon",
           "net_paid", "net_paid_tax", "profit")  # fmt: skip
PLACES = ("scattered", "recent")


def measure(settings: Settings, rounds: int = 3) -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.model_copy(update={"home": home, "lakehouse_uri": None}), dict)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            return _measure(platform, instance, home, rounds)
    finally:
        platform.close()
        shutil.rmtree(home, ignore_errors=True)


def _measure(platform: Platform, instance: dg.DagsterInstance, home: Path, rounds: int) -> list[Row]:
    """The seconds of merges by turns, the first of each kind left out."""
    from deltalake import DeltaTable, write_deltalake

    bronze, silver = (_contract(platform, home, zone) for zone in ("bronze", "silver"))
    assets, peer = [bronze_asset(bronze), silver_asset(silver)(unchanged)], str(home / "peer")
    sales = _sales(np.arange(ROWS), seed=0)
    write_deltalake(peer, sales)
    _land(platform, home, "0", sales)
    materialize(platform, instance, assets)
    ours: dict[str, list[float]] = {place: [] for place in PLACES}
    theirs: dict[str, list[float]] = {place: [] for place in PLACES}
    for number in range(1, rounds + 2):
        for place in PLACES:
            file = _land(platform, home, f"{number}-{place}", _change(place, number))
            ours[place].append(seconds(lambda: materialize(platform, instance, assets)))
            theirs[place].append(seconds(lambda file=file: _bare_merge(DeltaTable(peer), file)))
    merged, expected = platform.lakehouse.snapshot(silver.table), DeltaTable(peer).count()
    if merged.rows != expected:
        raise RuntimeError(f"{merged.rows} rows in {silver.table}, {expected} in the peer's table")
    note = f"{ROWS // EVERY:,} rows into {ROWS:,} of 23 columns; {len(merged.files)} files at the end"
    rows = []
    for place in PLACES:
        pairs = list(zip(ours[place][1:], theirs[place][1:], strict=True))
        a, b, ratio = (statistics.median(values) for values in (*zip(*pairs, strict=True), [x / y for x, y in pairs]))
        rows.append(Row(f"merge of 0.1 %, {place} keys", f"{a:.2f} s", f"{b:.2f} s", ratio, note))
    return rows


def _contract(platform: Platform, folder: Path, zone: str) -> Contract:
    properties = [contract_property(field, KEY) for field in _sales(np.arange(1), seed=0).schema]
    winner = {"winner": "_ingest_id desc"} if zone == "silver" else {}
    return contract_of(platform, folder, f"{zone}/bench/sales", properties, file="parquet", **winner)


def _sales(places: np.ndarray[Any, Any], *, seed: int) -> pa.Table:
    """The sales at these places of the order in which they were made; the seed decides about all but their keys."""
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "item": pa.array((places * 7919) % 18_000 + 1, pa.int32()),
        "ticket": pa.array(places // ROWS_PER_TICKET + 1, pa.int64()),
    }
    for name in NUMBERS:
        columns[name] = pa.array(generator.integers(1, 50_000, len(places)), pa.int32())
    for name in AMOUNTS:
        cents = pa.array(generator.integers(0, 2_000_000, len(places))).cast(pa.decimal128(19, 0))
        columns[name] = pc.multiply(cents, pa.scalar(Decimal("0.01"))).cast(pa.decimal128(7, 2))
    return pa.table(columns)


def _change(place: str, number: int) -> pa.Table:
    half = ROWS // EVERY // 2
    if place == "recent":
        updated = np.arange(ROWS - ROWS // 100, ROWS, ROWS // 100 // half)[:half]
    else:
        updated = np.arange(number, ROWS, EVERY * 2)[:half]
    new = ROWS + (2 * number + PLACES.index(place)) * half + np.arange(half)
    return _sales(np.concatenate([updated, new]), seed=10 * number + PLACES.index(place))


def _land(platform: Platform, home: Path, name: str, rows: pa.Table) -> Path:
    """Delivers one file with the rows; returns the path of a copy."""
    path = home / f"{name}.parquet"
    pq.write_table(rows, path)
    platform.landing.deliver(domain="bench", source="sales", interval="2013-01-01", name=path.name, content=path)
    return path


def _bare_merge(table: Any, file: Path) -> None:
    rows = pq.read_table(file)
    merge = table.merge(rows, "old.item = new.item AND old.ticket = new.ticket", source_alias="new", target_alias="old")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.late_merges", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="merges of each kind. [default: 3]")
    rows = measure(pipelines.settings.get(), parser.parse_args().rounds)
    json.dump([dataclasses.asdict(row) for row in rows], sys.stdout, indent=1)


if __name__ == "__main__":
    main()
