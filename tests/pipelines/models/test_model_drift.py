"""The features of the model that serves, against those that it was trained on: now, and in its answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.engine.session import Engine
from pipelines.errors import DamagedError
from pipelines.features.declaration import FeatureService
from pipelines.features.drift import DriftLimits
from pipelines.machine import files
from pipelines.models import drift, drift_asset, prediction_log
from pipelines.models.answers import Task
from pipelines.models.drift import NOW, SERVING, ModelDrift, Reference
from pipelines.models.program import Holds, Program, Window
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.run_record import RunRecord
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings
from serving.predict.log import PredictionLog
from tests.pipelines import toy_contracts as toys
from tests.pipelines.features.toy_views import BEGIN, DAYS, Row, stock_rows, stock_table, stock_view
from tests.pipelines.models.trained import write_evidence

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")

AT = BEGIN + timedelta(days=DAYS)
TRAINED = Window(BEGIN, BEGIN + timedelta(days=8))
COMPARED = Window(TRAINED.end, AT)
INPUTS = ("stock__price", "stock__pieces", "stock__colour", "stock__sold", "hour")
Change = Callable[[Row], Row]


@dataclass(frozen=True)
class ToyRecipe:
    """The part of a recipe that the platform reads."""

    task: Task = "regression"
    columns: Mapping[str, Holds] = field(default_factory=dict)
    train_window: Window = TRAINED
    gate_window: Window = COMPARED
    inputs: tuple[str, ...] = INPUTS
    label: str = "demand"
    row_key: str = "question"
    quality_target: float | None = None


def question(row: Row) -> Row:
    """A row of the training set: what is asked of an item when its row becomes known."""
    features = {f"stock__{name}": row[name] for name in ("price", "pieces", "colour", "sold")}
    instant = row["event_timestamp"]
    return {"question": f"{row['item']} {instant}", "event_timestamp": instant, "hour": instant.hour, **features}


@dataclass(frozen=True)
class Shop:
    """A registered toy model on a home of its own, with the rows that it was trained on."""

    engine: Engine
    settings: Settings
    spec: ModelSpec
    champion: RegisteredModel

    def answered(self, rows: list[Row], digest: str = "") -> None:
        """Logs an answer to the question of each row, as the service does."""
        log = PredictionLog(prediction_log.folder(self.settings, self.spec.registered_name))
        for row in rows:
            asked = question(row)
            features = {n: {"value": v, "timestamp": ""} for n, v in asked.items() if "__" in n and v is not None}
            record = {
                "prediction_id": asked["question"], "model": {"digest": digest or self.champion.digest},
                "features": features, "columns": {"hour": asked["hour"]}, "as_of": row["event_timestamp"].isoformat(),
            }  # fmt: skip
            log.append(row["event_timestamp"].date(), [json.dumps(record)])

    def drift(self, change: Change = dict, *, spec: ModelSpec | None = None, second: Change = dict) -> ModelDrift:
        """The drift with rows that changed on the last day; `second` changes those of the view's second version."""
        changes = {"gold_toys_stock": change, "gold_toys_stock_v2": second}
        rows = {name: stock_table(stock_rows(change=each, seed=2)) for name, each in changes.items()}
        tables = {name: self.engine.session.createDataFrame(each) for name, each in rows.items()}
        return drift.measure(self.settings, spec or self.spec, tables, AT)


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Shop:
    view = stock_view(tmp_path)
    instant = {"name": "event_timestamp", "logicalType": "timestamp", "description": "When it is asked."}
    columns = [
        toys.text("question", primaryKey=True, primaryKeyPosition=1, required=True), instant,
        toys.number("stock__price"), toys.integer("stock__pieces"), toys.text("stock__colour"),
        {"name": "stock__sold", "logicalType": "boolean", "description": "Whether it was sold."}, toys.integer("hour"),
    ]  # fmt: skip
    costs = CostTags("cc-7", "toys", "blocks", "building")
    spec = ModelSpec(
        domain=Domain("toys", "toy-data", costs, Contracts()),
        name=f"demand_{uuid.uuid4().hex[:8]}",
        question="How many are sold?",
        task="regression",
        program=Program("nowhere:challenge", "nowhere:load", tasks=("regression",), kinds=("ray",)),
        recipes={"from_scratch": ToyRecipe},
        training_set=toys.contract(tmp_path, "gold/toys/demand", columns),
        features=FeatureService("demand_v1", "toys", (view,), "What is known.", "toy-data"),
        limits=("Only toys.",),
        drift=DriftLimits(window=timedelta(days=1)),
    )
    rows = stock_rows()
    asked = engine.session.createDataFrame([question(row) for row in rows])
    known = drift.reference(
        spec, spec.features, ToyRecipe(), asked, {"gold_toys_stock": engine.session.createDataFrame(stock_table(rows))}
    )
    settings = Settings(home=tmp_path / "home", profile="test")
    return Shop(engine, settings, spec, registered(settings, spec, tmp_path / "trained", known))


def registered(settings: Settings, spec: ModelSpec, folder: Path, known: Reference | None) -> RegisteredModel:
    files.replace(folder / "model" / "model.json", uuid.uuid4().hex)
    evidence = write_evidence(folder / "model", spec.registered_name, spec.task)
    if known:
        known.write(evidence)
    replace(RunRecord.read(evidence), dataset_versions={"gold/toys/stock": 2}).write(evidence)
    registry = Registry(settings)
    run = registry.log_run(
        experiment=spec.registered_name, model=folder / "model", record=RunRecord.read(evidence), metrics={},
        history={}, evidence=evidence, tags={},
    )  # fmt: skip
    champion = registry.register(spec.registered_name, run_id=run, tags={})
    registry.promote(champion)
    return champion


def found(measured: ModelDrift) -> dict[str, list[str]]:
    return {each.of: [comparison.feature for comparison in each.drifted] for each in measured.drifts}


def last_day(change: Change = dict) -> list[Row]:
    return [row for row in stock_rows(change=change, seed=3) if row["event_timestamp"] >= AT - timedelta(days=1)]


def test_features_as_in_training_have_not_drifted(shop: Shop) -> None:
    shop.answered(last_day())
    measured = shop.drift()
    assert found(measured) == {NOW: [], SERVING: []}
    assert [len(each.comparisons) for each in measured.drifts] == [4, 5]
    assert all(comparison.reference.rows == 8 * 240 for each in measured.drifts for comparison in each.comparisons)
    assert drift_asset.check_result(measured, shop.spec).passed


def test_a_feature_that_moved_in_its_table_is_named_and_so_is_one_that_is_served_otherwise(shop: Shop) -> None:
    shop.answered(last_day(lambda row: row | {"colour": "violet"}))
    measured = shop.drift(lambda row: row | {"price": row["price"] + 20})
    assert found(measured) == {NOW: ["stock__price"], SERVING: ["stock__colour"]}
    row = drift_asset.rows(measured.drifts[1])[0]
    assert (row["feature"], row["drifted"]) == ("stock__colour", True)
    assert row["most_grown"] == "others: 0.0% to 100.0%"
    result = drift_asset.check_result(measured, shop.spec)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "training and now: 1 of 4 features have drifted: stock__price by 0." in str(result.description)
    blocking = replace(shop.spec, drift=replace(shop.spec.drift, blocks=True))
    assert drift_asset.check_result(measured, blocking).severity == dg.AssetCheckSeverity.ERROR


def test_a_model_is_compared_with_the_version_of_a_view_that_it_was_trained_with(shop: Shop, tmp_path: Path) -> None:
    second = stock_view(tmp_path, table="gold/toys/stock_v2")
    both = replace(shop.spec.features, views=(*shop.spec.features.views, second))
    measured = shop.drift(spec=replace(shop.spec, features=both), second=lambda row: row | {"price": 99.0})
    assert found(measured)[NOW] == []


def test_a_feature_that_the_online_store_does_not_answer_has_drifted(shop: Shop) -> None:
    shop.answered(last_day(lambda row: row | {"pieces": None}))
    assert found(shop.drift())[SERVING] == ["stock__pieces"]


def test_answers_of_another_model_or_outside_the_window_do_not_count(shop: Shop) -> None:
    shop.answered(last_day())
    shop.answered(last_day(lambda row: row | {"price": 0.0}), digest="another")
    earlier, later = (
        [row | {"price": 0.0, "event_timestamp": row["event_timestamp"] + timedelta(days=days)} for row in last_day()]
        for days in (-1, 2)
    )
    shop.answered(earlier + later)
    [_, serving] = shop.drift().drifts
    assert serving.drifted == []
    assert {comparison.now.rows for comparison in serving.comparisons} == {240 - 10}  # the window has no first instant


def test_without_enough_answers_the_check_has_not_passed(shop: Shop) -> None:
    shop.answered(last_day()[:50])
    measured = shop.drift()
    result = drift_asset.check_result(measured, shop.spec)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "training and serving: no verdict, 40 rows of stock__price, 100 are needed" in str(result.description)


def test_a_model_without_a_reference_and_one_without_a_champion_have_no_verdict(shop: Shop, tmp_path: Path) -> None:
    registered(shop.settings, shop.spec, tmp_path / "older", None)
    older = shop.drift()
    assert all("has no reference: goldpath materialize training/toys/" in each.no_verdict for each in older.drifts)
    none = shop.drift(spec=replace(shop.spec, name="unknown"))
    assert all("there is no champion" in each.no_verdict for each in none.drifts)
    assert not drift_asset.check_result(none, shop.spec).passed


def test_a_reference_is_read_as_it_was_written(shop: Shop, tmp_path: Path) -> None:
    known = Reference.read(Registry(shop.settings).download(shop.champion).parent / "evidence")
    assert known is not None
    assert list(known.asked) == ["stock__price", "stock__pieces", "stock__colour", "stock__sold", "hour"]
    assert list(known.views) == ["stock__price", "stock__pieces", "stock__colour", "stock__sold"]
    known.write(tmp_path / "again")
    assert Reference.read(tmp_path / "again") == known


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": {"a": 1}, "views": {}}'])
def test_a_damaged_reference_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / drift.REFERENCE_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(DamagedError, match=r"features\.json.*restore the model's evidence"):
        Reference.read(tmp_path)
