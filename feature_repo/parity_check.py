"""How parity is shown in Dagster: the blocking check of an online store, and its tables."""

from __future__ import annotations

from typing import Any

import dagster as dg

from feature_repo.parity import Parity
from pipelines.governed.declaration import Check

CHECK = Check("parity", "The online store answers what the as-of join gives, value by value", blocking=True)
#: How many differences the check shows.
SHOWN = 20
_TEXT_COLUMNS = ("view", "entity", "feature", "online", "as_of_join")


def check_result(parity: Parity, asset: str) -> dg.AssetCheckResult:
    """The result of the check of an online store, which `asset` names."""
    again = f"; fill the store anew: goldpath materialize {asset} --recompute" if parity.differences else ""
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not parity.differences,
        severity=dg.AssetCheckSeverity.ERROR,
        description=parity.words + again,
        metadata={"differences": _differences(parity)} if parity.differences else {},
    )


def figures(parity: Parity) -> dict[str, Any]:
    """Metadata of the asset: the comparison by view, and the number of values that differ."""
    records = [
        dg.TableRecord(
            {
                "view": view.view,
                "entities": view.entities,
                "values": view.values,
                "ahead_by_events": view.ahead,
                "differences": len(view.differences),
            }
        )
        for view in parity.views
    ]
    return {"parity": dg.MetadataValue.table(records), "parity_differences": len(parity.differences)}


def _differences(parity: Parity) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            dict(
                zip(
                    _TEXT_COLUMNS,
                    (d.view, ", ".join(map(str, d.entity.values())), d.feature, str(d.online), str(d.offline)),
                    strict=True,
                )
            )
        )
        for d in parity.differences[:SHOWN]
    ]
    return dg.MetadataValue.table(records)
