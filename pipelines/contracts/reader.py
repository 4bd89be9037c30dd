"""Turns the ODCS document of a contract file into a `Contract`; an error names the place in the file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts import columns, delivery_properties, nodes, standard, unacted
from pipelines.contracts.column_rules import column_rules
from pipelines.contracts.delivery_properties import DELIVERY_PROPERTIES
from pipelines.contracts.model import (
    COST_TAGS,
    UNKNOWN,
    Column,
    Contract,
    Drift,
    KeyMatch,
    RowRule,
    SortColumn,
    TableRule,
    key_columns,
)
from pipelines.contracts.nodes import Place, custom_properties, mapping, number, one_of, refuse, texts
from pipelines.contracts.quality_rules import QualityReader
from pipelines.errors import NotFoundError
from pipelines.tables import BRONZE_COLUMNS, TableId, Zone

_OF_EVERY_TABLE = ("tags", "drift", "cluster")
#: The custom properties of a table, by zone.
TABLE_PROPERTIES: dict[Zone, tuple[str, ...]] = {
    "bronze": (*_OF_EVERY_TABLE, *DELIVERY_PROPERTIES),
    "silver": (*_OF_EVERY_TABLE, "nullTokens", "winner", "keyMatch"),
    "gold": (*_OF_EVERY_TABLE, "winner"),
}
_SERVICE_LEVELS = ("freshness", "retention")
#: The most units of time: with it, an instant less the duration is one that engines know.
_MOST = 1_000_000
#: What Dagster takes for a tag, and for the name of a team.
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_TEAM = re.compile(r"[A-Za-z0-9_.-]+")
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
        unacted.require_acted(path, document)
        self.custom = custom_properties(path, document, ["customProperties"], TABLE_PROPERTIES[self.table.zone])

    def contract(self) -> Contract:
        """The contract of the document's one table."""
        custom = self.custom
        drift = self._drift(mapping(self.path, custom.get("drift"), ["customProperties", "drift"]))
        service_levels = self._service_levels()
        columns, type_rules = self._columns(drift)
        names = [column.name for column in columns]
        quality_row_rules, table_rules = self._quality(columns)
        row_rules = [*type_rules, *self._key_rules(columns), *quality_row_rules]
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
            freshness_seconds=service_levels["freshness"],
            retention_seconds=service_levels["retention"],
            drift=drift,
            null_tokens=texts(self.path, custom.get("nullTokens"), ["customProperties", "nullTokens"]),
            winner=self._winner(custom.get("winner"), names),
            cluster=self._cluster(custom.get("cluster"), names),
            digest=hashlib.sha256(self.path.read_bytes()).hexdigest(),
            **delivery_properties.read(self.path, self.table, self.document, custom),
        )

    def _only_table(self, nodes: Any) -> dict[str, Any]:
        if not nodes or len(nodes) != 1:
            refuse(self.path, ["schema"], f"{len(nodes or [])} tables", "exactly one table in a file")
        return nodes[0]

    def _table_id(self) -> TableId:
        name, at = self.node["physicalName"], ["schema", 0, "physicalName"]
        try:
            table = TableId.parse(name or "")
        except NotFoundError as error:
            refuse(self.path, at, name, error.expected)
        if table.zone not in TABLE_PROPERTIES:
            refuse(self.path, at, name, f"a table of one of the zones {', '.join(TABLE_PROPERTIES)}")
        if self.document["domain"] not in (None, table.domain):
            refuse(self.path, ["domain"], self.document["domain"], f"{table.domain}, the domain of {table}, or nothing")
        return table

    def _columns(self, drift: dict[str, Drift]) -> tuple[list[Column], list[RowRule]]:
        """The columns, and the row rules that follow from their own properties."""
        at, nodes = ["schema", 0, "properties"], self.node["properties"] or []
        read = columns.read(self.path, nodes, self.table.zone, at)
        type_drift = drift["data_type"] if self.table.zone == "silver" else None
        rules = [
            rule
            for position, (node, column) in enumerate(zip(nodes, read, strict=True))
            for rule in column_rules(
                self.path, node, column, [*at, position], zone=self.table.zone, data_type_drift=type_drift
            )
        ]
        return read, rules

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

    def _tags(self) -> dict[str, str]:
        at = ["customProperties", "tags"]
        tags = mapping(self.path, self.custom.get("tags"), at)
        for tag in COST_TAGS:
            if tags.get(tag) in (None, "", UNKNOWN):
                refuse(self.path, [*at, tag], tags.get(tag), f"a value for each of {COST_TAGS}")
        for tag, value in tags.items():
            allowed = "a text of at most 63 letters, digits, - _ and ., as Dagster's tags have"
            for part in (tag, nodes.text(self.path, value, [*at, tag], allowed)):
                if not _TAG.fullmatch(part):
                    refuse(self.path, [*at, tag], part, allowed)
        return dict(tags)

    def _owner(self) -> str:
        team = self.document["team"]
        if not isinstance(team, dict) or team.get("name") in (None, "", UNKNOWN):
            refuse(self.path, ["team", "name"], team, "the owning team's name")
        if not _TEAM.fullmatch(team["name"]):
            refuse(self.path, ["team", "name"], team["name"], "letters, digits, - _ and ., as Dagster's owners have")
        return team["name"]

    def _service_levels(self) -> dict[str, int]:
        """The durations of `slaProperties`, in seconds."""
        seconds: dict[str, int] = {}
        for position, entry in enumerate(self.document["slaProperties"] or []):
            at, name, unit = ["slaProperties", position], entry["property"], entry["unit"]
            if name not in _SERVICE_LEVELS or name in seconds:
                refuse(self.path, [*at, "property"], name, f"one of {', '.join(_SERVICE_LEVELS)}, each once")
            if unit not in _DURATIONS:
                refuse(self.path, [*at, "unit"], unit, f"one of {', '.join(_DURATIONS)}")
            value = number(self.path, entry["value"], [*at, "value"], minimum=1 / 60, maximum=_MOST)
            seconds[name] = int(value * _DURATIONS[unit])
        for name in _SERVICE_LEVELS:
            if name not in seconds:
                refuse(self.path, ["slaProperties"], None, f"an entry with property: {name}")
        return seconds

    def _drift(self, modes: dict[str, Any]) -> dict[str, Drift]:
        for entity in dict.fromkeys([*_DRIFTING, *modes]):
            at = ["customProperties", "drift", entity]
            if entity not in _DRIFTING:
                refuse(self.path, at, entity, f"only {', '.join(_DRIFTING)}")
            if one_of(self.path, modes.get(entity), at, Drift, None) is None:
                refuse(self.path, at, None, f"one of {', '.join(get_args(Drift))}")
        return dict(modes)

    def _winner(self, value: Any, columns: Sequence[str]) -> tuple[SortColumn, ...]:
        """The order that `column asc|desc, …` describes."""
        at, order, position = ["customProperties", "winner"], [], 0
        text = nodes.text(self.path, "" if value is None else value, at, "a text: column asc|desc, …")
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
        at = ["customProperties", "cluster"]
        names = texts(self.path, value, at)
        for position, name in enumerate(names):
            if name not in columns:
                refuse(self.path, [*at, position], name, f"one of the columns {', '.join(columns)}")
        return names

    def _require_distinct(self, names: list[str], at: Place) -> None:
        for name in names:
            if names.count(name) > 1:
                refuse(self.path, at, name, "each name once")
