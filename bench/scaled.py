"""Flights at any scale: a bronze table with copies of the 336,776 flights of 2013; contracts with 20 rules or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute
import yaml

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract
from pipelines.governed.declaration import PLATFORM, RECOMPUTE
from pipelines.governed.platform import Platform
from pipelines.lakehouse.arrow_stage import Part
from pipelines.lakehouse.staging import Append
from pipelines.landing.reading import schema
from pipelines.medallion.bronze import INGEST
from pipelines.medallion.decorators import silver_asset
from pipelines.orchestration import dagster_home
from pipelines.orchestration.runs import QUIET_LOG, range_tags
from pipelines.tables import PARTITION, RESCUED, TableId

pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see
DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
TEXTS = ("carrier", "tailnum", "origin", "dest")
NUMBERS = ("copy", "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time",
           "arr_delay", "flight", "air_time", "distance", "hour", "minute")  # fmt: skip
COLUMNS = (*NUMBERS, *TEXTS, "time_hour")
KEY = ("copy", "month", "day", "carrier", "flight", "origin")
REQUIRED = (*KEY, "dest", "distance")
RANGES = {"month": (1, 12), "day": (1, 31), "dep_delay": (-120, 2880), "arr_delay": (-240, 2880),
          "distance": (1, 12_000), "air_time": (1, 1200), "hour": (0, 24), "minute": (0, 59)}  # fmt: skip
EXPRESSIONS = {
    "departure_complete": ("dep_delay", "(dep_time IS NULL) = (dep_delay IS NULL)"),
    "hour_agrees": ("hour", "sched_dep_time div 100 = hour"),
}


def document(table: str, *, rules: bool) -> dict[str, Any]:
    """The contract of `zone/bench/name` as a document: in silver with types and a key, and 20 row rules if `rules`."""
    zone, _, name = table.split("/")
    properties = [_property(column, rules=rules and zone == "silver") for column in COLUMNS]
    quality = [
        {"name": rule, "type": "custom", "engine": "goldpath", "implementation": {"column": column, "row": sql}}
        for rule, (column, sql) in EXPRESSIONS.items()
    ]
    tags = ("cost_centre", "business_unit", "project", "application", "workload_class")
    custom: dict[str, Any] = {
        "tags": dict.fromkeys(tags, "bench") | {"data_class": "public"},
        "drift": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_value"},
    }
    if zone == "silver":
        custom |= {"nullTokens": ["", "NA"], "keyMatch": "exact"}
    return {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": name, "version": "1.0.0", "status": "active",
        "domain": "bench", "description": {"purpose": "Flights, repeated."}, "team": {"name": "bench"},
        "servers": [{"server": "landing", "type": "local", "path": f"bench/{name}/dt=*/*", "format": "csv"}],
        "schema": [{"name": name, "physicalName": table, "dataGranularityDescription": "One row per flight and copy.",
                    "properties": properties, "quality": quality if rules and zone == "silver" else []}],
        "slaProperties": [{"property": "freshness", "value": 1, "unit": "d"},
                          {"property": "retention", "value": 1, "unit": "y"}],
        "customProperties": [{"property": key, "value": value} for key, value in custom.items()],
    }  # fmt: skip


def contract_of(
    platform: Platform, folder: Path, table: str, properties: list[dict[str, Any]], *, file: str = "csv", **custom: Any
) -> Contract:
    """Adds to the platform the contract of a table with other columns; `custom` are custom properties."""
    body = document(table, rules=False)
    body["schema"][0]["properties"] = properties
    body["servers"][0]["format"] = file
    body["customProperties"] += [{"property": key, "value": value} for key, value in custom.items()]
    return add_contract(platform, folder, body)


def add_contract(platform: Platform, folder: Path, body: dict[str, Any]) -> Contract:
    """Writes a contract document to a file, loads it, and adds the contract to the platform.

    A bronze table's columns keep their names and descriptions alone.
    """
    [entry] = body["schema"]
    if entry["physicalName"].startswith("bronze/"):
        entry["properties"] = [
            {"name": p["name"], "description": p["description"], "logicalType": "string"} for p in entry["properties"]
        ]
    path = folder / f"{body['schema'][0]['physicalName'].replace('/', '_')}.yaml"
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    contract = load(path)
    platform.contracts[contract.table] = contract
    return contract


def _property(column: str, *, rules: bool) -> dict[str, Any]:
    kind = {"logicalType": "integer", "physicalType": "int"} if column in NUMBERS else {"logicalType": "string"}
    if column == "time_hour":
        kind = {"logicalType": "timestamp"}
    entry: dict[str, Any] = {"name": column, "description": column, **kind}
    if column in KEY:
        entry |= {"primaryKey": True, "primaryKeyPosition": KEY.index(column) + 1}
    if rules:
        if column in REQUIRED:
            entry["required"] = True
        if column in RANGES:
            entry["logicalTypeOptions"] = dict(zip(("minimum", "maximum"), RANGES[column], strict=True))
        if column == "origin":
            entry["enum"] = [{"value": code} for code in ("EWR", "JFK", "LGA")]
        if column == "dest":
            entry["logicalTypeOptions"] = {"pattern": "^[A-Z]{3}$"}
    return entry


class Scaled:
    """A platform with one bronze table of copies of the flights, and silver assets over it."""

    def __init__(self, platform: Platform, folder: Path, *, copies: int) -> None:
        self.platform = platform
        self.copies = copies
        self.folder = folder
        self.instance = dagster_home.instance(platform.settings)
        self.bronze = TableId("bronze", "bench", "governed")
        platform.contracts.clear()
        self.contract = add_contract(platform, folder, document(str(self.bronze), rules=False))

    def fill(self) -> None:
        """Commits the bronze table: all copies of the flights of each day of 2013."""
        from datetime import date, timedelta

        from assets.flights.deliveries import flight_lines

        days = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
        header, lines_by_day = flight_lines(days)
        names = header.decode().strip().split(",")
        parts = (
            Part(day.isoformat(), self._copies(names, lines, day.isoformat())) for day, lines in lines_by_day.items()
        )
        house = self.platform.lakehouse
        with house.writing(self.bronze):
            staged = house.stage_arrow(self.bronze, parts, schema=schema(self.contract))
            house.commit(self.bronze, staged, Append(INGEST, 0), metadata={})

    def _copies(self, names: list[str], lines: list[bytes], day: str) -> Iterator[pa.RecordBatch]:
        """Bronze rows of one day's lines, one batch for each copy."""
        values = list(zip(*(line.decode().strip().split(",") for line in lines), strict=True))
        columns = {name: pa.array(column, pa.string()) for name, column in zip(names, values, strict=True)}
        count = len(lines)
        rows = pa.array(range(2, count + 2), pa.int64())
        row_texts = pc.utf8_lpad(rows.cast(pa.string()), 12, "0")
        for copy in range(self.copies):
            arrays = [columns.get(name, pa.array([str(copy)] * count)) for name in COLUMNS]
            prefix = f"{day.replace('-', '')}{copy:08d}"
            platform_columns = {
                RESCUED: pa.nulls(count, pa.string()),
                "_record_id": pc.binary_join_element_wise(prefix, row_texts, ""),
                "_source_uri": pa.repeat(day, count),
                "_source_row": rows,
                "_ingest_id": pa.repeat("00000000", count),
                "_ingested_at": pa.array([0] * count, pa.timestamp("us", "UTC")),
                PARTITION: pa.repeat(day, count),
            }
            batch = [*arrays, *platform_columns.values()]
            yield pa.RecordBatch.from_arrays(batch, schema=schema(self.contract))

    def silver(self, name: str, *, rules: bool) -> dg.AssetsDefinition:
        """A silver asset `silver/bench/name` over the bronze table, which is linked under that name."""
        house = self.platform.lakehouse
        bronze = add_contract(self.platform, self.folder, document(f"bronze/bench/{name}", rules=False))
        if not house.path(bronze.table).exists():
            house.path(bronze.table).symlink_to(house.path(self.bronze), target_is_directory=True)
        contract = add_contract(self.platform, self.folder, document(f"silver/bench/{name}", rules=rules))
        return silver_asset(contract, partitions=DAYS)(unchanged)

    def run(self, asset: dg.AssetsDefinition, *, recompute: bool = True) -> dict[str, float]:
        """Runs the asset over all days; returns its seconds, cpu_seconds, peak_memory_mb, rows_in and rows_clean."""
        tags = range_tags(["2013-01-01", "2013-12-31"]) | ({RECOMPUTE: "true"} if recompute else {})
        result = materialize(self.platform, self.instance, [asset], tags=tags)
        figures = {}
        for event in result.get_asset_materialization_events():
            for name, value in event.materialization.metadata.items():
                key = name.removeprefix("run_")  # so named by a run over several days
                if key in ("seconds", "cpu_seconds", "peak_memory_mb", "rows_in", "rows_clean"):
                    figures[key] = float(str(value.value))
        return figures


def materialize(
    platform: Platform, instance: dg.DagsterInstance, assets: list[dg.AssetsDefinition], *, tags: Any = None
) -> dg.ExecuteInProcessResult:
    """Runs the assets in this process, without Dagster's log lines."""
    return dg.materialize(
        assets,
        instance=instance,
        tags=tags,
        resources={PLATFORM: dg.ResourceDefinition.hardcoded_resource(platform)},
        run_config=QUIET_LOG,
    )


def unchanged(rows: Any) -> Any:
    """Rows as they arrived. Grain: one row per key."""
    return rows
