"""What a table is derived from has one digest, whichever process computes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipelines.settings import PROJECT

TRANSFORM = '''
def rows(rows):
    """Rows of three airports."""
    kept = [row for row in rows if row["origin"] in {"EWR", "JFK", "LGA"}]
    return sorted(kept, key=lambda row: (row["origin"], "EWR"))
'''
DIGEST = """
from pathlib import Path
import transform
from pipelines.contracts.load import load
from pipelines.medallion.derived_from import code_digest
print(code_digest(load(Path("assets/flights/contracts/silver_planes.yaml")), transform.rows))
"""


def _digest(folder: Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{PROJECT}"} | variables
    command = [sys.executable, "-c", DIGEST]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment, cwd=PROJECT).stdout


def test_code_that_was_just_compiled_is_the_code_that_was_compiled_before(tmp_path: Path) -> None:
    module, kept = tmp_path / "transform.py", str(tmp_path / "compiled")
    module.write_text(TRANSFORM, encoding="utf-8")
    seeds = [
        _digest(tmp_path, PYTHONPYCACHEPREFIX=kept, PYTHONDONTWRITEBYTECODE="", PYTHONHASHSEED=seed) for seed in "12"
    ]
    assert list(Path(kept).rglob("transform*.pyc"))
    assert seeds[0] == seeds[1] == _digest(tmp_path, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="3")
    module.write_text(TRANSFORM.replace("JFK", "SFO"), encoding="utf-8")
    assert _digest(tmp_path, PYTHONDONTWRITEBYTECODE="1") != seeds[0]
