"""What usage costs: a price sheet, and the charges of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.cost.metering import Usage
from pipelines.errors import SettingsError

GIB = 1024**3


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
