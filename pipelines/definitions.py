"""The code location that Dagster loads: the assets, jobs, schedules and sensors of every domain, and the resources.

Each folder below `assets/` is a domain and is loaded on its own: one that does not load is left out, and shown with its
error as the asset `broken/<domain>` and by every command.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import dagster as dg

import assets
from pipelines import settings
from pipelines.contracts.load import require_references
from pipelines.contracts.model import Contract
from pipelines.errors import ContractError, DefinitionError, GoldpathError
from pipelines.features.declaration import FeatureService
from pipelines.governed.declaration import PLATFORM
from pipelines.governed.platform import Platform
from pipelines.machine import files, garbage
from pipelines.medallion.push_source import PushSource
from pipelines.models.service import ServiceSpec
from pipelines.orchestration.location import misfits, parts
from pipelines.orchestration.members import Members, members
from pipelines.orchestration.replay_job import REPLAY_JOB, replay_job
from pipelines.tables import TableId, require_name

#: The first part of the keys of the assets that stand for domains that do not load.
BROKEN = "broken"


def _folders() -> Iterator[Path]:
    """The folders of the domains."""
    for root in map(Path, assets.__path__):
        yield from sorted(path for path in root.iterdir() if any(path.glob("*.py")) or (path / "contracts").is_dir())


def _modules(folder: Path) -> Iterator[ModuleType]:
    """Imports and yields the modules of a domain.

    Raises:
        DefinitionError: for a folder without `__init__.py`.
        NotFoundError: for one with a name that no domain can have.
    """
    require_name(f"folder {folder}", folder.name, "rename it, and correct the name in its contracts and modules")
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
            # What a domain's code prints is not the output of the command that loads it.
            with contextlib.redirect_stdout(sys.stderr):
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
    for name, error in misfits(healthy, taken=[REPLAY_JOB]).items():
        broken[name] = error
        del healthy[name]
    return healthy, broken


def _explained(folder: Path, error: Exception | SystemExit) -> GoldpathError:
    """The error with the line of the folder that raised it; a contract's own names its place in the file."""
    frames = [
        f"{f.filename}, line {f.lineno}" for f in traceback.extract_tb(error.__traceback__) if str(folder) in f.filename
    ]
    if isinstance(error, GoldpathError):
        if frames and not isinstance(error, ContractError):
            error.object = f"{frames[-1]}: {error.object}"
        return error
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


def moved_views(domain: str) -> list[str]:
    """The views of a domain, by the names of their tables, that pushed events move further than these."""
    sources = push_sources().values()
    moves = [source.online for source in sources if source.online and source.name[0] == domain]
    return [move.view.stored_name for move in moves]


def feature_services() -> dict[str, tuple[FeatureService, ...]]:
    """The feature services of each domain that declares some, by its name."""
    return {name: found.services for name, found in domains().items() if found.services}


def model_services() -> dict[str, ServiceSpec]:
    """The service of each model that answers questions, by the model's name."""
    return {spec.name: spec for found in domains().values() for spec in found.model_services}


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
    made = [parts(found) for found in domains().values()]
    return dg.Definitions(
        assets=[
            *(asset for each in made for asset in each.assets),
            *(_stands_for_broken(name, error) for name, error in broken_domains().items()),
        ],
        jobs=[*(job for each in made for job in each.jobs), replay_job(lambda: defs)],
        schedules=[schedule for each in made for schedule in each.schedules],
        sensors=[sensor for each in made for sensor in each.sensors],
        resources={
            PLATFORM: dg.ResourceDefinition(
                lambda _: shared_platform(), description="Engine, lakehouse, landing, lineage, cost"
            )
        },
        executor=dg.in_process_executor,
    )


garbage.collect_seldom()  # of this process, which Dagster or a command started
defs = _definitions()
