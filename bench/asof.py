"""The feature layer's as-of join of three views against DuckDB's ASOF JOIN on the same rows.

Both give Arrow data, and both write Parquet; their results are compared, too. The peak of memory is that of a process
of its own for each side.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from bench.pairs import CpuSeconds, Row, pairs
from pipelines.settings import Settings

#: Rows of the spine, and how often each side runs.
SIZES = {1_000_000: 3, 10_000_000: 1}
FEATURES, VIEWS, COLUMNS = 500_000, 3, 5
KEYS = (5_000, 200, 50_000)
Side = Literal["ours", "duckdb"]


def measure(settings: Settings) -> list[Row]:
    rows = []
    for size, rounds in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += _measured(Path(folder), size, rounds)
    return rows


def _measured(place: Path, size: int, rounds: int) -> list[Row]:
    _write_tables(place, size)
    names = [f"v{view}_f{column}" for view in range(VIEWS) for column in range(COLUMNS)]
    with _ours(place) as (ours, ours_parquet), _duckdb(place) as (peer, peer_parquet):
        same = "not compared"
        if size == min(SIZES):
            first, second = (side().sort_by("id").select(names) for side in (ours, peer))
            same = "equal" if first.equals(second) else "DIFFER"
            del first, second
        sides = {"Arrow": (ours, peer), "Parquet": (ours_parquet, peer_parquet)}
        counted = {kind: (CpuSeconds(a), CpuSeconds(b)) for kind, (a, b) in sides.items()}
        measured = {kind: pairs(a, b, rounds=rounds) for kind, (a, b) in counted.items()}
    memory = [_peak_gib(side, place) for side in ("ours", "duckdb")]
    name = f"as-of join, {size:,} rows x {VIEWS} views"
    note = f"views of {FEATURES:,} rows, {COLUMNS} features; results {same}"
    wall = [
        Row(f"{name}, to {kind}", f"{a:.2f} s", f"{b:.2f} s", ratio, f"{size / a:,.0f} rows/s; {note}")
        for kind, (a, b, ratio) in measured.items()
    ]
    cpu = [
        Row(f"{name}, to {kind}: CPU", f"{a.median:.2f} s", f"{b.median:.2f} s", a.median / b.median)
        for kind, (a, b) in counted.items()
    ]
    return (
        wall
        + cpu
        + [Row(f"{name}, peak memory", *(f"{gib:.2f} GiB" for gib in memory), memory[0] / memory[1], "to Parquet")]
    )


def _write_tables(place: Path, size: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    new_year = np.datetime64("2013-01-01T00:00:00", "us")

    def instants(count: int) -> pa.Array:
        seconds = random.integers(0, 31_536_000, count)
        return pa.array(new_year + seconds * np.timedelta64(1, "s"), pa.timestamp("us", "UTC"))

    with pq.ParquetWriter(place / "spine.parquet", _spine_schema()) as writer:
        for first in range(0, size, 1_000_000):
            count = min(1_000_000, size - first)
            keys = {f"key{view}": random.integers(0, KEYS[view], count) for view in range(VIEWS)}
            writer.write_table(pa.table({"id": np.arange(first, first + count), **keys, "at": instants(count)}))
    for view in range(VIEWS):
        rows = pa.table({"key": random.integers(0, KEYS[view], FEATURES), "known_at": instants(FEATURES)})
        rows = rows.group_by(["key", "known_at"]).aggregate([])  # one row per key and instant
        for column in range(COLUMNS):
            rows = rows.append_column(f"v{view}_f{column}", pa.array(random.random(rows.num_rows)))
        pq.write_table(rows, place / f"view{view}.parquet")


def _spine_schema() -> Any:
    import pyarrow as pa

    keys = [(f"key{view}", pa.int64()) for view in range(VIEWS)]
    return pa.schema([("id", pa.int64()), *keys, ("at", pa.timestamp("us", "UTC"))])


@contextmanager
def _ours(place: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], Any]]]:
    from feature_repo.asof import as_of_join
    from feature_repo.feature_rows import FeatureRows
    from pipelines.engine.arrow_rows import arrow_rows
    from pipelines.engine.session import Engine

    with Engine.start("embedded", home=place / "home", threads=2) as engine:

        def joined() -> Any:
            read = engine.session.read.parquet
            tables = [
                FeatureRows(
                    rows=read(str(place / f"view{view}.parquet")),
                    keys={f"key{view}": "key"},
                    timestamp="known_at",
                    columns={f"v{view}_f{column}": f"v{view}_f{column}" for column in range(COLUMNS)},
                )
                for view in range(VIEWS)
            ]
            return as_of_join(read(str(place / "spine.parquet")), tables, timestamp="at")

        yield (
            lambda: arrow_rows(joined()),
            lambda: joined().write.mode("overwrite").option("compression", "zstd").parquet(str(place / "ours")),
        )


@contextmanager
def _duckdb(place: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], Any]]]:
    import duckdb

    columns = [f"v{view}.v{view}_f{column}" for view in range(VIEWS) for column in range(COLUMNS)]
    joins = [
        f"ASOF LEFT JOIN '{place}/view{view}.parquet' v{view} ON s.key{view} = v{view}.key AND s.at >= v{view}.known_at"
        for view in range(VIEWS)
    ]
    query = f"SELECT s.*, {', '.join(columns)} FROM '{place}/spine.parquet' s {' '.join(joins)}"
    with duckdb.connect(config={"threads": 2}) as connection:
        yield (
            lambda: connection.sql(query).to_arrow_table(),
            lambda: connection.sql(f"COPY ({query}) TO '{place}/duckdb.parquet' (COMPRESSION zstd)"),
        )


def _peak_gib(side: Side, place: Path) -> float:
    """The peak of memory of a process in which one side writes Parquet."""
    command = [sys.executable, "-m", "bench.asof", side, str(place)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[-1]) / 1024**2


def _main(side: str, place: Path) -> None:
    with {"ours": _ours, "duckdb": _duckdb}[side](place) as (_, write):
        write()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
