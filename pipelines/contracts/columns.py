"""Reads the columns of a table: their names, what they are read from, their types and the key."""

from __future__ import annotations

import re
import zoneinfo
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts.column_names import require_names
from pipelines.contracts.model import Column, MaskKind, NonFinite
from pipelines.contracts.nodes import Place, custom_properties, one_of, refuse, text, texts
from pipelines.tables import Zone

#: ODCS logical type -> SQL type on both engines; `physicalType` narrows it.
SQL_TYPES = {"string": "string", "integer": "bigint", "number": "double", "boolean": "boolean", "date": "date",
             "timestamp": "timestamp"}  # fmt: skip
PHYSICAL_TYPES = ("string", "int", "bigint", "double", "float", "boolean", "date", "timestamp")
#: Logical types that have several SQL types.
_NARROWED = {"integer": ("int", "bigint"), "number": ("double", "float", "decimal", "int", "bigint")}
_DECIMAL = re.compile(r"decimal\( *(\d+) *, *(\d+) *\)")
#: The custom properties of a column, by zone.
COLUMN_PROPERTIES: dict[Zone, tuple[str, ...]] = {
    "bronze": ("unit",),
    "silver": ("unit", "severity", "timezone", "nonFinite", "nullTokens", "mask", "declassified"),
    "gold": ("unit", "severity", "declassified"),
}
#: What bronze does not act on: it keeps every value as the text that arrived, and silver judges it.
_NOT_BRONZE = ("required", "unique", "primaryKey", "enum", "logicalTypeOptions", "relationships", "quality",
               "transformLogic")  # fmt: skip
_WHY = "the reason why its values do not show what they are computed from, as text"


def read(path: Path, nodes: list[dict[str, Any]], zone: Zone, at: Place) -> list[Column]:
    """The columns, in the order of the file.

    Args:
        path: The contract file.
        nodes: The columns' nodes in the file.
        zone: The table's zone.
        at: The place of their list.

    Raises:
        ContractError: for a name that no column can have, a type that is not known, or a key that is not one.
    """
    columns = [_column(path, node, zone, [*at, position]) for position, node in enumerate(nodes)]
    require_names(path, columns, at)
    positions: dict[int, str] = {}
    for position, (node, column) in enumerate(zip(nodes, columns, strict=True)):
        _require_key(path, node, column, [*at, position], positions)
    return columns


def _column(path: Path, node: dict[str, Any], zone: Zone, at: Place) -> Column:
    bronze = zone == "bronze"
    for name in _NOT_BRONZE if bronze else ():
        if node[name]:
            refuse(
                path, [*at, name], node[name], "nothing here: bronze keeps what arrived; the silver contract says it"
            )
    type = _type(path, node, zone, at)
    custom_at = [*at, "customProperties"]
    custom = custom_properties(path, node, custom_at, COLUMN_PROPERTIES[zone])
    unit = custom.get("unit")
    declassified = custom.get("declassified")
    if declassified is not None and not text(path, declassified, [*custom_at, "declassified"], _WHY).strip():
        refuse(path, [*custom_at, "declassified"], declassified, _WHY)
    non_finite = one_of(path, custom.get("nonFinite"), [*custom_at, "nonFinite"], NonFinite, "refused")
    if custom.get("nonFinite") is not None and type not in ("double", "float"):
        refuse(path, [*custom_at, "nonFinite"], non_finite, "nothing here: it is about the types double and float")
    return Column(
        name=node["name"],
        type="string" if bronze else type,
        description=(node["description"] or "").strip(),
        source=_source(path, node, at),
        key_position=max(node["primaryKeyPosition"] or 1, 1) if node["primaryKey"] else 0,
        classification=node["classification"],
        declassified=declassified,
        unit=None if unit is None else text(path, unit, [*custom_at, "unit"], "a unit of measure, as text"),
        timezone=_timezone(path, custom.get("timezone"), type, [*custom_at, "timezone"]),
        non_finite=non_finite,
        null_tokens=texts(path, custom.get("nullTokens"), [*custom_at, "nullTokens"]),
        mask=_mask(path, custom.get("mask"), node, type, [*custom_at, "mask"]),
    )


def _type(path: Path, node: dict[str, Any], zone: Zone, at: Place) -> str:
    """The column's SQL type."""
    logical, physical = node["logicalType"], (node["physicalType"] or "").lower()
    if zone != "bronze" and logical not in SQL_TYPES:
        refuse(path, [*at, "logicalType"], logical, f"one of {', '.join(SQL_TYPES)}")
    decimal = _DECIMAL.fullmatch(physical)
    if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:
        physical = f"decimal({decimal[1]},{decimal[2]})"
    elif physical and physical not in PHYSICAL_TYPES:
        allowed = f"one of {', '.join(PHYSICAL_TYPES)}, decimal(p,s) with s <= p <= 38"
        refuse(path, [*at, "physicalType"], physical, allowed)
    allowed = _NARROWED.get(logical, (SQL_TYPES.get(logical),))
    if zone != "bronze" and physical and physical.partition("(")[0] not in allowed:
        refuse(
            path, [*at, "physicalType"], physical, f"a type of logicalType {logical}: {', '.join(map(str, allowed))}"
        )
    return physical or SQL_TYPES.get(logical) or "string"


def _source(path: Path, node: dict[str, Any], at: Place) -> str | None:
    """The column that this one is read from: its own name where the file names no other; None if it is computed."""
    if node["transformLogic"]:
        return None
    sources = node["transformSourceObjects"] or [node["name"]]
    if len(sources) > 1:
        refuse(
            path,
            [*at, "transformSourceObjects"],
            sources,
            "one column, or transformLogic that says what becomes of them",
        )
    return sources[0]


def _timezone(path: Path, value: Any, type: str, at: Place) -> str | None:
    if value is None:
        return None
    allowed = "a zone of the IANA database, such as America/New_York, on a timestamp"
    zone = text(path, value, at, allowed)
    if type != "timestamp" or zone not in zoneinfo.available_timezones():
        refuse(path, at, zone, allowed)
    return zone


def _mask(path: Path, value: Any, node: dict[str, Any], type: str, at: Place) -> tuple[MaskKind, ...]:
    """The kinds that the column masks; of a text that identifies no row, since masked texts of two rows are equal."""
    kinds = get_args(MaskKind)
    for position, kind in enumerate(texts(path, value, at)):
        if kind not in kinds:
            refuse(path, [*at, position], kind, f"one of {', '.join(kinds)}")
    if value is not None and type != "string":
        refuse(path, at, value, f"nothing here: it is about texts, and the column is {type}")
    if value is not None and (node["primaryKey"] or node["unique"]):
        allowed = "nothing here: masked texts of two rows are equal, so they identify none; let another column do so"
        refuse(path, at, value, allowed)
    return tuple(kind for kind in kinds if kind in (value or ()))


def _require_key(path: Path, node: dict[str, Any], column: Column, at: Place, positions: dict[int, str]) -> None:
    """Raises ContractError for a key column by which equal rows are not found, or with a position that another has."""
    if node["primaryKey"] and column.type in ("double", "float"):
        allowed = (
            "string, an integer or decimal(p,s): floating-point numbers that look equal differ, and ids lose digits"
        )
        refuse(path, [*at, "physicalType" if node["physicalType"] else "logicalType"], column.type, allowed)
    position = node["primaryKeyPosition"]
    if position in (None, -1):
        return
    if not node["primaryKey"] or position < 1:
        refuse(path, [*at, "primaryKeyPosition"], position, "a position from 1 on, beside primaryKey: true")
    if position in positions:
        refuse(path, [*at, "primaryKeyPosition"], position, f"another position than that of {positions[position]!r}")
    positions[position] = column.name
