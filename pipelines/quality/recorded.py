"""Validation results as JSON files below `<home>/quality`: a folder for each table, a file for each judged version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts.model import Contract
from pipelines.machine import files


def record(validation: dict[str, Any], contract: Contract, *, folder: Path) -> Path:
    """Writes a validation result to a file that is named by the present instant, UTC; returns its path."""
    path = folder / contract.table.source_name / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    files.replace(path, json.dumps(validation, indent=1, default=str))
    return path


def previous_shares(contract: Contract, *, folder: Path) -> dict[str, list[float]]:
    """The shares of the last published version, by rule name, as its verdict recorded them.

    Empty if no version was published, or no distribution of the contract is compared with the version before.
    """
    distributions = [rule.argument for rule in contract.table_rules if rule.argument]
    if all(distribution.shares for distribution in distributions):
        return {}
    for path in sorted((folder / contract.table.source_name).glob("*.json"), reverse=True):
        meta = json.loads(path.read_text(encoding="utf-8"))["meta"]
        if meta.get("published"):
            return meta["shares"]
    return {}
