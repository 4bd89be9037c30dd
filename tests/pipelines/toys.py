"""Contracts of a small domain of its own, `toys`, for tests of what the platform does with any contract."""

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
    """An ODCS document of one table; `custom` are custom properties, such as `winner` and `nullTokens`."""
    zone, _, name = table.partition("/")
    entries = {"tags": TAGS | (tags or {}), "drift": _DRIFT | (drift or {}), **custom}
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


_DRIFT = {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}


def write(folder: Path, document: Any) -> Path:
    """The document as a file that no test has loaded before."""
    path = folder / f"contract_{next(_numbers)}.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def contract(folder: Path, table: str, properties: Sequence[dict[str, Any]], **more: Any) -> Contract:
    return load(write(folder, document(table, properties, **more)))


def text(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "string", "description": f"The {name}.", **more}


def number(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "number", "description": f"The {name}.", **more}


def whole(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": "integer", "physicalType": "int", "description": f"The {name}.", **more}


def row_rule(name: str, column: str, sql: str, **more: Any) -> dict[str, Any]:
    implementation = {"column": column, "row": sql}
    return {"name": name, "type": "custom", "engine": "goldpath", "implementation": implementation, **more}
