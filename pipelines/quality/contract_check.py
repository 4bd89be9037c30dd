"""The asset check of a table's whole contract, with the figures of its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from pipelines.contracts.model import Contract, Severity
from pipelines.governed.declaration import Check
from pipelines.quality import expectations, recorded
from pipelines.tables import TableVersion
from pipelines.verdict.verdict import Verdict

CONTRACT_CHECK = "contract"
#: The share of a run's rows that makes the check a warning, if so many are rejected or break a rule that is a warning.
NOTABLE_SHARE = 0.1


def contract_check(contract: Contract) -> Check:
    """The declaration of one check for all rules of a contract: a check per rule would fill Dagster's event log."""
    description = f"Contract {contract.path.name}: row and table rules, judged before the version is published"
    return Check(CONTRACT_CHECK, description, blocking=True)


def check_result(verdict: Verdict, *, folder: Path, words: Sequence[str] = ()) -> dg.AssetCheckResult:
    """The result of a contract's check; records the complete validation result in `folder` (`<home>/quality`).

    The description has the number of rows, the further `words`, and why the check is a warning.
    """
    validation = expectations.validation_result(verdict)
    path = recorded.record(validation, verdict.contract, folder=folder)
    rows_by_broken_rule = {result.rule.name: result.rows for result in verdict.rules if result.rows}
    # Only silver has a quarantine; in another zone a rejected row is a defect of the transform.
    has_quarantine = verdict.contract.table.zone == "silver"
    is_error = not verdict.passed or (verdict.rows_quarantined > 0 and not has_quarantine)
    warnings = _warnings(verdict)
    records = _records(verdict)
    statistics = validation["statistics"]
    return dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=not is_error and not warnings,
        severity=dg.AssetCheckSeverity.ERROR if is_error or not warnings else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(verdict.contract.table.key),
        description=_description(verdict, [*words, *warnings]),
        metadata={
            "rows_in": verdict.rows_in,
            "rows_clean": verdict.rows_clean,
            "rows_quarantined": verdict.rows_quarantined,
            "expectations": statistics["evaluated_expectations"],
            "expectations_met": statistics["successful_expectations"],
            "rules": dg.MetadataValue.table(records, schema=_RECORD_SCHEMA) if records else "none",
            "rows_by_broken_rule": dg.MetadataValue.json(rows_by_broken_rule),
            "validation_result": dg.MetadataValue.path(str(path.resolve())),
        },
    )


def unchanged_result(
    contract: Contract, at: TableVersion, findings: Sequence[tuple[Severity, str]]
) -> dg.AssetCheckResult:
    """The result of a contract's check in a run that had nothing to do.

    Args:
        contract: The contract.
        at: The version that stays published.
        findings: What makes it too old by now.
    """
    is_error = any(severity == "error" for severity, _ in findings)
    judged_before = f"nothing new: version {at.version} was judged when it was published"
    return dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=not findings,
        severity=dg.AssetCheckSeverity.ERROR if is_error or not findings else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(contract.table.key),
        description="; ".join([judged_before, *(words for _, words in findings)]),
        metadata={"nothing_new": True},
    )


_RECORD_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("rule", "string"),
        dg.TableColumn("column", "string"),
        dg.TableColumn("severity", "string"),
        dg.TableColumn("observed", "string"),
        dg.TableColumn("met", "bool"),
    ]
)


def _records(verdict: Verdict) -> list[dg.TableRecord]:
    """One record for each rule, as the UI shows it."""
    records = [
        {"rule": r.rule.name, "column": r.rule.column, "severity": r.rule.severity, "observed": f"{r.rows} rows",
         "met": r.rows == 0}
        for r in verdict.rules
    ]  # fmt: skip
    records += [
        {"rule": r.rule.name, "column": "(table)", "severity": r.rule.severity, "observed": str(r.observed),
         "met": r.passed}
        for r in verdict.table_rules
    ]  # fmt: skip
    return [dg.TableRecord(record) for record in records]


def _warnings(verdict: Verdict) -> list[str]:
    """What makes the check of a published version a warning: failed warnings, and rules that a large share breaks."""
    failed = [str(r) for r in verdict.table_rules if not r.passed and r.rule.severity == "warning"]
    share = verdict.rows_quarantined / max(verdict.rows_in, 1)
    return (
        failed
        + [
            f"{r.rule.name} broken by {r.rows:,} of them, a warning"
            for r in verdict.rules
            if r.rule.severity == "warning" and r.rows >= NOTABLE_SHARE * verdict.rows_in > 0
        ]
        + ([f"{share:.0%} were rejected"] if share >= NOTABLE_SHARE else [])
    )


def _description(verdict: Verdict, words: Sequence[str]) -> str:
    failed = [str(r) for r in verdict.table_rules if not r.passed and r.rule.severity == "error"]
    rows = f"{verdict.rows_clean:,} of {verdict.rows_in:,} rows clean, {verdict.rows_quarantined:,} in quarantine"
    return "; ".join([*failed, rows, *words])
