"""A code location of two teams, whose assets wait until a test lets them end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg

from pipelines.governed.declaration import PRIORITY

#: The environment variable with the file until which they wait.
UNTIL = "TWO_TEAMS_UNTIL"


def _asset(name: str, team: str, priority: int = 0) -> dg.AssetsDefinition:
    @dg.asset(name=name, owners=[f"team:{team}"], tags={PRIORITY: str(priority)} if priority else None)
    def wait() -> None:
        until = Path(os.environ[UNTIL])
        while not until.exists():
            time.sleep(0.05)

    return wait


defs = dg.Definitions(
    [_asset("boxes", "toys"), _asset("bricks", "toys"), _asset("urgent", "toys", 5), _asset("rain", "weather")],
    jobs=[dg.define_asset_job("all_toys", ["boxes", "bricks", "urgent"])],
    executor=dg.in_process_executor,
)
