"""Sums of cost rows by a tag or a column, for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.cost.focus import WITHOUT
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

#: The group of rows that lack the tag.
UNTAGGED = "(none)"


def report(rows: pa.Table, *, by: str) -> list[dict[str, Any]]:
    """Sums costs by a tag or a FOCUS column.

    Args:
        rows: Rows of `ops/platform/costs`.
        by: A tag (`workload_class`, `cost_centre`, …) or a column (`ResourceId`, `SkuId`, `x_run_id`, …).

    Returns:
        One entry for each value of the tag or column, the most expensive first: the value under its name, `cost`,
        `currency`, and `runs`, the number of asset runs.

    Raises:
        SettingsError: if no row has such a tag or column.
    """
    groups: dict[str, dict[str, Any]] = {}
    tagged = [(row, json.loads(row["Tags"])) for row in rows.to_pylist()]
    if tagged and not any(by in tags or by in row for row, tags in tagged):
        raise SettingsError(
            object=f"cost report by {by!r}",
            observed="no cost row has it",
            expected=f"a tag ({', '.join(sorted({name for _, tags in tagged for name in tags}))}) or a FOCUS column",
            next_step="use one of these names with --by",
        )
    for row, tags in tagged:
        value = str(tags.get(by, row.get(by, UNTAGGED)))
        group = groups.setdefault(value, {by: value, "cost": 0.0, "currency": row["BillingCurrency"], "runs": set()})
        group["cost"] += row["BilledCost"]
        group["runs"].add((row["x_run_id"], row["ResourceId"]))
    ranked = sorted(groups.values(), key=lambda group: -group["cost"])
    return [group | {"runs": len(group["runs"])} for group in ranked]


def unmetered(rows: pa.Table) -> dict[str, int]:
    """What the costs of runs do not include, since it could not be measured, with the number of asset runs."""
    runs: dict[str, set[tuple[str, str]]] = {}
    for row in rows.select(["ChargeDescription", "x_run_id", "ResourceId"]).to_pylist():
        _, _, parts = row["ChargeDescription"].partition(WITHOUT)
        if parts:
            runs.setdefault(parts, set()).add((row["x_run_id"], row["ResourceId"]))
    return {parts: len(found) for parts, found in sorted(runs.items())}
