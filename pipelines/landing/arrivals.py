"""What people see of arrivals: one check on each bronze asset, and a table of everything that was noticed.

The check never blocks: what is wrong with one file keeps no other from being taken.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.governed.declaration import Check
from pipelines.landing.edge import Edge, Finding
from pipelines.tables import TableId

if TYPE_CHECKING:
    import pyarrow as pa

#: Grain: one row per finding and run; what a person or an alert reads to react.
FINDINGS = TableId("ops", "platform", "findings")
CHECK = Check("arrivals", "Each delivery complete, as its manifest and contract say, and new", blocking=False)
SHOWN = 200
#: Characters of a finding that the check's description has.
WIDTH = 100
_COLUMNS = ("delivery", "code", "treatment", "observed", "expected", "next")


def check_result(edge: Edge, *, files: int, rows: int) -> dg.AssetCheckResult:
    """Passed if every delivery was taken and none was strange; an error if one was refused, else a warning."""
    found, contract = edge.findings, edge.contract
    refused = [r for r in edge.ledger.records(fate="refused") if edge.landing.now(r.delivery) is not None]
    bad = [finding for finding in found if finding.treatment == "refused"] or refused
    notable = [finding for finding in found if finding.code != "duplicate"]
    parts = [f"{counted(files, 'file')} with {counted(rows, 'row')} taken"]
    for code in sorted({finding.code for finding in found}):
        observed = [finding.observed for finding in found if finding.code == code]
        first = textwrap.shorten(observed[0], WIDTH, placeholder=" …")
        parts.append(f"{code}: {first}" + (f", and {len(observed) - 1:,} more" if observed[1:] else ""))
    parts += [f"{len(refused)} refused and still there"] if refused else []
    records = [dg.TableRecord(dict(zip(_COLUMNS, _words(finding), strict=True))) for finding in found[:SHOWN]]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in _COLUMNS])
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not bad and not notable,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(contract.table.key),
        description="; ".join(parts),
        metadata={
            "files_taken": files,
            "files_refused": len(refused),
            "findings": dg.MetadataValue.table(records, schema=schema) if records else "none",
        },
    )


def finding_rows(found: Sequence[Finding], *, table: TableId, run_id: str) -> pa.Table:
    """Findings as rows: the instant (UTC), the run, the table, and what the finding says."""
    import pyarrow as pa

    now = datetime.now(UTC)
    columns = dict(zip(_COLUMNS, zip(*map(_words, found), strict=True), strict=True))
    return pa.table(
        {
            "noticed_at": pa.array([now] * len(found), pa.timestamp("us", "UTC")),
            "run_id": [run_id] * len(found),
            "table": [str(table)] * len(found),
            **{name: pa.array(values, pa.string()) for name, values in columns.items()},
        }
    )


def counted(number: int, thing: str) -> str:
    """A number with its noun."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _words(finding: Finding) -> tuple[str, ...]:
    return (finding.subject, finding.code, finding.treatment, finding.observed, finding.expected, finding.next_step)
