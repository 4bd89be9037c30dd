"""The costs of runs, as rows in the FOCUS format.

FOCUS is the FinOps Open Cost and Usage Specification; the column names are those of version 1.2, and Goldpath's own
columns begin with `x_`. Grain of `ops/platform/costs`: one row for each asset run and resource (CPU, memory, GPU, bytes
read, bytes written).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.cost.metering import Usage
from pipelines.cost.prices import PriceSheet, price
from pipelines.lakehouse.base import Lakehouse
from pipelines.tables import TableId

if TYPE_CHECKING:
    import pyarrow as pa

COSTS = TableId("ops", "platform", "costs")
#: In a charge's description, what stands before the parts of the run whose use and cost are unknown.
WITHOUT = "; unknown and not included: "
#: The workload classes whose FOCUS service category is "AI and Machine Learning".
_MODEL_WORK = ("features", "training", "serving")


def charge(
    house: Lakehouse,
    sheet: PriceSheet,
    *,
    asset: str,
    run_id: str,
    status: str,
    usage: Usage,
    tags: Mapping[str, str],
    service: str,
) -> float:
    """Appends the cost rows of a run to the cost table.

    Args:
        house: The lakehouse that holds the cost table.
        sheet: The prices.
        asset: The asset's key, slash-joined.
        run_id: The run's id.
        status: How the run ended.
        usage: What the run used.
        tags: The asset's cost tags.
        service: FOCUS `ServiceName`: the part of the platform that did the work.

    Returns:
        The cost of the run, in the sheet's currency.
    """
    rows = focus_rows(asset=asset, run_id=run_id, status=status, usage=usage, sheet=sheet, tags=tags, service=service)
    house.record(COSTS, rows)
    return float(sum(charge.cost for charge in price(usage, sheet)))


def focus_rows(
    *, asset: str, run_id: str, status: str, usage: Usage, sheet: PriceSheet, tags: Mapping[str, str], service: str
) -> pa.Table:
    """One FOCUS row for each charge of a run, as Arrow; times in UTC, money in the sheet's currency."""
    import pyarrow as pa

    month = usage.started_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    unmetered = f"{WITHOUT}{', '.join(sorted(usage.unmetered))}" if usage.unmetered else ""
    rows: list[dict[str, Any]] = [
        {
            "BilledCost": charge.cost,
            "EffectiveCost": charge.cost,
            "ListCost": charge.cost,
            "ContractedCost": charge.cost,
            "BillingCurrency": sheet.currency,
            "BillingAccountId": tags["cost_centre"],
            "BillingAccountName": tags["cost_centre"],
            "BillingPeriodStart": month,
            "BillingPeriodEnd": next_month,
            "ChargePeriodStart": usage.started_at,
            "ChargePeriodEnd": usage.ended_at,
            "ChargeCategory": "Usage",
            "ChargeClass": None,
            "ChargeFrequency": "Usage-Based",
            "ChargeDescription": f"{charge.resource} of a run of {asset}{unmetered}",
            "ConsumedQuantity": charge.quantity,
            "ConsumedUnit": charge.unit,
            "PricingQuantity": charge.quantity,
            "PricingUnit": charge.unit,
            "ListUnitPrice": charge.unit_price,
            "ContractedUnitPrice": charge.unit_price,
            "ProviderName": "Goldpath",
            "PublisherName": "Goldpath",
            "InvoiceIssuerName": "Goldpath",
            "ServiceName": service,
            "ServiceCategory": "AI and Machine Learning" if tags["workload_class"] in _MODEL_WORK else "Analytics",
            "ResourceId": asset,
            "ResourceName": asset.rsplit("/", 1)[-1],
            "ResourceType": "asset",
            "SkuId": charge.resource,
            "SkuPriceId": charge.resource,
            "Tags": json.dumps(dict(tags), sort_keys=True),
            "x_run_id": run_id,
            "x_status": status,
            "x_seconds": usage.seconds,
            "x_peak_memory_bytes": usage.peak_memory_bytes,
            "x_price_sheet": sheet.as_of,
        }
        for charge in price(usage, sheet)
    ]
    table = pa.Table.from_pylist(rows)
    # Null, since no row corrects an earlier bill; FOCUS wants a text column all the same.
    position = table.schema.get_field_index("ChargeClass")
    return table.set_column(position, "ChargeClass", table["ChargeClass"].cast(pa.string()))
