"""Each version of a feature view is an asset: its owner, columns and table, and what the run that fills the store wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from feature_repo.assets import online_asset
from pipelines.contracts.domain import Contracts, CostTags, Domain
from pipelines.engine.session import Engine
from pipelines.features.declaration import FeatureService, feature_view
from pipelines.governed.platform import Platform
from pipelines.settings import Settings
from tests.conftest import Materialize
from tests.feature_repo.test_data_classes import rows
from tests.feature_repo.test_domains import BEGIN, column, stock


def test_the_versions_of_a_view_are_assets_of_the_run_that_fills_the_store(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> None:
    columns = (column("count", "bigint"), column("price", "double", classification="confidential"))
    contracts = [stock(tmp_path, "toys", *columns, table=table) for table in ("stock", "stock_v2")]
    views = tuple(feature_view(contract, without=("price",)) for contract in contracts)
    by_table = {contract.table: contract for contract in contracts}
    domain = Domain("toys", "toys", CostTags("cc", "unit", "project", "app"), Contracts(by_table))
    asset = online_asset(domain, [FeatureService("stock_v1", "toys", views, "Stock.", "toys")])
    specs = {"/".join(spec.key.path): spec for spec in asset.specs}
    assert specs.keys() == {"features/toys/online", "features/toys/stock", "features/toys/stock_v2"}
    second = specs["features/toys/stock_v2"]
    assert [dep.asset_key.path for dep in second.deps] == [["gold", "toys", "stock_v2"]]
    assert second.owners == ["team:toy-data"]
    assert [each.name for each in second.metadata["dagster/column_schema"].columns] == [
        "item", "event_timestamp", "count"
    ]  # fmt: skip
    platform = Platform(Settings(home=tmp_path / "home", profile="test", engine=engine.kind), lambda: by_table)
    platform.engine = engine
    table = rows(engine)["gold_toys_stock"].toArrow()
    for contract in contracts:
        platform.lakehouse.record(contract.table, table)
    result = materialize(platform, [asset], None, None)
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == second.key]
    found: dict[str, Any] = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (found["view_version"], found["dagster/row_count"], found["parity_differences"]) == (2, 1, 0)
    lineage = found["dagster/column_lineage"].deps_by_column["count"]
    assert lineage == [dg.TableColumnDep(dg.AssetKey(["gold", "toys", "stock_v2"]), "count")]
    assert BEGIN.isoformat() < found["as_of"]
