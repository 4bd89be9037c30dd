"""Contract files: what is derived from a good one, and what is said about a bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.contracts import column_rules, reader
from pipelines.contracts.load import load, load_folder
from pipelines.contracts.model import COST_TAGS, Bounds, Distribution, RowRule, RuleKind, TableRule, TableRuleKind
from pipelines.definitions import all_contracts
from pipelines.errors import ContractError, NotFoundError
from pipelines.settings import PROJECT
from pipelines.tables import TableId
from tests.pipelines import toys
from tests.pipelines.toys import number, row_rule, text, whole

FOLDER = PROJECT / "assets" / "flights" / "contracts"
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
        RowRule("weight_range", "range", "weight", "error", Bounds(0)),
        RowRule("holes_type", "type", "holes", "error", "int", "holes is int"),
        RowRule("holes_range", "range", "holes", "error", Bounds(1, 8)),
        RowRule("colour_set", "set", "colour", "error", ("red", "blue")),
        RowRule("code_pattern", "pattern", "code", "error", "^[A-Z]{2}$"),
        RowRule("maker_in_makers", "reference", "maker", "warning", (makers, "name"), "new"),
        RowRule(
            "key_variant",
            "variant",
            "box",
            "error",
            ("box", "part"),
            "keys differ by more than case and surrounding space",
        ),
        RowRule("duplicate_key", "duplicate", "box", "error", ("box", "part"), "the key identifies one row"),
        RowRule("light_or_red", "expression", "weight", "warning", "weight < 9 or colour = 'red'", "why"),
    )
    assert contract.table_rules == (
        TableRule("some", "count(1)", Bounds(1), "error"),
        TableRule("balanced", "avg(weight)", Bounds(1, 9), "warning"),
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


GOLDPATH = {"type": "custom", "engine": "goldpath"}


def goldpath(name: str, **implementation: Any) -> dict[str, Any]:
    return {"name": name, **GOLDPATH, "implementation": implementation}


def test_rules_of_every_kind_follow_from_a_column(tmp_path: Path) -> None:
    zone = [{"property": "timezone", "value": "America/New_York"}]
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d", "customProperties": zone}
    contract = toys.contract(
        tmp_path,
        "silver/toys/blocks",
        [
            text("part", unique=True, logicalTypeOptions={"minLength": 2, "maxLength": 9}),
            number("price", physicalType="DECIMAL(8, 2)", logicalTypeOptions={"exclusiveMinimum": 0, "maximum": 9}),
            sold | {"logicalTypeOptions": {"minimum": "2013-01-01T00:00:00Z"}},
            number("ratio", customProperties=[{"property": "nonFinite", "value": "allowed"}]),
        ],
    )
    assert contract.row_rules == (
        RowRule("part_length", "length", "part", "error", Bounds(2, 9)),
        RowRule("part_unique", "duplicate", "part", "error", ("part",), "part identifies one row"),
        RowRule("price_type", "type", "price", "error", "decimal(8,2)", "price is decimal(8,2)"),
        RowRule("price_range", "range", "price", "error", Bounds(maximum=9, above=0)),
        RowRule("sold_type", "type", "sold", "error", "timestamp", "sold is timestamp"),
        RowRule("sold_nonexistent", "clock", "sold", "error", "America/New_York",
                "the local time exists in America/New_York"),
        RowRule("sold_range", "range", "sold", "error", Bounds("2013-01-01T00:00:00Z")),
        RowRule("ratio_type", "type", "ratio", "error", "double", "ratio is double"),
    )  # fmt: skip
    assert (contract.column("price").type, contract.column("sold").timezone) == ("decimal(8,2)", "America/New_York")
    assert contract.column("ratio").non_finite == "allowed"


def test_table_rules_of_every_kind_follow_from_quality(tmp_path: Path) -> None:
    nulls = {"name": "few_nulls", "metric": "nullValues", "unit": "percent", "mustBeLessThan": 5, "type": "library"}
    edges = {"column": "holes", "edges": [2, 4], "shares": [0.2, 0.5, 0.3]}
    document = toys.document(
        "silver/toys/blocks",
        [whole("holes", quality=[nulls, {"type": "text", "description": "Holes are round."}]), text("colour")],
        quality=[
            {"name": "half", "type": "sql", "query": "SELECT count(*) FROM ${table}", "mustNotBeBetween": [1, 2]},
            goldpath("spread", distribution={"max_psi": 0.1, **edges}),
            goldpath("colours", distribution={"column": "colour", "shares": {"blue": 0.7, "red": 0.2}}),
            goldpath("moved", distribution={"column": "colour", "categories": ["red"], "reference": "previous"}),
        ],
    )
    contract = load(toys.write(tmp_path, document))
    half, spread, colours, moved, nulls_rule = contract.table_rules
    assert half == TableRule("half", "SELECT count(*) FROM {table}", Bounds(1, 2, inside=False), "error", kind="query")
    assert spread.argument == Distribution("holes", (2, 4), "edges", (0.2, 0.5, 0.3))
    assert spread.bounds == Bounds(maximum=0.1)
    assert colours.argument
    assert moved.argument
    assert colours.argument.shares == pytest.approx((0.7, 0.2, 0.1))
    assert (moved.argument.bins, moved.argument.shares) == (("red",), None)
    assert (nulls_rule.kind, nulls_rule.bounds) == ("aggregate", Bounds(below=5))
    assert "`holes` IS NULL" in nulls_rule.expression


def test_age_is_read_in_minutes_hours_and_days(tmp_path: Path) -> None:
    sold = {"name": "sold", "logicalType": "timestamp", "description": "d"}
    asked = [goldpath(age, freshness={"column": "sold", "max_age": age}) for age in ("30m", "1.5h", "2d")]
    contract = toys.contract(tmp_path, "silver/toys/blocks", [sold], quality=asked)
    assert [rule.bounds.maximum for rule in contract.table_rules] == [1_800, 5_400, 172_800]


@pytest.mark.parametrize(
    ("bounds", "kept", "broken", "words"),
    [
        (Bounds(1, 2), (1, 2), (0.9, 2.1), ">= 1 and <= 2"),
        (Bounds(above=1, below=2), (1.5,), (1, 2), "> 1 and < 2"),
        (Bounds(3, 3, inside=False), (2, 4), (3,), "not >= 3 and <= 3"),
    ],
)
def test_bounds_hold_their_limits(
    bounds: Bounds, kept: tuple[float, ...], broken: tuple[float, ...], words: str
) -> None:
    assert [bounds.hold(value) for value in (*kept, *broken)] == [True] * len(kept) + [False] * len(broken)
    assert str(bounds) == words


def test_variant_columns_come_where_types_evolve_and_nowhere_else(tmp_path: Path) -> None:
    columns = [whole("holes"), text("part"), number("density", transformLogic="a / b")]
    evolving = toys.contract(tmp_path, "silver/toys/blocks", columns, drift={"data_type": "evolve"})
    assert evolving.published_columns == ["holes", "part", "density", "holes__v_string"]
    assert [rule.severity for rule in evolving.row_rules] == ["warning"]
    assert toys.contract(tmp_path, "silver/toys/blocks", columns).variant_columns == []


#: What is wrong, where in the file that is, the value seen there, and words of what is allowed.
WRONG: dict[str, tuple[Change, str, str, str]] = {
    "unknown key": (lambda d: d.update(colour=1), "top level", "'colour'", "one of version, kind"),
    "unknown key of a column": (
        lambda d: column(d, "part").update(requird=True), "schema[0].properties[0]", "'requird'",
        "required, or another of primaryKey,",
    ),
    "unknown option": (
        lambda d: column(d, "code").update(logicalTypeOptions={"patern": "x"}),
        "schema[0].properties[5].logicalTypeOptions", "'patern'", "pattern, or another of",
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
        "schema[0].properties[3].logicalTypeOptions.minimum", "'one'", "a number",
    ),
    "word for required": (
        lambda d: column(d, "part").update(required="perhaps"), "schema[0].properties[0].required", "'perhaps'",
        "a boolean",
    ),
    "decimal with more decimals than digits": (
        lambda d: column(d, "holes").update(physicalType="decimal(2,3)"), "schema[0].properties[3].physicalType",
        "'decimal(2,3)'", "decimal(p,s) with s <= p <= 38",
    ),
    "option that nothing acts on": (
        lambda d: column(d, "holes").update(logicalTypeOptions={"multipleOf": 2}),
        "schema[0].properties[3].logicalTypeOptions.multipleOf", "2", "only minimum, maximum",
    ),
    "pattern of one engine": (
        lambda d: column(d, "code").update(logicalTypeOptions={"pattern": "^(?!A)"}),
        "schema[0].properties[5].logicalTypeOptions.pattern", "'^(?!A)'", "without lookaround",
    ),
    "bound that is no day": (
        lambda d: column(d, "part").update(logicalType="date", logicalTypeOptions={"minimum": "2013-02-30"}),
        "schema[0].properties[0].logicalTypeOptions.minimum", "'2013-02-30'", "an ISO 8601 date",
    ),
    "unknown time zone": (
        lambda d: column(d, "part").update(
            logicalType="timestamp", customProperties=[{"property": "timezone", "value": "New York"}]
        ),
        "schema[0].properties[0].customProperties.timezone", "'New York'", "IANA database",
    ),
    "time zone of a text": (
        lambda d: column(d, "part").update(customProperties=[{"property": "timezone", "value": "UTC"}]),
        "schema[0].properties[0].customProperties.timezone", "'UTC'", "on a timestamp",
    ),
    "unknown match of keys": (
        lambda d: d["customProperties"].append({"property": "keyMatch", "value": "loose"}), "customProperties.keyMatch",
        "'loose'", "one of normalized, exact",
    ),
    "unknown word for infinities": (
        lambda d: column(d, "weight").update(customProperties=[{"property": "nonFinite", "value": "yes"}]),
        "schema[0].properties[2].customProperties.nonFinite", "'yes'", "one of refused, allowed",
    ),
    "metric without a column": (
        lambda d: d["schema"][0]["quality"][1].update(metric="nullValues"), "schema[0].quality[1].arguments", "{}",
        "properties: the column",
    ),
    "metric in an unknown unit": (
        lambda d: d["schema"][0]["quality"][1].update(unit="permille"), "schema[0].quality[1].unit", "'permille'",
        "one of rows, percent",
    ),
    "invalid values without what is valid": (
        lambda d: column(d, "part").update(
            quality=[{"name": "x", "type": "library", "metric": "invalidValues", "mustBe": 0}]
        ),
        "schema[0].properties[0].quality[0].arguments", "{}", "validValues, pattern",
    ),
    "age without a unit": (
        lambda d: d["schema"][0]["quality"].append(goldpath("x", freshness={"column": "weight", "max_age": 2})),
        "schema[0].quality[3].implementation.freshness", "'max_age': 2", "30m, 36h or 2d",
    ),
    "shares of more than all": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath("x", distribution={"column": "part", "shares": {"a": 0.9, "b": 0.2}})
        ),
        "schema[0].quality[3].implementation.distribution", "'a': 0.9", "shares: {value: share}",
    ),
    "edges that fall": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath("x", distribution={"column": "holes", "edges": [3, 2], "reference": "previous"})
        ),
        "schema[0].quality[3].implementation.distribution", "[3, 2]", "edges",
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
        "schema[0].properties[0].customProperties[0].property", "'units'", "one of unit, severity, timezone, nonFinite",
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
    with pytest.raises(ContractError, match="a mapping with version, kind"):
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
    assert contracts.named("silver/planes").table == TableId("silver", "flights", "planes")
    with pytest.raises(NotFoundError, match="contract of gold/planes"):
        contracts.named("gold/planes")


def test_the_documented_example_loads_and_every_property_is_documented(tmp_path: Path) -> None:
    pages = (FOLDER.parent.parent.parent / "docs" / "contracts.md").read_text(encoding="utf-8")
    contract = load(toys.write(tmp_path, pages.partition("```yaml\n")[2].partition("```")[0]))
    kinds = {rule.kind for rule in contract.row_rules} | {rule.kind for rule in contract.table_rules}
    assert kinds == {*get_args(RuleKind), *get_args(TableRuleKind)}
    known = (*reader.TABLE_PROPERTIES, *column_rules.COLUMN_PROPERTIES)
    assert [name for name in known if f"`{name}`" not in pages] == []
