"""A verdict in the form in which Great Expectations keeps a suite's validation result: one expectation for each rule.

The figures are those of the verdict, measured in the pass that wrote the rows; Great Expectations itself is not loaded.
"""

from __future__ import annotations

import math
from typing import Any

from pipelines.contracts.model import Bounds, RowRule, TableRule
from pipelines.verdict.table_rules import TableRuleResult
from pipelines.verdict.verdict import RuleResult, Verdict

#: How Great Expectations names the judged rows in a query.
BATCH = "{batch}"


def validation_result(verdict: Verdict) -> dict[str, Any]:
    """The verdict in the form in which Great Expectations keeps a suite's validation result as JSON."""
    results = [_row_result(result, verdict.rows_in) for result in verdict.rules]
    results += [_table_result(result) for result in verdict.table_rules]
    met = sum(result["success"] for result in results)
    return {
        "success": met == len(results),
        "results": results,
        "suite_name": str(verdict.contract.table),
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100.0 * met / len(results) if results else 100.0,
        },
        "meta": {
            "contract": verdict.contract.path.name,
            "contract_version": verdict.contract.version,
            "published": verdict.passed,
            "shares": {r.rule.name: list(r.shares) for r in verdict.table_rules if r.shares},
        },
        "id": None,
    }


def _row_result(result: RuleResult, rows: int) -> dict[str, Any]:
    figures = {
        "element_count": rows,
        "unexpected_count": result.rows,
        "unexpected_percent": 100.0 * result.rows / rows if rows else 0.0,
    }
    return _result(result.rows == 0, expectation(result.rule), figures)


def _table_result(result: TableRuleResult) -> dict[str, Any]:
    observed = result.observed if result.observed is None or math.isfinite(result.observed) else str(result.observed)
    return _result(result.passed, table_expectation(result.rule), {"observed_value": observed})


def _result(success: bool, configuration: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    raised = {"raised_exception": False, "exception_traceback": None, "exception_message": None}
    return {
        "success": success,
        "expectation_config": configuration,
        "result": figures,
        "meta": {},
        "exception_info": raised,
    }


def expectation(rule: RowRule) -> dict[str, Any]:
    """The Great Expectations name and arguments of a row rule."""
    column = {"column": rule.column}
    match rule.kind:
        case "required":
            kind, arguments = "expect_column_values_to_not_be_null", column
        case "type":
            kind, arguments = "expect_column_values_to_be_of_type", column | {"type_": str(rule.argument)}
        case "range":
            kind, arguments = "expect_column_values_to_be_between", column | _limits(rule.argument)
        case "length":
            kind, arguments = "expect_column_value_lengths_to_be_between", column | _limits(rule.argument)
        case "set":
            kind, arguments = "expect_column_values_to_be_in_set", column | {"value_set": list(rule.argument)}
        case "pattern":
            kind, arguments = "expect_column_values_to_match_regex", column | {"regex": rule.argument}
        case "duplicate" if len(rule.argument) == 1:
            kind, arguments = "expect_column_values_to_be_unique", column
        case "duplicate":
            kind, arguments = "expect_compound_columns_to_be_unique", {"column_list": list(rule.argument)}
        case "reference":
            kind = "expect_column_values_to_be_in_set"
            arguments = column | {"value_set": [f"{rule.argument[0]}.{rule.argument[1]}"]}
        case _:
            broken = f"NOT ({rule.argument})" if rule.kind == "expression" else rule.name
            kind = "unexpected_rows_expectation"
            arguments = _query(f"SELECT * FROM {BATCH} WHERE {broken}")
    return _configuration(kind, arguments, rule.name, rule.severity, rule.reason)


def _limits(bounds: Bounds) -> dict[str, Any]:
    low, high = bounds.above, bounds.below
    limits: dict[str, Any] = {"min_value": bounds.minimum if low is None else low}
    limits["max_value"] = bounds.maximum if high is None else high
    return (
        limits | ({"strict_min": True} if low is not None else {}) | ({"strict_max": True} if high is not None else {})
    )


def table_expectation(rule: TableRule) -> dict[str, Any]:
    """The Great Expectations name and arguments of a table rule."""
    more = {"figure": rule.expression, "bounds": str(rule.bounds)}
    if rule.expression == "count(1)" and rule.bounds.inside:
        kind, arguments = "expect_table_row_count_to_be_between", _limits(rule.bounds)
    else:
        kind = "unexpected_rows_expectation"
        if rule.kind == "query":
            source = f"({rule.expression.replace('{table}', BATCH)}) AS figure"
        else:
            age = "unix_timestamp() - " if rule.kind == "freshness" else ""
            source = f"{age}{rule.expression} AS figure FROM {BATCH}"
        arguments = _query(f"SELECT * FROM (SELECT {source}) WHERE NOT ({_comparison(rule.bounds)})")
    return _configuration(kind, arguments, rule.name, rule.severity, rule.reason, **more)


def _comparison(bounds: Bounds) -> str:
    limits = {">=": bounds.minimum, ">": bounds.above, "<=": bounds.maximum, "<": bounds.below}
    words = " AND ".join(f"figure {sign} {limit}" for sign, limit in limits.items() if limit is not None)
    return words if bounds.inside else f"NOT ({words})"


def _query(sql: str) -> dict[str, str]:
    """Great Expectations takes other braces than those of `{batch}` for parameters."""
    return {
        "unexpected_rows_query": BATCH.join(part.replace("{", "{{").replace("}", "}}") for part in sql.split(BATCH))
    }


def _configuration(
    kind: str, arguments: dict[str, Any], rule: str, severity: str, reason: str, **more: Any
) -> dict[str, Any]:
    meta = {"rule": rule, "severity": severity, "reason": reason, **more}
    return {
        "type": kind,
        "kwargs": arguments,
        "meta": meta,
        "notes": ": ".join(filter(None, (rule, reason))),
        "severity": "critical" if severity == "error" else "warning",
    }
