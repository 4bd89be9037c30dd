"""What Dagster shows about rejected rows: how many are open, corrected or discarded, and why, as numbers to plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.quality import plots
from pipelines.tables import DECISION
from pipelines.verdict.row_rules import DISCARDED, REASONS
from pipelines.verdict.verdict import Verdict

if TYPE_CHECKING:
    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import InEffect

_RECORD = dg.TableSchema(
    [dg.TableColumn("reason"), dg.TableColumn("column"), dg.TableColumn("rule"), dg.TableColumn("rows", "int")]
)


def figures(result: Verdict, rejected: Staged, decided: InEffect) -> dict[str, Any]:
    """Counts of the rows that one run rejected: by state, and `rejected: <reason>` for those that are not discarded.

    Args:
        result: The verdict about the same rows.
        rejected: What the run publishes in quarantine.
        decided: What was decided about some of them.
    """
    states, reasons = _decided(rejected) if decided else (Counter(), Counter())
    counts = _waiting(result, reasons)
    return {
        "rows_open": rejected.rows - states["corrected"] - states["discarded"],
        "rows_corrected": states["corrected"],
        "rows_discarded": states["discarded"],
        "reasons": dg.MetadataValue.table([dg.TableRecord(row) for row in counts], schema=_RECORD)
        if counts
        else "none",
        **{f"rejected: {row['reason']}": row["rows"] for row in counts},
    }


def total(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts of several commits of one run together."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name, value in part.items() if isinstance(value, int))
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def plot(shown: dict[str, Any]) -> dict[str, Any]:
    """The reasons among `figures` as a plot, which is large and said once per run; nothing where no row waits."""
    prefix = "rejected: "
    bars = {name.removeprefix(prefix): rows for name, rows in shown.items() if name.startswith(prefix)}
    if not bars:
        return {}
    return {
        "rejected_by_reason": dg.MetadataValue.md(plots.markdown(plots.bars(bars, title="Rejected rows by reason")))
    }


def _decided(rejected: Staged) -> tuple[Counter[str], Counter[str]]:
    """How many rows are in each state that people decided, and how many discarded ones have each reason."""
    import pyarrow.dataset as ds

    if not rejected.files:
        return Counter(), Counter()
    files = ds.dataset([str(file.path) for file in rejected.files], format="parquet")
    rows = files.to_table(columns=[DECISION, REASONS], filter=ds.field(DECISION) != "open").to_pylist()
    discarded = [reason["code"] for row in rows if row[DECISION] == "discarded" for reason in row[REASONS]]
    return Counter(row[DECISION] for row in rows), Counter(discarded)


def _waiting(result: Verdict, discarded: Counter[str]) -> list[dict[str, Any]]:
    """Rows by reason without those that were discarded, most first."""
    found = [
        {
            "reason": each.rule.name,
            "column": each.rule.column,
            "rule": each.rule.kind,
            "rows": each.rows - discarded[each.rule.name],
        }
        for each in result.rules
        if each.rule.severity == "error" and each.rule != DISCARDED
    ]
    return sorted((row for row in found if row["rows"]), key=lambda row: (-row["rows"], row["reason"]))
