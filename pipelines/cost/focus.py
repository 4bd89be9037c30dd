"""What a run used, measured; what that costs, priced; and the rows that say so, in the FOCUS format.

FOCUS is the FinOps Open Cost and Usage Specification (column names as in version 1.2); our own columns begin with `x_`.
Grain of `ops/platform/costs`: one row for each asset run and resource (CPU, memory, GPU, bytes moved).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import SettingsError
from pipelines.tables import TableId

if TYPE_CHECKING:
    import psutil
    import pyarrow as pa

COSTS = TableId("ops", "platform", "costs")
GIB = 1024**3
SAMPLE_SECONDS = 0.2
UNTAGGED = "(none)"


@dataclass(slots=True)
class Usage:
    """What one run used. Memory is the peak resident set of this process and its children, in bytes.

    `watched` are processes that work for the run and are no children of it, such as a Ray head on this machine.
    """

    started_at: datetime
    ended_at: datetime | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    accelerator: str | None = None
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    watched: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """Unit prices in one currency; `unit_prices` maps a resource to its price for one unit."""

    currency: str
    as_of: str
    unit_prices: Mapping[str, float]
    gpu_hour: Mapping[str, float]

    @classmethod
    def load(cls, path: Path) -> PriceSheet:
        """Reads a price sheet; raises SettingsError if it lacks a price."""
        import yaml

        needed = ("cpu_core_hour", "memory_gib_hour", "bytes_read_gib", "bytes_written_gib")
        try:
            sheet = yaml.safe_load(path.read_text(encoding="utf-8"))
            prices = {name: float(sheet[name]) for name in needed}
            gpus = {str(name): float(price) for name, price in sheet["gpu_hour"].items()}
            return cls(sheet["currency"], str(sheet["as_of"]), prices, gpus)
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise SettingsError(
                object=f"price sheet {path}",
                observed=f"{type(error).__name__}: {error}",
                expected=f"currency, as_of, gpu_hour and a number for each of {', '.join(needed)}",
                next_step="correct the file, or name another with GOLDPATH_PRICES",
            ) from None


@dataclass(frozen=True, slots=True)
class Charge:
    """One priced resource of one run."""

    resource: str
    quantity: float
    unit: str
    unit_price: float

    @property
    def cost(self) -> float:
        return self.quantity * self.unit_price


def price(usage: Usage, sheet: PriceSheet) -> list[Charge]:
    """The charges of a run; memory is charged as peak times duration."""
    hours = usage.seconds / 3600
    charges = [
        Charge("CPU", usage.cpu_seconds / 3600, "Core-Hours", sheet.unit_prices["cpu_core_hour"]),
        Charge("Memory", usage.peak_memory_bytes / GIB * hours, "GiB-Hours", sheet.unit_prices["memory_gib_hour"]),
        Charge("Bytes read", usage.bytes_read / GIB, "GiB", sheet.unit_prices["bytes_read_gib"]),
        Charge("Bytes written", usage.bytes_written / GIB, "GiB", sheet.unit_prices["bytes_written_gib"]),
    ]
    if usage.gpu_seconds:
        rate = sheet.gpu_hour.get(usage.accelerator or "default", sheet.gpu_hour["default"])
        charges.append(Charge("GPU", usage.gpu_seconds / 3600, "GPU-Hours", rate))
    return charges


@dataclass(slots=True)
class Meter:
    """Measures this process and its children while a run is on."""

    usage: Usage
    _stop: threading.Event = field(default_factory=threading.Event)
    _cpu_by_pid: dict[int, tuple[float, float]] = field(default_factory=dict)

    def _sample(self) -> None:
        import psutil

        resident = 0
        seen: set[int] = set()
        for root in (os.getpid(), *self.usage.watched):
            with contextlib.suppress(psutil.Error):
                for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
                    if process.pid not in seen:
                        seen.add(process.pid)
                        with contextlib.suppress(psutil.Error):
                            resident += self._one(process)
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, resident)

    def _one(self, process: psutil.Process) -> int:
        with process.oneshot():
            times, memory, born = process.cpu_times(), process.memory_info(), process.create_time()
        cpu = times.user + times.system
        # A process that was there before counts from its first sample on; one born within the run counts whole.
        base = 0.0 if born >= self.usage.started_at.timestamp() else cpu
        first, _ = self._cpu_by_pid.get(process.pid, (base, cpu))
        self._cpu_by_pid[process.pid] = (first, cpu)
        return memory.rss - getattr(memory, "shared", 0)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()


@contextlib.contextmanager
def metering() -> Iterator[Usage]:
    """Fills in a `Usage` while the block runs, also when it raises."""
    usage = Usage(started_at=datetime.now(UTC))
    meter = Meter(usage)
    begun = time.perf_counter()
    meter._sample()
    sampler = threading.Thread(target=meter._run, name="meter", daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        meter._stop.set()
        sampler.join()
        meter._sample()
        usage.seconds = time.perf_counter() - begun
        usage.ended_at = datetime.now(UTC)
        usage.cpu_seconds += sum(last - first for first, last in meter._cpu_by_pid.values())


def focus_rows(
    *, asset: str, run_id: str, status: str, usage: Usage, sheet: PriceSheet, tags: Mapping[str, str], service: str
) -> pa.Table:
    """One FOCUS row for each charge of a run, as Arrow; times UTC, money in the sheet's currency."""
    import pyarrow as pa

    month = usage.started_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
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
            "ChargeDescription": f"{charge.resource} of a run of {asset}",
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
    position = table.schema.get_field_index("ChargeClass")  # null for what corrects no earlier bill, and a text still
    return table.set_column(position, "ChargeClass", table["ChargeClass"].cast(pa.string()))


_MODEL_WORK = ("features", "training", "serving")


def report(rows: pa.Table, *, by: str) -> list[dict[str, Any]]:
    """Cost by a tag or a FOCUS column, largest first.

    Args:
        rows: Rows of `ops/platform/costs`.
        by: A tag (`workload_class`, `cost_centre`, …) or a column (`ResourceId`, `SkuId`, `x_run_id`, …).

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
        name = str(tags.get(by, row.get(by, UNTAGGED)))
        group = groups.setdefault(name, {by: name, "cost": 0.0, "currency": row["BillingCurrency"], "runs": set()})
        group["cost"] += row["BilledCost"]
        group["runs"].add((row["x_run_id"], row["ResourceId"]))
    ranked = sorted(groups.values(), key=lambda group: -group["cost"])
    return [group | {"runs": len(group["runs"])} for group in ranked]
