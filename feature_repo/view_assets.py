"""Each version of a feature view as an asset of its own, which the run that fills the domain's online store writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from feature_repo.filling import Materialized
from feature_repo.parity import Parity
from pipelines.contracts.domain import Domain
from pipelines.features.declaration import EVENT_TIMESTAMP, FeatureView
from pipelines.governed.declaration import Declaration, Written
from pipelines.lineage.column_lineage import ColumnLineage, SourceColumn
from pipelines.lineage.events import Dataset


def declaration(domain: Domain, view: FeatureView, freshness: timedelta) -> Declaration:
    """The asset `features/<domain>/<view>`, with the owner and the columns of the view's table."""
    columns = tuple(column for column in view.contract.columns if column.name not in view.without)
    return Declaration(
        key=("features", domain.name, view.stored_name),
        kind="features",
        owner=view.contract.owner,
        tags=domain.cost.of("features"),
        description=f"{view.contract.purpose}\n\nVersion {view.version} of the feature view {view.name}, as the online "
        f"store holds it.\n\nGrain: one row per {', '.join(view.keys)}.",
        kinds=("feast",),
        inputs={view.table.source_name: view.table},
        contract=replace(view.contract, columns=columns),
        freshness=freshness,
    )


def written(domain: str, view: FeatureView, moved: Materialized, parity: Parity) -> Written:
    """What a filling wrote of a view: its rows, its parity, and the column of the table behind each of its columns."""
    [compared] = [each for each in parity.views if each.view == view.stored_name]
    names = (*view.keys, EVENT_TIMESTAMP, *view.fields)
    columns = {name: (SourceColumn(str(view.table), name, "identity"),) for name in names}
    dataset = Dataset(
        f"features/{domain}/{view.stored_name}",
        moved.as_of.isoformat(),
        view.contract.owner,
        columns=ColumnLineage(columns, frozenset(), ()),
        rows=moved.rows.get(view.table.source_name, 0),
    )
    metadata = {
        "as_of": moved.as_of.isoformat(),
        "view_version": view.version,
        "entities_compared": compared.entities,
        "parity_differences": len(compared.differences),
    }
    return Written(dataset, metadata)
