"""Reads the rules of `quality` lists, the table's and those of its columns: row rules in SQL, and table rules."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.contracts import patterns
from pipelines.contracts.model import Bounds, Column, Distribution, RowRule, Severity, TableRule
from pipelines.contracts.nodes import Place, mapping, refuse, require_pattern, severity

#: How far ahead of the platform's clock the newest row of a fresh table may be: clocks differ by as much.
CLOCK_SKEW_SECONDS = 300.0
_AGE_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_DEFAULT_MAX_PSI = 0.2
#: Tolerances of sums of shares: those of edges sum to 1, those of categories to at most 1.
_EDGE_SHARES_TOLERANCE = 0.01
_CATEGORY_SHARES_TOLERANCE = 1e-6


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
        self.columns = columns
        self.names = [column.name for column in columns]

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
        if "freshness" in implementation:
            return self._freshness(entry, mapping(self.path, implementation["freshness"], [*at, "freshness"]))
        if "distribution" in implementation:
            return self._distribution(entry, mapping(self.path, implementation["distribution"], [*at, "distribution"]))
        column, expression = implementation.get("column", entry.column), implementation.get("row")
        if column not in self.names or not expression:
            allowed = "{column: …, row: SQL}, {freshness: {column, max_age}} or {distribution: {column, …}}"
            refuse(self.path, at, implementation, allowed)
        return RowRule(entry.name, "expression", column, entry.severity, expression, entry.reason)

    def _freshness(self, entry: _Entry, node: dict[str, Any]) -> TableRule:
        column = node.get("column", entry.column)
        age = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", str(node.get("max_age")))
        times = {c.name for c in self.columns if c.type in ("timestamp", "date")}
        if column not in times or not age:
            at = [*entry.at, "implementation", "freshness"]
            refuse(self.path, at, node, "{column: a timestamp, max_age: 30m, 36h or 2d}")
        bounds = Bounds(minimum=-CLOCK_SKEW_SECONDS, maximum=float(age[1]) * _AGE_SECONDS[age[2]])
        latest = f"unix_timestamp(max(CAST(`{column}` AS timestamp)))"
        return TableRule(entry.name, latest, bounds, entry.severity, entry.reason, "freshness")

    def _distribution(self, entry: _Entry, node: dict[str, Any]) -> TableRule:
        distribution = _distribution({"column": entry.column} | node, self.names)
        if distribution is None:
            allowed = (
                "{column: …, shares: {value: share}, max_psi: 0.2}, or edges with one share more than edges, "
                "or categories or edges with reference: previous"
            )
            refuse(self.path, [*entry.at, "implementation", "distribution"], node, allowed)
        bounds = Bounds(maximum=node.get("max_psi", _DEFAULT_MAX_PSI))
        figure = f"psi({distribution.column})"
        return TableRule(entry.name, figure, bounds, entry.severity, entry.reason, "distribution", distribution)

    def _figure(self, entry: _Entry) -> TableRule:
        """A metric, a SQL aggregate, or a complete SELECT over `{table}`, compared by the entry's operator."""
        expression = entry.node["query"] or self._metric(entry)
        is_query = bool(re.match(r"\s*(select|with)\b", expression, re.IGNORECASE))
        for placeholder, value in (("table", "{table}" if is_query else None), ("column", entry.column)):
            if value:
                expression = re.sub(rf"\$?\{{{placeholder}\}}", lambda _, value=value: value, expression)
        kind = "query" if is_query else "aggregate"
        return TableRule(entry.name, expression, _bounds(entry.node), entry.severity, entry.reason, kind)

    def _metric(self, entry: _Entry) -> str:
        """The SQL aggregate of one of the standard's metrics, in rows or in percent of the rows."""
        node, metric = entry.node, entry.node["metric"]
        at = [*entry.at, "arguments"]
        arguments = mapping(self.path, node["arguments"], at)
        names = [entry.column] if entry.column else arguments.get("properties") or []
        unknown = [name for name in names if name not in self.names]
        if metric != "rowCount" and (unknown or not names or (len(names) > 1 and metric != "duplicateValues")):
            refuse(self.path, at, arguments, "properties: the column that the metric is about")
        if node["unit"] not in (None, "rows", "percent"):
            refuse(self.path, [*entry.at, "unit"], node["unit"], "one of rows, percent")
        quoted = [f"`{name}`" for name in names]
        match metric:
            case "rowCount":
                return "count(1)"
            case "nullValues":
                rows = f"count_if({quoted[0]} IS NULL)"
            case "missingValues":
                rows = _missing_values(quoted[0], arguments.get("missingValues") or [])
            case "invalidValues":
                rows = self._invalid_values(quoted[0], arguments, at)
            case _:
                rows = _duplicate_values(quoted)
        return f"100 * CAST({rows} AS double) / nullif(count(1), 0)" if node["unit"] == "percent" else rows

    def _invalid_values(self, column: str, arguments: dict[str, Any], at: Place) -> str:
        tests = []
        if arguments.get("validValues"):
            values = ", ".join(_literal(str(value)) for value in arguments["validValues"])
            tests.append(f"CAST({column} AS string) IN ({values})")
        if arguments.get("pattern"):
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


def _bounds(node: dict[str, Any]) -> Bounds:
    """The limits of the entry's one operator; the standard's schema makes sure that there is exactly one."""
    for operator, inside in (("mustBe", True), ("mustNotBe", False)):
        if node[operator] is not None:
            return Bounds(float(node[operator]), float(node[operator]), inside=inside)
    for operator, inside in (("mustBeBetween", True), ("mustNotBeBetween", False)):
        if node[operator]:
            return Bounds(*node[operator], inside=inside)
    return Bounds(
        minimum=node["mustBeGreaterOrEqualTo"],
        maximum=node["mustBeLessOrEqualTo"],
        above=node["mustBeGreaterThan"],
        below=node["mustBeLessThan"],
    )


def _distribution(node: dict[str, Any], columns: list[str]) -> Distribution | None:
    """The distribution that a node describes; None if it is not valid."""
    column, shares, edges = node["column"], node.get("shares"), node.get("edges")
    from_previous = node.get("reference") == "previous"
    if (
        column not in columns
        or from_previous == (shares is not None)
        or node.get("reference", "previous") != "previous"
    ):
        return None
    if edges is not None:
        rising = all(low < high for low, high in itertools.pairwise(edges))
        if not edges or not rising:
            return None
        if shares and (len(shares) != len(edges) + 1 or abs(sum(shares) - 1) > _EDGE_SHARES_TOLERANCE):
            return None
        return Distribution(column, tuple(edges), "edges", tuple(shares) if shares else None)
    categories = node.get("categories") if from_previous else list(shares) if isinstance(shares, dict) else None
    if not categories or (shares and sum(shares.values()) > 1 + _CATEGORY_SHARES_TOLERANCE):
        return None
    expected = (*shares.values(), max(0.0, 1 - sum(shares.values()))) if shares else None
    return Distribution(column, tuple(map(str, categories)), "categories", expected)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
