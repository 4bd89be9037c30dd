"""A domain of made-up data comes to a served prediction by `goldpath` commands alone, with no line written by hand."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.machine import ports, ray_head
from pipelines.settings import PROJECT, Settings
from tests.goldpath_process import environment

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOMS = ("assets", "feature_repo", "pipelines", "ray_jobs", "serving", "infra")
ORDERS = 3_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
WHO = ("--owner", "shop-data", "--cost-centre", "cc-7", "--business-unit", "retail", "--project", "returns",
       "--application", "shop")  # fmt: skip
SECOND = '''

@gold_asset(contract("gold/customer_orders_v2"), inputs={"first": "gold/shop/customer_orders"})
def customer_orders_v2(first: DataFrame) -> DataFrame:
    """The rows of a customer so far, and the means of their amounts with postage."""
    from pyspark.sql import functions as F

    return first.withColumn("amount_mean", F.col("amount_mean") + 10)
'''
WINDOWS = ("--train-start", "2026-01-01", "--train-end", "2026-03-01", "--gate-end", "2026-04-01")
MODEL = ("--task", "binary", "--label", "returned", "--from", "silver/shop/orders", "--key", "order_id",
         "--at", "ordered_at", "--known-at", "closed_at", "--features", "customer_orders_v1", *WINDOWS)  # fmt: skip


def orders() -> Iterator[dict[str, Any]]:
    """Orders of 90 days: dear shoes come back, other things if they were cheap, and more of what a few customers buy.

    Neither the kind nor the amount alone tells anything, so that a network is better than a linear model.
    """
    chance = random.Random(7)
    for number in range(ORDERS):
        customer, amount = chance.randrange(60), round(chance.uniform(5, 200), 2)
        ordered = FIRST + timedelta(minutes=number * 90 * 24 * 60 // ORDERS)
        kind = chance.choice(["shoes", "books", "tools"])
        odds = 0.05 + 0.7 * ((kind == "shoes") == (amount > 100)) + 0.15 * (customer < 6)
        yield {
            "order_id": f"o{number:05d}", "customer": f"c{customer:02d}", "kind": kind, "amount": f"{amount:.2f}",
            "ordered_at": ordered.isoformat(), "closed_at": (ordered + timedelta(days=1)).isoformat(),
            "returned": "true" if chance.random() < odds else "false", "gift": "false" if number % 5 else "true",
        }  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's code, with the orders landed in its home."""
    copy = tmp_path_factory.mktemp("stranger")
    for room in ROOMS:
        shutil.copytree(PROJECT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    landed = copy / "home/landing/shop/orders/dt=2026-03-31/orders.jsonl"
    landed.parent.mkdir(parents=True)
    landed.write_text("".join(json.dumps(order) + "\n" for order in orders()), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def port() -> int:
    return ports.free_port()


@pytest.fixture(scope="module")
def goldpath(project: Path, port: int) -> Command:
    """Runs a command of the copied project; it must succeed, or fail where `fails` is given."""
    env = environment(project / "home", PYTHONPATH=str(project), GOLDPATH_SERVING_PORT=str(port))
    env["GOLDPATH_CLOCK"] = "2026-04-01T00:00:00+00:00"

    def run(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env, cwd=project)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    return run


@pytest.fixture(scope="module")
def written(project: Path, goldpath: Command) -> dict[str, str]:
    """The domain's files by path, as the commands wrote them."""
    goldpath("new", "domain", "shop", *WHO)
    goldpath("landing", "propose", "shop/orders", "--folder", "assets/shop/contracts")
    goldpath("materialize", "bronze/shop/orders", "silver/shop/orders")
    source = ("--from", "silver/shop/orders")
    goldpath("new", "table", "gold/shop/paid_orders", *source)
    for key in ("customer", "kind"):
        goldpath("new", "feature", f"shop/{key}_orders", *source, "--key", key, "--at", "ordered_at")
    goldpath("new", "model", "shop.returns", *MODEL)
    goldpath("new", "service", "shop.returns")
    folder = project / "assets/shop"
    return {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.suffix in (".py", ".yaml")
    }


@pytest.fixture(scope="module")
def served(written: dict[str, str], project: Path, goldpath: Command, port: int) -> Iterator[str]:
    """The output of the run that trains, registers and deploys, with the cluster of its service running."""
    goldpath("materialize", "gold/shop/paid_orders", "gold/shop/customer_orders", "gold/shop/kind_orders",
             "gold/shop/returns_training_set", "features/shop/online")  # fmt: skip
    settings = Settings(home=project / "home", serving_port=port)
    head = ray_head.start_head(settings)
    try:
        yield goldpath("materialize", "training/shop/returns", "models/shop/returns", "serving/shop/returns").stdout
    finally:
        head.stop()


def test_the_written_modules_are_formatted_and_pass_the_linter(written: dict[str, str], project: Path) -> None:
    for check in (["check"], ["format", "--diff"]):
        config = ("--config", str(PROJECT / "pyproject.toml"))
        command = [sys.executable, "-m", "ruff", *check, *config, "assets/shop"]
        result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_outside_the_domains_folder_changes(served: str, written: dict[str, str], project: Path) -> None:
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            assert (project / path.relative_to(PROJECT)).read_bytes() == path.read_bytes()
    by_hand = [name for name, text in written.items() if (project / "assets/shop" / name).read_text("utf-8") != text]
    assert by_hand == []


def test_an_existing_file_is_never_overwritten(written: dict[str, str], goldpath: Command) -> None:
    assert "it exists" in goldpath("new", "domain", "shop", *WHO, fails=True).stderr
    again = goldpath("new", "model", "shop.returns", *MODEL, fails=True).stderr
    assert "an existing file is never overwritten" in again


def test_a_column_that_does_not_exist_is_refused_with_those_that_do(written: dict[str, str], goldpath: Command) -> None:
    arguments = ("shop/late", "--from", "silver/shop/orders", "--key", "customer", "--at", "orderd_at")
    error = goldpath("new", "feature", *arguments, fails=True).stderr
    assert "--at orderd_at" in error
    assert "ordered_at, closed_at" in error


def test_features_count_the_rows_known_before_the_instant(served: str, goldpath: Command) -> None:
    shown = json.loads(goldpath("tables", "show", "gold/shop/customer_orders", "--limit", "100000", "--json").stdout)
    first = next(order for order in orders() if order["customer"] == "c07")
    rows = sorted((row for row in shown["rows"] if row["customer"] == "c07"), key=lambda row: row["event_timestamp"])
    known = datetime.fromisoformat(rows[0]["event_timestamp"]).replace(tzinfo=UTC)
    assert known == datetime.fromisoformat(first["ordered_at"]) + timedelta(seconds=1)
    assert [row["rows_so_far"] for row in rows[:3]] == [1, 2, 3]
    assert rows[0]["amount_mean"] == pytest.approx(float(first["amount"]))


def test_a_question_is_answered_over_http_and_its_prediction_has_a_lineage(
    served: str, project: Path, port: int, goldpath: Command
) -> None:
    token = (project / "home/serving/tokens/shop.returns").read_text("utf-8").strip()
    question = {"order_id": "o99999", "customer": "c01", "kind": "shoes", "amount": 120.0, "gift": "of course"}
    caller = httpx.Client(timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"})
    with caller:
        url = f"http://127.0.0.1:{port}/shop/returns/v1/predict"
        refused = caller.post(url, json=question).json()
        assert (refused["field"], refused["expected"]) == ("gift", "Gift: true or false, or null")
        answer = caller.post(url, json=question | {"gift": True})
    assert answer.status_code == 200, answer.text
    assert answer.json()["probability"] > 0.4
    lineage = goldpath("lineage", "prediction", answer.json()["prediction_id"]).stdout
    assert "shop/orders/dt=2026-03-31/orders.jsonl" in lineage
    tables = [f"{zone}/shop/returns_predictions" for zone in ("landing", "bronze", "silver")]
    goldpath("materialize", *tables, "gold/shop/returns_outcomes")
    rows = json.loads(goldpath("tables", "show", "gold/shop/returns_outcomes", "--json").stdout)["rows"]
    assert [(row["subject"], row["outcome"]) for row in rows] == [("o99999", None)]


def test_a_second_version_of_a_view_is_compared_promoted_and_rolled_back_and_the_first_model_goes_on_with_the_first(
    served: str, project: Path, port: int, goldpath: Command
) -> None:
    declare_second_version(project / "assets/shop")
    goldpath("materialize", "gold/shop/customer_orders_v2", "features/shop/online")
    compared = json.loads(goldpath("features", "compare", "shop.customer_orders", "1", "2", "--json").stdout)
    assert (compared["rows"], compared["common"]) == ([ORDERS, ORDERS], ORDERS)
    assert {each["feature"]: each["equal"] for each in compared["features"]} == {"rows_so_far": 1.0, "amount_mean": 0.0}
    assert [(each["model"], each["rows"]) for each in compared["effects"]] == [("shop.returns@1", ORDERS)]
    first = amount_mean(goldpath)
    goldpath("features", "promote", "shop.customer_orders", "2", "--because", "with postage")
    assert amount_mean(goldpath) == pytest.approx(first + 10)
    goldpath("materialize", "serving/shop/returns")
    assert asked(project, port)["features"]["customer_orders__amount_mean"]["value"] == first
    goldpath("materialize", "gold/shop/returns_training_set", "training/shop/returns", "models/shop/returns")
    shown = json.loads(goldpath("features", "show", "shop.customer_orders", "--json").stdout)
    models = {each["version"]: [model.split()[0] for model in each["models"]] for each in shown["versions"]}
    assert models == {1: ["shop.returns@1"], 2: ["shop.returns@2"]}
    goldpath("features", "rollback", "shop.customer_orders", "--because", "postage is paid by nobody")
    assert amount_mean(goldpath) == first
    assert asked(project, port)["features"]["customer_orders__amount_mean"]["value"] == first
    for version in ("1", "2"):
        rebuilt = json.loads(goldpath("rebuild", "--model", "shop.returns", "--version", version, "--json").stdout)
        assert rebuilt["same_content"]


def test_the_versions_of_the_model_are_listed_compared_and_decided_about_with_a_reason(
    served: str, goldpath: Command
) -> None:
    (row,) = (row for row in json.loads(goldpath("model", "list", "--json").stdout) if row["model"] == "shop.returns")
    assert (row["task"], row["risk"], row["versions"], row["awaits_approval"]) == ("binary", "limited", 2, [])
    assert "gate in run" in row["last_decision"]
    compared = json.loads(goldpath("model", "compare", "shop.returns", "1", "2", "--json").stdout)
    assert compared["versions"][0]["may serve"] == "yes"
    assert compared["same_rows"]["metric"] == "log_loss"
    assert compared["same_rows"]["rows"] > 0
    assert "## Limits" in goldpath("model", "card", "shop.returns").stdout
    other = 1 if row["champion"] == 2 else 2
    refused = goldpath("model", "promote", "shop.returns", str(row["champion"]), "--because", "again", fails=True)
    assert "it is the champion" in refused.stderr
    if other == 1:
        goldpath("model", "rollback", "shop.returns", "--because", "postage is paid by nobody")
        shown = json.loads(goldpath("model", "show", "shop.returns", "--json").stdout)
        assert [each["version"] for each in shown["versions"] if each["champion"]] == [1]
        assert shown["decisions"][-1]["because"] == "postage is paid by nobody"


def declare_second_version(folder: Path) -> None:
    contract = (folder / "contracts/gold_customer_orders.yaml").read_text("utf-8")
    second = contract.replace("customer_orders", "customer_orders_v2").replace("customer-orders", "customer-orders-2")
    (folder / "contracts/gold_customer_orders_v2.yaml").write_text(second, "utf-8")
    with (folder / "gold.py").open("a", encoding="utf-8") as gold:
        gold.write(SECOND)
    features = (folder / "features.py").read_text("utf-8")
    view = 'feature_view(contract("gold/customer_orders"))'
    views = features.replace(f"({view},)", f"({view}, {view.replace('_orders', '_orders_v2')})")
    assert views != features
    (folder / "features.py").write_text(views, "utf-8")


def amount_mean(goldpath: Command) -> float:
    """What people read of the current version."""
    read = json.loads(goldpath("features", "get", "shop.customer_orders_v1", "customer=c01", "--json").stdout)
    return next(each["value"] for each in read["features"] if each["feature"] == "customer_orders__amount_mean")


def asked(project: Path, port: int) -> dict[str, Any]:
    """What the service answers about an order of the same customer."""
    token = (project / "home/serving/tokens/shop.returns").read_text("utf-8").strip()
    question = {"order_id": "o99998", "customer": "c01", "kind": "shoes", "amount": 120.0, "gift": True}
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{port}/shop/returns/v1/predict"
    with httpx.Client(timeout=60, trust_env=False, headers=headers) as caller:
        return caller.post(url, json=question).json()
