"""The contracts of this domain, by table name."""

from __future__ import annotations

from pathlib import Path

from pipelines.contracts import Contract, load_folder
from pipelines.tables import TableId

CONTRACTS = load_folder(Path(__file__).parent / "contracts")


def contract(name: str) -> Contract:
    """The contract of `zone/table` in this domain."""
    zone, _, table = name.partition("/")
    return CONTRACTS[TableId.parse(f"{zone}/flights/{table}")]
