"""Measures ingestion of one size: `python -m bench.ingest_once COPIES` prints JSON. `bench.ingest` starts it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.pairs import seconds
from bench.scaled import COLUMNS, NUMBERS, Scaled
from pipelines import settings
from pipelines.governed.platform import Platform
from pipelines.machine import garbage
from pipelines.tables import PARTITION

PEERS = ("bare", "polars", "dlt", "gx")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest_once", description=__doc__)
    parser.add_argument("copies", type=int, help="the number of copies of the 336,776 flights")
    parser.add_argument("--rounds", type=int, default=3, help="the number of measured runs. [default: 3]")
    parser.add_argument("--peer", action="append", choices=PEERS, help="a peer to measure, too. [default: none]")
    options = parser.parse_args()
    garbage.collect_seldom()
    folder = Path(tempfile.mkdtemp(prefix="goldpath-bench-"))
    platform = Platform(settings.get().model_copy(update={"home": folder, "lakehouse_uri": None}), dict)
    try:
        json.dump(_measure(platform, folder, options.copies, options.rounds, options.peer or []), sys.stdout)
    finally:
        platform.close()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(platform: Platform, folder: Path, copies: int, rounds: int, peers: list[str]) -> dict[str, Any]:
    """Seconds of each run by name (`governed`, `plain` without rules, and the peers), and figures of the first run."""
    scaled = Scaled(platform, folder, copies=copies)
    figures: dict[str, Any] = {"fill": seconds(scaled.fill)}
    governed, plain = scaled.silver("governed", rules=True), scaled.silver("plain", rules=False)
    started = time.perf_counter()
    first = scaled.run(governed)
    figures |= {"cold": time.perf_counter() - started, "first": first["seconds"], "rows": first["rows_in"]}
    warm = [scaled.run(governed, recompute=False)["seconds"] for _ in range(3)]
    figures["nothing_new"] = sorted(warm)[1]
    peer_runs: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(scaled, folder / "bare"),
        "polars": lambda: _polars(scaled, folder / "polars"),
        "dlt": lambda: _dlt(scaled, folder / "dlt"),
        "gx": lambda: _gx(scaled),
    }
    for name in PEERS:
        if name in peers:
            peer_runs[name]()
    runs: dict[str, list[float]] = {name: [] for name in ("governed", "plain", *peers)}
    if rounds:
        scaled.run(plain)
    for _ in range(rounds):
        for name, asset in (("governed", governed), ("plain", plain)):
            runs[name].append(scaled.run(asset)["seconds"])
        for name in peers:
            runs[name].append(seconds(peer_runs[name]))
    return figures | {"runs": runs, "peak_memory_mb": first["peak_memory_mb"]}


def _bare(scaled: Scaled, target: Path) -> None:
    """The engine without governance: the same casts, columns and partitioned Delta write."""
    from pyspark.sql import functions as F

    shutil.rmtree(target, ignore_errors=True)
    house = scaled.platform.lakehouse
    raw = house.read(house.current(scaled.bronze))
    columns = []
    for name in COLUMNS:
        text = F.when(~F.col(name).isin("", "NA"), F.col(name))
        kind = "int" if name in NUMBERS else "timestamp" if name == "time_hour" else "string"
        columns.append((text if kind == "string" else text.try_cast(kind)).alias(name))
    rows = raw.select(*columns, "_record_id", PARTITION).repartition(PARTITION)
    rows.write.format("delta").partitionBy(PARTITION).save(str(target))


def _polars(scaled: Scaled, target: Path) -> None:
    """Polars with delta-rs: the same casts, columns and partitioned Delta write."""
    import polars as pl

    shutil.rmtree(target, ignore_errors=True)
    house = scaled.platform.lakehouse
    texts = [pl.when(~pl.col(name).is_in(["", "NA"])).then(pl.col(name)).alias(name) for name in COLUMNS]
    casts = [pl.col(name).cast(pl.Int32, strict=False) for name in NUMBERS]
    casts.append(pl.col("time_hour").str.to_datetime(strict=False, time_zone="UTC"))
    frame = pl.scan_delta(str(house.path(scaled.bronze))).select(*COLUMNS, "_record_id", PARTITION)
    frame = frame.with_columns(texts).with_columns(casts)
    frame.collect(engine="streaming").write_delta(str(target), delta_write_options={"partition_by": [PARTITION]})


def _dlt(scaled: Scaled, target: Path) -> None:
    """dlt from Arrow batches into a Delta table of its file system destination, with the types of the contract."""
    import dlt
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.dataset as ds

    pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see

    shutil.rmtree(target, ignore_errors=True)
    house = scaled.platform.lakehouse
    source = ds.dataset(house.snapshot(scaled.bronze).files, format="parquet")

    @dlt.resource(
        name="flights", table_format="delta", write_disposition="replace",
        schema_contract={"columns": "evolve", "data_type": "freeze"}, columns={"time_hour": {"partition": False}},
    )  # fmt: skip
    def flights() -> Any:
        for batch in source.to_batches(columns=[*COLUMNS, "_record_id"], batch_size=500_000):
            arrays = []
            for name in (*COLUMNS, "_record_id"):
                values = pc.if_else(pc.is_in(batch[name], pa.array(["", "NA"])), None, batch[name])
                arrays.append(values.cast(pa.int32()) if name in NUMBERS else values)
            yield pa.Table.from_arrays(arrays, names=[*COLUMNS, "record_id"])

    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(target / "state"),
        destination=dlt.destinations.filesystem(bucket_url=(target / "out").as_uri()),
        dataset_name="bench",
    )
    pipeline.run(flights())


def _gx(scaled: Scaled) -> None:
    """Great Expectations' own validation: the same 20 rules, on a DataFrame of the typed rows."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    from bench.scaled import KEY, RANGES, REQUIRED
    from pipelines.tables import TableId

    house = scaled.platform.lakehouse
    rows = house.read(house.current(TableId("silver", "bench", "governed")))
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_spark("bench")
    batch = (
        source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows})
    )
    suite = gx.ExpectationSuite(name="rules")
    for name in REQUIRED:
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=name))
    for name, (low, high) in RANGES.items():
        suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    suite.add_expectation(gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"]))
    suite.add_expectation(gxe.ExpectColumnValuesToMatchRegex(column="dest", regex="^[A-Z]{3}$"))
    suite.add_expectation(gxe.ExpectCompoundColumnsToBeUnique(column_list=list(KEY)))
    suite.add_expectation(
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT * FROM {batch} WHERE (dep_time IS NULL) <> (dep_delay IS NULL)"
        )
    )
    batch.validate(suite, result_format="BOOLEAN_ONLY")


if __name__ == "__main__":
    main()
