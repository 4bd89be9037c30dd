"""The ingest job gives the same tables when it is killed and run again, when it runs twice, and on both engines."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines import settings
from tests.conftest import jars_dir
from tests.end_to_end.programs import FOLDER, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAYS = 5
#: The columns that differ between two runs: the time at which bronze took a batch.
VOLATILE = {"_ingested_at"}


def start(home: Path, **variables: str) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(FOLDER / "ingest_days.py"), str(DAYS)]
    with (home / "ingest.log").open("ab") as log:
        return subprocess.Popen(command, env=environment(home, **variables), stdout=log, stderr=log, cwd=home)


def ingest(home: Path, **variables: str) -> None:
    """Runs the job to its end, which must be successful."""
    process = start(home, **variables)
    assert process.wait(timeout=600) == 0, (home / "ingest.log").read_text(encoding="utf-8")[-6_000:]


def tables(home: Path) -> dict[str, pa.Table]:
    """Every published table except the platform's records of runs, sorted by its columns."""
    tables = {}
    for log in sorted((home / "lakehouse").glob("*/*/*/_delta_log")):
        name = log.parent.relative_to(home / "lakehouse").as_posix()
        if not name.startswith("ops/"):
            rows = DeltaTable(str(log.parent)).to_pyarrow_table()
            rows = rows.select(sorted(set(rows.column_names) - VOLATILE))
            keys = [
                (n, "ascending")
                for n in rows.column_names
                if pa.types.is_primitive(rows[n].type) or pa.types.is_string(rows[n].type)
            ]
            tables[name] = rows.sort_by(keys)
    return tables


def difference(left: dict[str, pa.Table], right: dict[str, pa.Table]) -> str:
    """The first table and column in which two lakehouses differ; empty if they are equal."""
    if left.keys() != right.keys():
        return f"tables {sorted(left.keys() ^ right.keys())}"
    for name, rows in left.items():
        other = right[name]
        if rows.num_rows != other.num_rows:
            return f"{name}: {rows.num_rows} rows against {other.num_rows}"
        for column in rows.column_names:
            ours, theirs = rows[column].to_pylist(), other[column].to_pylist()
            for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                if a != b and not (
                    isinstance(a, float) and isinstance(b, float) and a == pytest.approx(b, rel=1e-9, abs=1e-9)
                ):
                    return f"{name}.{column} row {position}: {a!r} against {b!r}"
    return ""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The tables after one run that nothing disturbed."""
    home = tmp_path_factory.mktemp("undisturbed")
    ingest(home)
    return tables(home)


def test_a_run_after_several_killed_ones_gives_the_same_tables(
    undisturbed: dict[str, pa.Table], tmp_path: Path
) -> None:
    exit_codes = []
    for table in (  # a run is killed when it has created the table
        "bronze/flights/flights",
        "silver/flights/airports",
        "silver/flights/flights",
        "gold/flights/departures",
    ):
        process = start(tmp_path)
        while process.poll() is None and not (tmp_path / "lakehouse" / table).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        exit_codes.append(process.wait())
    assert -signal.SIGKILL in exit_codes
    ingest(tmp_path)
    assert difference(undisturbed, tables(tmp_path)) == ""


def test_a_second_run_changes_no_table(undisturbed: dict[str, pa.Table], tmp_path: Path) -> None:
    ingest(tmp_path)
    ingest(tmp_path)
    assert difference(undisturbed, tables(tmp_path)) == ""


@pytest.mark.spark
def test_both_engines_give_equal_tables(undisturbed: dict[str, pa.Table], tmp_path: Path) -> None:
    other = "embedded" if settings.get().engine == "spark" else "spark"
    ingest(tmp_path, GOLDPATH_ENGINE=other, GOLDPATH_JARS_DIR=str(jars_dir()))
    assert difference(undisturbed, tables(tmp_path)) == ""
