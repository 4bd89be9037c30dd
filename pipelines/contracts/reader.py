"""Turns the ODCS document of a contract file into a `Contract`; an error names the place in the file."""

from __future__ import annotations

import codecs
import hashlib
import re
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts import standard
from pipelines.contracts.column_rules import COLUMN_PROPERTIES, column_rules
from pipelines.contracts.model import (
    COST_TAGS,
    UNKNOWN,
    Column,
    Contract,
    DeliveryContent,
    Drift,
    Format,
    KeyMatch,
    ManifestUse,
    NonFinite,
    RowRule,
    SortColumn,
    TableRule,
    key_columns,
)
from pipelines.contracts.nodes import Place, custom_properties, mapping, one_of, refuse
from pipelines.contracts.quality_rules import QualityReader
from pipelines.errors import NotFoundError
from pipelines.tables import BRONZE_COLUMNS, TableId, Zone

#: ODCS logical type -> SQL type on both engines; `physicalType` narrows it.
SQL_TYPES = {"string": "string", "integer": "bigint", "number": "double", "boolean": "boolean", "date": "date",
             "timestamp": "timestamp"}  # fmt: skip
PHYSICAL_TYPES = ("string", "int", "bigint", "double", "float", "boolean", "date", "timestamp")
DECIMAL = re.compile(r"decimal\( *(\d+) *, *(\d+) *\)")
#: The custom properties of a table.
TABLE_PROPERTIES = ("tags", "drift", "nullTokens", "winner", "delimiter", "encoding", "linePattern", "manifest",
                     "settleSeconds", "delivery", "keyMatch", "cluster")  # fmt: skip

#: Seconds in a unit of time; a year is a Julian year of 365.25 days.
_DURATIONS = {"m": 60, "h": 3_600, "d": 86_400, "y": 31_557_600}
_DRIFTING = ("tables", "columns", "data_type")
#: One column of `winner`: a name with a comma, or that ends in asc or desc, stands between backticks.
_SORT_COLUMN = re.compile(r"\s*(?:`([^`]+)`|([^`,]+?))(?:\s+(asc|desc))?\s*(?:,|$)", re.IGNORECASE)


def read(path: Path) -> Contract:
    """Reads and validates one contract file.

    Raises:
        ContractError: naming the file, the place in it, the value there and what is allowed.
    """
    return _Reader(path, standard.read_document(path)).contract()


class _Reader:
    """Turns one validated ODCS document into a `Contract`; every error names the place in the file."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self.document = document
        self.node = self._only_table(document["schema"])
        self.table = self._table_id()
        self.custom = custom_properties(path, document, ["customProperties"], TABLE_PROPERTIES)

    def contract(self) -> Contract:
        """The contract of the document's one table."""
        custom = self.custom
        server = (self.document["servers"] or [{}])[0]
        drift = self._drift(mapping(self.path, custom.get("drift"), ["customProperties", "drift"]))
        columns, type_rules = self._columns(drift)
        names = [column.name for column in columns]
        quality_row_rules, table_rules = self._quality(columns)
        row_rules = [*type_rules, *self._key_rules(columns), *quality_row_rules]
        self._require_distinct(names, ["schema", 0, "properties"])
        self._require_distinct([rule.name for rule in (*row_rules, *table_rules)], ["schema", 0, "quality"])
        return Contract(
            table=self.table,
            path=self.path,
            tags=self._tags(),
            owner=self._owner(),
            version=self.document["version"],
            purpose=((self.document["description"] or {}).get("purpose") or "").strip(),
            grain=(self.node["dataGranularityDescription"] or "").strip(),
            columns=tuple(columns),
            row_rules=tuple(row_rules),
            table_rules=tuple(table_rules),
            freshness_seconds=self._service_level("freshness"),
            retention_seconds=self._service_level("retention"),
            drift=drift,
            null_tokens=tuple(custom.get("nullTokens") or ()),
            winner=self._winner(custom.get("winner"), names),
            cluster=self._cluster(custom.get("cluster"), names),
            format=self._format(server.get("format")),
            delimiter=custom.get("delimiter") or ",",
            encoding=self._encoding(custom.get("encoding")),
            line_pattern=self._line_pattern(custom.get("linePattern"), server.get("format")),
            manifest=self._word("manifest", ManifestUse, "optional"),
            delivery=self._word("delivery", DeliveryContent, "increment"),
            settle_seconds=int(custom.get("settleSeconds") or 0),
            digest=hashlib.sha256(self.path.read_bytes()).hexdigest(),
        )

    def _only_table(self, nodes: Any) -> dict[str, Any]:
        if not nodes or len(nodes) != 1:
            refuse(self.path, ["schema"], f"{len(nodes or [])} tables", "exactly one table in a file")
        return nodes[0]

    def _table_id(self) -> TableId:
        name = self.node["physicalName"]
        try:
            return TableId.parse(name or "")
        except NotFoundError as error:
            refuse(self.path, ["schema", 0, "physicalName"], name, error.expected)

    def _columns(self, drift: dict[str, Drift]) -> tuple[list[Column], list[RowRule]]:
        """The columns, and the row rules that follow from their own properties."""
        columns: list[Column] = []
        rules: list[RowRule] = []
        type_drift = drift["data_type"] if self.table.zone == "silver" else None
        for position, node in enumerate(self.node["properties"] or []):
            at = ["schema", 0, "properties", position]
            column = self._column(node, at, self.table.zone)
            columns.append(column)
            rules += column_rules(self.path, node, column, at, type_drift)
        return columns, rules

    def _column(self, node: dict[str, Any], at: Place, zone: Zone) -> Column:
        bronze, logical, physical = zone == "bronze", node["logicalType"], (node["physicalType"] or "").lower()
        if not bronze and logical not in SQL_TYPES:
            refuse(self.path, [*at, "logicalType"], logical, f"one of {', '.join(SQL_TYPES)}")
        decimal = DECIMAL.fullmatch(physical)
        if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:
            physical = f"decimal({decimal[1]},{decimal[2]})"
        elif physical and physical not in PHYSICAL_TYPES:
            allowed = f"one of {', '.join(PHYSICAL_TYPES)}, decimal(p,s) with s <= p <= 38"
            refuse(self.path, [*at, "physicalType"], physical, allowed)
        sources = node["transformSourceObjects"] or [node["name"]]
        custom_at = [*at, "customProperties"]
        custom = custom_properties(self.path, node, custom_at, COLUMN_PROPERTIES)
        type = physical or SQL_TYPES.get(logical)
        return Column(
            name=node["name"],
            type="string" if bronze else physical or SQL_TYPES[logical],
            description=(node["description"] or "").strip(),
            source=None if node["transformLogic"] or bronze else sources[0],
            key_position=max(node["primaryKeyPosition"] or 1, 1) if node["primaryKey"] else 0,
            classification=node["classification"] or "public",
            unit=custom.get("unit"),
            timezone=self._timezone(custom.get("timezone"), type, [*custom_at, "timezone"]),
            non_finite=one_of(self.path, custom.get("nonFinite"), [*custom_at, "nonFinite"], NonFinite, "refused"),
        )

    def _timezone(self, value: Any, type: str | None, at: Place) -> str | None:
        if value is not None and (type != "timestamp" or value not in zoneinfo.available_timezones()):
            refuse(self.path, at, value, "a zone of the IANA database, such as America/New_York, on a timestamp")
        return value

    def _quality(self, columns: list[Column]) -> tuple[list[RowRule], list[TableRule]]:
        """The rules of the table's `quality` list, then those of each column's."""
        quality = QualityReader(self.path, columns)
        row_rules, table_rules = quality.rules(self.node["quality"] or [], ["schema", 0, "quality"])
        for position, node in enumerate(self.node["properties"] or []):
            at = ["schema", 0, "properties", position, "quality"]
            column_row_rules, column_table_rules = quality.rules(node["quality"] or [], at, column=node["name"])
            row_rules += column_row_rules
            table_rules += column_table_rules
        return row_rules, table_rules

    def _key_rules(self, columns: list[Column]) -> list[RowRule]:
        """The rules that the key identifies one row, and in silver that no two keys are spelled nearly alike."""
        keys, rules = tuple(key_columns(columns)), []
        match = one_of(self.path, self.custom.get("keyMatch"), ["customProperties", "keyMatch"], KeyMatch, "normalized")
        has_text = any(column.key_position and column.type == "string" for column in columns)
        if has_text and self.table.zone == "silver" and match == "normalized":
            reason = "keys differ by more than case and surrounding space"
            rules.append(RowRule("key_variant", "variant", keys[0], "error", keys, reason))
        if keys:
            rules.append(RowRule("duplicate_key", "duplicate", keys[0], "error", keys, "the key identifies one row"))
        return rules

    def _tags(self) -> dict[str, Any]:
        tags = mapping(self.path, self.custom.get("tags"), ["customProperties", "tags"])
        for tag in COST_TAGS:
            if tags.get(tag) in (None, "", UNKNOWN):
                refuse(self.path, ["customProperties", "tags", tag], tags.get(tag), f"a value for each of {COST_TAGS}")
        return dict(tags)

    def _owner(self) -> str:
        team = self.document["team"]
        if not isinstance(team, dict) or team.get("name") in (None, "", UNKNOWN):
            refuse(self.path, ["team", "name"], team, "the owning team's name")
        return team["name"]

    def _service_level(self, name: str) -> int:
        """The duration of an entry of `slaProperties`, in seconds."""
        entries = self.document["slaProperties"] or []
        positions = [position for position, entry in enumerate(entries) if entry["property"] == name]
        if not positions:
            refuse(self.path, ["slaProperties"], None, f"an entry with property: {name}")
        value, unit = entries[positions[0]]["value"], entries[positions[0]]["unit"]
        if unit not in _DURATIONS or not isinstance(value, int | float):
            at = ["slaProperties", positions[0]]
            refuse(self.path, at, (value, unit), f"a number and one of {list(_DURATIONS)}")
        return int(value * _DURATIONS[unit])

    def _drift(self, modes: dict[str, Any]) -> dict[str, Drift]:
        for entity in dict.fromkeys([*_DRIFTING, *modes]):
            at = ["customProperties", "drift", entity]
            if entity not in _DRIFTING:
                refuse(self.path, at, entity, f"only {', '.join(_DRIFTING)}")
            if modes.get(entity) not in get_args(Drift):
                refuse(self.path, at, modes.get(entity), f"one of {', '.join(get_args(Drift))}")
        return dict(modes)

    def _winner(self, value: Any, columns: Sequence[str]) -> tuple[SortColumn, ...]:
        """The order that `column asc|desc, …` describes."""
        at, order, position = ["customProperties", "winner"], [], 0
        text = str(value or "")
        while position < len(text):
            match = _SORT_COLUMN.match(text, position)
            if match is None:
                refuse(self.path, at, value, "column asc|desc, and more of them after commas")
            name = match[1] or match[2]
            if name not in (*columns, *BRONZE_COLUMNS):
                allowed = f"column asc|desc, and more of them after commas; columns are {', '.join(columns)}"
                refuse(self.path, at, name, f"{allowed}, and {', '.join(BRONZE_COLUMNS)}")
            order.append(SortColumn(name, (match[3] or "").lower() == "desc"))
            position = match.end()
        return tuple(order)

    def _cluster(self, value: Any, columns: Sequence[str]) -> tuple[str, ...]:
        for position, name in enumerate(value or ()):
            if name not in columns:
                at = ["customProperties", "cluster", position]
                refuse(self.path, at, name, f"one of the columns {', '.join(columns)}")
        return tuple(value or ())

    def _format(self, value: Any) -> Format | None:
        required = self.table.zone == "bronze"
        if value not in get_args(Format) and (required or value is not None):
            refuse(self.path, ["servers", 0, "format"], value, f"one of {', '.join(get_args(Format))}")
        return value

    def _encoding(self, value: Any) -> str:
        try:
            return codecs.lookup(str(value or "utf-8")).name
        except LookupError:
            refuse(self.path, ["customProperties", "encoding"], value, "a text encoding, such as utf-8 or latin-1")

    def _line_pattern(self, value: Any, format: Any) -> str | None:
        at = ["customProperties", "linePattern"]
        try:
            groups = re.compile(value or "").groupindex
        except (re.error, TypeError) as error:
            refuse(self.path, at, value, f"a pattern: {error}")
        if (format == "log") != bool(groups):
            refuse(self.path, at, value, "a pattern with a named group for each column, for the format log only")
        return value

    def _word(self, name: str, allowed: Any, default: str) -> Any:
        """A custom property that is one of the Literal type `allowed`; the default where it is missing or empty."""
        return one_of(self.path, self.custom.get(name) or None, ["customProperties", name], allowed, default)

    def _require_distinct(self, names: list[str], at: Place) -> None:
        for name in names:
            if names.count(name) > 1:
                refuse(self.path, at, name, "each name once")
