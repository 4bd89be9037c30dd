"""Reads a contract's rules: what each row and each new version must hold, from the columns' nodes and `quality`."""

from __future__ import annotations

import itertools
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts import patterns
from pipelines.contracts.model import Bounds, Column, Distribution, Drift, RowRule, Severity, TableRule
from pipelines.contracts.nodes import Place, custom_properties, mapping, refuse, severity
from pipelines.errors import NotFoundError
from pipelines.tables import TableId

COLUMN_PROPERTIES = ("unit", "severity", "timezone", "nonFinite")
_REFERENCE_PROPERTIES = ("severity", "reason")
_LIMITS = {"minimum": "minimum", "maximum": "maximum", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
_LENGTHS = {"minLength": "minimum", "maxLength": "maximum"}
_OPTIONS = (*_LIMITS, *_LENGTHS, "pattern")
_AGES = {"m": 60, "h": 3_600, "d": 86_400}
_UNIT = 1e-6


class RuleReader:
    """The rules of one table; a refusal names the path in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def column(self, node: dict[str, Any], column: Column, at: Place, typed: Drift | None) -> list[RowRule]:
        """The row rules of one column; `typed` is how its table takes a text that the type cannot hold."""
        name, options = column.name, node["logicalTypeOptions"] or {}
        custom = custom_properties(self.path, node, [*at, "customProperties"], COLUMN_PROPERTIES)
        broken: Severity = severity(self.path, custom.get("severity"), [*at, "customProperties", "severity"])
        for option in options:
            if option not in _OPTIONS:
                refuse(self.path, [*at, "logicalTypeOptions", option], options[option], f"only {', '.join(_OPTIONS)}")
        rules = []
        if column.type != "string" and column.source and typed:
            kept: Severity = "warning" if typed in ("discard_value", "evolve") else "error"
            rules.append(RowRule(f"{name}_type", "type", name, kept, column.type, f"{name} is {column.type}"))
            if column.timezone:
                why = f"the clocks of {column.timezone} skip no such time"
                rules.append(RowRule(f"{name}_nonexistent", "clock", name, kept, column.timezone, why))
        if node["required"]:
            rules.append(RowRule(f"{name}_required", "required", name, broken))
        limits = {_LIMITS[key]: self._limit(value, column, at, key) for key, value in options.items() if key in _LIMITS}
        if limits:
            rules.append(RowRule(f"{name}_range", "range", name, broken, Bounds(**limits)))
        lengths = {_LENGTHS[key]: value for key, value in options.items() if key in _LENGTHS}
        if lengths:
            rules.append(RowRule(f"{name}_length", "length", name, broken, Bounds(**lengths)))
        if options.get("pattern"):
            self._pattern(options["pattern"], [*at, "logicalTypeOptions", "pattern"])
            rules.append(RowRule(f"{name}_pattern", "pattern", name, broken, options["pattern"]))
        if node["enum"]:
            allowed = tuple(value["value"] for value in node["enum"])
            rules.append(RowRule(f"{name}_set", "set", name, broken, allowed))
        for position, relation in enumerate(node["relationships"] or []):
            rules.append(self._reference(relation, name, [*at, "relationships", position]))
        if node["unique"]:
            rules.append(RowRule(f"{name}_unique", "duplicate", name, broken, (name,), f"{name} names one row"))
        return rules

    def _limit(self, value: Any, column: Column, at: Place, option: str) -> Any:
        if column.type in ("date", "timestamp"):
            try:
                (date if column.type == "date" else datetime).fromisoformat(value)
            except (ValueError, TypeError):
                refuse(self.path, [*at, "logicalTypeOptions", option], value, f"an ISO 8601 {column.type}")
        return value

    def _pattern(self, pattern: str, at: Place) -> None:
        expected = patterns.fault(pattern)
        if expected:
            refuse(self.path, at, pattern, expected)

    def _reference(self, relation: dict[str, Any], column: str, at: Place) -> RowRule:
        target = str(relation["to"] or "")
        name, _, other = target.rpartition(".")
        try:
            table = TableId.parse(name.replace(".", "/"))
        except NotFoundError:
            refuse(self.path, [*at, "to"], target, "zone.domain.table.column")
        custom = custom_properties(self.path, relation, [*at, "customProperties"], _REFERENCE_PROPERTIES)
        broken = severity(self.path, custom.get("severity"), [*at, "customProperties", "severity"])
        reason = str(custom.get("reason") or "")
        return RowRule(f"{column}_in_{table.table}", "reference", column, broken, (table, other), reason)

    def quality(
        self, nodes: list[Any], columns: list[Column], at: Place, *, column: str | None = None
    ) -> tuple[list[RowRule], list[TableRule]]:
        """The rules of one `quality` list: the table's, or those of one column."""
        row_rules, table_rules = [], []
        for position, node in enumerate(nodes):
            place = [*at, position]
            broken = severity(self.path, node["severity"], [*place, "severity"])
            reason = (node["description"] or "").strip()
            if node["type"] == "text":
                continue  # words for people
            if not node["name"]:
                refuse(self.path, [*place, "name"], node["name"], "a name, which is the rule's reason code")
            if node["type"] == "custom" and node["engine"] == "goldpath":
                implementation = mapping(self.path, node["implementation"], [*place, "implementation"])
                rule = self._custom(node["name"], implementation, columns, column, [*place, "implementation"])
                if isinstance(rule, TableRule):
                    table_rules.append(_with(rule, broken, reason))
                else:
                    row_rules.append(RowRule(node["name"], "expression", rule[0], broken, rule[1], reason))
            elif node["metric"] or node["query"]:
                expression = node["query"] or self._metric(node, columns, column, place)
                query = bool(re.match(r"\s*(select|with)\b", expression, re.IGNORECASE))
                for word, value in (("table", "{table}" if query else None), ("column", column)):
                    if value:
                        expression = re.sub(rf"\$?\{{{word}\}}", lambda _, value=value: value, expression)
                kind = "query" if query else "aggregate"
                table_rules.append(TableRule(node["name"], expression, _bounds(node), broken, reason, kind))
            else:
                refuse(self.path, place, node["type"], "a metric, type sql, or type custom with engine goldpath")
        return row_rules, table_rules

    def _custom(
        self, name: str, implementation: dict[str, Any], columns: list[Column], column: str | None, at: Place
    ) -> TableRule | tuple[str, str]:
        names = [known.name for known in columns]
        if "freshness" in implementation:
            asked = mapping(self.path, implementation["freshness"], [*at, "freshness"])
            age = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", str(asked.get("max_age")))
            known = {c.name for c in columns if c.type in ("timestamp", "date")}
            if asked.get("column", column) not in known or not age:
                refuse(self.path, [*at, "freshness"], asked, "{column: a timestamp, max_age: 30m, 36h or 2d}")
            seconds = float(age[1]) * _AGES[age[2]]
            latest = f"unix_timestamp(max(CAST(`{asked.get('column', column)}` AS timestamp)))"
            return TableRule(name, latest, Bounds(maximum=seconds), "error", kind="freshness")
        if "distribution" in implementation:
            asked = mapping(self.path, implementation["distribution"], [*at, "distribution"])
            spread = _distribution({"column": column} | asked, names)
            if spread is None:
                allowed = (
                    "{column: …, shares: {value: share}, max_psi: 0.2}, or edges with one share more than edges, "
                    "or categories or edges with reference: previous"
                )
                refuse(self.path, [*at, "distribution"], asked, allowed)
            limit = Bounds(maximum=asked.get("max_psi", 0.2))
            return TableRule(name, f"psi({spread.column})", limit, "error", kind="distribution", argument=spread)
        about, expression = implementation.get("column", column), implementation.get("row")
        if about not in names or not expression:
            allowed = "{column: …, row: SQL}, {freshness: {column, max_age}} or {distribution: {column, …}}"
            refuse(self.path, at, implementation, allowed)
        return about, expression

    def _metric(self, node: dict[str, Any], columns: list[Column], column: str | None, at: Place) -> str:
        arguments = mapping(self.path, node["arguments"], [*at, "arguments"])
        names = [column] if column else arguments.get("properties") or []
        unknown = [name for name in names if name not in [known.name for known in columns]]
        metric = node["metric"]
        if metric != "rowCount" and (unknown or not names or (len(names) > 1 and metric != "duplicateValues")):
            refuse(self.path, [*at, "arguments"], arguments, "properties: the column that the metric is about")
        if node["unit"] not in (None, "rows", "percent"):
            refuse(self.path, [*at, "unit"], node["unit"], "one of rows, percent")
        quoted = [f"`{name}`" for name in names]
        if metric == "rowCount":
            return "count(1)"
        if metric == "nullValues":
            counted = f"count_if({quoted[0]} IS NULL)"
        elif metric == "missingValues":
            tokens = [_literal(str(value)) for value in arguments.get("missingValues") or [] if value is not None]
            listed = f" OR CAST({quoted[0]} AS string) IN ({', '.join(tokens)})" if tokens else ""
            counted = f"count_if({quoted[0]} IS NULL{listed})"
        elif metric == "invalidValues":
            tests = []
            if arguments.get("validValues"):
                values = ", ".join(_literal(str(value)) for value in arguments["validValues"])
                tests.append(f"CAST({quoted[0]} AS string) IN ({values})")
            if arguments.get("pattern"):
                self._pattern(arguments["pattern"], [*at, "arguments", "pattern"])
                tests.append(f"CAST({quoted[0]} AS string) RLIKE {_literal(patterns.portable(arguments['pattern']))}")
            if not tests:
                refuse(self.path, [*at, "arguments"], arguments, "validValues, pattern or both")
            counted = f"count_if(NOT ({' AND '.join(tests)}))"
        else:
            whole = " AND ".join(f"{name} IS NOT NULL" for name in quoted)
            keys = f"count(DISTINCT CASE WHEN {whole} THEN xxhash64({', '.join(quoted)}) END)"
            counted = f"count_if({whole}) - {keys}"
        return f"100 * CAST({counted} AS double) / greatest(count(1), 1)" if node["unit"] == "percent" else counted


def _with(rule: TableRule, broken: Severity, reason: str) -> TableRule:
    return TableRule(rule.name, rule.expression, rule.bounds, broken, reason, rule.kind, rule.argument)


def _bounds(node: dict[str, Any]) -> Bounds:
    """The node's one operator (the standard's schema has seen to that)."""
    for name, inside in (("mustBe", True), ("mustNotBe", False)):
        if node[name] is not None:
            return Bounds(float(node[name]), float(node[name]), inside=inside)
    for name, inside in (("mustBeBetween", True), ("mustNotBeBetween", False)):
        if node[name]:
            return Bounds(*node[name], inside=inside)
    return Bounds(
        minimum=node["mustBeGreaterOrEqualTo"],
        maximum=node["mustBeLessOrEqualTo"],
        above=node["mustBeGreaterThan"],
        below=node["mustBeLessThan"],
    )


def _distribution(asked: dict[str, Any], columns: list[str]) -> Distribution | None:
    """The distribution that a node asks for; None where the node makes no sense."""
    shares, edges = asked.get("shares"), asked.get("edges")
    previous = asked.get("reference") == "previous"
    if (
        asked["column"] not in columns
        or previous == (shares is not None)
        or asked.get("reference", "previous") != ("previous")
    ):
        return None
    if edges is not None:
        rising = all(a < b for a, b in itertools.pairwise(edges))
        if not edges or not rising or (shares and (len(shares) != len(edges) + 1 or abs(sum(shares) - 1) > 0.01)):
            return None
        return Distribution(asked["column"], tuple(edges), "edges", tuple(shares) if shares else None)
    categories = asked.get("categories") if previous else list(shares) if isinstance(shares, dict) else None
    if not categories or (shares and sum(shares.values()) > 1 + _UNIT):
        return None
    expected = (*shares.values(), max(0.0, 1 - sum(shares.values()))) if shares else None
    return Distribution(asked["column"], tuple(map(str, categories)), "categories", expected)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
