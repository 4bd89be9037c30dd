"""The code location that Dagster loads: the assets, jobs, schedules and sensors of every domain, and the resources.

Each folder below `assets/` is a domain and is loaded on its own: one that does not load is left out, and shown with its
error as the asset `broken/<domain>` and by every command.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import dagster as dg

import assets
from pipelines import settings
from pipelines.contracts.load import require_references
from pipelines.contracts.model import Contract
from pipelines.errors import DefinitionError, GoldpathError
from pipelines.features.declaration import FeatureService
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.machine import files
from pipelines.medallion.push_source import PushSource
from pipelines.orchestration.jobs import domain_jobs
from pipelines.orchestration.members import Members, members
from pipelines.orchestration.new_deliveries import domain_sensors
from pipelines.orchestration.replay_job import replay_job
from pipelines.orchestration.schedules import domain_schedules
from pipelines.tables import TableId

#: The first part of the keys of the assets that stand for domains that do not load.
BROKEN = "broken"


def _folders() -> Iterator[Path]:
    """The folders of the domains."""
    for root in map(Path, assets.__path__):
        yield from sorted(path for path in root.iterdir() if any(path.glob("*.py")) or (path / "contracts").is_dir())


def _modules(folder: Path) -> Iterator[ModuleType]:
    """Imports and yields the modules of a domain.

    Raises:
        DefinitionError: for a folder without `__init__.py`, or with a name that Python cannot import.
    """
    if not folder.name.isidentifier():
        raise DefinitionError(
            object=f"folder {folder}",
            observed=f"{folder.name!r} is no name of a Python package",
            expected="letters, digits and underscores",
            next_step=f"rename it, such as to {folder.name.replace('-', '_')}",
        )
    if not (folder / "__init__.py").exists():
        raise DefinitionError(
            object=f"folder {folder}",
            observed="no __init__.py in it",
            expected="a package, since Python skips a folder without __init__.py",
            next_step=f"add an empty {folder.name}/__init__.py",
        )
    name = f"{assets.__name__}.{folder.name}"
    yield importlib.import_module(name)
    for module in pkgutil.walk_packages([str(folder)], f"{name}."):
        yield importlib.import_module(module.name)


@functools.cache
def _loaded() -> tuple[dict[str, Members], dict[str, GoldpathError]]:
    """The members of each domain that loads, and the error of each that does not, by the name of the folder."""
    healthy: dict[str, Members] = {}
    broken: dict[str, GoldpathError] = {}
    for folder in _folders():
        try:
            healthy[folder.name] = members(folder.name, _modules(folder))
        except (Exception, SystemExit) as error:  # noqa: BLE001 whatever a domain's code raises stops that domain alone
            broken[folder.name] = _explained(folder, error)
    contracts = _contracts(healthy)
    for name, found in list(healthy.items()):
        try:
            require_references(found.domain.contracts, domains=set(healthy), among=contracts)
        except GoldpathError as error:
            broken[name] = error
            del healthy[name]
    return healthy, broken


def _explained(folder: Path, error: Exception | SystemExit) -> GoldpathError:
    """The error itself where it says what, where and what to do; else one with the place in the folder."""
    if isinstance(error, GoldpathError):
        return error
    frames = [
        f"{f.filename}, line {f.lineno}" for f in traceback.extract_tb(error.__traceback__) if str(folder) in f.filename
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(f"{error.filename}, line {error.lineno}")
    return DefinitionError(
        object=f"domain {folder.name}: {frames[-1] if frames else folder}",
        observed=f"{type(error).__name__}: {error}",
        expected="modules that can be imported",
        next_step="correct it there; the other domains go on without this one",
    )


def domains() -> Mapping[str, Members]:
    """The domains that load, by name."""
    return _loaded()[0]


def broken_domains() -> Mapping[str, GoldpathError]:
    """The domains that do not load, each with the reason, the place and the next step."""
    return _loaded()[1]


def require_all_domains() -> None:
    """Raises the error of the first domain that does not load."""
    for error in broken_domains().values():
        raise error


def _contracts(found: Mapping[str, Members]) -> dict[TableId, Contract]:
    return {table: contract for each in found.values() for table, contract in each.domain.contracts.items()}


def all_contracts() -> dict[TableId, Contract]:
    """Every contract of every domain that loads, by table."""
    return _contracts(domains())


def push_sources() -> dict[tuple[str, str], PushSource]:
    """Every pushed source, by domain and name."""
    return {source.name: source for found in domains().values() for source in found.pushed}


def feature_services() -> dict[str, tuple[FeatureService, ...]]:
    """The feature services of each domain that declares some, by its name."""
    return {name: found.services for name, found in domains().items() if found.services}


def daily_tables() -> dict[TableId, dg.PartitionsDefinition[str]]:
    """The partitions of the tables that are partitioned by day."""
    return {table: days for found in domains().values() for table, days in found.daily.items()}


@functools.cache
def shared_platform() -> Platform:
    """The platform of this process, over the contracts of every domain; its files only their owner may read."""
    files.write_privately()
    return Platform(settings.get(), all_contracts, broken_domains)


def _stands_for_broken(name: str, error: GoldpathError) -> dg.AssetSpec:
    return dg.AssetSpec(
        [BROKEN, name],
        group_name=f"{name}_{BROKEN}",
        description=f"The domain {name} does not load, and its assets are left out.\n\n{error}",
        kinds={"error"},
    )


def _definitions() -> dg.Definitions:
    found = domains().values()
    jobs = {each.domain.name: domain_jobs(each) for each in found}
    return dg.Definitions(
        assets=[
            *(asset for each in found for asset in (*each.assets, *each.external)),
            *(_stands_for_broken(name, error) for name, error in broken_domains().items()),
        ],
        jobs=[*(job for of_domain in jobs.values() for job in of_domain), replay_job(lambda: defs)],
        schedules=[schedule for each in found for schedule in domain_schedules(each, jobs[each.domain.name])],
        sensors=[sensor for each in found for sensor in domain_sensors(each, jobs[each.domain.name])],
        resources={
            PLATFORM: dg.ResourceDefinition(
                lambda _: shared_platform(), description="Engine, lakehouse, landing, lineage, cost"
            )
        },
        executor=dg.in_process_executor,
    )


defs = _definitions()
