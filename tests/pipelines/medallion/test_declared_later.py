"""A column that contracts declare after its values arrived: silver has them, from what bronze kept in `_rescued`."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from pipelines.medallion.decorators import bronze_asset, silver_asset
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text
from tests.pipelines.toy_pipeline import COLUMNS, DAY, DAYS, MakePipeline, as_arrived

WAYS: dict[str, dict[str, Any]] = {
    "increments": {},
    "snapshot": {"delivery": "snapshot"},
    "days": {"partitions": DAYS},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_column_that_is_declared_later_has_its_earlier_values(
    make_pipeline_each_engine: MakePipeline, way: str
) -> None:
    pipeline = make_pipeline_each_engine(**WAYS[way])
    partitions: dg.PartitionsDefinition[str] | None = WAYS[way].get("partitions")
    start = DAY if partitions else None
    pipeline.land('part,holes,weight,Shop "x",spare\nbrick,4,2.5,Nörd,s\nplate,1,1,NA,\nbad,0,1,South,\n')
    silver = silver_asset(pipeline.contract, partitions=partitions)(as_arrived)
    assert pipeline.run(pipeline.bronze, silver, start=start).success
    before = pipeline.version("bronze")

    more = {key: value for key, value in WAYS[way].items() if key != "partitions"}
    names = [text(column["name"]) for column in COLUMNS]
    delivered = text("shop", transformSourceObjects=['Shop "x"'])
    bronze = toy_contracts.contract(pipeline.folder, str(pipeline.table("bronze")), [*names, delivered], **more)
    tokens = {"nullTokens": ["NA"], "winner": "_ingest_id desc"}
    contract = toy_contracts.contract(pipeline.folder, str(pipeline.contract.table), [*COLUMNS, text("shop")], **tokens)
    for declared in (bronze, contract):
        pipeline.platform.contracts[declared.table] = declared
    assets = bronze_asset(bronze, partitions=partitions), silver_asset(contract, partitions=partitions)(as_arrived)
    assert pipeline.run(*assets, start=start).success
    shops = {row["part"]: row["shop"] for row in pipeline.rows("silver")}
    assert shops == {"brick": "Nörd", "plate": None}
    [rejected] = pipeline.rows("quarantine")
    assert '"shop":"South"' in rejected["_row"]
    assert "Shop" not in rejected["_row"]
    assert pipeline.version("bronze") == before
