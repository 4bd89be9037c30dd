"""The training data of registered models stays readable and can be rebuilt, whatever upkeep removes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.exceptions import MlflowException
from pydantic import SecretStr

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
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text
from tests.pipelines.toy_tables import BRONZE, SILVER, append, block, parts, platform_on, write

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

NO_TIME = timedelta(0)
COLUMNS = [text("part"), number("weight")]
MODEL = "toys.model"


def register(platform: Platform, folder: Path, *versions: TableVersion) -> str:
    """Registers a model whose run record names the versions; returns the id of its MLflow run."""
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
    """Bronze, silver and gold tables of toys, each derived from the one before.

    Attributes:
        platform: Where the tables are.
        gold: The gold table.
        derive: Materializes the gold table; returns its newest version.
        folder: Where models are written before they are registered.
    """

    platform: Platform
    gold: TableId
    derive: Callable[[], TableVersion]
    folder: Path

    def run(self, *, day: str, names: tuple[str, ...]) -> dict[TableId, TableVersion]:
        """Appends parts to bronze and derives silver and gold; returns each table's new version."""
        source = append(self.platform, BRONZE, *names, day=day)
        rows = [
            block(row["part"], None, row["_partition"])
            for row in self.platform.lakehouse.snapshot(source).arrow().to_pylist()
        ]
        typed = write(self.platform, SILVER, rows, inputs={"bronze": source})
        return {BRONZE: source, SILVER: typed, self.gold: self.derive()}

    def maintain(self) -> None:
        """Runs every step of upkeep, as if all versions had been replaced long ago."""
        maintenance.retain(self.platform, commit_metadata={})
        maintenance.compact(self.platform, commit_metadata={})
        pinned = pins.pinned(self.platform)
        maintenance.vacuum(self.platform, pinned, commit_metadata={}, keep=NO_TIME)
        records.checkpoint_and_clean(self.platform, pinned, keep=NO_TIME)


def part_and_weight(blocks: DataFrame) -> DataFrame:
    """The blocks with two of their columns."""
    return blocks.select("part", "weight")


@pytest.fixture
def factory(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> Factory:
    contract = toy_contracts.contract(tmp_path, f"gold/toys/known_{uuid.uuid4().hex[:8]}", COLUMNS)
    asset = gold_asset(contract, inputs={"blocks": str(SILVER)})(part_and_weight)
    sources = [toy_contracts.contract(tmp_path, f"{zone}/toys/blocks", COLUMNS) for zone in ("bronze", "silver")]
    platform = platform_on(each_engine, tmp_path / "home", contract, *sources)
    clock.move(platform.settings, datetime(2013, 7, 1, tzinfo=UTC))

    def derive() -> TableVersion:
        materialize(platform, [asset])
        return platform.lakehouse.current(contract.table)

    return Factory(platform, contract.table, derive, tmp_path)


def test_a_model_pins_its_training_set_and_all_versions_that_it_was_made_from(factory: Factory) -> None:
    first = factory.run(day="2013-01-01", names=("a", "b"))
    second = factory.run(day="2013-01-02", names=("c",))
    assert pins.pinned(factory.platform).pinned_by == {}
    register(factory.platform, factory.folder, first[factory.gold], first[SILVER])
    assert pins.pinned(factory.platform).pinned_by == dict.fromkeys(first.values(), frozenset({f"{MODEL}@1"}))
    register(factory.platform, factory.folder, second[factory.gold])
    both = pins.pinned(factory.platform)
    assert {at for at, names in both.pinned_by.items() if f"{MODEL}@2" in names} == set(second.values())
    assert both.versions(SILVER) == [first[SILVER].version, second[SILVER].version]


def test_pinned_versions_stay_readable_and_can_be_rebuilt_after_all_upkeep(factory: Factory) -> None:
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
    rebuilt = rebuild.rebuild(factory.platform, rebuild.request_for_model(factory.platform, MODEL, 1))
    assert (rebuilt.same_content, rebuilt.rows, rebuilt.request.at) == (True, 11, pinned[factory.gold])
    assert rebuilt.request.code_version == "0123"
    assert pins.pinned(factory.platform).versions(BRONZE) == [pinned[BRONZE].version]


def test_a_training_set_whose_version_upkeep_made_is_pinned_with_its_inputs(factory: Factory) -> None:
    first = factory.run(day="2013-01-01", names=("a",))
    factory.run(day="2013-01-02", names=("b",))
    maintenance.vacuum(factory.platform, pins.Pins(), commit_metadata={}, keep=NO_TIME)
    at = factory.platform.lakehouse.current(factory.gold)
    assert at.version > first[factory.gold].version + 1
    register(factory.platform, factory.folder, at)
    pinned = pins.pinned(factory.platform)
    assert [len(pinned.versions(table)) for table in (BRONZE, SILVER, factory.gold)] == [1, 1, 1]
    factory.run(day="2013-01-03", names=("c",))
    factory.maintain()
    assert parts(factory.platform, at) == ["a", "b"]


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    """A platform on the suite's engine."""
    return platform_on(engine, tmp_path / "home")


def test_the_version_that_filled_the_online_store_last_is_pinned(platform: Platform) -> None:
    versions = [write(platform, SILVER, [block(name)]) for name in ("a", "b", "c")]
    for at in versions[:2]:
        run = RunIdentity("features/toys/online", str(uuid.uuid4()), 0, {}, "toy-data")
        platform.lineage.complete(run, [platform.dataset(at)], [Dataset("features/toys/online", "2013")])
    run = RunIdentity("silver/toys/blocks", str(uuid.uuid4()), 0, {}, "toy-data")
    platform.lineage.complete(run, [Dataset("landing/toys/blocks", "1")], [platform.dataset(versions[2])])
    assert pins.pinned(platform).pinned_by == {versions[1]: frozenset({"features/toys/online"})}


def test_a_model_of_a_table_elsewhere_pins_no_table_of_this_lakehouse_and_cannot_be_rebuilt(
    platform: Platform, tmp_path: Path
) -> None:
    write(platform, SILVER, [block("a")])
    register(platform, tmp_path, TableVersion(TableId("gold", "toys", "elsewhere"), 3))
    [at] = pins.pinned(platform).pinned_by
    maintenance.vacuum(platform, pins.pinned(platform), commit_metadata={}, keep=NO_TIME)
    assert str(at) == "gold/toys/elsewhere@3"
    with pytest.raises(NotFoundError, match="training set of toys.model@1"):
        rebuild.request_for_model(platform, MODEL, 1)
    with pytest.raises(NotFoundError, match="no such version"):
        rebuild.request_for_model(platform, MODEL, 2)


def test_an_unreadable_run_record_raises(platform: Platform, tmp_path: Path) -> None:
    run_id = register(platform, tmp_path, write(platform, SILVER, [block("a")]))
    artifacts = str(Registry(platform.settings).client.get_run(run_id).info.artifact_uri).removeprefix("file://")
    Path(artifacts, EVIDENCE_FOLDER, RECORD_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="no complete run record"):
        pins.pinned(platform)


def test_a_registry_that_does_not_answer_raises(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    unused_address = f"http://127.0.0.1:{ports.free_port()}"
    platform = Platform(Settings(home=tmp_path, profile="test", mlflow_uri=SecretStr(unused_address)), dict)
    platform.engine = engine
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        pins.pinned(platform)
