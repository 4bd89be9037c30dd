"""Reads a contract file: the standard's schema, then what the platform makes of it; a refusal names its place."""

from __future__ import annotations

import codecs
import difflib
import functools
import hashlib
import re
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts.model import COST_TAGS, UNKNOWN, Column, Contract, Drift, Format, KeyMatch, NonFinite, RowRule
from pipelines.contracts.nodes import custom_properties, mapping, refuse, word
from pipelines.contracts.rules import COLUMN_PROPERTIES, RuleReader
from pipelines.errors import ContractError, NotFoundError
from pipelines.tables import TableId

#: ODCS logical type -> SQL type on both engines; `physicalType` narrows it.
SQL_TYPES = {"string": "string", "integer": "bigint", "number": "double", "boolean": "boolean", "date": "date",
             "timestamp": "timestamp"}  # fmt: skip
PHYSICAL_TYPES = ("string", "int", "bigint", "double", "float", "boolean", "date", "timestamp")
DECIMAL = re.compile(r"decimal\( *(\d+) *, *(\d+) *\)")

_DURATIONS = {"m": 60, "h": 3_600, "d": 86_400, "y": 31_557_600}
_DRIFTING = ("tables", "columns", "data_type")
TABLE_PROPERTIES = ("tags", "drift", "nullTokens", "winner", "delimiter", "encoding", "linePattern", "manifest",
                     "settleSeconds", "delivery", "keyMatch", "cluster")  # fmt: skip
_WINNER = re.compile(r"\w+( +(asc|desc))?( *, *\w+( +(asc|desc))?)*", re.IGNORECASE)


def read(path: Path) -> Contract:
    """Reads and validates one contract file.

    Raises:
        ContractError: naming the file, the path in it, the value seen and what is allowed.
    """
    import jsonschema
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard

    try:
        # The same safe loader in C, where PyYAML was built with it: the contracts of a domain load 0.1 s sooner.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(
            object=str(path), observed=str(error), expected="a readable YAML file", next_step="correct the file"
        ) from None
    validator = _schema_validator()
    errors = sorted(validator.iter_errors(document), key=lambda e: (-len(list(e.absolute_path)), str(e.message)))
    # A node that breaks one rule of the standard counts as unevaluated as well: that is no cause.
    causes = [error for error in errors if error.validator != "unevaluatedProperties"] or errors
    if causes:
        cause = jsonschema.exceptions.best_match(causes)
        refuse(path, cause.absolute_path, *_seen_and_allowed(cause))
    return _Reader(path, OpenDataContractStandard.model_validate(document).model_dump(by_alias=True)).contract()


def _seen_and_allowed(cause: Any) -> tuple[Any, str]:
    """What breaks the standard, and what the standard allows in its place."""
    known = ", ".join(cause.schema.get("properties") or ())
    if cause.validator in ("additionalProperties", "unevaluatedProperties") and known:
        names = re.findall(r"'([^']+)'", cause.message.partition("(")[2]) or list(cause.instance)
        near = difflib.get_close_matches(names[0], known.split(", "), n=1)
        return ", ".join(names), (f"{near[0]}, or another " if near else "one ") + f"of {known}"
    if cause.validator == "type":
        kind = {"object": "a mapping", "array": "a list"}.get(cause.validator_value, f"a {cause.validator_value}")
        return cause.instance, f"{kind} with {known}" if known else kind
    return cause.instance, ", or ".join(dict.fromkeys(error.message for error in cause.context)) or cause.message


@functools.cache
def _schema_validator() -> Any:
    import json
    from importlib import resources

    import jsonschema

    schema = resources.files("open_data_contract_standard").joinpath("schema.json")
    return jsonschema.Draft201909Validator(json.loads(schema.read_text(encoding="utf-8")))


class _Reader:
    """Turns one validated ODCS document into a `Contract`; every refusal names the path in the file."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self.document = document

    def contract(self) -> Contract:
        table = self._only(self.document["schema"], ["schema"])
        identity = self._table_id(table)
        custom = custom_properties(self.path, self.document, ["customProperties"], TABLE_PROPERTIES)
        drift = self._drift(mapping(self.path, custom.get("drift"), ["customProperties", "drift"]))
        server = (self.document["servers"] or [{}])[0]
        rules_of = RuleReader(self.path)
        columns: list[Column] = []
        rules: list[RowRule] = []
        for position, node in enumerate(table["properties"] or []):
            at = ["schema", 0, "properties", position]
            column = self._column(node, at, bronze=identity.zone == "bronze")
            columns.append(column)
            rules += rules_of.column(node, column, at, drift["data_type"] if identity.zone == "silver" else None)
        keys = tuple(c.name for c in sorted(columns, key=lambda c: c.key_position) if c.key_position)
        row_rules, table_rules = rules_of.quality(table["quality"] or [], columns, ["schema", 0, "quality"])
        for position, node in enumerate(table["properties"] or []):
            at = ["schema", 0, "properties", position, "quality"]
            found = rules_of.quality(node["quality"] or [], columns, at, column=node["name"])
            row_rules, table_rules = row_rules + found[0], table_rules + found[1]
        key_match = word(self.path, custom.get("keyMatch"), ["customProperties", "keyMatch"], KeyMatch, "normalized")
        texts = any(column.key_position and column.type == "string" for column in columns)
        if texts and identity.zone == "silver" and key_match == "normalized":
            why = "a key differs from another by more than case and surrounding space"
            rules.append(RowRule("key_variant", "variant", keys[0], "error", keys, why))
        if keys:
            rules.append(RowRule("duplicate_key", "duplicate", keys[0], "error", keys, "the key names one row"))
        self._once([column.name for column in columns], ["schema", 0, "properties"])
        self._once([rule.name for rule in (*rules, *row_rules, *table_rules)], ["schema", 0, "quality"])
        tags = mapping(self.path, custom.get("tags"), ["customProperties", "tags"])
        for tag in COST_TAGS:
            if tags.get(tag) in (None, "", UNKNOWN):
                refuse(self.path, ["customProperties", "tags", tag], tags.get(tag), f"a value for each of {COST_TAGS}")
        team = self.document["team"]
        if not isinstance(team, dict) or team.get("name") in (None, "", UNKNOWN):
            refuse(self.path, ["team", "name"], team, "the owning team's name")
        return Contract(
            table=identity,
            path=self.path,
            version=self.document["version"],
            purpose=((self.document["description"] or {}).get("purpose") or "").strip(),
            grain=(table["dataGranularityDescription"] or "").strip(),
            owner=team["name"],
            columns=tuple(columns),
            row_rules=tuple(rules + row_rules),
            table_rules=tuple(table_rules),
            tags=dict(tags),
            freshness_seconds=self._sla("freshness"),
            retention_seconds=self._sla("retention"),
            drift=drift,
            null_tokens=tuple(custom.get("nullTokens") or ()),
            winner=self._winner(custom.get("winner")),
            cluster=self._cluster(custom.get("cluster"), [column.name for column in columns]),
            format=self._format(server.get("format"), required=identity.zone == "bronze"),
            delimiter=custom.get("delimiter") or ",",
            encoding=self._encoding(custom.get("encoding")),
            line_pattern=self._line_pattern(custom.get("linePattern"), server.get("format")),
            manifest=self._one_of(custom.get("manifest") or "optional", ("required", "optional"), "manifest"),
            delivery=self._one_of(custom.get("delivery") or "increment", ("snapshot", "increment"), "delivery"),
            settle_seconds=int(custom.get("settleSeconds") or 0),
            key_match=key_match,
            digest=hashlib.sha256(self.path.read_bytes()).hexdigest(),
        )

    def _only(self, nodes: Any, at: list[Any]) -> dict[str, Any]:
        if not nodes or len(nodes) != 1:
            refuse(self.path, at, f"{len(nodes or [])} tables", "exactly one table a file")
        return nodes[0]

    def _table_id(self, table: dict[str, Any]) -> TableId:
        try:
            return TableId.parse(table["physicalName"] or "")
        except NotFoundError as error:
            refuse(self.path, ["schema", 0, "physicalName"], table["physicalName"], error.expected)

    def _column(self, node: dict[str, Any], at: list[Any], *, bronze: bool) -> Column:
        logical, physical = node["logicalType"], (node["physicalType"] or "").lower()
        if not bronze and logical not in SQL_TYPES:
            refuse(self.path, [*at, "logicalType"], logical, f"one of {', '.join(SQL_TYPES)}")
        decimal = DECIMAL.fullmatch(physical)
        if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:
            physical = f"decimal({decimal[1]},{decimal[2]})"
        elif physical and physical not in PHYSICAL_TYPES:
            allowed = f"one of {', '.join(PHYSICAL_TYPES)}, decimal(p,s) with s <= p <= 38"
            refuse(self.path, [*at, "physicalType"], physical, allowed)
        sources = node["transformSourceObjects"] or [node["name"]]
        custom = custom_properties(self.path, node, [*at, "customProperties"], COLUMN_PROPERTIES)
        here = [*at, "customProperties"]
        return Column(
            name=node["name"],
            type="string" if bronze else physical or SQL_TYPES[logical],
            description=(node["description"] or "").strip(),
            source=None if node["transformLogic"] or bronze else sources[0],
            key_position=max(node["primaryKeyPosition"] or 1, 1) if node["primaryKey"] else 0,
            partition=bool(node["partitioned"]),
            classification=node["classification"] or "public",
            unit=custom.get("unit"),
            timezone=self._timezone(custom.get("timezone"), physical or SQL_TYPES.get(logical), [*here, "timezone"]),
            non_finite=word(self.path, custom.get("nonFinite"), [*here, "nonFinite"], NonFinite, "refused"),
        )

    def _timezone(self, value: Any, type: str | None, at: list[Any]) -> str | None:
        if value is not None and (type != "timestamp" or value not in zoneinfo.available_timezones()):
            refuse(self.path, at, value, "a zone of the IANA database, such as America/New_York, on a timestamp")
        return value

    def _sla(self, name: str) -> int:
        found = [(at, node) for at, node in enumerate(self.document["slaProperties"] or []) if node["property"] == name]
        if not found:
            refuse(self.path, ["slaProperties"], None, f"an entry with property: {name}")
        position, node = found[0]
        if node["unit"] not in _DURATIONS or not isinstance(node["value"], int | float):
            at = ["slaProperties", position]
            refuse(self.path, at, (node["value"], node["unit"]), f"a number and one of {list(_DURATIONS)}")
        return int(node["value"] * _DURATIONS[node["unit"]])

    def _drift(self, modes: dict[str, Any]) -> dict[str, Drift]:
        for entity in dict.fromkeys([*_DRIFTING, *modes]):
            at = ["customProperties", "drift", entity]
            if entity not in _DRIFTING:
                refuse(self.path, at, entity, f"only {', '.join(_DRIFTING)}")
            if modes.get(entity) not in get_args(Drift):
                refuse(self.path, at, modes.get(entity), f"one of {', '.join(get_args(Drift))}")
        return dict(modes)

    def _winner(self, value: Any) -> str | None:
        if value is not None and not _WINNER.fullmatch(str(value).strip()):
            refuse(self.path, ["customProperties", "winner"], value, "column asc|desc, and more after commas")
        return value

    def _cluster(self, value: Any, names: list[str]) -> tuple[str, ...]:
        for position, name in enumerate(value or ()):
            if name not in names:
                at = ["customProperties", "cluster", position]
                refuse(self.path, at, name, f"one of the columns {', '.join(names)}")
        return tuple(value or ())

    def _format(self, value: Any, *, required: bool) -> Format | None:
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
            refuse(self.path, at, value, "a pattern with a named group for each column, for the format log alone")
        return value

    def _one_of(self, value: Any, allowed: Sequence[str], name: str) -> Any:
        if value not in allowed:
            refuse(self.path, ["customProperties", name], value, f"one of {', '.join(allowed)}")
        return value

    def _once(self, names: list[str], at: list[Any]) -> None:
        for name in names:
            if names.count(name) > 1:
                refuse(self.path, at, name, "each name once")
