"""Tables of a few rows on a platform of their own, with the commits that a governed run would make."""

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
GOLD = TableId("gold", "toys", "heavy")
SCHEMA = pa.schema([("part", pa.string()), ("weight", pa.float64()), (PARTITION, pa.string())])


def platform_on(engine: Engine, home: Path, *contracts: Contract) -> Platform:
    """A platform whose tables the engine writes."""
    made = Platform(
        Settings(home=home, profile="test", engine=engine.kind), lambda: {found.table: found for found in contracts}
    )
    made.engine = engine
    return made


def block(part: str, weight: float | None = 1.0, day: str = "2013-01-01") -> dict[str, Any]:
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
    """Commits rows as a run of the table's asset does."""
    house = platform.lakehouse
    frame = house.session.createDataFrame(pa.Table.from_pylist(list(rows), schema=schema))
    told = {"run_id": f"run of {table}", "asset": str(table)}
    told["inputs"] = json.dumps({name: str(at) for name, at in (inputs or {}).items()})
    with house.writing(table):
        return house.commit(table, house.stage(table, frame, partition_by=by), how or Overwrite(), metadata=told)


def append(platform: Platform, table: TableId, *parts: str, day: str = "2013-01-01", **more: Any) -> TableVersion:
    """Appends each part in a commit, and so in a file, of its own."""
    for part in parts:
        number = platform.lakehouse.batch(table, "test") + 1
        write(platform, table, [block(part, day=day)], Append("test", number), **more)
    return platform.lakehouse.current(table)


def parts(platform: Platform, at: TableVersion) -> list[str]:
    """The parts of a version, as its engine reads it and as Arrow does."""
    by_engine = sorted(platform.lakehouse.read(at).toArrow()["part"].to_pylist())
    assert by_engine == sorted(platform.lakehouse.snapshot(at).arrow()["part"].to_pylist())
    return by_engine
