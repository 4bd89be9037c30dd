"""A price sheet, and the charges for what a run used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cost.metering import Usage
from pipelines.errors import SettingsError

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """Unit prices in one currency.

    Attributes:
        currency: ISO 4217 code.
        as_of: The day that the prices are of, as the file has it.
        unit_prices: Price of a core hour, a GiB hour of memory, a GiB read and a GiB written.
        gpu_hour: Price of one GPU for one hour, by accelerator; `default` is that of every other one.
    """

    currency: str
    as_of: str
    unit_prices: Mapping[str, float]
    gpu_hour: Mapping[str, float]

    @classmethod
    def load(cls, path: Path) -> PriceSheet:
        """Reads a price sheet, a YAML file.

        Raises:
            SettingsError: if it is not readable, lacks a price, or has one that is negative or no number.
        """
        import yaml

        required = ("cpu_core_hour", "memory_gib_hour", "bytes_read_gib", "bytes_written_gib")
        try:
            sheet = yaml.safe_load(path.read_text(encoding="utf-8"))
            prices = {name: _price(name, sheet[name]) for name in required}
            gpus = {str(name): _price(f"gpu_hour {name}", price) for name, price in sheet["gpu_hour"].items()}
            return cls(sheet["currency"], str(sheet["as_of"]), prices, gpus)
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise SettingsError(
                object=f"price sheet {path}",
                observed=f"{type(error).__name__}: {error}",
                expected=f"currency, as_of, gpu_hour and a number from 0 on for each of {', '.join(required)}",
                next_step="correct the file, or set GOLDPATH_PRICES to another one",
            ) from None


def _price(name: str, value: Any) -> float:
    price = float(value)
    if isinstance(value, bool) or not (price >= 0 and math.isfinite(price)):
        raise ValueError(f"{name} is {value}")
    return price


@dataclass(frozen=True, slots=True)
class Charge:
    """One resource that a run used, with its quantity, the unit and the price of one unit."""

    resource: str
    quantity: float
    unit: str
    unit_price: float

    @property
    def cost(self) -> float:
        """Quantity times unit price, in the currency of the price sheet."""
        return self.quantity * self.unit_price


def price(usage: Usage, sheet: PriceSheet) -> list[Charge]:
    """The charges of a run; memory is charged as its peak for the whole duration, a GPU only if one was used."""
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
