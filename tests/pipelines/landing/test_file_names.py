"""Files of other names than deliveries have, and columns of other names than tables have."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts.column_names import fault, named
from pipelines.contracts.load import load
from pipelines.contracts.model import Contract
from pipelines.landing import file_names
from pipelines.landing.edge import Edge
from pipelines.landing.ledger import Ledger
from pipelines.landing.reading import ColumnNames
from pipelines.landing.zone import Landing
from tests.pipelines import toy_contracts
from tests.pipelines.landing.bronze_rows import batches, parquet
from tests.pipelines.toy_contracts import text

DAY = "2013-01-01"
#: Names that no column can have, or not beside the others, and names that look as if they could not.
NAMES = ["", " ", "a.b", "a_b", "`", "*", "_row", "row", "_Verdict", "_partition", "_rescued", "_broken0", "n__v_string",
         "Zone", "zone", "ZONE", "zone_2", "order id", "Id-Nr", "1st", "id'x", '"', "größe", "a,b", "_id", "select"]  # fmt: skip


def content(format: str, row: dict[str, str]) -> bytes:
    """A file with one row."""
    if format == "jsonl":
        return json.dumps(row).encode() + b"\n"
    if format == "parquet":
        return parquet({name: [value] for name, value in row.items()})
    lines = io.StringIO()
    csv.writer(lines).writerows([row.keys(), row.values()])
    return lines.getvalue().encode()


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(NAMES), min_size=2, unique=True))
def test_a_column_of_any_name_is_read_under_a_name_that_a_table_can_have(
    tmp_path: Path, format: str, names: list[str]
) -> None:
    columns = named(names)
    assert not any(map(fault, columns.values()))
    properties = [text(column, transformSourceObjects=[name]) for name, column in columns.items()]
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", properties, format=format)
    row = {name: f"value {position}" for position, name in enumerate(names)}
    [batch] = batches(tmp_path, contract, content(format, row))
    [read] = batch.to_pylist()
    assert {name: read[column] for name, column in columns.items()} == row
    assert read["_rescued"] is None


def test_a_name_that_can_stay_stays_and_another_is_the_nearest() -> None:
    assert named(["zone", "Zone", "zone_2", "", "_row", "a.b", "_read0"]) == {
        "zone": "zone", "Zone": "Zone_3", "zone_2": "zone_2", "": "column", "_row": "row", "a.b": "a_b", "_read0": "read0",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["_row", "n__v_string", "row", "Zone"])
def test_an_unknown_column_does_not_evolve_under_a_name_that_the_platform_or_the_contract_has(
    tmp_path: Path, name: str
) -> None:
    properties = [text("row", transformSourceObjects=["_other"]), text("zone")]
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", properties, drift={"columns": "evolve"})
    assert not ColumnNames(contract).add(name)
    [batch] = batches(tmp_path, contract, content("csv", {"zone": "z", name: "kept"}))
    assert json.loads(batch.to_pylist()[0]["_rescued"]) == {name: "kept"}


def contract_with_path(folder: Path, path: str) -> Contract:
    document = toy_contracts.document("bronze/toys/blocks", [text("a")])
    document["servers"][0]["path"] = path
    return load(toy_contracts.write(folder, document))


@pytest.mark.parametrize("path", ["blocks/dt=*/*.csv", "toys/blocks/dt=*/*.csv"])
def test_a_file_whose_name_the_path_does_not_match_is_left_and_reported(tmp_path: Path, path: str) -> None:
    contract, landing = contract_with_path(tmp_path, path), Landing(tmp_path / "landing")
    for name in ("1.csv", "2.csv.part", "3.CSV"):
        landing.deliver(domain="toys", source="blocks", interval=DAY, name=name, content=f"a\n{name}\n".encode())
    edge = Edge(landing, Ledger(tmp_path / "ledger.db"), contract)
    batch = edge.next_batch(None, committed=-1)
    assert batch is not None
    assert [Path(delivery.uri).name for delivery in batch.deliveries] == ["1.csv"]
    edge.report_misplaced(None, None)
    [finding] = edge.findings
    assert (finding.code, finding.treatment) == ("other_name", "waiting")
    assert finding.subject.endswith("2.csv.part")
    assert ", and 1 more" in finding.observed
    assert "a name like *.csv" in finding.expected


def test_a_file_that_is_renamed_when_it_is_complete_is_taken_then(tmp_path: Path) -> None:
    contract, landing = contract_with_path(tmp_path, "blocks/dt=*/*.csv"), Landing(tmp_path / "landing")
    uri = landing.deliver(domain="toys", source="blocks", interval=DAY, name="1.csv.part", content=b"a\n1\n")
    ledger = Ledger(tmp_path / "ledger.db")
    assert Edge(landing, ledger, contract).next_batch(None, committed=-1) is None
    part = Path(landing.root) / uri
    part.rename(part.with_suffix(""))
    assert Edge(landing, ledger, contract).next_batch(None, committed=-1) is not None


@pytest.mark.parametrize(
    "name", ["1.csv.part", "1.TMP", "1.csv.crdownload", "1.csv~", "1.filepart", ".1.csv", "_1.csv"]
)
def test_a_file_that_is_named_as_being_written_is_not_taken_unless_the_path_says_so(tmp_path: Path, name: str) -> None:
    landing = Landing(tmp_path / "landing")
    folder = Path(landing.root) / "toys" / "blocks" / f"dt={DAY}"
    folder.mkdir(parents=True)
    (folder / name).write_text("a\n1\n", encoding="utf-8")
    for pattern, taken in (("*", False), (f"*{Path(name).suffix}", name[0] not in "._")):
        contract = contract_with_path(tmp_path, f"blocks/dt=*/{pattern}")
        edge = Edge(landing, Ledger(tmp_path / f"{taken}.db"), contract)
        assert (edge.next_batch(None, committed=-1) is not None) == taken


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a.csv", "b.2013-01-01.csv"], "*.csv"),
        (["a.csv.gz", "b.csv.gz"], "*.csv.gz"),
        (["a.csv", "b.csv.zst"], "*.csv*"),
        (["a.csv", "b.CSV"], "*"),
        (["a", "b"], "*"),
        (["app.log.1", "app.log.2"], "*"),
        (["a.gz", "b.gz"], "*.gz"),
    ],
)
def test_a_proposal_takes_files_that_are_named_as_those_that_landed(names: list[str], pattern: str) -> None:
    assert file_names.pattern(names) == pattern
