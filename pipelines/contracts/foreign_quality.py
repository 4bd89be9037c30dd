"""The quality entries of contracts that others wrote, as entries that this platform acts on, or as notes for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.contracts import patterns

_SEVERITIES = {None: None, "error": "error", "critical": "error", "blocker": "error", "high": "error",
               "warning": "warning", "warn": "warning", "info": "warning", "low": "warning"}  # fmt: skip
_METRICS = {"rowCount": "rowCount", "nullCheck": "nullValues", "duplicateCount": "duplicateValues",
            "validValues": "invalidValues"}  # fmt: skip
#: How queries name their own table.
_OWN_TABLE = re.compile(r"\$?\{(?:table|object|model|schema)\}", re.IGNORECASE)
_OWN_COLUMN = re.compile(r"\$?\{(?:column|property|field)\}", re.IGNORECASE)


@dataclass(slots=True)
class Names:
    """How one table and its columns are called in the contract of others, and here.

    Attributes:
        table: The names, in lower case, that its own queries use for it.
        columns: The column's name here, by each of its names there in lower case.
        dialect: sqlglot's name of the dialect that its queries are written in.
        rules: The names of the rules so far; each is used once.
    """

    table: frozenset[str]
    columns: Mapping[str, str]
    dialect: str | None = None
    rules: set[str] = field(default_factory=set)


def entry(node: Mapping[str, Any], column: str | None, names: Names) -> tuple[dict[str, Any], str | None]:
    """One quality entry for this platform, and why it is a note for people alone (None: it is a rule).

    Args:
        node: The entry.
        column: The column's name here that it belongs to; None for an entry of the table.
        names: The names there and here.
    """
    if node.get("type") == "text" or (node.get("type") == "custom" and node.get("engine") == "goldpath"):
        return _named(dict(node), column, names), None
    rule, problem = dict(node), None
    rule.pop("id", None)
    if node.get("type") == "custom":
        problem = f"checks of the engine {node.get('engine')} are not run here"
    elif node.get("query"):
        query = _query(node["query"], column, names)
        problem = None if query else "its query is not a SELECT over this one table that is understood here"
        rule["query"] = query
    else:
        metric = node.get("metric") or _METRICS.get(str(node.get("rule")))
        rule = {name: value for name, value in rule.items() if name != "rule"} | {"type": "library", "metric": metric}
        problem = _metric_problem(rule, column, names)
    severity = str(node["severity"]).lower() if node.get("severity") else None
    if severity not in _SEVERITIES:
        problem = problem or f"its severity {severity} is neither error nor warning"
    limits = [node[name] for name in ("mustBe", "mustNotBe") if node.get(name) is not None]
    if any(isinstance(limit, bool) or not isinstance(limit, int | float) for limit in limits):
        problem = problem or f"its figure is compared with {limits[0]!r}, which is not a number"
    if problem:
        return _note(node, problem), problem
    if severity:
        rule["severity"] = _SEVERITIES[severity]
    return _named(rule, column, names), None


def _named(rule: dict[str, Any], column: str | None, names: Names) -> dict[str, Any]:
    """The rule with a name of its own, which is made from what it is about where it has none."""
    if rule.get("type") == "text":
        return rule
    about = rule.get("metric") or rule.get("dimension") or "sql"
    base = rule.get("name") or "_".join(filter(None, (column, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", about).lower())))
    name, count = base, 1
    while name in names.rules:
        count += 1
        name = f"{base}_{count}"
    names.rules.add(name)
    return {"name": name} | rule | {"name": name}


def _note(node: Mapping[str, Any], problem: str) -> dict[str, Any]:
    """The entry as a text for people, with everything that it said."""
    import yaml

    content = yaml.safe_dump(dict(node), sort_keys=False, allow_unicode=True, width=100).strip()
    return {"type": "text", "description": f"Not checked here, since {problem}:\n{content}"}


def _metric_problem(rule: dict[str, Any], column: str | None, names: Names) -> str | None:
    """Why a library metric is no rule here; translates the columns in its arguments."""
    metric, arguments = rule["metric"], dict(rule.get("arguments") or {})
    if metric is None:
        return "it names no metric of the standard"
    columns = [names.columns.get(str(name).lower()) for name in arguments.get("properties") or []]
    if None in columns:
        return "it names a column that the table lacks"
    if columns:
        arguments["properties"] = columns
    if metric != "rowCount" and not column and not columns:
        return "it does not say which column it is about"
    if rule.get("unit") not in (None, "rows", "percent"):
        return f"its unit is {rule['unit']}"
    if metric == "invalidValues":
        if not (arguments.get("validValues") or arguments.get("pattern")):
            return "it does not say which values are valid"
        if arguments.get("pattern") and patterns.expected_instead(arguments["pattern"]):
            return "its pattern does not mean the same on both engines"
    if arguments:
        rule["arguments"] = arguments
    return None


def _query(query: str, column: str | None, names: Names) -> str | None:
    """The query over `{table}` with the names of this platform; None if it reads other tables or unknown columns."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    own = min(names.table)
    text = _OWN_TABLE.sub(lambda _: own, query)
    text = _OWN_COLUMN.sub(lambda _: column or "_", text)
    try:
        statements = sqlglot.parse(text, dialect=names.dialect)
    except SqlglotError:
        return None
    select = statements[0] if len(statements) == 1 else None
    if not isinstance(select, exp.Select):
        return None
    defined = {cte.alias.lower() for cte in select.find_all(exp.CTE)}
    aliases = {alias.lower() for node in select.find_all(exp.Alias) if (alias := node.alias)}
    for table in select.find_all(exp.Table):
        if table.name.lower() in defined and not table.db:
            continue
        if table.name.lower() not in names.table:
            return None
        placeholder = exp.Table(this=exp.to_identifier("__this_table__"), alias=table.args.get("alias"))
        if not table.alias and any(c.table.lower() == table.name.lower() for c in select.find_all(exp.Column)):
            placeholder = exp.alias_(placeholder, table.name, table=True)
        table.replace(placeholder)
    for node in select.find_all(exp.Column):
        here = names.columns.get(node.name.lower())
        if here is None and node.name.lower() not in aliases and not defined:
            return None
        if here is not None:
            node.set("this", exp.to_identifier(here, quoted=not re.fullmatch(r"[A-Za-z_]\w*", here)))
    return select.sql(dialect="spark").replace("__this_table__", "{table}")
