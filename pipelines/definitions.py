"""The code location that Dagster loads: all assets, jobs, schedules, sensors and resources."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg

import assets
from pipelines import settings
from pipelines.contracts.domain import Domain
from pipelines.contracts.load import require_references
from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.governed.asset import is_governed
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.machine import files
from pipelines.medallion.push_source import PushSource
from pipelines.orchestration.jobs import JOBS
from pipelines.orchestration.new_deliveries import new_deliveries_sensor
from pipelines.orchestration.replay_job import replay_job
from pipelines.orchestration.schedules import SCHEDULES
from pipelines.tables import TableId


def asset_modules() -> Iterator[ModuleType]:
    """Imports and yields every module below `assets/`.

    Raises:
        DefinitionError: for a folder with modules but no `__init__.py`, which Python would skip.
    """
    for root in map(Path, assets.__path__):
        for path in sorted(root.glob("*/*.py")):
            if not path.with_name("__init__.py").exists():
                raise DefinitionError(
                    object=f"folder {path.parent}",
                    observed=f"{path.name}, and no __init__.py beside it",
                    expected="a package, since Python skips a folder without __init__.py",
                    next_step=f"add an empty {path.parent.name}/__init__.py",
                )
    for module in pkgutil.walk_packages(assets.__path__, "assets."):
        yield importlib.import_module(module.name)


def governed_assets(modules: Iterable[ModuleType]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets that the modules define, and the specs of external assets that they list.

    Raises:
        DefinitionError: for an asset that was not made by one of Goldpath's decorators, or two assets with one key.
    """
    by_id: dict[int, dg.AssetsDefinition | dg.AssetSpec] = {}
    declared: dict[dg.AssetKey, dg.AssetsDefinition] = {}
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, dg.AssetsDefinition):
                if not is_governed(value):
                    keys = ", ".join(key.to_user_string() for key in value.keys)
                    raise DefinitionError(
                        object=f"asset {keys} ({module.__name__}.{name})",
                        observed="it was not made by one of Goldpath's decorators",
                        expected="bronze_asset, silver_asset, gold_asset or governed_asset",
                        next_step="replace @dg.asset with the decorator that fits",
                    )
                for key in value.keys:
                    if declared.setdefault(key, value) is not value:
                        raise DefinitionError(
                            object=f"asset {key.to_user_string()} ({module.__name__}.{name})",
                            observed="it is declared twice",
                            expected="one declaration for each key",
                            next_step="rename one of them",
                        )
                by_id[id(value)] = value
            elif isinstance(value, list) and value and isinstance(value[0], dg.AssetSpec):
                by_id |= {id(spec): spec for spec in value}  # external assets: they have no run to govern
    return list(by_id.values())


def all_contracts() -> dict[TableId, Contract]:
    """Every contract of every domain, by table.

    Raises:
        ContractError: if a column refers to one of another domain that does not exist.
    """
    contracts: dict[TableId, Contract] = {}
    for module in asset_modules():
        contracts |= getattr(module, "CONTRACTS", {})
        for value in vars(module).values():
            if isinstance(value, Domain):
                contracts |= value.contracts
    require_references(contracts, domains={table.domain for table in contracts})
    return contracts


def push_sources() -> dict[tuple[str, str], PushSource]:
    """Every pushed source, by domain and name."""
    values = [value for module in asset_modules() for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(value, PushSource)}


def daily_tables() -> dict[TableId, dg.PartitionsDefinition[str]]:
    """The partitions of the tables that are partitioned by day."""
    return {
        TableId.parse("/".join(key.path)): asset.partitions_def
        for asset in governed_assets(asset_modules())
        if isinstance(asset, dg.AssetsDefinition) and asset.partitions_def is not None
        for key in asset.keys
    }


@functools.cache
def shared_platform() -> Platform:
    """The platform of this process, over the contracts of every domain; its files only their owner may read."""
    files.write_privately()
    return Platform(settings.get(), all_contracts)


def _pushed_tables() -> list[TableId]:
    """The bronze tables of pushed sources."""
    return [source.bronze.table for source in push_sources().values()]


platform_resource = dg.ResourceDefinition(
    lambda _: shared_platform(), description="Engine, lakehouse, landing, lineage, cost"
)
new_deliveries = new_deliveries_sensor(daily_tables, _pushed_tables)
defs = dg.Definitions(
    assets=governed_assets(asset_modules()),
    jobs=[*JOBS, replay_job(lambda: defs)],
    schedules=SCHEDULES,
    sensors=[new_deliveries],
    resources={PLATFORM: platform_resource},
    executor=dg.in_process_executor,
)
