"""The feature layer's as-of join against DuckDB's ASOF JOIN on the same rows; their results are compared, too."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.pairs import Row, pairs
from pipelines.settings import Settings

SPINE, FEATURES, KEYS = 1_000_000, 500_000, 5_000
ROUNDS = 3


def measure(settings: Settings) -> list[Row]:
    import duckdb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feature_repo.asof import FeatureRows, as_of_join
    from pipelines.engine.session import Engine

    random = np.random.default_rng(7)
    new_year = np.datetime64("2013-01-01T00:00:00", "us")

    def instants(count: int) -> pa.Array:
        seconds = random.integers(0, 31_536_000, count)
        return pa.array(new_year + seconds * np.timedelta64(1, "s"), pa.timestamp("us", "UTC"))

    spine = pa.table({"id": np.arange(SPINE), "key": random.integers(0, KEYS, SPINE), "at": instants(SPINE)})
    features = pa.table({"key": random.integers(0, KEYS, FEATURES), "known_at": instants(FEATURES)})
    features = features.group_by(["key", "known_at"]).aggregate([])  # one row per key and instant
    for position in range(5):
        features = features.append_column(f"f{position}", pa.array(random.random(features.num_rows)))
    columns = [f"f{position}" for position in range(5)]
    with tempfile.TemporaryDirectory() as folder, Engine.start("embedded", home=Path(folder), threads=2) as engine:
        pq.write_table(spine, f"{folder}/spine.parquet")
        pq.write_table(features, f"{folder}/features.parquet")
        session = engine.session
        table = FeatureRows(
            rows=session.read.parquet(f"{folder}/features.parquet"),
            keys={"key": "key"},
            timestamp="known_at",
            columns={name: name for name in columns},
        )
        joined = as_of_join(session.read.parquet(f"{folder}/spine.parquet"), [table], timestamp="at")
        duck = duckdb.connect(config={"threads": 2})
        query = (
            f"SELECT s.*, {', '.join(f'f.{name}' for name in columns)} FROM '{folder}/spine.parquet' s "
            f"ASOF LEFT JOIN '{folder}/features.parquet' f ON s.key = f.key AND s.at >= f.known_at"
        )
        ours, peer, ratio = pairs(joined.toArrow, lambda: duck.sql(query).to_arrow_table(), rounds=ROUNDS)
        same = (
            joined.toArrow()
            .sort_by("id")
            .select(columns)
            .equals(duck.sql(query).to_arrow_table().sort_by("id").select(columns))
        )
    note = f"{SPINE:,} x {FEATURES:,} rows, 5 features, {KEYS:,} keys; results {'equal' if same else 'DIFFER'}"
    return [Row("as-of join / DuckDB ASOF", f"{ours:.2f} s", f"{peer:.2f} s", ratio, note)]
