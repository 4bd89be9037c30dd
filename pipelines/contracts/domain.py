"""A data domain: what the assets of one folder below `assets/` have in common.

    shop = Domain.at(__file__, owner="shop-data", cost=CostTags("cc-7", "retail", "returns", "shop"), partitions=DAILY)

The code location collects the domains; jobs, schedules and sensors of each follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.contracts.load import CONTRACTS_FOLDER, Contracts, load_folder
from pipelines.contracts.model import UNKNOWN, Contract
from pipelines.errors import DefinitionError

if TYPE_CHECKING:
    import dagster as dg

#: How the partitions of tables by day are named.
DAY_FORMAT = "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class CostTags:
    """Who pays for a domain's assets, and how sensitive they are. A table's own tags stand in its contract."""

    cost_centre: str
    business_unit: str
    project: str
    application: str
    data_class: str = "internal"

    def of(self, workload_class: str) -> dict[str, str]:
        """The complete cost tags of an asset of this class of work, such as `training`."""
        return {
            "cost_centre": self.cost_centre,
            "business_unit": self.business_unit,
            "project": self.project,
            "application": self.application,
            "workload_class": workload_class,
            "data_class": self.data_class,
        }


@dataclass(frozen=True, slots=True)
class Domain:
    """One data domain.

    Attributes:
        name: The name of its folder, the second part of each of its asset keys.
        owner: The team that answers for its assets that are no tables; a table's owner stands in its contract.
        cost: The cost tags of its assets that are no tables.
        contracts: The contracts of its folder `contracts`, by table.
        partitions: The days of its tables by day; None for a domain without such tables.
        timezone: The IANA time zone by which its schedules run.
        priority: How early the queue launches its runs: the higher, the earlier.
    """

    name: str
    owner: str
    cost: CostTags
    contracts: Contracts
    partitions: dg.PartitionsDefinition[str] | None = None
    timezone: str = "UTC"
    priority: int = 0

    @classmethod
    def at(
        cls,
        file: str,
        *,
        owner: str,
        cost: CostTags,
        partitions: dg.PartitionsDefinition[str] | None = None,
        timezone: str = "UTC",
        priority: int = 0,
    ) -> Domain:
        """The domain of the folder in which `file` lies, a module's `__file__`, with the contracts there.

        Raises:
            ContractError: if a contract is not valid.
            DefinitionError: for an owner or a cost tag that is not stated yet, for an unknown time zone, and
                for partitions that are no days.
        """
        folder = Path(file).parent
        _require_timezone(folder.name, timezone, file)
        _require_days(folder.name, partitions, file)
        stated = {"owner": owner, **cost.of("any")}
        if unknown := [name for name, value in stated.items() if value in ("", UNKNOWN)]:
            raise DefinitionError(
                object=f"domain {folder.name}",
                observed=f"{', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} `{UNKNOWN}`",
                expected="who answers for the domain's assets, and who pays for them",
                next_step=f"correct {file}",
            )
        return cls(folder.name, owner, cost, load_folder(folder / CONTRACTS_FOLDER), partitions, timezone, priority)

    def contract(self, name: str) -> Contract:
        """The contract of `zone/table`; raises NotFoundError if the domain has none."""
        return self.contracts.named(name)


def _require_days(name: str, partitions: dg.PartitionsDefinition[str] | None, file: str) -> None:
    """Files land by day, so partitions by hour or month would never be asked for by the domain's sensor."""
    form = getattr(partitions, "fmt", DAY_FORMAT)
    if form != DAY_FORMAT:
        raise DefinitionError(
            object=f"domain {name}",
            observed=f"its partitions are named as {form}",
            expected=f"days, named as {DAY_FORMAT}, as the folders `dt=` of what lands",
            next_step=f"correct {file}, such as to DailyPartitionsDefinition; a table without partitions takes files "
            "of any interval",
        )


def _require_timezone(name: str, timezone: str, file: str) -> None:
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise DefinitionError(
            object=f"domain {name}",
            observed=f"there is no time zone {timezone!r}",
            expected="an IANA time zone such as UTC or Europe/London",
            next_step=f"correct {file}",
        ) from error
