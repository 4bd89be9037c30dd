"""What Dagster shows about rejected rows: the number of open, corrected and discarded rows, and of rows by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.quality import plots, svg
from pipelines.tables import DECISION, REASONS
from pipelines.verdict.row_rules import DISCARDED
from pipelines.verdict.verdict import Verdict

if TYPE_CHECKING:
    from pipelines.lakehouse.staging import Staged
    from pipelines.quarantine.decisions import EffectiveDecisions

_REASONS_SCHEMA = dg.TableSchema(
    [dg.TableColumn("reason"), dg.TableColumn("column"), dg.TableColumn("rule"), dg.TableColumn("rows", "int")]
)


def figures(verdict: Verdict, rejected: Staged, decisions: EffectiveDecisions) -> dict[str, Any]:
    """Counts of the rows that one run rejected: by state, and by reason without the discarded rows.

    Args:
        verdict: The verdict about the same rows.
        rejected: The rows that the run publishes in quarantine.
        decisions: The decisions that count for these rows.

    Returns:
        `rows_open`, `rows_corrected`, `rows_discarded`, `reasons` (a table) and, for each reason, its rows under
        `rejected: <reason>`.
    """
    states, discarded = _count_decided(rejected) if decisions else (Counter(), Counter())
    reasons = _reasons(verdict, discarded)
    return {
        "rows_open": rejected.rows - states["corrected"] - states["discarded"],
        "rows_corrected": states["corrected"],
        "rows_discarded": states["discarded"],
        "reasons": dg.MetadataValue.table([dg.TableRecord(row) for row in reasons], schema=_REASONS_SCHEMA)
        if reasons
        else "none",
        **{f"rejected: {row['reason']}": row["rows"] for row in reasons},
    }


def total(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums of the counts of several commits of one run; a single commit's figures are returned as they are."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name, value in part.items() if isinstance(value, int))
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def plot(figures: dict[str, Any]) -> dict[str, Any]:
    """The reasons in the result of `figures` as a bar chart; empty if there are none."""
    prefix = "rejected: "
    bars = {name.removeprefix(prefix): rows for name, rows in figures.items() if name.startswith(prefix)}
    if not bars:
        return {}
    return {"rejected_by_reason": dg.MetadataValue.md(plots.markdown(svg.bars(bars, title="Rejected rows by reason")))}


def _count_decided(rejected: Staged) -> tuple[Counter[str], Counter[str]]:
    """The number of rows by decided state (`corrected`, `discarded`), and of discarded rows by reason."""
    import pyarrow.dataset as ds

    if not rejected.files:
        return Counter(), Counter()
    files = ds.dataset([str(file.path) for file in rejected.files], format="parquet")
    rows = files.to_table(columns=[DECISION, REASONS], filter=ds.field(DECISION) != "open").to_pylist()
    discarded = [reason["code"] for row in rows if row[DECISION] == "discarded" for reason in row[REASONS]]
    return Counter(row[DECISION] for row in rows), Counter(discarded)


def _reasons(verdict: Verdict, discarded: Counter[str]) -> list[dict[str, Any]]:
    """The rejected rows by reason, without the discarded rows; the most frequent reason first."""
    reasons = [
        {
            "reason": result.rule.name,
            "column": result.rule.column,
            "rule": result.rule.kind,
            "rows": result.rows - discarded[result.rule.name],
        }
        for result in verdict.rules
        if result.rule.severity == "error" and result.rule != DISCARDED
    ]
    return sorted((row for row in reasons if row["rows"]), key=lambda row: (-row["rows"], row["reason"]))
