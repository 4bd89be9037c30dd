"""The landing asset of the weather service, which delivers its files itself, so it is only declared."""

from __future__ import annotations

import dagster as dg

from assets.weather.domain import contract, weather

SOURCES = [
    dg.AssetSpec(
        ["landing", "weather", "observations"],
        description=f"{contract('bronze/observations').purpose}\n\nArrives as JSON lines, one file a local day.",
        group_name="weather_landing",
        owners=[f"team:{weather.owner}"],
        kinds={"jsonl"},
    )
]
