"""A table's contract: an Open Data Contract Standard (ODCS v3) file, read into what the platform acts on.

Everything about a table is derived from its contract: how bronze is read, each row's verdict, the Great Expectations
suite, Dagster's owners, tags, column schema and freshness policy. Four custom properties extend the standard:
`tags` (cost tags), `drift` (dlt's words, per entity), `nullTokens` (texts that mean "no value") and `winner` (which of
several rows with one key stays).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from pipelines.errors import ContractError, NotFoundError
from pipelines.tables import TableId, Zone

Severity = Literal["error", "warning"]
Drift = Literal["evolve", "discard_value", "discard_row", "freeze"]
Format = Literal["csv", "jsonl"]
RuleKind = Literal["required", "type", "range", "set", "pattern", "expression", "reference", "duplicate"]

#: The tags that every asset carries; `environment` is added from the profile.
COST_TAGS = ("cost_centre", "business_unit", "project", "application", "workload_class", "data_class")

#: ODCS logical type -> SQL type on both engines; `physicalType` narrows it.
SQL_TYPES = {"string": "string", "integer": "bigint", "number": "double", "boolean": "boolean", "date": "date",
             "timestamp": "timestamp"}  # fmt: skip
PHYSICAL_TYPES = ("string", "int", "bigint", "double", "float", "boolean", "date", "timestamp")

_DURATIONS = {"m": 60, "h": 3_600, "d": 86_400, "y": 31_557_600}
_DRIFTING = ("tables", "columns", "data_type")
_TABLE_PROPERTIES = ("tags", "drift", "nullTokens", "winner", "delimiter")
_COLUMN_PROPERTIES = ("unit", "severity")
_REFERENCE_PROPERTIES = ("severity", "reason")
_WINNER = re.compile(r"\w+( +(asc|desc))?( *, *\w+( +(asc|desc))?)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its SQL type, meaning, unit, and the bronze column that it is read from; None for a computed one."""

    name: str
    type: str
    description: str
    source: str | None = None
    key_position: int = 0
    partition: bool = False
    classification: str = "public"
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class RowRule:
    """What each row must hold. A row that breaks an `error` goes to quarantine; a `warning` is counted.

    `argument` is what the kind needs: (minimum, maximum) for a range, the allowed values for a set, the regular
    expression for a pattern, SQL text for an expression, (table, column) for a reference, the columns for a duplicate.
    """

    name: str
    kind: RuleKind
    column: str
    severity: Severity
    argument: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TableRule:
    """What a new version must hold to be published: a SQL aggregate, compared with inclusive bounds."""

    name: str
    expression: str
    minimum: float | None
    maximum: float | None
    severity: Severity
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """One table's contract; `grain` says what one row is."""

    table: TableId
    path: Path
    version: str
    purpose: str
    grain: str
    owner: str
    columns: tuple[Column, ...]
    row_rules: tuple[RowRule, ...]
    table_rules: tuple[TableRule, ...]
    tags: Mapping[str, str]
    freshness_seconds: int
    retention_seconds: int
    drift: Mapping[str, Drift]
    null_tokens: tuple[str, ...] = ()
    winner: str | None = None
    format: Format | None = None
    delimiter: str = ","

    @property
    def key_columns(self) -> list[str]:
        return [column.name for column in sorted(self.columns, key=lambda c: c.key_position) if column.key_position]

    @property
    def partition_columns(self) -> list[str]:
        return [column.name for column in self.columns if column.partition]

    def column(self, name: str) -> Column:
        """The column of that name; raises NotFoundError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFoundError(
            object=f"column {name!r} of {self.table}",
            observed="the contract has no such column",
            expected=f"one of {', '.join(column.name for column in self.columns)}",
            next_step=f"correct the name, or add the column to {self.path.name}",
        )


@functools.cache
def load(path: Path) -> Contract:
    """Reads and validates one contract file.

    Raises:
        ContractError: naming the file, the path in it, the value seen and what is allowed.
    """
    import jsonschema
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
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
        alternatives = dict.fromkeys(error.message for error in cause.context)
        _refuse(path, cause.absolute_path, cause.instance, ", or ".join(alternatives) or cause.message)
    return _Reader(path, OpenDataContractStandard.model_validate(document).model_dump(by_alias=True)).contract()


@functools.cache
def _schema_validator() -> Any:
    import json
    from importlib import resources

    import jsonschema

    schema = resources.files("open_data_contract_standard").joinpath("schema.json")
    return jsonschema.Draft201909Validator(json.loads(schema.read_text(encoding="utf-8")))


def load_folder(folder: Path) -> dict[TableId, Contract]:
    """All contracts of one data domain, by table.

    Raises:
        ContractError: for a bad file, or two files that describe one table.
    """
    contracts: dict[TableId, Contract] = {}
    for path in sorted(folder.glob("*.yaml")):
        contract = load(path)
        if contract.table in contracts:
            _refuse(path, ["schema", 0, "physicalName"], str(contract.table), "a table that no other file describes")
        contracts[contract.table] = contract
    return contracts


def _refuse(path: Path, where: Any, value: Any, expected: str) -> NoReturn:
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".") or "top level"
    shown = repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..."
    raise ContractError(
        object=f"contract {path.name}, {at}", observed=shown, expected=expected, next_step=f"correct {path}"
    )


class _Reader:
    """Turns one validated ODCS document into a `Contract`; every refusal names the path in the file."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self.document = document

    def contract(self) -> Contract:
        table = self._only(self.document["schema"], ["schema"])
        identity = self._table_id(table)
        custom = self._custom(self.document, ["customProperties"], _TABLE_PROPERTIES)
        drift = self._drift(self._mapping(custom.get("drift"), ["customProperties", "drift"]))
        server = (self.document["servers"] or [{}])[0]
        columns, rules = [], []
        for position, node in enumerate(table["properties"] or []):
            at = ["schema", 0, "properties", position]
            column = self._column(node, at, bronze=identity.zone == "bronze")
            columns.append(column)
            rules += self._column_rules(node, column, at, drift["data_type"] if identity.zone == "silver" else None)
        keys = tuple(c.name for c in sorted(columns, key=lambda c: c.key_position) if c.key_position)
        row_rules, table_rules = self._quality(table["quality"] or [], columns)
        if keys:
            rules.append(RowRule("duplicate_key", "duplicate", keys[0], "error", keys, "the key names one row"))
        self._once([column.name for column in columns], ["schema", 0, "properties"])
        self._once([rule.name for rule in (*rules, *row_rules, *table_rules)], ["schema", 0, "quality"])
        tags = self._mapping(custom.get("tags"), ["customProperties", "tags"])
        for tag in COST_TAGS:
            if not tags.get(tag):
                _refuse(self.path, ["customProperties", "tags", tag], tags.get(tag), f"a value for each of {COST_TAGS}")
        team = self.document["team"]
        if not isinstance(team, dict) or not team.get("name"):
            _refuse(self.path, ["team", "name"], team, "the owning team's name")
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
            format=self._format(server.get("format"), required=identity.zone == "bronze"),
            delimiter=custom.get("delimiter") or ",",
        )

    def _only(self, nodes: Any, at: list[Any]) -> dict[str, Any]:
        if not nodes or len(nodes) != 1:
            _refuse(self.path, at, f"{len(nodes or [])} tables", "exactly one table a file")
        return nodes[0]

    def _table_id(self, table: dict[str, Any]) -> TableId:
        try:
            return TableId.parse(table["physicalName"] or "")
        except NotFoundError as error:
            _refuse(self.path, ["schema", 0, "physicalName"], table["physicalName"], error.expected)

    def _column(self, node: dict[str, Any], at: list[Any], *, bronze: bool) -> Column:
        logical, physical = node["logicalType"], (node["physicalType"] or "").lower()
        if not bronze and logical not in SQL_TYPES:
            _refuse(self.path, [*at, "logicalType"], logical, f"one of {', '.join(SQL_TYPES)}")
        if physical and physical not in PHYSICAL_TYPES:
            _refuse(self.path, [*at, "physicalType"], physical, f"one of {', '.join(PHYSICAL_TYPES)}")
        sources = node["transformSourceObjects"] or [node["name"]]
        return Column(
            name=node["name"],
            type="string" if bronze else physical or SQL_TYPES[logical],
            description=(node["description"] or "").strip(),
            source=None if node["transformLogic"] or bronze else sources[0],
            key_position=max(node["primaryKeyPosition"] or 1, 1) if node["primaryKey"] else 0,
            partition=bool(node["partitioned"]),
            classification=node["classification"] or "public",
            unit=self._custom(node, [*at, "customProperties"], _COLUMN_PROPERTIES).get("unit"),
        )

    def _column_rules(self, node: dict[str, Any], column: Column, at: list[Any], typed: Drift | None) -> list[RowRule]:
        name, options = column.name, node["logicalTypeOptions"] or {}
        severity: Severity = self._severity(
            self._custom(node, [*at, "customProperties"], _COLUMN_PROPERTIES).get("severity"),
            [*at, "customProperties", "severity"],
        )
        rules = []
        if column.type != "string" and column.source and typed:
            kept: Severity = "warning" if typed == "discard_value" else "error"
            rules.append(RowRule(f"{name}_type", "type", name, kept, column.type, f"{name} is {column.type}"))
        if node["required"]:
            rules.append(RowRule(f"{name}_required", "required", name, severity))
        if "minimum" in options or "maximum" in options:
            bounds = (options.get("minimum"), options.get("maximum"))
            rules.append(RowRule(f"{name}_range", "range", name, severity, bounds))
        if options.get("pattern"):
            try:
                re.compile(options["pattern"])
            except re.error as error:
                _refuse(self.path, [*at, "logicalTypeOptions", "pattern"], options["pattern"], f"a pattern: {error}")
            rules.append(RowRule(f"{name}_pattern", "pattern", name, severity, options["pattern"]))
        if node["enum"]:
            allowed = tuple(value["value"] for value in node["enum"])
            rules.append(RowRule(f"{name}_set", "set", name, severity, allowed))
        for position, relation in enumerate(node["relationships"] or []):
            rules.append(self._reference(relation, name, [*at, "relationships", position]))
        return rules

    def _reference(self, relation: dict[str, Any], column: str, at: list[Any]) -> RowRule:
        target = str(relation["to"] or "")
        name, _, other = target.rpartition(".")
        try:
            table = TableId.parse(name.replace(".", "/"))
        except NotFoundError:
            _refuse(self.path, [*at, "to"], target, "zone.domain.table.column")
        custom = self._custom(relation, [*at, "customProperties"], _REFERENCE_PROPERTIES)
        severity = self._severity(custom.get("severity"), [*at, "customProperties", "severity"])
        reason = str(custom.get("reason") or "")
        return RowRule(f"{column}_in_{table.table}", "reference", column, severity, (table, other), reason)

    def _quality(self, nodes: list[Any], columns: list[Column]) -> tuple[list[RowRule], list[TableRule]]:
        row_rules, table_rules = [], []
        names = {column.name for column in columns}
        for position, node in enumerate(nodes):
            at = ["schema", 0, "quality", position]
            severity = self._severity(node["severity"], [*at, "severity"])
            reason = (node["description"] or "").strip()
            if not node["name"]:
                _refuse(self.path, [*at, "name"], node["name"], "a name, which is the rule's reason code")
            if node["type"] == "custom" and node["engine"] == "goldpath":
                implementation = self._mapping(node["implementation"], [*at, "implementation"])
                column, expression = implementation.get("column"), implementation.get("row")
                if column not in names or not expression:
                    _refuse(self.path, [*at, "implementation"], node["implementation"], "{column: …, row: SQL}")
                row_rules.append(RowRule(node["name"], "expression", column, severity, expression, reason))
            elif node["metric"] == "rowCount" or node["query"]:
                low, high = self._bounds(node, at)
                expression = node["query"] or "count(1)"
                table_rules.append(TableRule(node["name"], expression, low, high, severity, reason))
            else:
                _refuse(self.path, at, node["type"], "metric rowCount, type sql, or type custom with engine goldpath")
        return row_rules, table_rules

    def _bounds(self, node: dict[str, Any], at: list[Any]) -> tuple[float | None, float | None]:
        if node["mustBe"] is not None:
            return node["mustBe"], node["mustBe"]
        if node["mustBeBetween"]:
            return tuple(node["mustBeBetween"])
        bounds = node["mustBeGreaterOrEqualTo"], node["mustBeLessOrEqualTo"]
        if bounds == (None, None):
            allowed = "mustBe, mustBeBetween, mustBeGreaterOrEqualTo or mustBeLessOrEqualTo"
            _refuse(self.path, at, {k: v for k, v in node.items() if v is not None}, allowed)
        return bounds

    def _severity(self, value: Any, at: list[Any]) -> Severity:
        if value is not None and value not in get_args(Severity):
            _refuse(self.path, at, value, f"one of {', '.join(get_args(Severity))}")
        return value or "error"

    def _sla(self, name: str) -> int:
        for position, node in enumerate(self.document["slaProperties"] or []):
            if node["property"] == name:
                if node["unit"] not in _DURATIONS or not isinstance(node["value"], int | float):
                    at = ["slaProperties", position]
                    _refuse(self.path, at, (node["value"], node["unit"]), f"a number and one of {list(_DURATIONS)}")
                return int(node["value"] * _DURATIONS[node["unit"]])
        _refuse(self.path, ["slaProperties"], None, f"an entry with property: {name}")

    def _drift(self, modes: dict[str, Any]) -> dict[str, Drift]:
        for entity in dict.fromkeys([*_DRIFTING, *modes]):
            at = ["customProperties", "drift", entity]
            if entity not in _DRIFTING:
                _refuse(self.path, at, entity, f"only {', '.join(_DRIFTING)}")
            if modes.get(entity) not in get_args(Drift):
                _refuse(self.path, at, modes.get(entity), f"one of {', '.join(get_args(Drift))}")
        return dict(modes)

    def _winner(self, value: Any) -> str | None:
        if value is not None and not _WINNER.fullmatch(str(value).strip()):
            _refuse(self.path, ["customProperties", "winner"], value, "column asc|desc, and more after commas")
        return value

    def _format(self, value: Any, *, required: bool) -> Format | None:
        if value not in get_args(Format) and (required or value is not None):
            _refuse(self.path, ["servers", 0, "format"], value, f"one of {', '.join(get_args(Format))}")
        return value

    def _custom(self, node: dict[str, Any], at: list[Any], known: Sequence[str]) -> dict[str, Any]:
        found = {entry["property"]: entry["value"] for entry in node.get("customProperties") or []}
        for position, name in enumerate(found):
            if name not in known:
                _refuse(self.path, [*at, position, "property"], name, f"one of {', '.join(known)}")
        return found

    def _mapping(self, value: Any, at: list[Any]) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            _refuse(self.path, at, value, "names with values")
        return value or {}

    def _once(self, names: list[str], at: list[Any]) -> None:
        for name in names:
            if names.count(name) > 1:
                _refuse(self.path, at, name, "each name once")


def zone_contract(contracts: Mapping[TableId, Contract], zone: Zone, table: str) -> Contract:
    """The contract of one table of a domain; raises NotFoundError."""
    for identity, contract in contracts.items():
        if (identity.zone, identity.table) == (zone, table):
            return contract
    raise NotFoundError(
        object=f"contract of {zone} table {table!r}",
        observed="no file describes it",
        expected=f"one of {', '.join(map(str, contracts))}",
        next_step="add a contract file to the domain's contracts folder",
    )
