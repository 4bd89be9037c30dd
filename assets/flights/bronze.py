"""Bronze: what has landed, as it arrived."""

from __future__ import annotations

from assets.flights.tables import contract
from pipelines.table_assets import bronze_asset

airlines = bronze_asset(contract("bronze/airlines"))
