"""Contracts that others wrote become contracts of this platform, and ours are accepted by the tools of others."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.contracts import exported, foreign, foreign_types, standard
from pipelines.contracts.load import load
from pipelines.contracts.model import COST_TAGS, UNKNOWN, Contract
from pipelines.errors import ContractError
from pipelines.settings import PROJECT

EXAMPLES = sorted((Path(__file__).parent / "official_examples").glob("*.yaml"))
OURS = sorted((PROJECT / "assets").glob("*/contracts/*.yaml"))
DATACONTRACT = PROJECT / ".tools/datacontract/bin/datacontract"


def test_the_standards_own_examples_are_there():
    assert len(EXAMPLES) == 18


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name.split(".")[0])
def test_an_official_example_is_imported_and_loads_once_a_person_completed_it(example: Path, tmp_path: Path):
    source = standard.read_document(example)
    tables = foreign.read(example, "other")
    assert len(tables) == len(source["schema"] or [])
    for table, node in zip(tables, source["schema"] or [], strict=True):
        silver, bronze = (_completed(getattr(table, zone), tmp_path) for zone in ("silver", "bronze"))
        names = [p["name"] for p in node["properties"] or []]
        assert [column.name for column in silver.columns] == names
        assert [column.name for column in bronze.columns] == [
            p["physicalName"] or p["name"] for p in node["properties"] or []
        ]
        assert silver.key_columns == [p["name"] for p in node["properties"] or [] if p["primaryKey"]]


def test_a_contract_that_a_person_did_not_complete_does_not_load(tmp_path: Path):
    example = next(path for path in EXAMPLES if path.name.startswith("column-accuracy"))
    path = tmp_path / "silver.yaml"
    path.write_text(yaml.safe_dump(foreign.read(example, "other")[0].silver), encoding="utf-8")
    with pytest.raises(ContractError):
        load(path)


FOREIGN: dict[str, Any] = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "2.3.0", "status": "active",
    "servers": [{"server": "prod", "type": "postgres", "host": "h", "port": 5432, "database": "d", "schema": "s"},
                {"server": "files", "type": "local", "path": "a/*.csv", "format": "csv"}],
    "team": {"name": "sales"},
    "slaProperties": [{"property": "freshness", "value": 3, "unit": "hours"}, {"property": "latency", "value": 4, "unit": "d"},
                      {"property": "retention", "value": 2, "unit": "yr"}],
    "schema": [
        {"name": "Order Lines", "physicalName": "order_lines", "properties": [
            {"name": "id", "logicalType": "number", "physicalType": "bigserial", "primaryKey": True, "required": True},
            {"name": "line", "logicalType": "number", "primaryKey": True, "primaryKeyPosition": 2},
            {"name": "amount", "physicalName": "amt", "logicalType": "number", "physicalType": "numeric(10,2)",
             "logicalTypeOptions": {"minimum": 0, "format": "f32"}},
            {"name": "shop", "logicalType": "string", "physicalType": "varchar(18)",
             "relationships": [{"type": "foreignKey", "to": "Shops.name"}, {"type": "foreignKey", "to": "elsewhere.x"}]},
            {"name": "sold", "logicalType": "timestamp", "logicalTypeOptions": {"defaultTimezone": "Europe/Paris"}},
        ], "quality": [
            {"type": "sql", "query": "SELECT count(*) FROM order_lines o WHERE o.amt < 0 AND amt > 9", "mustBe": 0, "severity": "critical"},
            {"type": "sql", "query": "select count(*) from ${table} join Shops on true", "mustBe": 0},
            {"metric": "rowCount", "mustBeGreaterThan": 3},
            {"type": "custom", "engine": "soda", "implementation": "duplicate_percent"},
        ]},
        {"name": "Shops", "properties": [{"name": "name", "logicalType": "string", "primaryKey": True}]},
    ],
}  # fmt: skip


@pytest.fixture
def imported(tmp_path: Path) -> list[foreign.ForeignTable]:
    path = tmp_path / "foreign.yaml"
    path.write_text(yaml.safe_dump(FOREIGN), encoding="utf-8")
    return foreign.read(path, "shop")


def test_promises_are_kept_and_acted_on(imported: list[foreign.ForeignTable], tmp_path: Path):
    lines, shops = imported
    assert (lines.name, shops.name) == ("order_lines", "shops")
    contract = _completed(lines.silver, tmp_path)
    assert str(contract.table) == "silver/shop/order_lines"
    assert {c.name: c.type for c in contract.columns} == {
        "id": "bigint", "line": "string", "amount": "decimal(10,2)", "shop": "string", "sold": "timestamp",
    }  # fmt: skip
    assert contract.column("amount").source == "amt"
    assert contract.column("sold").timezone == "Europe/Paris"
    assert contract.key_columns == ["id", "line"]
    assert (contract.owner, contract.version) == ("sales", "2.3.0")
    assert contract.freshness_seconds == 3 * 3_600
    rules = {rule.name: rule for rule in contract.row_rules}
    assert rules["shop_length"].argument.maximum == 18
    assert str(rules["shop_in_shops"].argument[0]) == "silver/shop/shops"
    figures = {rule.name: rule.expression for rule in contract.table_rules}
    assert figures == {
        "sql": "SELECT COUNT(*) FROM {table} AS o WHERE o.amount < 0 AND amount > 9",
        "row_count": "count(1)",
    }
    assert _completed(lines.bronze, tmp_path).format == "csv"


def test_what_cannot_be_acted_on_is_listed_and_kept_as_text(imported: list[foreign.ForeignTable]):
    lines = imported[0]
    remarks = "\n".join(lines.unused)
    for part in (
        "elsewhere.x",
        "amount.logicalTypeOptions.format",
        "latency",
        "server prod",
        "engine soda",
        "SELECT over this one",
    ):
        assert part in remarks
    texts = [e["description"] for e in lines.silver["schema"][0]["quality"] if e["type"] == "text"]
    assert any("duplicate_percent" in text for text in texts)
    assert any("join Shops" in text for text in texts)
    assert any("type of line" in text for text in lines.unsaid)


def test_two_tables_with_one_name_are_refused(tmp_path: Path):
    path = tmp_path / "foreign.yaml"
    both = [{"name": name, "properties": [{"name": "a", "logicalType": "string"}]} for name in ("a b", "A-B")]
    path.write_text(yaml.safe_dump(FOREIGN | {"schema": both}), encoding="utf-8")
    with pytest.raises(ContractError, match="a_b"):
        foreign.read(path, "shop")


@pytest.mark.parametrize(
    ("logical", "physical", "type"),
    [("number", "serial", "int"), ("number", "int8", "bigint"), ("integer", None, "bigint"), ("number", "NUMBER(38,0)", "decimal(38,0)"),
     ("number", "numeric", "decimal(38,10)"), ("number", "decimal(60,2)", "decimal(38,10)"), ("integer", "BIGINT UNSIGNED", "decimal(20,0)"),
     ("string", "varchar[50]", "string"), ("date", "timestamp", "timestamp"), ("timestamp", "timestamp with time zone", "timestamp"),
     ("number", "uuid", "string"), ("object", None, "string"), ("boolean", "Flag", "boolean"), (None, None, "string")],
)  # fmt: skip
def test_a_column_gets_a_type_that_holds_its_values_exactly(logical: str | None, physical: str | None, type: str):
    assert foreign_types.column_type(logical, physical, "postgres")[0] == type


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_an_exported_contract_is_valid_and_imports_with_the_same_columns_and_key(path: Path, tmp_path: Path):
    contract = load(path)
    document, left_out = exported.document(contract)
    target = tmp_path / path.name
    target.write_text(yaml.safe_dump(document), encoding="utf-8")
    standard.read_document(target)
    assert not left_out
    (table,) = foreign.read(target, contract.table.domain)
    again = _completed(table.silver, tmp_path)
    assert [(c.name, c.description) for c in again.columns] == [(c.name, c.description) for c in contract.columns]
    assert again.key_columns == contract.key_columns
    if contract.table.zone != "bronze":
        assert [c.type for c in again.columns] == [
            "string" if c.key_position and c.type == "double" else c.type for c in contract.columns
        ]


def test_datacontract_cli_accepts_every_exported_contract(tmp_path: Path):
    merged = tmp_path / "all.yaml"
    schema = []
    for path in OURS:
        document, _ = exported.document(load(path))
        schema += [table | {"name": path.stem} for table in document["schema"]]
    merged.write_text(yaml.safe_dump(document | {"schema": schema}), encoding="utf-8")
    result = subprocess.run([DATACONTRACT, "lint", merged], capture_output=True, text=True, check=False)
    assert "Data contract is valid" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


def test_sql_about_each_row_becomes_a_query_of_the_standard(tmp_path: Path):
    path = next(path for path in OURS if "engine: goldpath" in path.read_text(encoding="utf-8"))
    document, _ = exported.document(load(path))
    columns = document["schema"][0]["properties"]
    entries = [*document["schema"][0].get("quality", []), *(e for c in columns for e in c.get("quality", []))]
    queries = [entry["query"] for entry in entries if entry.get("type") == "sql"]
    assert any(query.startswith("SELECT count(*) FROM ${table} WHERE NOT (") for query in queries)


def _completed(document: dict[str, Any], folder: Path) -> Contract:
    """The contract, loaded after each `unknown` was replaced as a person would."""
    properties = {entry["property"]: entry["value"] for entry in document["customProperties"]}
    properties["tags"] = dict.fromkeys(COST_TAGS, "x")
    completed = document | {
        "team": document["team"] | {"name": "a-team"} if document["team"]["name"] == UNKNOWN else document["team"],
        "slaProperties": [e | {"value": 2} if e["value"] == UNKNOWN else e for e in document["slaProperties"]],
        "customProperties": [{"property": name, "value": value} for name, value in properties.items()],
    }
    for server in completed.get("servers") or []:
        server["format"] = "csv" if server["format"] == UNKNOWN else server["format"]
    path = folder / f"{document['id']}.yaml"
    path.write_text(yaml.safe_dump(completed, sort_keys=False), encoding="utf-8")
    return load(path)
