"""Contracts of a small domain, `toys`, for tests of what the platform does with any contract."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract

TAGS = {
    "cost_centre": "cc-7",
    "business_unit": "toys",
    "project": "blocks",
    "application": "building",
    "workload_class": "ingestion",
    "data_class": "internal",
}
DRIFT = {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}
_numbers = itertools.count()


def document(
    table: str,
    properties: Sequence[dict[str, Any]],
    *,
    quality: Sequence[dict[str, Any]] = (),
    tags: dict[str, str] | None = None,
    drift: dict[str, str] | None = None,
    format: str = "csv",
    **custom: Any,
) -> dict[str, Any]:
    """An ODCS document of one table.

    Args:
        table: `zone/domain/table`.
        properties: The columns, as `text`, `number` and `integer` make them.
        quality: The table rules.
        tags: Cost tags that differ from TAGS.
        drift: Drift modes that differ from DRIFT.
        format: The format of the deliveries.
        custom: Further custom properties, such as `winner` and `nullTokens`.
    """
    zone, _, name = table.partition("/")
    entries = {"tags": TAGS | (tags or {}), "drift": DRIFT | (drift or {}), **custom}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": table.replace("/", "-"),
        "version": "1.0.0",
        "status": "active",
        "domain": "toys",
        "description": {"purpose": f"Toys, {zone}."},
        "team": {"name": "toy-data"},
        "servers": [{"server": "landing", "type": "local", "path": f"{name}/dt=*/*", "format": format}],
        "schema": [
            {
                "name": name.rpartition("/")[2],
                "physicalName": table,
                "dataGranularityDescription": "One row per toy.",
                "properties": list(properties),
                "quality": list(quality),
            }
        ],
        "slaProperties": [
            {"property": "freshness", "value": 1, "unit": "d"},
            {"property": "retention", "value": 1, "unit": "y"},
        ],
        "customProperties": [{"property": name, "value": value} for name, value in entries.items()],
    }


def write(folder: Path, document: Any) -> Path:
    """Writes a document, or its text, to a file that no test has loaded before."""
    path = folder / f"contract_{next(_numbers)}.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def contract(folder: Path, table: str, properties: Sequence[dict[str, Any]], **more: Any) -> Contract:
    """The contract of one table, loaded from a new file; `more` as in `document`."""
    return load(write(folder, document(table, properties, **more)))


def text(name: str, **more: Any) -> dict[str, Any]:
    """A text column; `more` are further properties of an ODCS column."""
    return {"name": name, "logicalType": "string", "description": f"The {name}.", **more}


def number(name: str, **more: Any) -> dict[str, Any]:
    """A column of floating-point numbers; `more` as in `text`."""
    return {"name": name, "logicalType": "number", "description": f"The {name}.", **more}


def integer(name: str, **more: Any) -> dict[str, Any]:
    """A column of 32-bit integers; `more` as in `text`."""
    return {"name": name, "logicalType": "integer", "physicalType": "int", "description": f"The {name}.", **more}


def row_rule(name: str, column: str, sql: str, **more: Any) -> dict[str, Any]:
    """A quality rule about single rows, given as an SQL expression that is true where the row is good."""
    implementation = {"column": column, "row": sql}
    return {"name": name, "type": "custom", "engine": "goldpath", "implementation": implementation, **more}
