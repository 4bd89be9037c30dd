"""The asset check that stands for a table's whole contract, with the figures of its verdict."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import Check
from pipelines.quality import expectations, recorded
from pipelines.tables import TableVersion
from pipelines.verdict.verdict import Verdict

CONTRACT_CHECK = "contract"


def contract_check(contract: Contract) -> Check:
    """The check that stands for a whole contract: few, fat checks keep Dagster's event log small."""
    words = f"Contract {contract.path.name}: row and table rules, judged before the version is published"
    return Check(CONTRACT_CHECK, words, blocking=True)


def check_result(verdict: Verdict, *, folder: Path) -> dg.AssetCheckResult:
    """The asset check of one contract; the whole validation result lies in `folder`."""
    validation = expectations.validation_result(verdict)
    path = recorded.record(validation, verdict.contract, folder=folder)
    broken = {result.rule.name: result.rows for result in verdict.rules if result.rows}
    derived = verdict.contract.table.zone != "silver"  # no quarantine: a broken row is a defect of the transform
    passed = verdict.passed and not (derived and verdict.rows_quarantined)
    statistics = validation["statistics"]
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


def unchanged_result(contract: Contract, at: TableVersion) -> dg.AssetCheckResult:
    """The check of a run that found nothing new: what is published was judged when it was."""
    return dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=True,
        asset_key=dg.AssetKey(contract.table.key),
        description=f"nothing new: version {at.version} was judged when it was published",
        metadata={"nothing_new": True},
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
