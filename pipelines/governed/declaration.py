"""The types of a governed run: what an asset declares, what its work receives, and what its work yields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pipelines.contracts.model import Contract
from pipelines.cost.metering import Usage
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset
from pipelines.policy.rules import ColumnClasses
from pipelines.settings import Settings
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import dagster as dg
    from pyspark.sql import DataFrame

#: The key of the Dagster resource that every asset needs.
PLATFORM = "platform"
#: A run with this tag and the value `true` derives its tables again, although nothing changed.
RECOMPUTE = "goldpath/recompute"
#: The tag of an asset that says how early the queue launches its runs: the higher, the earlier; 0 without it.
PRIORITY = "goldpath/priority"
Kind = Literal["landing", "bronze", "silver", "gold", "features", "training", "model", "serving", "ops"]


@dataclass(frozen=True, slots=True)
class Check:
    """An asset check; if a blocking one fails as an error, the assets downstream do not run in the same run."""

    name: str
    description: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class InputChoice:
    """Inputs of which a run reads some, such as one version of several.

    Attributes:
        among: The names of these inputs.
        left_out: Those of them that a run leaves out now.
    """

    among: frozenset[str]
    left_out: Callable[[Settings], Collection[str]]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known about an asset before it runs.

    Attributes:
        key: The asset key, such as `("silver", "shop", "orders")`.
        kind: What sort of asset it is, for cost records.
        owner: The team that answers for it.
        tags: The cost tags.
        description: Business meaning and grain, shown in the Dagster UI.
        kinds: The technologies that Dagster shows as icons.
        inputs: The tables that it reads, by the name under which its work asks for them.
        choice: Which inputs a run leaves out, where the home folder decides; None where a run reads all of them.
        deps: The keys of other assets that it depends on.
        contract: The contract of the table that it writes; None for an asset that is no table.
        checks: Its asset checks.
        further: What it writes beside `key`, such as a quarantine; of these declarations the run reads nothing else.
        freshness: The age of its newest materialization at which Dagster calls it stale; None without a limit.
        priority: How early the queue launches its runs: the higher, the earlier. None for that of its domain.
    """

    key: tuple[str, ...]
    kind: Kind
    owner: str
    tags: Mapping[str, str]
    description: str
    kinds: tuple[str, ...]
    inputs: Mapping[str, TableId] = field(default_factory=dict)
    choice: InputChoice | None = None
    deps: tuple[tuple[str, ...], ...] = ()
    contract: Contract | None = None
    checks: tuple[Check, ...] = ()
    further: tuple[Declaration, ...] = ()
    freshness: timedelta | None = None
    priority: int | None = None

    @property
    def name(self) -> str:
        """The key, joined by slashes."""
        return "/".join(self.key)

    def inputs_now(self, settings: Settings) -> dict[str, TableId]:
        """The inputs that a run reads now."""
        left_out = self.choice.left_out(settings) if self.choice else ()
        return {name: table for name, table in self.inputs.items() if name not in left_out}


@dataclass(slots=True)
class Written:
    """One dataset that an asset's work wrote.

    Attributes:
        dataset: What was written, for lineage; its name is the asset key, joined by slashes.
        metadata: What Dagster shows about it. Of a run over several partitions, the figures of the run are shown on the
            last partition alone, and named so: `run_cost`.
        checks: The results of the asset's checks.
        large_metadata: Metadata that is too large to be repeated for each partition of a run, such as a plot; it is
            shown on the last partition alone.
        by_partition: Metadata of each partition of the run, beside that of the table.
    """

    dataset: Dataset
    metadata: dict[str, Any] = field(default_factory=dict)
    checks: tuple[dg.AssetCheckResult, ...] = ()
    large_metadata: dict[str, Any] = field(default_factory=dict)
    by_partition: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class GovernedRun:
    """One run of one asset, as its work receives it.

    Attributes:
        declaration: The asset.
        platform: The engine, the lakehouse and all else that the run works with.
        context: Dagster's context of the run.
        usage: What the run has used so far.
        versions: The versions of the declared inputs that the run pinned when it started, by input name; those that
            the declaration leaves out now are not among them.
        inputs_read: Everything that the run has read, for lineage.
    """

    declaration: Declaration
    platform: Platform
    context: dg.AssetExecutionContext
    usage: Usage
    versions: dict[str, TableVersion]
    inputs_read: list[Dataset]

    @property
    def run_id(self) -> str:
        """The id of the Dagster run."""
        return self.context.run.run_id

    @property
    def partitions(self) -> tuple[str, ...] | None:
        """The partition keys that this run covers; None for an asset without partitions."""
        return tuple(self.context.partition_keys) if self.context.assets_def.partitions_def else None

    @property
    def all_partitions(self) -> frozenset[str] | None:
        """Every partition key of the asset; None for an asset without partitions."""
        partitions = self.context.assets_def.partitions_def
        return frozenset(partitions.get_partition_keys()) if partitions else None

    @property
    def recomputes(self) -> bool:
        """Whether the run's tag asks to derive tables again although nothing changed."""
        return self.context.run.tags.get(RECOMPUTE) == "true"

    @property
    def input_classes(self) -> dict[str, ColumnClasses]:
        """The data classes of the columns of the declared input tables, by table name."""
        tables = dict.fromkeys(at.table for at in self.versions.values())
        return {str(table): self.platform.column_classes(table) for table in tables}

    def input(self, name: str) -> DataFrame:
        """A declared input table, as of the version that the run pinned when it started."""
        return self.platform.lakehouse.read(self.versions[name])

    def record_input(self, dataset: Dataset) -> None:
        """Adds an input to the run's lineage and its bytes to the run's usage.

        The declared input tables are recorded before the work begins; the work records what else it reads, such as
        landed files or a model.
        """
        self.inputs_read.append(dataset)
        self.usage.bytes_read += dataset.bytes or 0


Work = Callable[..., Iterator[Written]]
