"""Time travel: commits are listed, an instant has its version, and a version can be rebuilt with equal content."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import NotFoundError
from pipelines.governed.platform import Platform
from pipelines.lakehouse import time_travel
from pipelines.lakehouse.content_digest import content_digest
from pipelines.medallion.decorators import gold_asset
from pipelines.provenance import rebuild
from pipelines.provenance.pins import Pins
from pipelines.tables import TableId, TableVersion
from pipelines.upkeep import maintenance
from tests.conftest import Materialize
from tests.goldpath_process import environment
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import number, text
from tests.pipelines.toy_tables import BRONZE, SILVER, append, block, parts, platform_on, write

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NOW = timedelta(0)
COLUMNS = [text("part", primaryKey=True, primaryKeyPosition=1, required=True), number("weight")]
_names = itertools.count()


@pytest.fixture
def platform(engine: Engine, tmp_path: Path) -> Platform:
    return platform_on(engine, tmp_path / "home")


def test_the_history_lists_time_run_rows_and_inputs_of_each_commit(platform: Platform) -> None:
    started = datetime.now(UTC) - timedelta(seconds=1)
    source = append(platform, BRONZE, "a")
    write(platform, SILVER, [block("a"), block("b")], inputs={"blocks": source, "in more": source})
    newest = write(platform, SILVER, [block("a")], inputs={"blocks": source})
    entries = time_travel.history(platform.lakehouse, SILVER, limit=2)
    assert [entry["version"] for entry in entries] == [newest.version, newest.version - 1]
    assert [(entry["operation"], entry["rows"]) for entry in entries] == [("WRITE", 1), ("WRITE", 2)]
    assert {(entry["run_id"], entry["asset"]) for entry in entries} == {(f"run of {SILVER}", str(SILVER))}
    assert entries[1]["inputs"] == {"blocks": str(source), "in more": str(source)}
    first, last = (datetime.fromisoformat(entries[number]["committed_at"]) for number in (1, 0))
    assert started <= first <= last <= datetime.now(UTC)


def test_the_version_as_of_an_instant_is_the_newest_committed_before_it(platform: Platform) -> None:
    house, before = platform.lakehouse, datetime.now(UTC) - timedelta(seconds=1)
    versions, instants = [], []
    for name in ("a", "b", "c"):
        versions.append(write(platform, SILVER, [block(name)]))
        time.sleep(0.01)  # the times of commits have milliseconds
        instants.append(datetime.now(UTC))
        time.sleep(0.01)
    assert [time_travel.at(house, SILVER, instant) for instant in instants] == versions
    assert parts(platform, time_travel.at(house, SILVER, instants[1])) == ["b"]
    assert time_travel.at(house, SILVER, time_travel.commits(house, SILVER)[0].committed_at) == versions[2]
    with pytest.raises(NotFoundError, match=r"as of .*the first version that its log holds is 0"):
        time_travel.at(house, SILVER, before)
    maintenance.vacuum(platform, Pins(), commit_metadata={}, keep=NOW)
    with pytest.raises(NotFoundError, match=rf"{SILVER}@{versions[1].version}.*it was vacuumed.*tables history"):
        time_travel.at(house, SILVER, instants[1])
    with pytest.raises(NotFoundError, match=rf"{SILVER}@{versions[1].version}.*it was vacuumed"):
        house.snapshot(versions[1]).arrow()
    assert parts(platform, time_travel.at(house, SILVER, datetime.now(UTC))) == ["c"]


def test_the_rows_of_a_version_by_upkeep_were_made_by_the_write_before_it(platform: Platform) -> None:
    house, source = platform.lakehouse, append(platform, BRONZE, *"abcdefghij")
    at = write(platform, SILVER, [block("a")], inputs={"blocks": source})
    maintenance.compact(platform, commit_metadata={})
    maintenance.vacuum(platform, Pins(), commit_metadata={}, keep=NOW)
    assert (
        time_travel.made_by(time_travel.commits(house, SILVER), house.current(SILVER))
        == time_travel.commits(house, SILVER)[house.current(SILVER).version - at.version]
    )
    written = time_travel.made_by(time_travel.commits(house, BRONZE), house.current(BRONZE))
    assert written is not None
    assert (written.at, house.current(BRONZE).version > source.version) == (source, True)


def test_a_version_that_does_not_exist_is_an_error_that_names_it(platform: Platform) -> None:
    at = write(platform, SILVER, [block("a")])
    with pytest.raises(NotFoundError, match=rf"{SILVER}@{at.version + 7}: its log does not hold it"):
        platform.lakehouse.snapshot(TableVersion(SILVER, at.version + 7)).arrow()
    with pytest.raises(NotFoundError, match="zone/domain/table@N"):
        TableVersion.parse("silver/toys/blocks")
    assert TableVersion.parse(str(at)) == at


def test_the_digest_does_not_depend_on_the_order_or_the_chunks_of_rows() -> None:
    rows = pa.table({"a": [1.0, None, 0.5], "b": ["x", "", None], "c": [[{"k": None}], None, []]})
    reordered = rows.take([2, 0, 1])
    assert content_digest(rows) == content_digest(reordered) == content_digest(pa.concat_tables([rows[:1], rows[1:]]))
    assert content_digest(rows) == content_digest(rows.select(["c", "a", "b"]))
    assert content_digest(rows, order="as stored") != content_digest(reordered, order="as stored")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [0.0]}, {"a": [-0.0]}),
        ({"a": [0.1 + 0.2]}, {"a": [0.3]}),
        ({"a": [None]}, {"a": [0.0]}),
        ({"a": ["", None]}, {"a": [None, None]}),
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}),
        ({"a": ["x"], "b": ["y"]}, {"a": ["y"], "b": ["x"]}),
        ({"a": [1, 1, 2]}, {"a": [1, 2, 2]}),
        ({"a": [1, 1]}, {"a": [1]}),
        ({"a": [True]}, {"a": [False]}),
        ({"a": [[1, 2]]}, {"a": [[2, 1]]}),
        ({"a": [1]}, {"b": [1]}),
    ],
)
def test_the_digests_of_rows_that_differ_in_one_bit_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    schema = pa.schema([("a", pa.float64())]) if one == {"a": [None]} else None
    assert content_digest(pa.table(one, schema=schema)) != content_digest(pa.table(other))


@dataclass(frozen=True, slots=True)
class Derived:
    """A gold table over silver blocks, with a unique name."""

    platform: Platform
    table: TableId
    contract: Path
    asset: dg.AssetsDefinition
    materialize: Materialize

    def run(self) -> TableVersion:
        self.materialize(self.platform, [self.asset])
        return self.platform.lakehouse.current(self.table)

    def rebuild_version(self, at: TableVersion, **options: Any) -> rebuild.Rebuilt:
        return rebuild.rebuild(self.platform, rebuild.request_for_version(self.platform, at), **options)


def shares(blocks: DataFrame) -> DataFrame:
    """Each block's share of the weight of all blocks. Grain: one row per block."""
    return blocks.selectExpr("part", "weight / sum(weight) over () as weight")


@pytest.fixture
def derived(each_engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[[], Derived]:
    def build() -> Derived:
        name = f"gold/toys/shares_{next(_names)}"
        contract = toy_contracts.contract(tmp_path, name, COLUMNS)
        asset = gold_asset(contract, inputs={"blocks": str(SILVER)})(shares)
        platform = platform_on(
            each_engine, tmp_path / "home", contract, toy_contracts.contract(tmp_path, str(SILVER), COLUMNS)
        )
        return Derived(platform, contract.table, contract.path, asset, materialize)

    return build


def test_a_version_rebuilt_after_its_inputs_changed_has_the_same_content(
    derived: Callable[[], Derived], tmp_path: Path
) -> None:
    toy = derived()
    write(toy.platform, SILVER, [block(f"{n}", n / 7) for n in range(1, 50)] + [block("unknown", None)])
    first = toy.run()
    write(toy.platform, SILVER, [block(f"{n}", n / 3) for n in range(1, 60)])
    second = toy.run()
    output = tmp_path / "rebuilt.parquet"
    rebuilt = toy.rebuild_version(first, output=output)
    assert (rebuilt.same_content, rebuilt.rows, rebuilt.rebuilt_rows) == (True, 50, 50)
    assert rebuilt.digest == rebuilt.rebuilt_digest == content_digest(toy.platform.lakehouse.snapshot(first).arrow())
    assert content_digest(pq.read_table(output)) == rebuilt.digest
    assert toy.rebuild_version(second).same_content
    assert toy.rebuild_version(second).digest != rebuilt.digest


def test_a_version_whose_rows_the_transform_does_not_produce_has_other_content(derived: Callable[[], Derived]) -> None:
    toy = derived()
    write(toy.platform, SILVER, [block("a", 1.0), block("b", 3.0)])
    at, request = toy.run(), rebuild.request_for_version(toy.platform, toy.platform.lakehouse.current(toy.table))
    rows = toy.platform.lakehouse.snapshot(at).arrow()
    changed = [row | {"weight": row["weight"] + 2**-53} for row in rows.to_pylist()]
    write(toy.platform, toy.table, changed, by=(), schema=rows.schema)
    rebuilt = rebuild.rebuild(toy.platform, rebuild.Request(toy.platform.lakehouse.current(toy.table), request.inputs))
    assert (rebuilt.same_content, rebuilt.rows, rebuilt.rebuilt_rows) == (False, 2, 2)


def test_a_rebuild_whose_inputs_were_vacuumed_is_an_error_that_names_them(derived: Callable[[], Derived]) -> None:
    toy = derived()
    used = write(toy.platform, SILVER, [block("a")])
    at = toy.run()
    write(toy.platform, SILVER, [block("b")])
    maintenance.vacuum(toy.platform, Pins(), commit_metadata={}, keep=NOW)
    with pytest.raises(NotFoundError, match=f"inputs of {at}: gone: {used}"):
        toy.rebuild_version(at)


def test_a_rebuild_of_a_version_that_no_run_of_a_gold_asset_wrote_is_an_error(derived: Callable[[], Derived]) -> None:
    toy = derived()
    at = write(toy.platform, SILVER, [block("a")])
    with pytest.raises(NotFoundError, match="no gold asset of that name"):
        rebuild.rebuild(toy.platform, rebuild.request_for_version(toy.platform, at))
    toy.platform.lakehouse.record(toy.table, pa.table({"part": ["by hand"]}))
    with pytest.raises(NotFoundError, match="its commit names none"):
        toy.rebuild_version(toy.platform.lakehouse.current(toy.table))


#: `goldpath` in a project with one more gold table, whose contract is the first argument.
GOLDPATH = """
import sys
from pathlib import Path
from pipelines.commands.app import app
from pipelines.contracts.load import load
from pipelines.medallion.decorators import gold_asset
from tests.pipelines.lakehouse.test_time_travel import shares
gold_asset(load(Path(sys.argv.pop(1))), inputs={"blocks": "silver/toys/blocks"})(shares)
app()
"""


@pytest.fixture
def goldpath(
    engine: Engine, tmp_path: Path, materialize: Materialize
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command on a home folder with a gold table in two versions, `{gold}` in its arguments, and its input."""
    contract = toy_contracts.contract(tmp_path, f"gold/toys/shares_{next(_names)}", COLUMNS)
    asset = gold_asset(contract, inputs={"blocks": str(SILVER)})(shares)
    platform = platform_on(engine, tmp_path / "home", contract, toy_contracts.contract(tmp_path, str(SILVER), COLUMNS))
    for weight in (1.0, 3.0):
        write(platform, SILVER, [block("brick", weight), block("plate", 1.0)])
        materialize(platform, [asset])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = environment(tmp_path / "home")
        options = [argument.format(gold=contract.table) for argument in arguments]
        command = [sys.executable, "-c", GOLDPATH, str(contract.path), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env, cwd=tmp_path)

    return run


def test_goldpath_tables_shows_rows_and_history(goldpath: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    entries = json.loads(goldpath("tables", "history", "{gold}", "--json").stdout)
    assert [(entry["operation"], entry["rows"]) for entry in entries[:2]] == [("WRITE", 2), ("WRITE", 2)]
    newest, before = entries[0]["version"], entries[1]["version"]
    assert f"{SILVER}@" in goldpath("tables", "history", "{gold}", "--limit", "1").stdout
    current = json.loads(goldpath("tables", "show", "{gold}", "--json").stdout)
    assert (current["version"], sorted(row["weight"] for row in current["rows"])) == (newest, [0.25, 0.75])
    for option, value in (("--version", str(before)), ("--as-of", entries[1]["committed_at"])):
        past = json.loads(goldpath("tables", "show", "{gold}", option, value, "--limit", "1", "--json").stdout)
        assert (past["version"], [row["weight"] for row in past["rows"]]) == (before, [0.5])
    assert "brick" in goldpath("tables", "show", "{gold}").stdout
    assert "the first version that its log holds" in goldpath(
        "tables", "show", "{gold}", "--as-of", "2001-01-01T00:00:00+00:00"
    ).stderr.replace("\n", " ")
    assert "with its offset" in goldpath("tables", "show", "{gold}", "--as-of", "2001-01-01").stderr


def test_goldpath_rebuild_reports_the_same_content_and_writes_the_rows(
    goldpath: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    [_, before] = json.loads(goldpath("tables", "history", "{gold}", "--limit", "2", "--json").stdout)
    printed = goldpath("rebuild", f"{{gold}}@{before['version']}", "--output", "again.parquet")
    assert printed.returncode == 0, printed.stderr
    assert "the same content, bit for bit" in printed.stdout
    assert sorted(pq.read_table(tmp_path / "again.parquet")["weight"].to_pylist()) == [0.5, 0.5]
    report = json.loads(goldpath("rebuild", f"{{gold}}@{before['version']}", "--json").stdout)
    assert (report["same_content"], report["inputs"]) == (True, before["inputs"])
    refused = goldpath("rebuild")
    assert (refused.returncode, "not exactly one version" in refused.stderr) == (1, True)
    assert "no such version" in goldpath("rebuild", "--model", "toys.model", "--version", "1").stderr
