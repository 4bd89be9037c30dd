"""Reads the rules of `quality` lists, the table's and those of its columns: row rules in SQL, and table rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.contracts import distributions, patterns, sql
from pipelines.contracts.model import Bounds, Column, RowRule, Severity, TableRule
from pipelines.contracts.nodes import Place, mapping, number, refuse, require_pattern, severity, text, texts
from pipelines.tables import BRONZE_COLUMNS

#: How far ahead of the platform's clock the newest row of a fresh table may be: clocks differ by as much.
CLOCK_SKEW_SECONDS = 300.0
_AGE_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_DEFAULT_MAX_PSI = 0.2
#: The arguments that each of the standard's metrics has.
_ARGUMENTS = {
    "rowCount": (),
    "nullValues": ("properties",),
    "missingValues": ("properties", "missingValues"),
    "invalidValues": ("properties", "validValues", "pattern"),
    "duplicateValues": ("properties",),
}
_FRESHNESS = ("column", "max_age")
_DISTRIBUTION = ("column", "shares", "edges", "categories", "reference", "max_psi")
#: The standard's operators, with the field of `Bounds` that each sets where it sets one.
_OPERATORS = {
    "mustBe": "",
    "mustNotBe": "",
    "mustBeBetween": "",
    "mustNotBeBetween": "",
    "mustBeGreaterThan": "above",
    "mustBeGreaterOrEqualTo": "minimum",
    "mustBeLessThan": "below",
    "mustBeLessOrEqualTo": "maximum",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a `quality` list, with what every kind of rule needs; `column` is None in the table's list."""

    node: dict[str, Any]
    at: Place
    column: str | None
    severity: Severity
    reason: str

    @property
    def name(self) -> str:
        return self.node["name"]


class QualityReader:
    """Reads the `quality` lists of one table; an error names the place in the file."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path = path
        self.types = {column.name: column.type for column in columns}

    def rules(self, nodes: list[Any], at: Place, *, column: str | None = None) -> tuple[list[RowRule], list[TableRule]]:
        """The rules of one `quality` list.

        Args:
            nodes: The entries of the list.
            at: The list's place in the file.
            column: The column that the list belongs to; None for the table's list.

        Raises:
            ContractError: if an entry is not a rule that the platform knows.
        """
        row_rules: list[RowRule] = []
        table_rules: list[TableRule] = []
        for position, node in enumerate(nodes):
            place = [*at, position]
            level = severity(self.path, node["severity"], [*place, "severity"])
            entry = _Entry(node, place, column, level, (node["description"] or "").strip())
            if node["type"] == "text":
                continue  # a note for people
            if not node["name"]:
                refuse(self.path, [*place, "name"], node["name"], "a name, which is the rule's reason code")
            if node["type"] == "custom" and node["engine"] == "goldpath":
                rule = self._custom(entry)
            elif node["metric"] or node["query"]:
                rule = self._figure(entry)
            else:
                refuse(self.path, place, node["type"], "a metric, type sql, or type custom with engine goldpath")
            if isinstance(rule, RowRule):
                row_rules.append(rule)
            else:
                table_rules.append(rule)
        return row_rules, table_rules

    def _custom(self, entry: _Entry) -> RowRule | TableRule:
        """A rule with `engine: goldpath`: freshness, a distribution, or SQL that is true of each row."""
        at = [*entry.at, "implementation"]
        implementation = mapping(self.path, entry.node["implementation"], at)
        for kind, keys, read in (
            ("freshness", _FRESHNESS, self._freshness),
            ("distribution", _DISTRIBUTION, self._distribution),
        ):
            if kind in implementation:
                mapping(self.path, implementation, at, (kind,))
                return read(entry, mapping(self.path, implementation[kind], [*at, kind], keys), [*at, kind])
        mapping(self.path, implementation, at, ("column", "row"))
        column, expression = implementation.get("column", entry.column), implementation.get("row")
        if not self._has(column) or not expression:
            allowed = "{column: …, row: SQL}, {freshness: {column, max_age}} or {distribution: {column, …}}"
            refuse(self.path, at, implementation, allowed)
        sql.require_expression(self.path, text(self.path, expression, [*at, "row"], "SQL, as text"), [*at, "row"])
        return RowRule(entry.name, "expression", column, entry.severity, expression, entry.reason)

    def _has(self, column: Any) -> bool:
        return isinstance(column, str) and column in self.types

    def _freshness(self, entry: _Entry, node: dict[str, Any], at: Place) -> TableRule:
        column = node.get("column", entry.column)
        age = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([mhd])", str(node.get("max_age")), re.ASCII)
        if not self._has(column) or self.types[column] not in ("timestamp", "date") or not age:
            refuse(self.path, at, node, "{column: a timestamp, max_age: 30m, 36h or 2d}")
        bounds = Bounds(minimum=-CLOCK_SKEW_SECONDS, maximum=float(age[1]) * _AGE_SECONDS[age[2]])
        latest = f"unix_timestamp(max(CAST(`{column}` AS timestamp)))"
        return TableRule(entry.name, latest, bounds, entry.severity, entry.reason, "freshness")

    def _distribution(self, entry: _Entry, node: dict[str, Any], at: Place) -> TableRule:
        distribution = distributions.read(self.path, {"column": entry.column} | node, at, self.types)
        psi = number(self.path, node.get("max_psi", _DEFAULT_MAX_PSI), [*at, "max_psi"], minimum=0)
        figure = f"psi({distribution.column})"
        bounds = Bounds(maximum=psi)
        return TableRule(entry.name, figure, bounds, entry.severity, entry.reason, "distribution", distribution)

    def _figure(self, entry: _Entry) -> TableRule:
        """A metric, a SQL aggregate, or a complete SELECT over `{table}`, compared by the entry's operator."""
        bounds = _bounds(self.path, entry.node, entry.at)
        if not entry.node["query"]:
            return TableRule(entry.name, self._metric(entry), bounds, entry.severity, entry.reason)
        query, at = entry.node["query"], [*entry.at, "query"]
        if entry.column:
            query = re.sub(r"`?\$?\{column\}`?", lambda _: f"`{entry.column}`", query)
        if sql.is_query(query):
            sql.require_query(self.path, query, at)
            query = sql.TABLE.sub("{table}", query)
            return TableRule(entry.name, query, bounds, entry.severity, entry.reason, "query")
        sql.require_expression(self.path, query, at, columns=[*self.types, *BRONZE_COLUMNS])
        return TableRule(entry.name, query, bounds, entry.severity, entry.reason)

    def _metric(self, entry: _Entry) -> str:
        """The SQL aggregate of one of the standard's metrics, in rows or in percent of the rows."""
        node, metric = entry.node, entry.node["metric"]
        at = [*entry.at, "arguments"]
        arguments = mapping(self.path, node["arguments"], at, _ARGUMENTS[metric])
        listed = texts(self.path, arguments.get("properties"), [*at, "properties"])
        names = [entry.column] if entry.column else listed
        unknown = [name for name in (*names, *listed) if name not in self.types]
        if entry.column and set(listed) - {entry.column}:
            refuse(self.path, [*at, "properties"], listed, f"the column of the rule, {entry.column}, or nothing")
        if metric != "rowCount" and (unknown or not names or (len(names) > 1 and metric != "duplicateValues")):
            refuse(self.path, at, arguments, "properties: the column that the metric is about")
        if node["unit"] not in (None, "rows", "percent"):
            refuse(self.path, [*entry.at, "unit"], node["unit"], "one of rows, percent")
        if metric == "rowCount" and node["unit"] == "percent":
            refuse(self.path, [*entry.at, "unit"], node["unit"], "rows, since the number of rows has no whole")
        quoted = [f"`{name}`" for name in names]
        match metric:
            case "rowCount":
                return "count(1)"
            case "nullValues":
                rows = f"count_if({quoted[0]} IS NULL)"
            case "missingValues":
                missing = _values(
                    self.path, arguments.get("missingValues"), [*at, "missingValues"], self.types[names[0]]
                )
                rows = _missing_values(quoted[0], missing)
            case "invalidValues":
                rows = self._invalid_values(names[0], arguments, at)
            case _:
                rows = _duplicate_values(quoted)
        return f"100 * CAST({rows} AS double) / nullif(count(1), 0)" if node["unit"] == "percent" else rows

    def _invalid_values(self, name: str, arguments: dict[str, Any], at: Place) -> str:
        tests, column = [], f"`{name}`"
        valid = _values(self.path, arguments.get("validValues"), [*at, "validValues"], self.types[name])
        if valid:
            values = ", ".join(_literal(str(value)) for value in valid)
            tests.append(f"CAST({column} AS string) IN ({values})")
        if arguments.get("pattern") is not None:
            require_pattern(self.path, arguments["pattern"], [*at, "pattern"])
            tests.append(f"CAST({column} AS string) RLIKE {_literal(patterns.portable(arguments['pattern']))}")
        if not tests:
            refuse(self.path, at, arguments, "validValues, pattern or both")
        return f"count_if(NOT ({' AND '.join(tests)}))"


def _missing_values(column: str, missing: list[Any]) -> str:
    texts = [_literal(str(value)) for value in missing if value is not None]
    among_texts = f" OR CAST({column} AS string) IN ({', '.join(texts)})" if texts else ""
    return f"count_if({column} IS NULL{among_texts})"


def _duplicate_values(columns: list[str]) -> str:
    complete = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    keys = f"count(DISTINCT CASE WHEN {complete} THEN xxhash64({', '.join(columns)}) END)"
    return f"count_if({complete}) - {keys}"


def _values(path: Path, value: Any, at: Place, type: str) -> list[Any]:
    """A list of values of a column: each has one form as text, so other numbers than whole ones are texts."""
    kinds = (str, int) if type in ("int", "bigint") else (str,)
    if not isinstance(value, list | None):
        refuse(path, at, value, "a list of values")
    for position, entry in enumerate(value or []):
        if isinstance(entry, bool) or not (entry is None or isinstance(entry, kinds)):
            refuse(path, [*at, position], entry, f"a value of the type {type}: a text in quotes, or a whole number")
    return value or []


def _bounds(path: Path, node: dict[str, Any], at: Place) -> Bounds:
    """The limits of the entry's one operator; the standard's schema makes sure that there is one, which may be null."""
    operator = next((name for name in _OPERATORS if node[name] is not None), None)
    if operator is None:
        refuse(path, at, None, f"a number in one of {', '.join(_OPERATORS)}")
    place, value = [*at, operator], node[operator]
    if operator in ("mustBeBetween", "mustNotBeBetween"):
        low, high = (number(path, limit, [*place, position]) for position, limit in enumerate(value))
        if low > high:
            refuse(path, place, value, "the smaller number first")
        return Bounds(low, high, inside=operator == "mustBeBetween")
    value = number(path, value, place)
    if operator in ("mustBe", "mustNotBe"):
        return Bounds(float(value), float(value), inside=operator == "mustBe")
    return replace(Bounds(), **{_OPERATORS[operator]: value})


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
