"""Validation results kept as JSON: one file for each judged version of a table, below `<home>/quality`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts.model import Contract
from pipelines.machine import files


def record(validation: dict[str, Any], contract: Contract, *, folder: Path) -> Path:
    """Writes a validation result beside the table's earlier ones, named by the instant (UTC); returns its path."""
    path = folder / contract.table.source_name / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    files.replace(path, json.dumps(validation, indent=1, default=str))
    return path


def previous_shares(contract: Contract, *, folder: Path) -> dict[str, list[float]]:
    """The shares, by rule, of the last published version: what its verdict recorded; empty if there is none."""
    asked = [rule.argument for rule in contract.table_rules if rule.argument]
    if all(spread.shares for spread in asked):
        return {}
    for path in sorted((folder / contract.table.source_name).glob("*.json"), reverse=True):
        meta = json.loads(path.read_text(encoding="utf-8"))["meta"]
        if meta.get("published"):
            return meta["shares"]
    return {}
