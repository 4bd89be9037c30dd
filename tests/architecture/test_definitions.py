"""The code location loads only governed assets with description, owner and tags; all others are errors that name them."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.contracts.model import COST_TAGS
from pipelines.cost.focus import COSTS
from pipelines.definitions import all_contracts, broken_domains, daily_tables, defs, domains
from pipelines.errors import DefinitionError
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.governed.platform import Platform
from pipelines.lineage.events import Dataset
from pipelines.medallion.decorators import bronze_asset
from pipelines.orchestration.members import members
from pipelines.policy.rules import DATA_CLASSES
from pipelines.settings import PROJECT, Settings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import TAGS, text

LOAD_CPU_SECONDS = 3.0
EXECUTABLE = [asset for found in domains().values() for asset in found.assets]
SPECS = {spec.key.to_user_string(): spec for asset in EXECUTABLE for spec in asset.specs}
GROUPS = (*"landing bronze silver quarantine gold features training models serving rollouts shadow drift ops".split(),)
_names = itertools.count()
DECLARED = Domain(
    "declared",
    "toy-data",
    CostTags("cc-1", "toys", "toys", "toys"),
    Contracts(),
    dg.DailyPartitionsDefinition("2013-01-01"),
)


def fresh_key() -> tuple[str, ...]:
    return ("ops", "declared", f"asset_{next(_names)}")


def declare(key: tuple[str, ...] | None = None, **options: Any) -> dg.AssetsDefinition:
    """A governed asset with valid options, but for those given here; `doc` is its docstring."""

    def work(run: GovernedRun) -> Iterator[Written]:
        """Writes nothing. Grain: none."""
        yield Written(Dataset(run.declaration.name, "1"))

    work.__doc__ = options.pop("doc", work.__doc__)
    valid: dict[str, Any] = {"kind": "ops", "owner": "toy-data", "tags": TAGS, "kinds": ("json",)}
    return governed_asset(key=key or fresh_key(), **(valid | options))(work)


def test_an_asset_without_owner_does_not_load() -> None:
    key = fresh_key()
    with pytest.raises(DefinitionError, match=f"asset {'/'.join(key)}: it has no owner"):
        declare(key, owner="")


@pytest.mark.parametrize("tag", COST_TAGS)
def test_an_asset_without_a_cost_tag_does_not_load(tag: str) -> None:
    key = fresh_key()
    with pytest.raises(DefinitionError, match=f"asset {'/'.join(key)}: tag '{tag}' is None"):
        declare(key, tags={name: value for name, value in TAGS.items() if name != tag})


@pytest.mark.parametrize("description", ["", "   ", None])
def test_an_asset_without_a_description_does_not_load(description: str | None) -> None:
    key = fresh_key()
    with pytest.raises(DefinitionError, match=f"asset {'/'.join(key)}: it has no description"):
        declare(key, doc=description)


def test_an_asset_that_is_declared_twice_does_not_load() -> None:
    key = fresh_key()
    with pytest.raises(
        DefinitionError,
        match=rf"asset {'/'.join(key)} \(assets\.declared\.made_by_hand\.thing_1\): it is declared twice",
    ):
        members("declared", [module_with(declare(key), declare(key))])


def test_a_governed_asset_that_was_given_another_key_does_not_load() -> None:
    first, second = fresh_key(), fresh_key()
    asset = declare(first)
    renamed = asset.with_attributes(asset_key_replacements={dg.AssetKey(list(first)): dg.AssetKey(list(second))})
    with pytest.raises(DefinitionError, match=f"asset {'/'.join(second)}"):
        members("declared", [module_with(renamed)])


def module_with(*assets: object) -> ModuleType:
    """A module whose variables `thing_0`, `thing_1`, … are these objects."""
    module = ModuleType("assets.declared.made_by_hand")
    for number, asset in enumerate(assets):
        setattr(module, f"thing_{number}", asset)
    return module


@dg.asset(key=["gold", "toys", "plain"], owners=["team:toy-data"], tags=TAGS, description="Plain. Grain: none.")
def plain() -> None:
    pass


@dg.multi_asset(specs=[dg.AssetSpec(["gold", "toys", "plain_multi"])])
def plain_multi() -> None:
    pass


@pytest.mark.parametrize("asset", [plain, plain_multi])
def test_an_asset_that_was_not_made_by_a_decorator_of_goldpath_does_not_load(asset: dg.AssetsDefinition) -> None:
    name = asset.key.to_user_string()
    with pytest.raises(
        DefinitionError, match=rf"asset {name} \(assets\.declared\.made_by_hand\.thing_1\).*governed_asset"
    ):
        members("declared", [module_with(declare(), asset)])


def test_governed_assets_and_specs_of_external_assets_load() -> None:
    asset, external = declare(), [dg.AssetSpec(["landing", "declared", "parts"])]
    found = members("declared", [module_with(DECLARED, asset, asset, external, "text", [])])
    assert (found.domain, found.assets, found.external) == (DECLARED, (asset,), tuple(external))


def test_a_folder_that_declares_no_domain_does_not_load() -> None:
    with pytest.raises(DefinitionError, match=r"domain declared: no module of its folder declares it.*Domain\.at"):
        members("declared", [module_with(declare())])


def test_an_asset_of_another_domain_does_not_load() -> None:
    asset = declare(("ops", "others", "asset"))
    with pytest.raises(DefinitionError, match="ops/others/asset .*does not name the domain declared"):
        members("declared", [module_with(DECLARED, asset)])


def test_tables_by_day_of_one_domain_have_the_same_days(tmp_path: Path) -> None:
    def table(name: str, start: str) -> dg.AssetsDefinition:
        contract = toy_contracts.contract(tmp_path, f"bronze/toys/{name}", [text("name")])
        return bronze_asset(contract, partitions=dg.DailyPartitionsDefinition(start))

    days = [table("boxes", "2013-01-01"), table("parts", "2014-01-01")]
    with pytest.raises(DefinitionError, match=r"bronze/toys/parts.*2014.*bronze/toys/boxes"):
        members("toys", [module_with(dataclasses.replace(DECLARED, name="toys"), *days)])


def test_every_domain_of_the_project_loads() -> None:
    assert broken_domains() == {}


def test_the_external_assets_are_the_sources_and_the_pushed_source() -> None:
    graph = defs.resolve_asset_graph()
    external = {key.to_user_string() for key in graph.external_asset_keys}
    sources = ("flights", "planes", "airports", "airlines", "movements")
    assert external == {*(f"landing/flights/{name}" for name in sources), "landing/weather/observations"}
    assert {key.to_user_string() for key in graph.executable_asset_keys} == set(SPECS)


@pytest.mark.parametrize("key", sorted(SPECS))
def test_every_asset_has_owner_description_grain_group_kinds_and_tags(key: str) -> None:
    spec = SPECS[key]
    assert [owner.startswith("team:") and len(owner) > 5 for owner in spec.owners] == [True]
    assert "Grain: " in (spec.description or "")
    assert (spec.description or "").split("Grain: ")[1].strip()
    assert spec.group_name in {f"{spec.key.path[1]}_{zone}" for zone in GROUPS}
    assert spec.kinds
    assert {tag: bool(spec.tags.get(tag)) for tag in COST_TAGS} == dict.fromkeys(COST_TAGS, True)
    assert spec.tags["data_class"] in DATA_CLASSES


def test_every_table_with_a_contract_is_an_asset_with_a_blocking_check() -> None:
    graph = defs.resolve_asset_graph()
    tables = {dg.AssetKey(table.key) for table in all_contracts()}
    assert tables <= graph.executable_asset_keys
    checked_tables = {key.asset_key for key in graph.asset_check_keys if key.name == "contract"}
    assert checked_tables == {key for key in tables if key.path[0] in ("silver", "gold")}
    for key in checked_tables:
        assert all(graph.get(check).blocking for check in graph.asset_check_keys if check.asset_key == key)


def test_every_silver_table_has_a_quarantine_with_the_same_partitions() -> None:
    graph = defs.resolve_asset_graph()
    silver = {"/".join(key.path[1:]) for key in graph.executable_asset_keys if key.path[0] == "silver"}
    quarantine = {"/".join(key.path[1:]) for key in graph.executable_asset_keys if key.path[0] == "quarantine"}
    assert silver == quarantine
    names = ("flights/flights", "weather/observations")
    assert set(map(str, daily_tables())) == {
        f"{zone}/{name}" for zone in ("bronze", "silver", "quarantine") for name in names
    }


def test_every_dependency_is_an_asset_or_an_external_asset() -> None:
    graph = defs.resolve_asset_graph()
    parents = {parent for key in graph.executable_asset_keys for parent in graph.get(key).parent_keys}
    assert parents <= graph.executable_asset_keys | graph.external_asset_keys


def test_jobs_resolve_and_all_schedules_and_sensors_are_off_by_default() -> None:
    repository = defs.get_repository_def()
    stages = (
        "ingest",
        "reference",
        "events",
        "features",
        "online",
        "train",
        "search",
        "deploy",
        "whole",
        "refresh",
        "outcomes",
    )
    jobs = {job.name for job in repository.get_all_jobs()}
    assert jobs >= {*(f"flights_{stage}" for stage in stages), "platform_upkeep", "replay_quarantine"}
    assert all(sensor.default_status == dg.DefaultSensorStatus.STOPPED for sensor in repository.sensor_defs)
    assert all(schedule.default_status == dg.DefaultScheduleStatus.STOPPED for schedule in repository.schedule_defs)


@pytest.fixture
def restricted(tmp_path: Path) -> Platform:
    """A platform with one published table, which is confidential."""
    table = TableId("silver", "toys", "parts")
    contract = toy_contracts.contract(tmp_path, str(table), [text("part")], tags={"data_class": "confidential"})
    platform = Platform(Settings(home=tmp_path / "home", profile="test"), lambda: {table: contract})
    platform.lakehouse.record(table, pa.table({"part": ["brick"]}))
    return platform


def outcome(platform: Platform, asset: dg.AssetsDefinition) -> tuple[list[dict[str, Any]], list[str]]:
    """The lineage events of an asset, and the statuses of its cost rows."""
    name = asset.key.to_user_string()
    events = [event for event in platform.lineage.events() if event["job"]["name"] == name]
    rows = platform.lakehouse.snapshot(COSTS).arrow().to_pylist()
    return events, [row["x_status"] for row in rows if row["ResourceId"] == name]


def test_a_derived_asset_of_a_lower_data_class_fails_with_a_lineage_event_and_a_cost(
    restricted: Platform, materialize: Materialize
) -> None:
    asset = declare(inputs={"parts": "silver/toys/parts"}, tags=TAGS | {"data_class": "internal"})
    result = materialize(restricted, [asset], raise_on_error=False)
    assert not result.success
    [event], statuses = outcome(restricted, asset)
    assert (event["eventType"], event["inputs"]) == ("FAIL", [])
    assert "reads silver/toys/parts, which is 'confidential'" in event["run"]["facets"]["errorMessage"]["message"]
    assert set(statuses) == {"FAILED"}


def test_an_asset_that_reads_a_domain_that_does_not_load_fails_with_that_domains_error(
    restricted: Platform, materialize: Materialize
) -> None:
    error = DefinitionError(object="domain toys", observed="no owner", expected="one", next_step="correct domain.py")
    restricted.broken = lambda: {"toys": error}
    asset = declare(inputs={"parts": "silver/toys/parts"}, tags=TAGS | {"data_class": "restricted"})
    assert not materialize(restricted, [asset], raise_on_error=False).success
    [event], _ = outcome(restricted, asset)
    message = event["run"]["facets"]["errorMessage"]["message"]
    assert "reads silver/toys/parts: the domain toys does not load: domain toys: no owner" in message
    assert "correct domain.py" in message


@pytest.mark.parametrize("zone", ["silver", "quarantine"])
def test_an_asset_that_reads_a_table_whose_contract_was_removed_fails_and_names_it(
    restricted: Platform, materialize: Materialize, zone: Any
) -> None:
    restricted.contracts.clear()
    restricted.lakehouse.record(TableId("quarantine", "toys", "parts"), pa.table({"part": ["brick"]}))
    asset = declare(inputs={"parts": f"{zone}/toys/parts"}, tags=TAGS | {"data_class": "internal"})
    assert not materialize(restricted, [asset], raise_on_error=False).success
    [event], _ = outcome(restricted, asset)
    assert f"reads {zone}/toys/parts: no contract declares it" in event["run"]["facets"]["errorMessage"]["message"]


@pytest.mark.parametrize("data_class", ["confidential", "restricted"])
def test_a_derived_asset_of_the_same_or_a_higher_data_class_runs(
    restricted: Platform, materialize: Materialize, data_class: str
) -> None:
    asset = declare(inputs={"parts": "silver/toys/parts"}, tags=TAGS | {"data_class": data_class})
    assert materialize(restricted, [asset]).success
    events, statuses = outcome(restricted, asset)
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    assert set(statuses) == {"SUCCEEDED"}


MEASURE = "import time, pipelines.definitions, sys; print(time.process_time()); print(*sys.modules)"
Load = tuple[float, set[str]]


@pytest.fixture(scope="module")
def loads() -> list[Load]:
    """CPU seconds and imported modules of three new processes that load the code location.

    The second and third one find the bytecode that the first one compiled.
    """
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    loads = []
    for _ in range(3):
        lines = subprocess.run(
            [sys.executable, "-c", MEASURE], cwd=PROJECT, env=variables,
            check=True, capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip
        loads.append((float(lines[0]), set(lines[1].split())))
    return loads


def test_the_code_location_loads_in_less_than_three_seconds(loads: list[Load]) -> None:
    assert min(seconds for seconds, _ in loads[1:]) < LOAD_CPU_SECONDS


@pytest.mark.parametrize(
    "library", ["ray", "torch", "pyspark", "feast", "mlflow", "great_expectations", "pandas", "sklearn", "deltalake"]
)
def test_the_code_location_imports_no_heavy_library(loads: list[Load], library: str) -> None:
    assert library not in loads[-1][1]


#: Domains whose name is a term of the code as well: they are named as part of a key or of a module.
TERMS = ("packages",)


def test_no_room_but_the_domains_own_names_a_domain() -> None:
    names = "|".join(sorted(name.removesuffix("s") for name in domains() if name not in ("platform", *TERMS)))
    part = rf"(assets|landing|bronze|silver|gold|quarantine|training|models|serving)[./]({'|'.join(TERMS)})"
    word = re.compile(rf"\b(({names})s?|{part})\b", re.IGNORECASE)
    rooms = ("pipelines", "feature_repo", "ray_jobs", "serving", "infra")
    files = [path for room in rooms for path in sorted((PROJECT / room).rglob("*")) if path.is_file()]
    texts = [path for path in files if path.suffix in (".py", ".yaml", ".yml", ".toml", ".j2", ".html", ".css")]
    assert len(texts) > 200
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if word.search(line)
    ]
    assert found == []
