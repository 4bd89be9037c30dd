"""Landing: the deliveries of the five sources. Others write them, so they are named here, not made."""

from __future__ import annotations

import dagster as dg

from assets.flights.tables import OWNER, contract

_HOW = {
    "flights": "one CSV a day, after the day's last flight",
    "weather": "JSON lines, one file a day",
    "planes": "snapshots of a table of the operations database",
    "airports": "snapshots of a table of the operations database",
    "airlines": "a reference CSV",
}

SOURCES = [
    dg.AssetSpec(
        ["landing", "flights", source],
        description=f"{contract(f'bronze/{source}').purpose}\n\nArrives as {how}.",
        group_name="landing",
        owners=[f"team:{OWNER}"],
        kinds={contract(f"bronze/{source}").format or "file"},
    )
    for source, how in _HOW.items()
]
