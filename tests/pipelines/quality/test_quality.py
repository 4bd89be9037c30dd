"""A verdict as Great Expectations and Dagster show it: objects of theirs, and pages with every rule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.platform.quality import data_docs as data_docs_asset
from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from pipelines.errors import NotFoundError
from pipelines.medallion.decorators import silver_asset
from pipelines.quality import contract_check, expectations, recorded
from pipelines.quality.data_docs import data_docs
from pipelines.tables import RESCUED, TableId
from pipelines.verdict import verdict
from tests.pipelines import toy_contracts
from tests.pipelines.contracts.blocks import goldpath_rule
from tests.pipelines.toy_contracts import integer, number, row_rule, text
from tests.pipelines.toy_pipeline import ToyPipeline, as_arrived

SHOPS = TableId("silver", "toys", "shops")
NOW = datetime(2013, 5, 8, tzinfo=UTC)


def every_rule(folder: Path) -> Contract:
    """A contract with a rule of each kind."""
    clock = [{"property": "timezone", "value": "America/New_York"}]
    return toy_contracts.contract(
        folder,
        "silver/toys/sales",
        [
            text("receipt", primaryKey=True, required=True, unique=True, logicalTypeOptions={"minLength": 2, "maxLength": 4}),
            {"name": "sold", "logicalType": "timestamp", "description": "d", "customProperties": clock, "primaryKey": True,
             "primaryKeyPosition": 2},
            integer("pieces", logicalTypeOptions={"minimum": 1, "exclusiveMaximum": 9}),
            number("price", physicalType="decimal(6,2)"),
            text("colour", enum=[{"value": "red"}]),
            text("code", logicalTypeOptions={"pattern": "^[A-Z]{2}$"}),
            text("shop", relationships=[{"type": "foreignKey", "to": "silver.toys.shops.name"}]),
        ],
        quality=[
            row_rule("cheap", "price", "price < 9 or code rlike '^{2}$'"),
            {"name": "some_rows", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1},
            {"name": "not_thirteen", "type": "library", "metric": "rowCount", "mustNotBe": 13},
            {"name": "mean", "type": "sql", "query": "avg(price)", "mustBeBetween": [1, 9], "severity": "warning"},
            {"name": "days", "type": "sql", "query": "SELECT count(DISTINCT sold) FROM {table}", "mustBeLessThan": 9},
            goldpath_rule("fresh", freshness={"column": "sold", "max_age": "2d"}),
            goldpath_rule("mixed", distribution={"column": "colour", "categories": ["red"], "reference": "previous"}),
        ],
    )  # fmt: skip


ROW = {"receipt": "R1", "sold": "2013-05-06 07:08:09", "pieces": "4", "price": "2.50", "colour": "red", "code": "AB",
       "shop": "North"}  # fmt: skip


@pytest.fixture(scope="module")
def judged(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> verdict.Verdict:
    """The verdict over rows that break every row rule."""
    contract = every_rule(tmp_path_factory.mktemp("contracts"))
    changes: list[dict[str, Any]] = [
        {}, {"pieces": "9"}, {"colour": "green"}, {"code": "?"}, {"shop": "South"}, {"price": "12"}, {"price": "1.234"},
        {"sold": "2013-03-10 02:30:00"}, {"receipt": "R"}, {"receipt": "r1"}, {"receipt": None},
    ]  # fmt: skip
    rows = [ROW | {RESCUED: None, "_record_id": f"r{n}"} | change for n, change in enumerate(changes)]
    texts = ["_source_uri", "_ingest_id", "_partition"]
    rows = [row | dict.fromkeys(texts, "x") | {"_source_row": 1, "_ingested_at": NOW} for row in rows]
    strings = [(name, pa.string()) for name in rows[0] if name not in ("_source_row", "_ingested_at")]
    schema = pa.schema([*strings, ("_source_row", pa.int64()), ("_ingested_at", pa.timestamp("us", "UTC"))])
    raw = engine.session.createDataFrame(pa.Table.from_pylist(rows, schema=schema))
    shops = engine.session.createDataFrame(pa.table({"name": ["North"]}))
    arrived = verdict.fingerprint(raw)
    rows_judged = verdict.judge(verdict.typed(raw, contract), contract, {SHOPS: shops})
    return verdict.summarize(rows_judged, contract, rows_in=arrived.rows, record_hash=arrived.hash, now=NOW)


def test_great_expectations_reads_a_recorded_verdict_as_its_own_result(judged: verdict.Verdict) -> None:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema

    ours = json.loads(json.dumps(expectations.validation_result(judged), default=str))
    theirs = ExpectationSuiteValidationResultSchema().load(ours)
    assert [result.expectation_config.to_domain_obj().meta["rule"] for result in theirs.results] == [
        *(result.rule.name for result in judged.rules), *(result.rule.name for result in judged.table_rules),
    ]  # fmt: skip
    round_trip = theirs.to_json_dict()
    assert (round_trip["success"], round_trip["statistics"], round_trip["meta"]) == (
        ours["success"],
        ours["statistics"],
        ours["meta"],
    )
    assert [r["result"] for r in round_trip["results"]] == [r["result"] for r in ours["results"]]


def test_the_data_docs_show_every_rule_of_a_verdict(judged: verdict.Verdict, tmp_path: Path) -> None:
    contract_check.check_result(judged, folder=tmp_path)
    contract_check.check_result(judged, folder=tmp_path)
    index = data_docs(tmp_path)
    pages = {page for page in index.parent.rglob("*.html") if page != index}
    validations = [page for page in pages if "validations" in page.parts]
    [suite] = [page for page in pages if "expectations" in page.parts]
    assert len(validations) == 2
    successes = expectations.validation_result(judged)["statistics"]["successful_expectations"]
    assert "silver.toys.sales" in index.read_text(encoding="utf-8")
    rules = [*judged.rules, *judged.table_rules]
    assert [r.rule.name for r in rules if f">{r.rule.name}" not in suite.read_text(encoding="utf-8")] == []
    for page in validations:
        html = page.read_text(encoding="utf-8")
        passed, failed = html.count("fa-check-circle"), html.count("fa-times")
        assert (passed, failed) == (successes, len(rules) - successes + 1)  # one more for the validation itself
    assert data_docs(tmp_path) == index


class Tags(HTMLParser):
    """The elements of a page that have the attribute `data-outside`, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if any(name == "data-outside" for name, _ in attrs):
            self.outside.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_text_of_a_verdict_becomes_an_element_of_the_data_docs(judged: verdict.Verdict, tmp_path: Path) -> None:
    def hostile(value: Any, key: str = "") -> Any:
        """The value with elements of HTML in each text that a source or a contract may have written."""
        if isinstance(value, dict):
            return {name: hostile(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [hostile(item, key) for item in value]
        fixed = key in ("type", "suite_name", "severity", "id", "great_expectations_version") or not isinstance(
            value, str
        )
        return value if fixed else value + """<b data-outside>&amp;'"><i data-outside>"""

    contract_check.check_result(judged, folder=tmp_path)
    [path] = tmp_path.rglob("*.json")
    recorded_verdict = hostile(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(recorded_verdict), encoding="utf-8")
    index = data_docs(tmp_path)
    text = ""
    for page in index.parent.rglob("*.html"):
        tags = Tags()
        tags.feed(page.read_text(encoding="utf-8"))
        assert tags.outside == []
        text += tags.text
    for shown in ("pieces", "not_thirteen"):
        assert f"""{shown}<b data-outside>&amp;'"><i data-outside>""" in text
    [stored] = (tmp_path / "gx" / "uncommitted" / "validations").rglob("*.json")
    columns = {
        result["expectation_config"]["kwargs"].get("column") for result in json.loads(stored.read_text())["results"]
    }
    assert """pieces<b data-outside>&amp;'"><i data-outside>""" in columns


def test_the_command_prints_the_path_of_the_index_page(judged: verdict.Verdict, tmp_path: Path) -> None:
    contract_check.check_result(judged, folder=tmp_path / "quality")
    command = [sys.executable, "-m", "pipelines", "quality", "docs"]
    environment = os.environ | {"GOLDPATH_HOME": str(tmp_path)}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    index = Path(completed.stdout.strip().splitlines()[-1])
    assert index.is_relative_to(tmp_path / "quality" / "gx")
    assert "silver.toys.sales" in index.read_text(encoding="utf-8")


def test_data_docs_without_a_recorded_verdict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recorded verdict"):
        data_docs(tmp_path)


def test_previous_shares_are_those_of_the_last_published_version(judged: verdict.Verdict, tmp_path: Path) -> None:
    assert recorded.previous_shares(judged.contract, folder=tmp_path) == {}
    contract_check.check_result(judged, folder=tmp_path)
    assert judged.passed
    assert recorded.previous_shares(judged.contract, folder=tmp_path) == {"mixed": [1.0, 0.0]}


def test_recording_a_verdict_does_not_import_great_expectations() -> None:
    code = "import sys, pipelines.quality.contract_check, pipelines.quality.data_docs; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_asset_of_the_data_docs_has_the_path_of_the_index_page_as_metadata(
    make_pipeline: Callable[..., ToyPipeline],
) -> None:
    toy = make_pipeline()
    toy.land("part,holes,weight\nbrick,4,2.5\nbad,0,1\n")
    assert toy.run(toy.bronze, silver_asset(toy.contract)(as_arrived)).success
    result = toy.run(data_docs_asset)
    [event] = result.get_asset_materialization_events()
    page = Path(str(event.materialization.metadata["index"].value))
    assert str(toy.contract.table) in page.read_text(encoding="utf-8")
