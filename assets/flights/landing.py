"""Landing assets of the four sources: other systems deliver their files, so each is only declared."""

from __future__ import annotations

import dagster as dg

from assets.flights.domain import contract, flights

_DELIVERY = {
    "flights": "one CSV a day, after the day's last flight",
    "planes": "snapshots of a table of the operations database",
    "airports": "snapshots of a table of the operations database",
    "airlines": "a reference CSV",
}

SOURCES = [
    dg.AssetSpec(
        ["landing", "flights", source],
        description=f"{contract(f'bronze/{source}').purpose}\n\nArrives as {delivery}.",
        group_name="flights_landing",
        owners=[f"team:{flights.owner}"],
        kinds={contract(f"bronze/{source}").format or "file"},
    )
    for source, delivery in _DELIVERY.items()
]
