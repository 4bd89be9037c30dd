"""What a domain declares of its features: views over gold tables, and the services that models read.

A view is a gold table whose key holds `event_timestamp`, the instant from which a row is known, UTC. Its fields are the
other columns of the table's contract. `feature_repo` makes Feast's objects of these declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.tables import TableId

#: The column that holds the instant from which a row is known, UTC.
EVENT_TIMESTAMP = "event_timestamp"


@dataclass(frozen=True, slots=True)
class FeatureView:
    """The rows of one gold table as features. Grain: one row per entity and instant."""

    contract: Contract

    @property
    def table(self) -> TableId:
        """The gold table; its `source_name` names the view's Feast source."""
        return self.contract.table

    @property
    def name(self) -> str:
        """The view's name: that of its table."""
        return self.contract.table.table

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name an entity, in the order of the table's key."""
        return tuple(name for name in self.contract.key_columns if name != EVENT_TIMESTAMP)

    @property
    def fields(self) -> tuple[str, ...]:
        """The features: all columns but the keys and the instant."""
        return tuple(c.name for c in self.contract.columns if c.name not in (*self.keys, EVENT_TIMESTAMP))

    @property
    def full_names(self) -> tuple[str, ...]:
        """The features as training sets and models name them: `view__feature`."""
        return tuple(f"{self.name}__{field}" for field in self.fields)


@dataclass(frozen=True, slots=True)
class FeatureService:
    """The features that a model reads.

    Attributes:
        name: Its name, which ends with its version, such as `arrival_delay_v1`.
        domain: The domain that declares it.
        views: The views that it reads whole.
        description: What is known, and when.
        owner: The team that answers for it.
    """

    name: str
    domain: str
    views: tuple[FeatureView, ...]
    description: str
    owner: str

    @property
    def tables(self) -> dict[str, str]:
        """The tables of its views, `zone/domain/table`, by Feast source name."""
        return {view.table.source_name: str(view.table) for view in self.views}

    @property
    def keys(self) -> tuple[str, ...]:
        """The entity keys of all its views, each once."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.keys))


def feature_view(contract: Contract) -> FeatureView:
    """The view over a gold table.

    Raises:
        DefinitionError: for a table of another zone, or one whose key holds no `event_timestamp`.
    """
    if contract.table.zone != "gold" or EVENT_TIMESTAMP not in contract.key_columns:
        raise DefinitionError(
            object=f"feature view on {contract.table}",
            observed=f"zone {contract.table.zone}, key {', '.join(contract.key_columns) or 'none'}",
            expected=f"a gold table whose key holds {EVENT_TIMESTAMP}, the instant from which a row is known",
            next_step=f"add {EVENT_TIMESTAMP} to the key in {contract.path}, or declare the view on another table",
        )
    return FeatureView(contract)


def feature_views(contracts: Sequence[Contract]) -> tuple[FeatureView, ...]:
    """The views over those of the contracts that describe a table of features."""
    return tuple(
        FeatureView(contract)
        for contract in contracts
        if contract.table.zone == "gold" and EVENT_TIMESTAMP in contract.key_columns
    )
