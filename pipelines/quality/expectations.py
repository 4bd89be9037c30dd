"""A verdict as the JSON of a Great Expectations suite's validation result, with one expectation for each rule.

The figures are those of the verdict, measured in the pass that wrote the rows; Great Expectations is not imported.
"""

from __future__ import annotations

import math
from typing import Any

from pipelines.contracts.model import Bounds, RowRule, TableRule
from pipelines.verdict.table_rules import TableRuleResult
from pipelines.verdict.verdict import RuleResult, Verdict

#: The placeholder of Great Expectations for the judged rows in a query.
BATCH = "{batch}"


def validation_result(verdict: Verdict) -> dict[str, Any]:
    """The verdict as Great Expectations stores the validation result of a suite as JSON."""
    results = [_row_result(result, verdict.rows_in) for result in verdict.rules]
    results += [_table_result(result) for result in verdict.table_rules]
    successes = sum(result["success"] for result in results)
    return {
        "success": successes == len(results),
        "results": results,
        "suite_name": str(verdict.contract.table),
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": successes,
            "unsuccessful_expectations": len(results) - successes,
            "success_percent": 100.0 * successes / len(results) if results else 100.0,
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
    no_exception = {"raised_exception": False, "exception_traceback": None, "exception_message": None}
    return {
        "success": success,
        "expectation_config": configuration,
        "result": figures,
        "meta": {},
        "exception_info": no_exception,
    }


def expectation(rule: RowRule) -> dict[str, Any]:
    """The configuration of the expectation for a row rule: its type, its arguments and the rule as metadata."""
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
            condition = f"NOT ({rule.argument})" if rule.kind == "expression" else rule.name
            kind = "unexpected_rows_expectation"
            arguments = _query(f"SELECT * FROM {BATCH} WHERE {condition}")
    return _configuration(kind, arguments, rule.name, rule.severity, rule.reason)


def _limits(bounds: Bounds) -> dict[str, Any]:
    above, below = bounds.above, bounds.below
    limits: dict[str, Any] = {"min_value": bounds.minimum if above is None else above}
    limits["max_value"] = bounds.maximum if below is None else below
    if above is not None:
        limits["strict_min"] = True
    if below is not None:
        limits["strict_max"] = True
    return limits


def table_expectation(rule: TableRule) -> dict[str, Any]:
    """The configuration of the expectation for a table rule: its type, its arguments and the rule as metadata."""
    figure = {"figure": rule.expression, "bounds": str(rule.bounds)}
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
    return _configuration(kind, arguments, rule.name, rule.severity, rule.reason, **figure)


def _comparison(bounds: Bounds) -> str:
    limits = {">=": bounds.minimum, ">": bounds.above, "<=": bounds.maximum, "<": bounds.below}
    comparison = " AND ".join(f"figure {sign} {limit}" for sign, limit in limits.items() if limit is not None)
    return comparison if bounds.inside else f"NOT ({comparison})"


def _query(sql: str) -> dict[str, str]:
    """The argument of a query; braces other than those of `{batch}` are doubled, since they would be parameters."""
    return {
        "unexpected_rows_query": BATCH.join(part.replace("{", "{{").replace("}", "}}") for part in sql.split(BATCH))
    }


def _configuration(
    kind: str, arguments: dict[str, Any], rule: str, severity: str, reason: str, **figure: Any
) -> dict[str, Any]:
    meta = {"rule": rule, "severity": severity, "reason": reason, **figure}
    return {
        "type": kind,
        "kwargs": arguments,
        "meta": meta,
        "notes": ": ".join(filter(None, (rule, reason))),
        "severity": "critical" if severity == "error" else "warning",
    }
