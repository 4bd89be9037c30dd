"""What a registered model was trained on stays readable, and can be made again, whatever upkeep removes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.exceptions import MlflowException

from pipelines import clock
from pipelines.engine.session import Engine
from pipelines.errors import ModelError, NotFoundError
from pipelines.governed.platform import Platform
from pipelines.lakehouse import time_travel
from pipelines.lineage.events import Dataset, RunIdentity
from pipelines.machine import ports
from pipelines.medallion.decorators import gold_asset
from pipelines.models import model_files, run_record
from pipelines.models.registry import EVIDENCE_FOLDER, Registry
from pipelines.models.run_record import RECORD_FILE, RunRecord
from pipelines.provenance import pins, rebuild
from pipelines.settings import Settings
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep import maintenance, records
from tests.conftest import Materialize
from tests.pipelines import toys
from tests.pipelines.made_tables import BRONZE, SILVER, append, block, parts, platform_on, write
from tests.pipelines.toys import number, text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

NOW = timedelta(0)
COLUMNS = [text("part"), number("weight")]
MODEL = "toys.model"


def register(platform: Platform, folder: Path, *versions: TableVersion) -> str:
    """Registers a model whose record names the versions; returns its MLflow run."""
    registry, folder = Registry(platform.settings), folder / uuid.uuid4().hex
    model, evidence = folder / "model", folder / "evidence"
    model.mkdir(parents=True)
    evidence.mkdir()
    (model / "model.safetensors").write_bytes(folder.name.encode())
    RunRecord(
        created_at=run_record.now(), code_version="0123", code_dirty=False, feature_service="s", as_of_rule="r",
        dataset_versions={str(at.table): at.version for at in versions}, hyperparameters={}, environment={},
        base_model=None, base_image=None, accelerator="cpu", artifacts=model_files.checksums(model),
        dagster_run_id=str(uuid.uuid4()),
    ).write(evidence)  # fmt: skip
    run_id = registry.log_run(
        experiment=MODEL,
        model=model,
        record=RunRecord.read(evidence),
        metrics={},
        history={},
        evidence=evidence,
        tags={},
    )
    registry.register(MODEL, run_id=run_id, tags={})
    return run_id


@dataclass(frozen=True, slots=True)
class Factory:
    """Bronze, silver and gold tables of toys, each made from the one before, and the models trained on gold."""

    platform: Platform
    gold: TableId
    derive: Callable[[], TableVersion]
    folder: Path

    def run(self, *, day: str, names: tuple[str, ...]) -> dict[TableId, TableVersion]:
        """Newer data arrives and goes all the way."""
        source = append(self.platform, BRONZE, *names, day=day)
        rows = [
            block(row["part"], None, row["_partition"])
            for row in self.platform.lakehouse.snapshot(source).arrow().to_pylist()
        ]
        typed = write(self.platform, SILVER, rows, inputs={"bronze": source})
        return {BRONZE: source, SILVER: typed, self.gold: self.derive()}

    def maintain(self) -> None:
        """All upkeep, as if everything were long ago."""
        maintenance.retain(self.platform, told={})
        maintenance.compact(self.platform, told={})
        found = pins.pinned(self.platform)
        maintenance.vacuum(self.platform, found, told={}, keep=NOW)
        records.checkpoint_and_clean(self.platform, found, keep=NOW)


def known(blocks: DataFrame) -> DataFrame:
    """The blocks as they are known."""
    return blocks.select("part", "weight")


@pytest.fixture
def factory(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> Factory:
    contract = toys.contract(tmp_path, f"gold/toys/known_{uuid.uuid4().hex[:8]}", COLUMNS)
    asset = gold_asset(contract, inputs={"blocks": str(SILVER)})(known)
    sources = [toys.contract(tmp_path, f"{zone}/toys/blocks", COLUMNS) for zone in ("bronze", "silver")]
    platform = platform_on(each_engine, tmp_path / "home", contract, *sources)
    clock.move(platform.settings, datetime(2013, 7, 1, tzinfo=UTC))

    def derive() -> TableVersion:
        materialize(platform, [asset])
        return platform.lakehouse.current(contract.table)

    return Factory(platform, contract.table, derive, tmp_path)


def test_a_model_pins_its_training_set_and_everything_that_it_was_made_from(factory: Factory) -> None:
    first = factory.run(day="2013-01-01", names=("a", "b"))
    second = factory.run(day="2013-01-02", names=("c",))
    assert pins.pinned(factory.platform).named_by == {}
    register(factory.platform, factory.folder, first[factory.gold], first[SILVER])
    found = pins.pinned(factory.platform)
    assert found.named_by == dict.fromkeys(first.values(), frozenset({f"{MODEL}@1"}))
    register(factory.platform, factory.folder, second[factory.gold])
    found = pins.pinned(factory.platform)
    assert {at for at, names in found.named_by.items() if f"{MODEL}@2" in names} == set(second.values())
    assert found.versions(SILVER) == [first[SILVER].version, second[SILVER].version]


def test_pinned_versions_read_fully_after_retention_compaction_vacuum_and_log_cleanup(factory: Factory) -> None:
    names = tuple("abcdefghij")
    lost = factory.run(day="2011-12-30", names=("lost",))
    pinned = factory.run(day="2011-12-31", names=names)
    register(factory.platform, factory.folder, pinned[factory.gold], pinned[SILVER])
    content = {at: parts(factory.platform, at) for at in pinned.values()}
    newest = factory.run(day="2013-06-30", names=("new",))
    for count in range(25):
        write(factory.platform, SILVER, [block(f"{count}", day="2013-06-30")], inputs={"bronze": newest[BRONZE]})
    for _ in range(2):
        factory.maintain()
    house = factory.platform.lakehouse
    assert {at: parts(factory.platform, at) for at in pinned.values()} == content
    assert content[pinned[BRONZE]] == sorted(["lost", *names])
    assert parts(factory.platform, house.current(BRONZE)) == ["new"]
    assert not any(time_travel.is_readable(house, lost[table]) for table in (SILVER, factory.gold))
    assert not time_travel.is_readable(house, newest[SILVER])
    found = rebuild.rebuild(factory.platform, rebuild.of_model(factory.platform, MODEL, 1))
    assert (found.same_content, found.rows, found.request.at) == (True, 11, pinned[factory.gold])
    assert found.request.code_version == "0123"
    assert pins.pinned(factory.platform).versions(BRONZE) == [pinned[BRONZE].version]


def test_a_training_set_of_a_version_that_upkeep_made_is_pinned_with_its_inputs(factory: Factory) -> None:
    made = factory.run(day="2013-01-01", names=("a",))
    factory.run(day="2013-01-02", names=("b",))
    maintenance.vacuum(factory.platform, pins.Pins(), told={}, keep=NOW)
    at = factory.platform.lakehouse.current(factory.gold)
    assert at.version > made[factory.gold].version + 1
    register(factory.platform, factory.folder, at)
    found = pins.pinned(factory.platform)
    assert len(found.versions(BRONZE)) == len(found.versions(SILVER)) == len(found.versions(factory.gold)) == 1
    factory.run(day="2013-01-03", names=("c",))
    factory.maintain()
    assert parts(factory.platform, at) == ["a", "b"]


@pytest.fixture
def embedded(engine: Engine, tmp_path: Path) -> Platform:
    return platform_on(engine, tmp_path / "home")


def test_what_the_online_store_was_filled_from_last_is_pinned(embedded: Platform) -> None:
    versions = [write(embedded, SILVER, [block(name)]) for name in ("a", "b", "c")]
    for at in versions[:2]:
        run = RunIdentity("features/toys/online", str(uuid.uuid4()), 0, {}, "toy-data")
        embedded.lineage.complete(run, [embedded.dataset(at)], [Dataset("features/toys/online", "2013")])
    run = RunIdentity("silver/toys/blocks", str(uuid.uuid4()), 0, {}, "toy-data")
    embedded.lineage.complete(run, [Dataset("landing/toys/blocks", "1")], [embedded.dataset(versions[2])])
    assert pins.pinned(embedded).named_by == {versions[1]: frozenset({"features/toys/online"})}


def test_a_model_of_tables_that_are_not_here_pins_nothing_that_is(embedded: Platform, tmp_path: Path) -> None:
    write(embedded, SILVER, [block("a")])
    register(embedded, tmp_path, TableVersion(TableId("gold", "toys", "elsewhere"), 3))
    [at] = pins.pinned(embedded).named_by
    maintenance.vacuum(embedded, pins.pinned(embedded), told={}, keep=NOW)
    assert str(at) == "gold/toys/elsewhere@3"
    with pytest.raises(NotFoundError, match="training set of toys.model@1"):
        rebuild.of_model(embedded, MODEL, 1)
    with pytest.raises(NotFoundError, match="no such version"):
        rebuild.of_model(embedded, MODEL, 2)


def test_without_a_readable_record_nobody_says_what_may_go(embedded: Platform, tmp_path: Path) -> None:
    run_id = register(embedded, tmp_path, write(embedded, SILVER, [block("a")]))
    artifacts = str(Registry(embedded.settings).client.get_run(run_id).info.artifact_uri).removeprefix("file://")
    Path(artifacts, EVIDENCE_FOLDER, RECORD_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="no complete run record"):
        pins.pinned(embedded)


def test_a_registry_that_does_not_answer_pins_everything(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nobody = f"http://127.0.0.1:{ports.free_port()}"
    platform = Platform(Settings(home=tmp_path, profile="test", mlflow_uri=nobody), dict)
    platform.engine = engine
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        pins.pinned(platform)
