from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.landing.delivery import Manifest
from tests.pipelines import toy_contracts
from tests.pipelines.landing.bronze_rows import COLUMNS, Read, Rows, batches


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Lands a file and reads it as bronze rows."""

    def run(
        content: bytes, *, format: str = "csv", columns: str = "discard_value", rows: int | None = None, **more: Any
    ) -> Rows:
        contract = toy_contracts.contract(
            tmp_path, "bronze/toys/blocks", COLUMNS, format=format, drift={"columns": columns}, **more
        )
        manifest = {} if rows is None else {"manifest": Manifest.of(content, rows=rows)}
        return [row for part in batches(tmp_path, contract, content, **manifest) for row in part.to_pylist()]

    return run
