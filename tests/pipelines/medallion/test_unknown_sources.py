"""Sources without a contract: reported, described from their files, and taken where tables may evolve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipelines.commands import landing
from pipelines.contracts.load import load
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.landing.proposal import documents
from pipelines.landing.proposal.look import look
from pipelines.lineage.events import Dataset
from pipelines.medallion import unknown_sources
from pipelines.tables import TableId
from tests.pipelines.toy_contracts import TAGS
from tests.pipelines.toy_pipeline import DAY, ToyPipeline

CSV = b"id;holes;weight;made_on;made_at;ok;note\n1;4;2.5;2013-01-01;2013-01-01T05:00:00Z;true;a\n2;;1;2013-01-02;2013-01-01 05:00Z;false;NA\n"


def look_for_unknown(toy: ToyPipeline) -> dg.AssetCheckEvaluation:
    key = ("ops", "toys", f"sources_{toy.name}")

    def work(run: GovernedRun) -> Iterator[Written]:
        """Looks at sources. Grain: none."""
        unknown = unknown_sources.treat(run)
        check = unknown_sources.check_result(unknown, list(key))
        yield Written(Dataset("/".join(key), rows=len(unknown)), {}, (check,))

    asset = governed_asset(
        key=key, kind="ops", owner="toy-data", tags=TAGS, kinds=(), checks=[unknown_sources.CHECK]
    )(work)  # fmt: skip
    [check] = toy.run(asset).get_asset_check_evaluations()
    return check


@pytest.mark.parametrize(
    ("mode", "severity", "rows"),
    [
        ("freeze", dg.AssetCheckSeverity.ERROR, None),
        ("discard_row", dg.AssetCheckSeverity.WARN, None),
        ("discard_value", dg.AssetCheckSeverity.WARN, None),
        ("evolve", dg.AssetCheckSeverity.WARN, 2),
    ],
)
def test_a_source_without_a_contract_is_treated_as_its_domain_declares(
    make_pipeline: Callable[..., ToyPipeline], mode: str, severity: dg.AssetCheckSeverity, rows: int | None
) -> None:
    toy = make_pipeline(drift={"tables": mode})
    toy.platform.landing.deliver(domain="toys", source="strange", interval=DAY, name="a.csv", content=CSV)
    check = look_for_unknown(toy)
    assert (check.passed, check.severity) == (False, severity)
    assert "toys/strange" in str(check.description)
    table = TableId("bronze", "toys", "strange")
    version = toy.platform.lakehouse.version(table)
    assert (version is None) == (rows is None)
    if rows:
        bronze = toy.platform.lakehouse.snapshot(table).arrow().to_pylist()
        assert sorted((row["id"], row["note"], row["_source_row"]) for row in bronze) == [("1", "a", 2), ("2", "NA", 3)]


def test_a_source_that_cannot_be_read_is_named_and_stops_no_other(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline(drift={"tables": "evolve"})
    toy.platform.landing.deliver(domain="toys", source="broken", interval=DAY, name="a.json", content=b'[{"id": 1}]')
    toy.platform.landing.deliver(domain="toys", source="strange", interval=DAY, name="a.csv", content=CSV)
    assert "toys/broken/dt=2013-01-01/a.json: it is one JSON array" in str(look_for_unknown(toy).description)
    assert toy.platform.lakehouse.snapshot(TableId("bronze", "toys", "strange")).rows == 2


def test_a_source_with_a_contract_is_not_reported(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    toy.land("part,holes,weight\n")
    assert unknown_sources.unknown_sources(toy.platform.landing, "toys", toy.platform.contracts) == []


def test_a_proposed_contract_loads_and_has_the_types_of_the_texts(
    make_pipeline: Callable[..., ToyPipeline], tmp_path: Path
) -> None:
    toy = make_pipeline()
    toy.platform.landing.deliver(domain="toys", source="strange", interval=DAY, name="a.csv", content=CSV)
    shown = look(toy.platform.landing, "toys", "strange")
    texts = documents.render(documents.documents(shown, toy.contract.owner, toy.contract.tags))
    assert set(texts) == {"bronze_strange.yaml", "silver_strange.yaml"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    bronze, silver = (load(tmp_path / name) for name in texts)
    assert (bronze.delimiter, bronze.owner, bronze.table) == (";", "toy-data", TableId("bronze", "toys", "strange"))
    assert {column.name: column.type for column in silver.columns} == {
        "id": "bigint", "holes": "bigint", "weight": "double", "made_on": "date", "made_at": "timestamp",
        "ok": "boolean", "note": "string",
    }  # fmt: skip
    assert silver.key_columns == ["id"]
    assert yaml.safe_load(texts["silver_strange.yaml"])["status"] == "draft"


def test_deliveries_that_were_not_taken_are_listed_with_their_reason(make_pipeline: Callable[..., ToyPipeline]) -> None:
    toy = make_pipeline()
    toy.land("part,holes,weight\nbrick,4,2.5\n")
    toy.land("", name="empty.csv")
    assert toy.run(toy.bronze).success
    toy.land("part,holes,weight\nplate,1,1\n", name="new.csv")
    toy.platform.landing.deliver(domain="toys", source="strange", interval=DAY, name="a.csv", content=CSV)
    rows = landing.open_deliveries(toy.platform)
    assert [(Path(row["delivery"]).name, row["state"]) for row in rows] == [
        ("empty.csv", "refused: no_header"), ("new.csv", "not looked at"), ("strange", "unknown source"),
    ]  # fmt: skip
