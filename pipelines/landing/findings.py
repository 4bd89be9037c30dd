"""Findings: what runs noticed about deliveries, as values and as rows of the table `ops/platform/findings`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pipelines.tables import TableId

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lakehouse.base import Lakehouse

Treatment = Literal["refused", "waiting", "skipped", "taken"]

#: Grain: one row per finding and run. People and alerts read it.
FINDINGS = TableId("ops", "platform", "findings")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a delivery that a person may have to act on, and what the run did with the delivery.

    Attributes:
        subject: The delivery's uri.
        code: The reason in one word, such as `duplicate`.
        treatment: What the run did with the delivery.
        observed: What was seen.
        expected: What would have been right.
        next_step: What the reader can do now.
    """

    subject: str
    code: str
    treatment: Treatment
    observed: str
    expected: str = ""
    next_step: str = ""

    def columns(self) -> dict[str, str]:
        """The finding's values by their column names in the findings table."""
        return {
            "delivery": self.subject,
            "code": self.code,
            "treatment": self.treatment,
            "observed": self.observed,
            "expected": self.expected,
            "next": self.next_step,
        }


def record(house: Lakehouse, findings: Sequence[Finding], *, table: TableId, run_id: str) -> None:
    """Appends the findings of one run over one table to the findings table; without findings it writes nothing."""
    if findings:
        house.record(FINDINGS, rows(findings, table=table, run_id=run_id))


def rows(findings: Sequence[Finding], *, table: TableId, run_id: str) -> pa.Table:
    """At least one finding as rows: the current instant (UTC), the run, the table, and the finding's own columns."""
    import pyarrow as pa

    count, now = len(findings), datetime.now(UTC)
    columns = [finding.columns() for finding in findings]
    return pa.table(
        {
            "noticed_at": pa.array([now] * count, pa.timestamp("us", "UTC")),
            "run_id": [run_id] * count,
            "table": [str(table)] * count,
            **{name: pa.array([row[name] for row in columns], pa.string()) for name in columns[0]},
        }
    )
