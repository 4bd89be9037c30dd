"""Damage to any file of a home is named, stops no other table, and is undone by a repair and a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.commands import home_checks, table_list
from pipelines.engine.session import Engine
from pipelines.governed.platform import Platform
from pipelines.lakehouse import delta_commits
from pipelines.lakehouse.table_log import TableLog
from pipelines.machine import files
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration import dagster_home
from pipelines.quarantine import decisions
from pipelines.settings import Settings
from pipelines.tables import TableId
from pipelines.upkeep import home_files, home_repair
from tests.conftest import Materialize
from tests.pipelines.toy_pipeline import ToyPipeline, as_arrived, pipeline_builder, redeclared_silver

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
}


class Home:
    """A home with one source's tables, and copies of it."""

    def __init__(self, toys: ToyPipeline, assets: list[dg.AssetsDefinition], tables: list[TableId]) -> None:
        self.toys, self.assets, self.tables = toys, assets, tables

    @property
    def root(self) -> Path:
        return self.toys.platform.settings.root

    def copy(self, folder: Path) -> Platform:
        """A platform over a copy of the home."""
        settings = Settings(
            home=shutil.copytree(self.root, folder), profile="test", engine=self.toys.platform.settings.engine
        )
        platform = Platform(settings, lambda: self.toys.platform.contracts)
        platform.engine = self.toys.platform.engine
        return platform

    def run(self, platform: Platform) -> dg.ExecuteInProcessResult:
        return self.toys.materialize(platform, self.assets, raise_on_error=False)

    def rows(self, platform: Platform) -> dict[str, list[str]]:
        """The rows of each table; of decisions and costs of the first runs, too."""
        contents = {}
        for table in self.tables:
            rows = platform.lakehouse.snapshot(table).arrow().to_pylist()
            contents[str(table)] = sorted(repr(sorted(row.items(), key=lambda item: item[0])) for row in rows)
        return contents


@pytest.fixture(scope="session")
def home(engine: Engine, tmp_path_factory: pytest.TempPathFactory, materialize: Materialize) -> Home:
    """Three deliveries in as many runs, a rejected row with a decision, a checkpoint, and what Dagster writes."""
    toys = pipeline_builder(engine, tmp_path_factory.mktemp("damaged"), materialize)()
    silver = redeclared_silver(toys, None)(as_arrived)
    gold = _gold(toys)
    platform, house = toys.platform, toys.platform.lakehouse
    assets = [toys.bronze, silver, gold]
    for number, content in enumerate(["a,4,1.5\nb,0,2\n", "c,5,3.25\n", "d,1,NA\nb,7,1\n"]):
        toys.land(f"part,holes,weight\n{content}", name=f"{number}.csv")
        if number == 2:
            [rejected] = toys.rows("quarantine")
            decisions.record(
                house,
                toys.table("silver"),
                {rejected["_record_id"]: rejected["_partition"]},
                act="discard",
                note="zero",
            )
        assert materialize(platform, assets).success
    for zone in ("silver", "ops"):
        for table in house.tables():
            if table.zone == zone:
                delta_commits.checkpoint(house, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        dagster_home.prepare(platform.settings)
        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs() == []
    (platform.settings.root / "ray").mkdir()
    (platform.settings.root / "ray" / "token").write_text("secret", encoding="utf-8")
    tables = [toys.table(zone) for zone in ("bronze", "silver", "quarantine", "gold")] + [decisions.DECISIONS]
    return Home(toys, assets, tables)


def _gold(toys: ToyPipeline) -> dg.AssetsDefinition:
    return gold_asset(toys.gold(), inputs={"rows": f"silver/toys/{toys.name}"})(as_arrived)


#: Every kind of file of the home: a glob, and which of the files that it finds.
FILES = {
    **{
        f"{zone} {name}": (f"lakehouse/{zone}/toys/*/{glob}", index)
        for zone in ("bronze", "silver", "quarantine", "gold")
        for name, glob, index in (
            ("first entry", "_delta_log/*.json", 0),
            ("middle entry", "_delta_log/*.json", 1),
            ("last entry", "_delta_log/*.json", -1),
            ("data file", "**/*.parquet", 0),
        )
    },
    "silver checkpoint": ("lakehouse/silver/toys/*/_delta_log/*.checkpoint.parquet", 0),
    "silver hint": ("lakehouse/silver/toys/*/_delta_log/_last_checkpoint", 0),
    "costs entry": ("lakehouse/ops/platform/costs/_delta_log/*.json", -2),
    "costs checkpoint": ("lakehouse/ops/platform/costs/_delta_log/*.checkpoint.parquet", 0),
    "costs hint": ("lakehouse/ops/platform/costs/_delta_log/_last_checkpoint", 0),
    "costs data file": ("lakehouse/ops/platform/costs/*.parquet", 0),
    "decisions entry": ("lakehouse/ops/platform/quarantine_decisions/_delta_log/*.json", 0),
    "ledger": ("lakehouse/_ledger/*.db", 0),
    "note": ("lakehouse/_ledger/silver_*.json", 0),
    "landed file": ("landing/toys/*/dt=*/*.csv", 0),
    "lineage": ("lineage/events.jsonl", 0),
    "quality": ("quality/**/*.json", 0),
    "lock": ("locks/*.lock", 0),
    "dagster.yaml": ("dagster/dagster.yaml", 0),
    "dagster runs": ("dagster/history/runs.db", 0),
    "dagster events": ("dagster/history/runs/index.db", 0),
    "dagster schedules": ("dagster/schedules/schedules.db", 0),
    "secret": ("ray/token", 0),
}
#: What nothing depends on, and what is valid if it is cut.
HARMLESS = {"landed file", "lock", "secret", "dagster.yaml", "lineage"}
#: A newest version whose entry is gone leaves no trace in the log: the version before it is the newest one.
CASES = [(file, damage) for file in FILES for damage in DAMAGES if (file, damage) != ("quarantine last entry", "gone")]
#: What the doctor still says after a repair: of kept files, of older versions, of logs whose other lines are read.
STILL_SAID = ("damaged/", "the newest version does not need it", "the rest of it is read")


def failures(platform: Platform) -> list[str]:
    """What the doctor finds in the home and calls a failure."""
    return [f"{r.observed} {r.advice}" for r in home_checks.check(platform.settings, "contents") if r.status != "ok"]


def mend(platform: Platform, mode: Any) -> list[str]:
    """Repairs the whole home; returns the steps."""
    house = platform.lakehouse
    reports = [home_repair.repair_files(platform, mode=mode)]
    reports += [home_repair.repair_table(platform, table, mode=mode, depth="contents") for table in house.tables()]
    return [step for report in reports for step in report.steps]


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_after_a_repair_and_a_run_the_tables_are_those_of_the_undamaged_home(
    home: Home, file: str, damage: str, tmp_path: Path
) -> None:
    platform = home.copy(tmp_path / "home")
    root, (glob, index) = platform.settings.root, FILES[file]
    path = sorted(root.glob(glob))[index]
    if file.endswith("data file"):  # one that the newest version needs
        folder = next(parent for parent in path.parents if (parent / "_delta_log").is_dir())
        path = folder / min(TableLog(folder).files(TableLog(folder).newest))
    DAMAGES[damage](path)
    places = (str(path), f"{path.parent}: ")
    named = any(place in failure for failure in failures(platform) for place in places)
    listed = {entry["table"]: entry["error"] for entry in table_list.table_list(platform)}
    assert all(not error or table in str(path) for table, error in listed.items())
    if named:
        before = sorted(root.rglob("*"))
        planned = mend(platform, "plan")
        assert sorted(root.rglob("*")) == before
        assert mend(platform, "mend") == planned
        assert mend(platform, "mend") == []
        left = [failure for failure in failures(platform) if not any(words in failure for words in STILL_SAID)]
        assert not any(place in failure for failure in left for place in places)
    else:
        assert damage in ("empty", "gone") or file in HARMLESS
    result = home.run(platform)
    assert result.success, [event.step_failure_data for event in result.get_step_failure_events()]
    assert home.rows(platform) == home.rows(home.toys.platform)


class Killed(BaseException):
    """Stands for the end of the process: no handler takes it."""


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (f"{zone} {entry}", damage)
        for zone in ("bronze", "gold")
        for entry, damage in (("last entry", "cut"), ("first entry", "gone"))
    ]
    + [
        ("costs data file", "gone"),
        ("decisions entry", "garbage"),
        ("dagster runs", "garbage"),
    ],
)
def test_a_repair_that_ends_after_each_of_its_changes_goes_on_when_it_is_run_again(
    home: Home, file: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = home.copy(tmp_path / "home")
    glob, index = FILES[file]
    path = sorted(platform.settings.root.glob(glob))[index]
    DAMAGES[damage](path)
    numbers = {str(table): platform.lakehouse.path(table) for table in home.tables}
    newest = {name: TableLog(folder).newest for name, folder in numbers.items()}
    ended: list[str] = []

    def ends_after(module: Any, name: str) -> None:
        change = getattr(module, name)

        def changed(*arguments: Any, **keywords: Any) -> None:
            change(*arguments, **keywords)
            if "how" not in keywords or str(arguments) not in ended:  # a copy alone does not bring the repair further
                ended.append(str(arguments))
                raise Killed

        monkeypatch.setattr(module, name, changed)

    for module, name in ((files, "set_aside"), (files, "replace"), (delta_commits, "append_rows")):
        ends_after(module, name)
    while True:
        changes = len(ended)
        try:
            mend(platform, "mend")
        except Killed:
            assert len(ended) == changes + 1 < 60
        else:
            break
    monkeypatch.undo()
    assert ended
    assert mend(platform, "mend") == []
    repaired = {name: TableLog(folder).newest for name, folder in numbers.items()}
    assert all(repaired[name] < 0 or repaired[name] >= newest[name] for name in newest)
    result = home.run(platform)
    assert result.success, [event.step_failure_data for event in result.get_step_failure_events()]
    assert home.rows(platform) == home.rows(home.toys.platform)


def test_every_file_of_the_home_has_a_kind(home: Home) -> None:
    assert [path for path, kind in home_files.walk(home.root) if kind is None] == []
