"""Tables of a few rows, written with the commits that governed runs would make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.lakehouse.staging import Append, Overwrite
from pipelines.settings import Settings
from pipelines.tables import PARTITION, TableId, TableVersion

BRONZE = TableId("bronze", "toys", "blocks")
SILVER = TableId("silver", "toys", "blocks")
QUARANTINE = TableId("quarantine", "toys", "blocks")
SCHEMA = pa.schema([("part", pa.string()), ("weight", pa.float64()), (PARTITION, pa.string())])


def platform_on(engine: Engine, home: Path, *contracts: Contract) -> Platform:
    """A platform with its own home folder and these contracts, whose tables the engine writes."""
    settings = Settings(home=home, profile="test", engine=engine.kind)
    platform = Platform(settings, lambda: {contract.table: contract for contract in contracts})
    platform.engine = engine
    return platform


def block(part: str, weight: float | None = 1.0, day: str = "2013-01-01") -> dict[str, Any]:
    """One row of the tables."""
    return {"part": part, "weight": weight, PARTITION: day}


def write(
    platform: Platform,
    table: TableId,
    rows: Sequence[dict[str, Any]],
    how: Append | Overwrite | None = None,
    *,
    inputs: dict[str, TableVersion] | None = None,
    by: tuple[str, ...] = (PARTITION,),
    schema: pa.Schema = SCHEMA,
) -> TableVersion:
    """Commits rows as a run of the table's asset does.

    Args:
        platform: Where the table is.
        table: The table.
        rows: The rows to commit.
        how: Append or overwrite; None overwrites the whole table.
        inputs: The input versions that the commit names.
        by: The partition columns.
        schema: The schema of the rows.
    """
    house = platform.lakehouse
    frame = house.session.createDataFrame(pa.Table.from_pylist(list(rows), schema=schema))
    named_inputs = json.dumps({name: str(at) for name, at in (inputs or {}).items()})
    metadata = {"run_id": f"run of {table}", "asset": str(table), "inputs": named_inputs}
    with house.writing(table):
        staged = house.stage(table, frame, partition_by=by)
        return house.commit(table, staged, how or Overwrite(), metadata=metadata)


def append(platform: Platform, table: TableId, *parts: str, day: str = "2013-01-01", **more: Any) -> TableVersion:
    """Appends one row for each part, each in a commit and a file of its own; `more` as in `write`."""
    for part in parts:
        batch = platform.lakehouse.batch(table, "test") + 1
        write(platform, table, [block(part, day=day)], Append("test", batch), **more)
    return platform.lakehouse.current(table)


def parts(platform: Platform, at: TableVersion) -> list[str]:
    """The parts in a version, sorted; asserts that the engine and Arrow read the same."""
    by_engine = sorted(platform.lakehouse.read(at).toArrow()["part"].to_pylist())
    assert by_engine == sorted(platform.lakehouse.snapshot(at).arrow()["part"].to_pylist())
    return by_engine
