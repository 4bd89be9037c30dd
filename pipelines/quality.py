"""A verdict as Great Expectations and Dagster show it: one validation result, one check for each contract.

The figures are those of the verdict, measured in the pass that wrote the rows. They are put into the form of a Great
Expectations validation result, one expectation for each rule, and kept as JSON below `<home>/quality`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.contracts import Contract, RowRule, TableRule
from pipelines.governed import Check
from pipelines.verdict import RuleResult, TableRuleResult, Verdict

CONTRACT_CHECK = "contract"

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration


def contract_check(contract: Contract) -> Check:
    """The check that stands for a whole contract: few, fat checks keep Dagster's event log small."""
    words = f"Contract {contract.path.name}: row and table rules, judged before the version is published"
    return Check(CONTRACT_CHECK, words, blocking=True)


def check_result(verdict: Verdict, *, folder: Path) -> dg.AssetCheckResult:
    """The asset check of one contract; the whole validation result lies in `folder`."""
    validation = validation_result(verdict)
    path = folder / verdict.contract.table.source_name / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(validation.to_json_dict(), indent=1), encoding="utf-8")
    broken = {result.rule.name: result.rows for result in verdict.rules if result.rows}
    derived = verdict.contract.table.zone != "silver"  # no quarantine: a broken row is a defect of the transform
    passed = verdict.passed and not (derived and verdict.rows_quarantined)
    statistics = validation.statistics
    return dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        asset_key=dg.AssetKey(verdict.contract.table.key),
        description=_words(verdict),
        metadata={
            "rows_in": verdict.rows_in,
            "rows_clean": verdict.rows_clean,
            "rows_quarantined": verdict.rows_quarantined,
            "expectations": statistics["evaluated_expectations"],
            "expectations_met": statistics["successful_expectations"],
            "rules": dg.MetadataValue.table(_records(verdict), schema=_RECORD) if _records(verdict) else "none",
            "rows_by_broken_rule": dg.MetadataValue.json(broken),
            "validation_result": dg.MetadataValue.path(str(path)),
        },
    )


_RECORD = dg.TableSchema(
    [
        dg.TableColumn("rule", "string"),
        dg.TableColumn("column", "string"),
        dg.TableColumn("severity", "string"),
        dg.TableColumn("observed", "string"),
        dg.TableColumn("met", "bool"),
    ]
)


def _records(verdict: Verdict) -> list[dg.TableRecord]:
    rows = [
        {"rule": r.rule.name, "column": r.rule.column, "severity": r.rule.severity, "observed": f"{r.rows} rows",
         "met": r.rows == 0}
        for r in verdict.rules
    ]  # fmt: skip
    rows += [
        {"rule": t.rule.name, "column": "(table)", "severity": t.rule.severity, "observed": str(t.observed),
         "met": t.passed}
        for t in verdict.table_rules
    ]  # fmt: skip
    return [dg.TableRecord(row) for row in rows]


def _words(verdict: Verdict) -> str:
    failed = [r for r in verdict.table_rules if not r.passed]
    if failed:
        return "; ".join(f"{r.rule.name} saw {r.observed}" for r in failed)
    return f"{verdict.rows_clean:,} of {verdict.rows_in:,} rows clean, {verdict.rows_quarantined:,} in quarantine"


def validation_result(verdict: Verdict) -> ExpectationSuiteValidationResult:
    """The verdict in Great Expectations' own form."""
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

    results = [_row_result(result, verdict.rows_in) for result in verdict.rules]
    results += [_table_result(result) for result in verdict.table_rules]
    met = sum(bool(result.success) for result in results)
    assert all(isinstance(result, ExpectationValidationResult) for result in results)
    return ExpectationSuiteValidationResult(
        success=met == len(results),
        results=results,
        suite_name=str(verdict.contract.table),
        suite_parameters={},
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100.0 * met / len(results) if results else 100.0,
        },
        meta={"contract": verdict.contract.path.name, "contract_version": verdict.contract.version},
    )


def _row_result(result: RuleResult, rows: int) -> Any:
    from great_expectations.core import ExpectationValidationResult

    return ExpectationValidationResult(
        success=result.rows == 0,
        expectation_config=expectation(result.rule),
        result={
            "element_count": rows,
            "unexpected_count": result.rows,
            "unexpected_percent": 100.0 * result.rows / rows if rows else 0.0,
        },
    )


def _table_result(result: TableRuleResult) -> Any:
    from great_expectations.core import ExpectationValidationResult

    return ExpectationValidationResult(
        success=result.passed,
        expectation_config=table_expectation(result.rule),
        result={"observed_value": result.observed},
    )


def expectation(rule: RowRule) -> ExpectationConfiguration:
    """The Great Expectations name and arguments of a row rule."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    meta = {"rule": rule.name, "severity": rule.severity, "reason": rule.reason}
    column = {"column": rule.column}
    match rule.kind:
        case "required":
            kind, arguments = "expect_column_values_to_not_be_null", column
        case "type":
            kind, arguments = "expect_column_values_to_be_of_type", column | {"type_": str(rule.argument)}
        case "range":
            bounds = {"min_value": rule.argument[0], "max_value": rule.argument[1]}
            kind, arguments = "expect_column_values_to_be_between", column | bounds
        case "set":
            kind, arguments = "expect_column_values_to_be_in_set", column | {"value_set": list(rule.argument)}
        case "pattern":
            kind, arguments = "expect_column_values_to_match_regex", column | {"regex": rule.argument}
        case "duplicate":
            kind, arguments = "expect_compound_columns_to_be_unique", {"column_list": list(rule.argument)}
        case "reference":
            kind = "expect_column_values_to_be_in_set"
            arguments = column | {"value_set": [f"{rule.argument[0]}.{rule.argument[1]}"]}
        case _:
            kind = "unexpected_rows_expectation"
            arguments = {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE NOT ({rule.argument})"}
    return ExpectationConfiguration(type=kind, kwargs=arguments, meta=meta)


def table_expectation(rule: TableRule) -> ExpectationConfiguration:
    """The Great Expectations name and arguments of a table rule."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    bounds = {"min_value": rule.minimum, "max_value": rule.maximum}
    meta = {"rule": rule.name, "severity": rule.severity, "reason": rule.reason, "aggregate": rule.expression}
    if rule.expression == "count(1)":
        return ExpectationConfiguration(type="expect_table_row_count_to_be_between", kwargs=bounds, meta=meta)
    kind = "expect_query_results_to_match_comparison"
    return ExpectationConfiguration(type=kind, kwargs=bounds, meta=meta)
