"""First forms of tables keep the data classes of the columns that they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.contracts.model import Contract
from pipelines.scaffold import feature, table
from pipelines.scaffold.draft import Draft
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text

SOLD_AT = {"name": "sold_at", "logicalType": "timestamp", "description": "When it was sold, UTC."}


def domain(data_class: str) -> Domain:
    return Domain("toys", "toy-data", CostTags("cc", "toys", "blocks", "building", data_class), Contracts({}))


def sales(folder: Path) -> Contract:
    shop = text("shop", classification="confidential")
    number_ = text("number", primaryKey=True, primaryKeyPosition=1, required=True)
    return toy_contracts.contract(
        folder, "silver/toys/sales", [number_, shop, SOLD_AT, number("weight", classification="restricted")]
    )


def classes(draft: Draft) -> dict[str, Any]:
    [document] = draft.contracts.values()
    return {column["name"]: column.get("classification") for column in document["schema"][0]["properties"]}


@pytest.mark.parametrize(
    ("of_domain", "of_shop", "reads"), [("internal", "confidential", "restricted"), ("restricted", None, "restricted")]
)
def test_features_and_tables_get_the_classes_that_their_domain_does_not_have(
    tmp_path: Path, of_domain: str, of_shop: str | None, reads: str
) -> None:
    source, own = sales(tmp_path), domain(of_domain)
    of_weight = None if of_domain == "restricted" else "restricted"
    drafted = feature.draft(own, tmp_path, "shop_sales", source, ["shop"], "sold_at")
    assert classes(drafted) == {
        "shop": of_shop, "event_timestamp": None, "rows_so_far": None, "weight_mean": of_weight
    }  # fmt: skip
    [service] = [module for module in drafted.modules if module.file == "features.py"]
    assert f'reads="{reads}"' in service.body
    assert any("reads up to restricted" in note for note in drafted.notes) is (of_domain == "internal")
    passed_on = table.draft(own, TableId.parse("gold/toys/all_sales"), source, [])
    assert classes(passed_on) == {"number": None, "shop": of_shop, "sold_at": None, "weight": of_weight}
