"""What is known about an asset before it runs, what its work sees while it runs, and what the work leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pipelines.contracts.model import Contract
from pipelines.cost.metering import Usage
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import dagster as dg
    from pyspark.sql import DataFrame

#: The key of the Dagster resource that every asset needs.
PLATFORM = "platform"
#: A run with this tag and the value `true` derives its tables again, although nothing changed.
RECOMPUTE = "goldpath/recompute"
Kind = Literal["landing", "bronze", "silver", "gold", "features", "training", "model", "serving", "ops"]


@dataclass(frozen=True, slots=True)
class Check:
    """The one asset check of an asset; a blocking one stops what depends on it in the same run."""

    name: str
    description: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known about an asset before it runs."""

    key: tuple[str, ...]
    kind: Kind
    owner: str
    tags: Mapping[str, str]
    description: str
    kinds: tuple[str, ...]
    inputs: Mapping[str, TableId] = field(default_factory=dict)
    deps: tuple[tuple[str, ...], ...] = ()
    contract: Contract | None = None
    check: Check | None = None
    also: tuple[tuple[str, ...], ...] = ()
    freshness: timedelta | None = None

    @property
    def name(self) -> str:
        return "/".join(self.key)


@dataclass(slots=True)
class Written:
    """What an asset's work left behind: one dataset, with what Dagster is to show about it.

    `once` is metadata that is too large to be repeated for each partition of a run, such as a plot.
    """

    dataset: Dataset
    metadata: dict[str, Any] = field(default_factory=dict)
    check: dg.AssetCheckResult | None = None
    once: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class GovernedRun:
    """One run of one asset, as its work sees it."""

    declaration: Declaration
    platform: Platform
    context: dg.AssetExecutionContext
    usage: Usage
    versions: dict[str, TableVersion]
    read: list[Dataset]

    @property
    def run_id(self) -> str:
        return self.context.run.run_id

    @property
    def partitions(self) -> tuple[str, ...] | None:
        """The intervals that this run covers; None for an asset without partitions."""
        return tuple(self.context.partition_keys) if self.context.assets_def.partitions_def else None

    @property
    def recomputes(self) -> bool:
        """Whether the run was asked, by its tag, to derive tables anew though nothing changed."""
        return self.context.run.tags.get(RECOMPUTE) == "true"

    def input(self, name: str) -> DataFrame:
        """An input table, as of the version that this run pinned when it began."""
        return self.platform.lakehouse.read(self.versions[name])

    def reads(self, dataset: Dataset) -> None:
        """Notes an input that is no pinned table: landed files, a model."""
        self.read.append(dataset)
        self.usage.bytes_read += dataset.bytes or 0


Work = Callable[..., Iterator[Written]]
