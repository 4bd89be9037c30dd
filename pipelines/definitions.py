"""The code location: every asset, job, schedule and sensor; the one door through which assets reach Dagster."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg

import assets
from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError
from pipelines.governed import asset as governed
from pipelines.governed.platform import platform_resource
from pipelines.medallion.push_source import PushSource
from pipelines.orchestration.jobs import JOBS
from pipelines.orchestration.new_deliveries import SENSORS
from pipelines.orchestration.schedules import SCHEDULES
from pipelines.tables import TableId


def asset_modules() -> Iterator[ModuleType]:
    """Every module below `assets/`.

    Raises:
        DefinitionError: for a folder with modules that is no package: Python would pass over it.
    """
    for root in map(Path, assets.__path__):
        for path in sorted(root.glob("*/*.py")):
            if not path.with_name("__init__.py").exists():
                raise DefinitionError(
                    object=f"folder {path.parent}",
                    observed=f"{path.name}, and no __init__.py beside it",
                    expected="a package, or Python passes over what the folder declares",
                    next_step=f"add an empty {path.parent.name}/__init__.py",
                )
    for found in pkgutil.walk_packages(assets.__path__, "assets."):
        yield importlib.import_module(found.name)


def governed_assets(modules: Iterable[ModuleType]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of the modules.

    Raises:
        DefinitionError: for an asset that was not made by one of our decorators.
    """
    found: dict[int, dg.AssetsDefinition | dg.AssetSpec] = {}
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, dg.AssetsDefinition):
                if not governed.is_governed(value):
                    keys = ", ".join(key.to_user_string() for key in value.keys)
                    raise DefinitionError(
                        object=f"asset {keys} ({module.__name__}.{name})",
                        observed="it was not made by one of Goldpath's decorators",
                        expected="bronze_asset, silver_asset, gold_asset or governed_asset",
                        next_step="replace @dg.asset with the decorator that fits",
                    )
                found[id(value)] = value
            elif isinstance(value, list) and value and isinstance(value[0], dg.AssetSpec):
                found |= {id(spec): spec for spec in value}  # what others own: it has no run to govern
    return list(found.values())


def all_contracts() -> dict[TableId, Contract]:
    """Every contract of every domain, by table."""
    contracts: dict[TableId, Contract] = {}
    for module in asset_modules():
        contracts |= getattr(module, "CONTRACTS", {})
    return contracts


def push_sources() -> dict[tuple[str, str], PushSource]:
    """Every pushed source, by domain and name."""
    values = [value for module in asset_modules() for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(value, PushSource)}


def daily_tables() -> set[TableId]:
    """The tables that are partitioned by day."""
    return {
        TableId.parse("/".join(key.path))
        for asset in governed_assets(asset_modules())
        if isinstance(asset, dg.AssetsDefinition) and asset.partitions_def is not None
        for key in asset.keys
    }


defs = dg.Definitions(
    assets=governed_assets(asset_modules()),
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={governed.PLATFORM: platform_resource},
    executor=dg.in_process_executor,
)
