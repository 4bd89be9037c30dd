"""Tables written on a standalone Spark cluster equal those of the embedded engine, also when a worker is killed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psutil
import pytest
from deltalake import DeltaTable
from pydantic import SecretStr
from pyspark.sql import functions as F

from pipelines.engine.jars import DELTA_JARS
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import gold_asset, silver_asset
from pipelines.settings import Settings
from tests.conftest import Materialize, jars_dir
from tests.pipelines.toy_pipeline import DAYS, ToyPipeline, as_arrived, pipeline_builder
from tests.servers import spark_cluster
from tests.servers.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST, SECOND, THIRD = "2013-01-01", "2013-01-02", "2013-01-03"
#: Deliveries by round and day: corrections, a second delivery of a day, and one row for each rule that breaks it.
ROUNDS = (
    {
        FIRST: "part,holes,weight\nbrick,4,2.5\nplate,0,1\nNA,1,1\ntile,NA,0.5\nragged\n",
        SECOND: "part,holes,weight\nbrick,6,3.5\nwheel,1,x\n",
    },
    {
        SECOND: "part,holes,weight\nplate,2,1\nwheel,1,0.25\nwheel,2,0.5\n",
        THIRD: "part,holes,weight\ngrößer ✓,8,1e2\n'quoted',four,1\n",
    },
    {FIRST: "part,holes,weight\nbrick,8,2.5\nanvil,1,99.9\n"},
)
#: The rows of a write that still runs when its first files are seen.
MANY = 200_000
#: The column that differs between two runs: the time at which bronze took a batch.
VOLATILE = "_ingested_at"
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two sources on one engine and home folder.

    Attributes:
        days: A source whose silver table has daily partitions, with a gold table.
        merged: A source whose increments are merged by key.
        assets: The assets with partitions (`days`), and all others in the order in which they run (`rest`).
    """

    days: ToyPipeline
    merged: ToyPipeline
    assets: dict[str, list[dg.AssetsDefinition]]

    @classmethod
    def build(cls, engine: Engine, folder: Path, materialize: Materialize) -> Scenario:
        make = pipeline_builder(engine, folder, materialize)
        days, merged = make(partitions=DAYS), make()

        def heaviest(rows: DataFrame) -> DataFrame:
            """The largest values of each part. Grain: one row per part."""
            return rows.groupBy("part").agg(F.max("holes").alias("holes"), F.max("weight").alias("weight"))

        gold = gold_asset(days.gold(), inputs={"rows": f"silver/toys/{days.name}"})(heaviest)
        assets = {
            "days": [days.bronze, silver_asset(days.contract, partitions=DAYS)(as_arrived)],
            "rest": [gold, merged.bronze, silver_asset(merged.contract)(as_arrived)],
        }
        return cls(days, merged, assets)

    def on(self, engine: Engine, home: Path) -> Scenario:
        """The same sources and assets on another engine and home folder."""

        def moved(toy: ToyPipeline) -> ToyPipeline:
            contracts = self.days.platform.contracts | self.merged.platform.contracts
            platform = Platform(Settings(home=home, profile="test", engine=engine.kind), lambda: contracts)
            platform.engine = engine
            return replace(toy, platform=platform)

        return replace(self, days=moved(self.days), merged=moved(self.merged))

    def run(self, number: int) -> None:
        """Lands a round for both sources and materializes everything."""
        for day, content in ROUNDS[number].items():
            self.days.land(content, day=day, name=f"{number}.csv")
            self.merged.land(content, day=day, name=f"{number}.csv")
        days = [day for landed in ROUNDS[: number + 1] for day in landed]
        assert self.days.run(*self.assets["days"], start=FIRST, end=max(days)).success
        assert self.days.run(*self.assets["rest"]).success

    def tables(self) -> dict[str, Rows]:
        """The sorted rows of every table, read by this scenario's engine."""
        house = self.days.platform.lakehouse
        tables = {}
        for table in house.tables():
            if table.zone != "ops":
                rows = house.read(house.current(table)).drop(VOLATILE).toArrow().to_pylist()
                tables[str(table)] = sorted((dict(sorted(row.items())) for row in rows), key=repr)
        return tables


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster.running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def remote(cluster: SparkCluster) -> Iterator[str]:
    """The address of a Spark Connect server on the cluster."""
    with cluster.connect_server([jars_dir() / jar.file_name for jar in DELTA_JARS]) as address:
        yield address


@pytest.fixture(scope="module")
def cluster_engine(remote: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine of a platform whose settings name the cluster."""
    settings = Settings(home=tmp_path_factory.mktemp("driver"), engine="spark", spark_remote=SecretStr(remote))
    platform = Platform(settings, dict)
    yield platform.engine
    platform.close()


@pytest.fixture(scope="module")
def scenario(sail: Engine, tmp_path_factory: pytest.TempPathFactory, materialize: Materialize) -> Scenario:
    return Scenario.build(sail, tmp_path_factory.mktemp("contracts"), materialize)


@pytest.fixture(scope="module")
def expected(scenario: Scenario, sail: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Rows]]:
    """The tables after each round where only the embedded engine wrote them."""
    embedded, expected = scenario.on(sail, tmp_path_factory.mktemp("embedded")), []
    for number in range(len(ROUNDS)):
        embedded.run(number)
        expected.append(embedded.tables())
    return expected


def ancestors_of_tasks(engine: Engine) -> set[int]:
    """The ids of all ancestors of the Python processes in which a job of two tasks ran, so of the workers too."""
    ancestors = F.udf(lambda _: [process.pid for process in psutil.Process().parents()], "array<int>")
    pids = engine.session.range(0, 2, numPartitions=2).select(ancestors("id").alias("pids"))
    return {pid for row in pids.collect() for pid in row["pids"]}


def test_a_driver_that_goldpath_starts_runs_its_tasks_on_the_cluster(
    cluster: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "spark-defaults.conf").write_text("spark.executor.memory 900m\n")
    settings = Settings(home=tmp_path, engine="spark", spark_master=cluster.master, jars_dir=jars_dir())
    with closing(Platform(settings, dict)) as platform:
        assert {worker.pid for worker in cluster.workers} <= ancestors_of_tasks(platform.engine)
        [application] = cluster.state()["activeapps"]
        assert (application["cores"], application["memoryperexecutor"]) == (spark_cluster.WORKERS, 900)
        platform.engine.session.range(3).write.format("delta").save(str(tmp_path / "table"))
    assert DeltaTable(str(tmp_path / "table")).count() == 3
    assert cluster.state()["activeapps"] == []


def test_a_spark_connect_server_has_an_executor_on_each_worker(cluster: SparkCluster, cluster_engine: Engine) -> None:
    assert {worker.pid for worker in cluster.workers} <= ancestors_of_tasks(cluster_engine)
    [application] = cluster.state()["activeapps"]
    assert application["cores"] == len(cluster.alive()) == spark_cluster.WORKERS


def test_both_engines_write_the_same_tables_by_turns(
    scenario: Scenario,
    expected: list[dict[str, Rows]],
    sail: Engine,
    cluster_engine: Engine,
    tmp_path: Path,
) -> None:
    embedded, spark = scenario.on(sail, tmp_path), scenario.on(cluster_engine, tmp_path)
    for number, writer in enumerate((spark, embedded, spark)):
        writer.run(number)
        assert embedded.tables() == spark.tables() == expected[number]
    reasons = {reason["code"] for row in embedded.days.rows("quarantine") for reason in row["_reasons"]}
    assert reasons == {"malformed_row", "part_required", "holes_range", "holes_type", "weight_type", "duplicate_key"}


def test_a_run_whose_worker_is_killed_during_a_write_loses_no_row(
    cluster: SparkCluster, cluster_engine: Engine, sail: Engine, scenario: Scenario, tmp_path: Path
) -> None:
    _, bronze, silver = scenario.assets["rest"]
    lines = (f"part {n},{n % 7},{n / 10_000 if n % 1_000 else 'x'}" for n in range(MANY))
    content = "\n".join(["part,holes,weight", *lines, ""])
    embedded = scenario.on(sail, tmp_path / "embedded").merged
    spark = scenario.on(cluster_engine, tmp_path / "spark").merged
    for toy in (embedded, spark):
        toy.land(content)
        assert toy.run(bronze).success
    version_at_kill: list[int | None] = []

    def kill() -> None:
        staged = spark.platform.lakehouse.root / "_staging"
        while not any(staged.glob("*/*/_temporary/0/_temporary/*")):
            time.sleep(0.01)
        cluster.workers[0].process.send_signal(signal.SIGKILL)
        version_at_kill.append(spark.version("silver"))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert spark.run(silver).success
    killer.join(timeout=60)
    assert embedded.run(silver).success
    assert version_at_kill == [None]
    assert [worker["host"] for worker in cluster.alive()] == ["127.0.0.1"]
    for zone in ("silver", "quarantine"):
        assert without_time(spark.rows(zone)) == without_time(embedded.rows(zone))
    assert len(spark.rows("silver")) + len(spark.rows("quarantine")) == MANY


def without_time(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != VOLATILE} for row in rows]
