"""Tables on a standalone Spark cluster: equal to the embedded engine's, by turns with it, and when a worker is killed."""

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
#: Deliveries by round: a correction, a second delivery of a day, and rows that break a rule each in its way.
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
#: Enough for a write that is still under way when its files are seen.
MANY = 200_000
#: When bronze took a batch is the one thing that differs between two runs.
VOLATILE = "_ingested_at"


@dataclass(frozen=True, slots=True)
class Story:
    """One source whose table lies in days, with a gold table, and one whose increments are merged, of any home."""

    days: ToyPipeline
    merged: ToyPipeline
    assets: dict[str, list[dg.AssetsDefinition]]

    @classmethod
    def build(cls, engine: Engine, folder: Path, materialize: Materialize) -> Story:
        make = pipeline_builder(engine, folder, materialize)
        days, merged = make(partitions=DAYS), make()

        def heaviest(rows: DataFrame) -> DataFrame:
            """The heaviest of each part."""
            return rows.groupBy("part").agg(F.max("holes").alias("holes"), F.max("weight").alias("weight"))

        gold = gold_asset(days.gold(), inputs={"rows": f"silver/toys/{days.name}"})(heaviest)
        assets = {
            "days": [days.bronze, silver_asset(days.contract, partitions=DAYS)(as_arrived)],
            "rest": [gold, merged.bronze, silver_asset(merged.contract)(as_arrived)],
        }
        return cls(days, merged, assets)

    def on(self, engine: Engine, home: Path) -> Story:
        """The same sources and assets, on an engine and a home."""

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
        assert self.days.run(*self.assets["days"], start=FIRST, end=THIRD).success
        assert self.days.run(*self.assets["rest"]).success

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every table's rows, in one order, as this story's engine reads them."""
        house = self.days.platform.lakehouse
        found = {}
        for table in house.tables():
            if table.zone != "ops":
                rows = house.read(house.current(table)).drop(VOLATILE).toArrow().to_pylist()
                found[str(table)] = sorted((dict(sorted(row.items())) for row in rows), key=repr)
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def remote(cluster: SparkCluster) -> Iterator[str]:
    with cluster.connect_server([jars_dir() / jar.file_name for jar in DELTA_JARS]) as address:
        yield address


@pytest.fixture(scope="module")
def there(remote: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine of a platform whose settings name the cluster."""
    settings = Settings(home=tmp_path_factory.mktemp("driver"), engine="spark", spark_remote=remote)
    platform = Platform(settings, dict)
    yield platform.engine
    platform.close()


@pytest.fixture(scope="module")
def story(sail: Engine, tmp_path_factory: pytest.TempPathFactory, materialize: Materialize) -> Story:
    return Story.build(sail, tmp_path_factory.mktemp("contracts"), materialize)


@pytest.fixture(scope="module")
def expected(
    story: Story, sail: Engine, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, list[dict[str, Any]]]]:
    """The tables after each round, where the embedded engine alone made them."""
    alone, found = story.on(sail, tmp_path_factory.mktemp("alone")), []
    for number in range(len(ROUNDS)):
        alone.run(number)
        found.append(alone.tables())
    return found


def executors(engine: Engine) -> set[int]:
    """The ancestors of the Python processes that a job of two tasks ran in."""
    ancestors = F.udf(lambda _: [process.pid for process in psutil.Process().parents()], "array<int>")
    asked = engine.session.range(0, 2, numPartitions=2).select(ancestors("id").alias("pids"))
    return {pid for row in asked.collect() for pid in row["pids"]}


def test_a_spark_of_ones_own_runs_on_the_cluster(
    cluster: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "spark-defaults.conf").write_text("spark.executor.memory 900m\n")
    settings = Settings(home=tmp_path, engine="spark", spark_master=cluster.master, jars_dir=jars_dir())
    with closing(Platform(settings, dict)) as platform:
        assert {worker.pid for worker in cluster.workers} <= executors(platform.engine)
        [application] = cluster.state()["activeapps"]
        assert (application["cores"], application["memoryperexecutor"]) == (spark_cluster.WORKERS, 900)
        platform.engine.session.range(3).write.format("delta").save(str(tmp_path / "table"))
    assert DeltaTable(str(tmp_path / "table")).count() == 3
    assert cluster.state()["activeapps"] == []


def test_a_server_on_the_cluster_has_an_executor_on_each_worker(cluster: SparkCluster, there: Engine) -> None:
    assert {worker.pid for worker in cluster.workers} <= executors(there)
    [application] = cluster.state()["activeapps"]
    assert application["cores"] == len(cluster.alive()) == spark_cluster.WORKERS


def test_engines_take_turns_on_the_same_tables(
    story: Story,
    expected: list[dict[str, list[dict[str, Any]]]],
    sail: Engine,
    there: Engine,
    tmp_path: Path,
) -> None:
    here, away = story.on(sail, tmp_path), story.on(there, tmp_path)
    for number, turn in enumerate((away, here, away)):
        turn.run(number)
        assert here.tables() == away.tables() == expected[number]
    reasons = {reason["code"] for row in here.days.rows("quarantine") for reason in row["_reasons"]}
    assert reasons == {"malformed_row", "part_required", "holes_range", "holes_type", "weight_type", "duplicate_key"}


def test_a_worker_that_is_killed_in_mid_write_costs_no_row(
    cluster: SparkCluster, there: Engine, sail: Engine, story: Story, tmp_path: Path
) -> None:
    _, bronze, silver = story.assets["rest"]
    lines = (f"part {n},{n % 7},{n / 10_000 if n % 1_000 else 'x'}" for n in range(MANY))
    content = "\n".join(["part,holes,weight", *lines, ""])
    alone, shared = story.on(sail, tmp_path / "alone").merged, story.on(there, tmp_path / "shared").merged
    for toy in (alone, shared):
        toy.land(content)
        assert toy.run(bronze).success
    published: list[int | None] = []

    def kill() -> None:
        staged = shared.platform.lakehouse.root / "_staging"
        while not any(staged.glob("*/*/_temporary/0/_temporary/*")):
            time.sleep(0.01)
        cluster.workers[0].process.send_signal(signal.SIGKILL)
        published.append(shared.version("silver"))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert shared.run(silver).success
    killer.join(timeout=60)
    assert alone.run(silver).success
    assert published == [None]
    assert [worker["host"] for worker in cluster.alive()] == ["127.0.0.1"]
    for zone in ("silver", "quarantine"):
        assert without_time(shared.rows(zone)) == without_time(alone.rows(zone))
    assert len(shared.rows("silver")) + len(shared.rows("quarantine")) == MANY


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != VOLATILE} for row in rows]
