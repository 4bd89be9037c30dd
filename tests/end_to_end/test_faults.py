"""kill -9 anywhere, then run again: the same tables, nothing lost, nothing twice. And both engines, the same tables."""

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
from tests.end_to_end.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAYS = 5
PROGRAM = Path(__file__).parent / "ingest_days.py"
#: When bronze took a batch is the one thing that differs between two runs.
VOLATILE = {"_ingested_at"}


def start(home: Path, **more: str) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "ingest.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), str(DAYS)], env=environment(home, **more), stdout=log, stderr=log, cwd=home
        )


def finish(home: Path, **more: str) -> None:
    process = start(home, **more)
    assert process.wait(timeout=600) == 0, (home / "ingest.log").read_text(encoding="utf-8")[-6_000:]


def tables(home: Path) -> dict[str, pa.Table]:
    """Every published table but the records of the runs themselves, its rows in one order."""
    found = {}
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
            found[name] = rows.sort_by(keys)
    return found


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
    home = tmp_path_factory.mktemp("undisturbed")
    finish(home)
    return tables(home)


def test_killed_again_and_again_and_run_once_more_gives_the_same_tables(
    undisturbed: dict[str, pa.Table], tmp_path: Path
) -> None:
    seen = []
    # Each time it is killed a little further on its way: after the next table was begun.
    for wanted in (
        "bronze/flights/flights",
        "silver/flights/airports",
        "silver/flights/flights",
        "gold/flights/departures",
    ):
        process = start(tmp_path)
        while process.poll() is None and not (tmp_path / "lakehouse" / wanted).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        seen.append(process.wait())
    assert -signal.SIGKILL in seen
    finish(tmp_path)
    assert difference(undisturbed, tables(tmp_path)) == ""


def test_running_again_changes_no_table(undisturbed: dict[str, pa.Table], tmp_path: Path) -> None:
    finish(tmp_path)
    finish(tmp_path)
    assert difference(undisturbed, tables(tmp_path)) == ""


@pytest.mark.spark
def test_both_engines_give_equal_tables(undisturbed: dict[str, pa.Table], tmp_path: Path) -> None:
    other = "embedded" if settings.get().engine == "spark" else "spark"
    finish(tmp_path, GOLDPATH_ENGINE=other, GOLDPATH_JARS_DIR=str(jars_dir()))
    assert difference(undisturbed, tables(tmp_path)) == ""
