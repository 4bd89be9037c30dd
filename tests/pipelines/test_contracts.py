"""Contract files: what is derived from a good one, and what is said about a bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import COST_TAGS, RowRule, TableRule, load, load_folder, zone_contract
from pipelines.definitions import all_contracts
from pipelines.errors import ContractError, NotFoundError
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import number, row_rule, text, whole

FOLDER = Path(__file__).parent.parent.parent / "assets" / "flights" / "contracts"
Change = Callable[[dict[str, Any]], Any]


def good() -> dict[str, Any]:
    foreign = {"type": "foreignKey", "to": "silver.toys.makers.name"}
    foreign["customProperties"] = [{"property": "severity", "value": "warning"}, {"property": "reason", "value": "new"}]  # type: ignore[assignment]
    return toys.document(
        "silver/toys/blocks",
        [
            text("part", primaryKey=True, primaryKeyPosition=2, required=True),
            text("box", primaryKey=True, primaryKeyPosition=1, required=True),
            number("weight", logicalTypeOptions={"minimum": 0}, customProperties=[{"property": "unit", "value": "g"}]),
            whole("holes", logicalTypeOptions={"minimum": 1, "maximum": 8}, transformSourceObjects=["n_holes"]),
            text("colour", enum=[{"value": "red"}, {"value": "blue"}], classification="internal"),
            text("code", logicalTypeOptions={"pattern": "^[A-Z]{2}$"}),
            text("maker", relationships=[foreign]),
            number("density", transformLogic="weight / holes"),
        ],
        quality=[
            row_rule("light_or_red", "weight", "weight < 9 or colour = 'red'", severity="warning", description="why"),
            {"name": "some", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1},
            {"name": "balanced", "type": "sql", "query": "avg(weight)", "mustBeBetween": [1, 9], "severity": "warning"},
        ],
        nullTokens=["", "NA"],
        winner="weight desc, code",
    )


def column(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in document["schema"][0]["properties"] if node["name"] == name)


def custom(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in document["customProperties"] if node["property"] == name)


def test_rules_follow_from_the_file(tmp_path: Path) -> None:
    contract = load(toys.write(tmp_path, good()))
    makers = TableId("silver", "toys", "makers")
    assert contract.row_rules == (
        RowRule("part_required", "required", "part", "error"),
        RowRule("box_required", "required", "box", "error"),
        RowRule("weight_type", "type", "weight", "error", "double", "weight is double"),
        RowRule("weight_range", "range", "weight", "error", (0, None)),
        RowRule("holes_type", "type", "holes", "error", "int", "holes is int"),
        RowRule("holes_range", "range", "holes", "error", (1, 8)),
        RowRule("colour_set", "set", "colour", "error", ("red", "blue")),
        RowRule("code_pattern", "pattern", "code", "error", "^[A-Z]{2}$"),
        RowRule("maker_in_makers", "reference", "maker", "warning", (makers, "name"), "new"),
        RowRule("duplicate_key", "duplicate", "box", "error", ("box", "part"), "the key names one row"),
        RowRule("light_or_red", "expression", "weight", "warning", "weight < 9 or colour = 'red'", "why"),
    )
    assert contract.table_rules == (
        TableRule("some", "count(1)", 1, None, "error"),
        TableRule("balanced", "avg(weight)", 1, 9, "warning"),
    )


def test_everything_else_follows_from_the_file_too(tmp_path: Path) -> None:
    contract = load(toys.write(tmp_path, good()))
    assert (contract.table, contract.owner, contract.grain) == (
        TableId("silver", "toys", "blocks"), "toy-data", "One row per toy.",
    )  # fmt: skip
    assert contract.key_columns == ["box", "part"]
    assert contract.tags == toys.TAGS
    assert (contract.freshness_seconds, contract.retention_seconds) == (86_400, 31_557_600)
    assert (contract.null_tokens, contract.winner) == (("", "NA"), "weight desc, code")
    assert contract.drift == {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}
    holes, density, colour = (contract.column(name) for name in ("holes", "density", "colour"))
    assert (holes.type, holes.source) == ("int", "n_holes")
    assert (density.type, density.source) == ("double", None)
    assert (contract.column("weight").unit, colour.classification) == ("g", "internal")


def test_a_type_that_only_discards_the_value_is_a_warning(tmp_path: Path) -> None:
    contract = toys.contract(tmp_path, "silver/toys/blocks", [whole("holes")], drift={"data_type": "discard_value"})
    assert [(rule.name, rule.severity) for rule in contract.row_rules] == [("holes_type", "warning")]


def test_every_bronze_column_is_text_and_without_rules(tmp_path: Path) -> None:
    contract = toys.contract(tmp_path, "bronze/toys/blocks", [whole("holes"), number("weight")])
    assert [column.type for column in contract.columns] == ["string", "string"]
    assert (contract.row_rules, contract.format) == ((), "csv")


def test_an_unknown_column_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    contract = load(toys.write(tmp_path, good()))
    with pytest.raises(NotFoundError, match="part, box, weight"):
        contract.column("price")


#: What is wrong, where in the file that is, the value seen there, and words of what is allowed.
WRONG: dict[str, tuple[Change, str, str, str]] = {
    "unknown key": (lambda d: d.update(colour=1), "top level", "{'", "'colour' was unexpected"),
    "unknown key of a column": (
        lambda d: column(d, "part").update(requird=True), "schema[0].properties[0]", "{'", "'requird' was unexpected",
    ),
    "unknown option": (
        lambda d: column(d, "code").update(logicalTypeOptions={"patern": "x"}),
        "schema[0].properties[5].logicalTypeOptions", "{'patern': 'x'}", "'patern' was unexpected",
    ),
    "unknown logical type": (
        lambda d: column(d, "part").update(logicalType="text"), "schema[0].properties[0].logicalType", "'text'", "'string'",
    ),
    "logical type of no table": (
        lambda d: column(d, "part").update(logicalType="array"), "schema[0].properties[0].logicalType", "'array'",
        "one of string, integer",
    ),
    "unknown physical type": (
        lambda d: column(d, "holes").update(physicalType="varchar"), "schema[0].properties[3].physicalType", "'varchar'",
        "one of string, int, bigint",
    ),
    "text for a bound": (
        lambda d: column(d, "holes").update(logicalTypeOptions={"minimum": "one"}),
        "schema[0].properties[3].logicalTypeOptions.minimum", "'one'", "'number'",
    ),
    "word for required": (
        lambda d: column(d, "part").update(required="perhaps"), "schema[0].properties[0].required", "'perhaps'",
        "'boolean'",
    ),
    "broken pattern": (
        lambda d: column(d, "code").update(logicalTypeOptions={"pattern": "("}),
        "schema[0].properties[5].logicalTypeOptions.pattern", "'('", "a pattern: missing )",
    ),
    "one column twice": (
        lambda d: d["schema"][0]["properties"].append(text("code")), "schema[0].properties", "'code'", "each name once",
    ),
    "missing tag": (
        lambda d: custom(d, "tags")["value"].pop("project"), "customProperties.tags.project", "None", ", ".join(map(repr, COST_TAGS)),
    ),
    "no tags": (
        lambda d: d["customProperties"].remove(custom(d, "tags")), "customProperties.tags.cost_centre", "None", "a value for",
    ),
    "text for tags": (
        lambda d: custom(d, "tags").update(value="cc-7"), "customProperties.tags", "'cc-7'", "names with values",
    ),
    "unknown drift word": (
        lambda d: custom(d, "drift")["value"].update(columns="ignore"), "customProperties.drift.columns", "'ignore'",
        "one of evolve, discard_value, discard_row, freeze",
    ),
    "missing drift word": (
        lambda d: custom(d, "drift")["value"].pop("data_type"), "customProperties.drift.data_type", "None", "one of evolve",
    ),
    "drift of an unknown entity": (
        lambda d: custom(d, "drift")["value"].update(colums="freeze"), "customProperties.drift.colums", "'colums'",
        "only tables, columns, data_type",
    ),
    "unknown custom property": (
        lambda d: d["customProperties"].append({"property": "winer", "value": "code"}), "customProperties[4].property",
        "'winer'", "one of tags, drift, nullTokens, winner, delimiter",
    ),
    "unknown custom property of a column": (
        lambda d: column(d, "part").update(customProperties=[{"property": "units", "value": "g"}]),
        "schema[0].properties[0].customProperties[0].property", "'units'", "one of unit, severity",
    ),
    "winner that orders by nothing": (
        lambda d: custom(d, "winner").update(value="weight downwards"), "customProperties.winner", "'weight downwards'",
        "column asc|desc",
    ),
    "unknown severity of a column": (
        lambda d: column(d, "part").update(customProperties=[{"property": "severity", "value": "fatal"}]),
        "schema[0].properties[0].customProperties.severity", "'fatal'", "one of error, warning",
    ),
    "unknown severity of a rule": (
        lambda d: d["schema"][0]["quality"][1].update(severity="fatal"), "schema[0].quality[1].severity", "'fatal'",
        "one of error, warning",
    ),
    "unknown severity of a reference": (
        lambda d: column(d, "maker")["relationships"][0]["customProperties"][0].update(value="fatal"),
        "schema[0].properties[6].relationships[0].customProperties.severity", "'fatal'", "one of error, warning",
    ),
    "reference to a table of no zone": (
        lambda d: column(d, "maker")["relationships"][0].update(to="makers.name"),
        "schema[0].properties[6].relationships[0].to", "'makers.name'", "zone.domain.table.column",
    ),
    "reference that is no path": (
        lambda d: column(d, "maker")["relationships"][0].update(to="makers"),
        "schema[0].properties[6].relationships[0].to", "'makers'", "does not match",
    ),
    "rule without a name": (
        lambda d: d["schema"][0]["quality"][1].pop("name"), "schema[0].quality[1].name", "None", "reason code",
    ),
    "two rules of one name": (
        lambda d: d["schema"][0]["quality"][2].update(name="some"), "schema[0].quality", "'some'", "each name once",
    ),
    "rule without a bound": (
        lambda d: d["schema"][0]["quality"][1].pop("mustBeGreaterOrEqualTo"), "schema[0].quality[1]", "{'", "'mustBeBetween'",
    ),
    "rule about an unknown column": (
        lambda d: d["schema"][0]["quality"][0]["implementation"].update(column="price"),
        "schema[0].quality[0].implementation", "'price'", "{column: …, row: SQL}",
    ),
    "rule that is only text": (
        lambda d: d["schema"][0]["quality"][0].update(implementation="weight < 9"),
        "schema[0].quality[0].implementation", "'weight < 9'", "names with values",
    ),
    "rule of another engine": (
        lambda d: d["schema"][0]["quality"][0].update(engine="soda"), "schema[0].quality[0]", "'custom'",
        "type custom with engine goldpath",
    ),
    "table of no zone": (
        lambda d: d["schema"][0].update(physicalName="steel/toys/blocks"), "schema[0].physicalName", "'steel/toys/blocks'",
        "zone one of bronze, silver",
    ),
    "table without domain": (
        lambda d: d["schema"][0].update(physicalName="silver/blocks"), "schema[0].physicalName", "'silver/blocks'",
        "zone/domain/table",
    ),
    "two tables": (lambda d: d["schema"].append(d["schema"][0]), "schema", "2 tables", "exactly one"),
    "no table": (lambda d: d.pop("schema"), "schema", "0 tables", "exactly one"),
    "no owner": (lambda d: d.pop("team"), "team.name", "None", "owning team"),
    "no freshness": (lambda d: d["slaProperties"].pop(0), "slaProperties", "None", "property: freshness"),
    "unknown unit of time": (
        lambda d: d["slaProperties"][0].update(unit="week"), "slaProperties[0]", "(1, 'week')", "['m', 'h', 'd', 'y']",
    ),
    "unknown format": (
        lambda d: d["servers"][0].update(format="xml"), "servers[0].format", "'xml'", "one of csv, jsonl",
    ),
    "unknown version of the standard": (lambda d: d.update(apiVersion="v9"), "apiVersion", "'v9'", "'v3.1.0'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_file_place_value_and_what_is_allowed(tmp_path: Path, case: str) -> None:
    change, place, value, allowed = WRONG[case]
    document = good()
    change(document)
    path = toys.write(tmp_path, document)
    with pytest.raises(ContractError) as caught:
        load(path)
    error = caught.value
    assert error.object == f"contract {path.name}, {place}"
    assert value in error.observed
    assert allowed in error.expected
    assert str(path) in error.next_step


@pytest.mark.parametrize("content", ["a:\n\t- b", "a: [", "a: b: c"], ids=["tab", "open list", "two colons"])
def test_unreadable_yaml_names_the_file_and_the_line(tmp_path: Path, content: str) -> None:
    path = toys.write(tmp_path, content)
    with pytest.raises(ContractError, match="line") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("id: café\n".encode("latin-1"))
    with pytest.raises(ContractError, match="utf-8"):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", ["", "- a list", "only text"])
def test_a_file_that_describes_nothing_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ContractError, match="is not of type 'object'"):
        load(toys.write(tmp_path, content))


def test_bronze_says_how_files_are_read(tmp_path: Path) -> None:
    document = toys.document("bronze/toys/blocks", [text("part")])
    document.pop("servers")
    with pytest.raises(ContractError, match=r"servers\[0\].format: None. Expected one of csv, jsonl"):
        load(toys.write(tmp_path, document))


def test_two_files_for_one_table_are_refused(tmp_path: Path) -> None:
    for _ in range(2):
        toys.write(tmp_path, good())
    with pytest.raises(ContractError, match="silver/toys/blocks.*no other file describes"):
        load_folder(tmp_path)


def test_every_contract_of_the_domains_loads_under_its_own_name() -> None:
    contracts = all_contracts()
    assert contracts == load_folder(FOLDER)
    assert {contract.path.name for contract in contracts.values()} == {path.name for path in FOLDER.iterdir()}
    assert {contract.path.stem for contract in contracts.values()} == {f"{t.zone}_{t.table}" for t in contracts}


def test_a_table_that_no_contract_describes_is_not_found() -> None:
    contracts = load_folder(FOLDER)
    assert zone_contract(contracts, "silver", "planes").table == TableId("silver", "flights", "planes")
    with pytest.raises(NotFoundError, match="gold table 'planes'"):
        zone_contract(contracts, "gold", "planes")
