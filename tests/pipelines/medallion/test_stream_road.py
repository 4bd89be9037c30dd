"""A Kafka topic from landing to silver: each record once, whatever it holds and wherever a run is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines.engine.session import Engine
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.medallion.landing_assets import landing_asset
from pipelines.orchestration.micro_batches import micro_batch_sensor
from pipelines.settings import PROJECT, Settings
from pipelines.sources.kafka import KafkaTopic
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, text
from tests.servers import kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Broker]:
    with kafka.running(tmp_path_factory.mktemp("kafka")) as started:
        yield started


class Road:
    """A topic of two partitions and the assets that make tables of it, on a platform of one test."""

    def __init__(self, broker: kafka.Broker, engine: Engine, materialize: Materialize, folder: Path) -> None:
        self.name = f"clicks_{uuid.uuid4().hex[:8]}"
        self.address, self._materialize = broker.address, materialize
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        for created in admin.create_topics([NewTopic(self.name, 2, 1)]).values():
            created.result()
        key = text("id", primaryKey=True, primaryKeyPosition=1, required=True)
        bronze = toy_contracts.contract(
            folder, f"bronze/toys/{self.name}", [text("id"), text("n"), text("_stream")], format="jsonl",
            drift={"columns": "freeze"},
        )  # fmt: skip
        silver = toy_contracts.contract(
            folder, f"silver/toys/{self.name}", [key, integer("n")], winner="_ingest_id desc"
        )
        self.settings = Settings(home=folder / "home", profile="test", sources={"events": broker.url})  # type: ignore[arg-type, dict-item]
        self.platform = Platform(self.settings, lambda: {bronze.table: bronze, silver.table: silver})
        self.platform.engine = engine
        self.source = KafkaTopic("events", self.name, rows_per_file=10, files_per_run=2, wait_seconds=20)
        self.landed = landing_asset(bronze, self.source)
        self.tables = [bronze_asset(bronze), silver_asset(silver)(lambda rows: rows)]

    def produce(self, *values: bytes, partition: int = 0, aborted: bool = False) -> None:
        settings = {"bootstrap.servers": self.address, "transactional.id": uuid.uuid4().hex, "log_level": 0}
        producer = Producer(settings)
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(self.name, value, key=b"\xff\x00", partition=partition)
        assert producer.flush(30) == 0
        if aborted:
            producer.abort_transaction()
        else:
            producer.commit_transaction()

    def run(self, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
        return self._materialize(self.platform, assets or [self.landed, *self.tables])

    def rows(self, zone: Any) -> list[dict[str, Any]]:
        house = self.platform.lakehouse
        return house.snapshot(TableId(zone, "toys", self.name)).arrow().to_pylist()

    def silver(self) -> list[tuple[str, int]]:
        return sorted((row["id"], row["n"]) for row in self.rows("silver"))


@pytest.fixture
def road(broker: kafka.Broker, engine: Engine, materialize: Materialize, tmp_path: Path) -> Road:
    return Road(broker, engine, materialize, tmp_path)


def click(id: str, n: object) -> bytes:
    return json.dumps({"id": id, "n": n}).encode()


def test_valid_records_are_published_others_quarantined_and_none_is_taken_twice(road: Road) -> None:
    road.produce(click("a", 1), b"poison", click("b", "x"))
    road.produce(click("never", 0), aborted=True)
    road.produce(click("c", 3), partition=1)
    for _ in range(2):
        result = road.run()
        assert result.success
    assert (road.silver(), len(road.rows("bronze"))) == ([("a", 1), ("c", 3)], 4)
    codes = sorted(reason["code"] for row in road.rows("quarantine") for reason in row["_reasons"])
    assert codes == ["malformed_row", "n_type"]
    assert json.loads(next(row["_stream"] for row in road.rows("bronze") if row["id"] == "c"))["key_base64"] == "/wA="
    road.produce(click("a", 2))
    road.run()
    assert (road.silver(), len(road.rows("bronze"))) == ([("a", 2), ("c", 3)], 5)


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from pipelines.landing.delivery import Manifest
from pipelines.landing.zone import Landing
from pipelines.sources.kafka import KafkaTopic

url, name, root = sys.argv[1:]
landing = Landing(Path(root))
source = KafkaTopic("events", name, rows_per_file=10, wait_seconds=20)
for number, extracted in enumerate(source.extract(None, connection=url, now=datetime.now(UTC)), start=1):
    manifest = Manifest.of(extracted.content, sequence=number, position=extracted.position, attributes=extracted.attributes)
    if number == 3:  # the manifest of the third file is there, the file is not
        uri = f"toys/{name}/dt={extracted.interval}/{number:08d}-{extracted.name}.manifest.json"
        landing.store.put(uri, b"{}")
        os.kill(os.getpid(), signal.SIGKILL)
    landing.deliver(domain="toys", source=name, interval=extracted.interval, name=extracted.name, content=extracted.content,
                    manifest=manifest)
"""


def test_after_a_run_that_was_killed_between_two_files_the_next_lands_the_rest(road: Road) -> None:
    road.produce(*(click(f"{number:02d}", number) for number in range(35)))
    arguments = [road.settings.source("events"), road.name, str(road.settings.landing)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=PROJECT)
    assert killed.returncode == -signal.SIGKILL
    assert len(road.platform.landing.deliveries("toys", road.name)) == 2
    road.run()
    assert road.silver() == [(f"{number:02d}", number) for number in range(35)]
    assert len(road.rows("bronze")) == 35


def test_records_that_a_run_only_landed_are_taken_once_by_the_next(road: Road) -> None:
    road.produce(click("a", 1))
    road.run(road.landed)
    road.produce(click("b", 2))
    road.run()
    road.run()
    assert (road.silver(), len(road.rows("bronze"))) == ([("a", 1), ("b", 2)], 2)


def test_the_sensor_requests_batches_until_the_topic_is_taken(road: Road) -> None:
    job = dg.define_asset_job("near", selection=[road.landed, *road.tables])
    sensor = micro_batch_sensor("near", job, feeds={TableId("bronze", "toys", road.name): road.source}, every_seconds=5)
    resources = {PLATFORM: dg.ResourceDefinition.hardcoded_resource(road.platform)}
    defs = dg.Definitions(
        assets=[road.landed, *road.tables], jobs=[job], sensors=[sensor], resources=resources,
        executor=dg.in_process_executor,
    )  # fmt: skip
    road.produce(*(click(f"{number:02d}", number) for number in range(45)))
    backlogs, cursor = [], None
    with dg.DagsterInstance.ephemeral() as instance:
        while True:
            context = dg.build_sensor_context(instance, cursor=cursor, resources={PLATFORM: road.platform})
            tick = sensor(context)
            assert isinstance(tick, dg.SensorResult)
            cursor = tick.cursor
            if not tick.run_requests:
                break
            [request] = tick.run_requests
            backlogs.append(request.tags["goldpath/backlog"])
            assert defs.resolve_job_def("near").execute_in_process(instance=instance, tags=request.tags).success
    assert isinstance(tick.skip_reason, dg.SkipReason)
    assert "nothing new" in str(tick.skip_reason.skip_message)
    assert backlogs == ["46", "26", "6"]  # a transaction's mark takes an offset
    assert road.silver() == [(f"{number:02d}", number) for number in range(45)]
