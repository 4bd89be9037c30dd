"""The error about an invalid contract file: it names the file, the place in it, the value there and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.load import load
from pipelines.contracts.model import COST_TAGS
from pipelines.errors import ContractError
from tests.pipelines import toy_contracts
from tests.pipelines.contracts.blocks import blocks_document, column, custom_property, goldpath_rule
from tests.pipelines.toy_contracts import text

Change = Callable[[dict[str, Any]], Any]

#: What is invalid: a change of the document, the place in the file, the value there, and part of what is allowed.
INVALID: dict[str, tuple[Change, str, str, str]] = {
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
    "logical type that is not a SQL type": (
        lambda d: column(d, "part").update(logicalType="array"), "schema[0].properties[0].logicalType", "'array'",
        "one of string, integer",
    ),
    "unknown physical type": (
        lambda d: column(d, "holes").update(physicalType="varchar"), "schema[0].properties[3].physicalType", "'varchar'",
        "one of string, int, bigint",
    ),
    "text for a limit": (
        lambda d: column(d, "holes").update(logicalTypeOptions={"minimum": "one"}),
        "schema[0].properties[3].logicalTypeOptions.minimum", "'one'", "a number",
    ),
    "text for required": (
        lambda d: column(d, "part").update(required="perhaps"), "schema[0].properties[0].required", "'perhaps'",
        "a boolean",
    ),
    "decimal with more decimals than digits": (
        lambda d: column(d, "holes").update(physicalType="decimal(2,3)"), "schema[0].properties[3].physicalType",
        "'decimal(2,3)'", "decimal(p,s) with s <= p <= 38",
    ),
    "option that the platform does not act on": (
        lambda d: column(d, "holes").update(logicalTypeOptions={"multipleOf": 2}),
        "schema[0].properties[3].logicalTypeOptions.multipleOf", "2", "only minimum, maximum",
    ),
    "pattern that only one engine knows": (
        lambda d: column(d, "code").update(logicalTypeOptions={"pattern": "^(?!A)"}),
        "schema[0].properties[5].logicalTypeOptions.pattern", "'^(?!A)'", "without lookaround",
    ),
    "limit that is not a date": (
        lambda d: column(d, "part").update(logicalType="date", logicalTypeOptions={"minimum": "2013-02-30"}),
        "schema[0].properties[0].logicalTypeOptions.minimum", "'2013-02-30'", "an ISO 8601 date",
    ),
    "unknown time zone": (
        lambda d: column(d, "part").update(
            logicalType="timestamp", customProperties=[{"property": "timezone", "value": "New York"}]
        ),
        "schema[0].properties[0].customProperties.timezone", "'New York'", "IANA database",
    ),
    "time zone on a text column": (
        lambda d: column(d, "part").update(customProperties=[{"property": "timezone", "value": "UTC"}]),
        "schema[0].properties[0].customProperties.timezone", "'UTC'", "on a timestamp",
    ),
    "mask of an unknown kind": (
        lambda d: column(d, "code").update(customProperties=[{"property": "mask", "value": ["email", "phone"]}]),
        "schema[0].properties[5].customProperties.mask[1]", "'phone'", "one of email",
    ),
    "mask that is no list": (
        lambda d: column(d, "code").update(customProperties=[{"property": "mask", "value": "email"}]),
        "schema[0].properties[5].customProperties.mask", "'email'", "a list of texts",
    ),
    "mask of a column of the key": (
        lambda d: column(d, "part").update(customProperties=[{"property": "mask", "value": ["email"]}]),
        "schema[0].properties[0].customProperties.mask", "['email']", "identify none",
    ),
    "mask of a number": (
        lambda d: column(d, "holes").update(customProperties=[{"property": "mask", "value": ["email"]}]),
        "schema[0].properties[3].customProperties.mask", "['email']", "it is about texts",
    ),
    "unknown keyMatch": (
        lambda d: d["customProperties"].append({"property": "keyMatch", "value": "loose"}), "customProperties.keyMatch",
        "'loose'", "one of normalized, exact",
    ),
    "unknown nonFinite": (
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
    "invalidValues without valid values": (
        lambda d: column(d, "part").update(
            quality=[{"name": "x", "type": "library", "metric": "invalidValues", "mustBe": 0}]
        ),
        "schema[0].properties[0].quality[0].arguments", "{}", "validValues, pattern",
    ),
    "max_age without a unit": (
        lambda d: d["schema"][0]["quality"].append(goldpath_rule("x", freshness={"column": "weight", "max_age": 2})),
        "schema[0].quality[3].implementation.freshness", "'max_age': 2", "30m, 36h or 2d",
    ),
    "shares with a sum above 1": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath_rule("x", distribution={"column": "part", "shares": {"a": 0.9, "b": 0.2}})
        ),
        "schema[0].quality[3].implementation.distribution", "'a': 0.9", "shares: {value: share}",
    ),
    "edges in falling order": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath_rule("x", distribution={"column": "holes", "edges": [3, 2], "reference": "previous"})
        ),
        "schema[0].quality[3].implementation.distribution", "[3, 2]", "edges",
    ),
    "malformed pattern": (
        lambda d: column(d, "code").update(logicalTypeOptions={"pattern": "("}),
        "schema[0].properties[5].logicalTypeOptions.pattern", "'('", "a pattern: missing )",
    ),
    "two columns with one name": (
        lambda d: d["schema"][0]["properties"].append(text("code")), "schema[0].properties[8].name", "'code'",
        "each name once",
    ),
    "missing tag": (
        lambda d: custom_property(d, "tags")["value"].pop("project"), "customProperties.tags.project", "None", ", ".join(map(repr, COST_TAGS)),
    ),
    "no tags": (
        lambda d: d["customProperties"].remove(custom_property(d, "tags")), "customProperties.tags.cost_centre", "None", "a value for",
    ),
    "text for tags": (
        lambda d: custom_property(d, "tags").update(value="cc-7"), "customProperties.tags", "'cc-7'", "names with values",
    ),
    "unknown drift mode": (
        lambda d: custom_property(d, "drift")["value"].update(columns="ignore"), "customProperties.drift.columns", "'ignore'",
        "one of evolve, discard_value, discard_row, freeze",
    ),
    "missing drift mode": (
        lambda d: custom_property(d, "drift")["value"].pop("data_type"), "customProperties.drift.data_type", "None", "one of evolve",
    ),
    "drift of an unknown entity": (
        lambda d: custom_property(d, "drift")["value"].update(colums="freeze"), "customProperties.drift.colums", "'colums'",
        "only tables, columns, data_type",
    ),
    "unknown custom property": (
        lambda d: d["customProperties"].append({"property": "winer", "value": "code"}), "customProperties[4].property",
        "'winer'", "one of tags, drift, cluster, nullTokens, winner, keyMatch",
    ),
    "unknown custom property of a column": (
        lambda d: column(d, "part").update(customProperties=[{"property": "units", "value": "g"}]),
        "schema[0].properties[0].customProperties[0].property", "'units'", "one of unit, severity, timezone, nonFinite",
    ),
    "winner that is not an order of columns": (
        lambda d: custom_property(d, "winner").update(value="weight downwards"), "customProperties.winner", "'weight downwards'",
        "column asc|desc",
    ),
    "winner by a column that does not exist": (
        lambda d: custom_property(d, "winner").update(value="code, updated_at desc"), "customProperties.winner",
        "'updated_at'", "columns are part, box, weight",
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
    "reference to a table without a zone": (
        lambda d: column(d, "maker")["relationships"][0].update(to="makers.name"),
        "schema[0].properties[6].relationships[0].to", "'makers.name'", "zone.domain.table.column",
    ),
    "reference without a column": (
        lambda d: column(d, "maker")["relationships"][0].update(to="makers"),
        "schema[0].properties[6].relationships[0].to", "'makers'", "does not match",
    ),
    "rule without a name": (
        lambda d: d["schema"][0]["quality"][1].pop("name"), "schema[0].quality[1].name", "None", "reason code",
    ),
    "two rules with one name": (
        lambda d: d["schema"][0]["quality"][2].update(name="some_rows"), "schema[0].quality", "'some_rows'", "each name once",
    ),
    "rule without a bound": (
        lambda d: d["schema"][0]["quality"][1].pop("mustBeGreaterOrEqualTo"), "schema[0].quality[1]", "{'", "'mustBeBetween'",
    ),
    "rule about an unknown column": (
        lambda d: d["schema"][0]["quality"][0]["implementation"].update(column="price"),
        "schema[0].quality[0].implementation", "'price'", "{column: …, row: SQL}",
    ),
    "text for an implementation": (
        lambda d: d["schema"][0]["quality"][0].update(implementation="weight < 9"),
        "schema[0].quality[0].implementation", "'weight < 9'", "names with values",
    ),
    "rule of another engine": (
        lambda d: d["schema"][0]["quality"][0].update(engine="soda"), "schema[0].quality[0]", "'custom'",
        "type custom with engine goldpath",
    ),
    "table in an unknown zone": (
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
        lambda d: d["slaProperties"][0].update(unit="week"), "slaProperties[0].unit", "'week'", "one of m, h, d, y",
    ),
    "unknown format": (
        lambda d: d["servers"][0].update(format="xml"), "servers[0].format", "'xml'", "one of csv, jsonl",
    ),
    "unknown status": (lambda d: d.update(status="drfat"), "status", "'drfat'", "one of proposed, draft, active"),
    "unknown service level": (
        lambda d: d["slaProperties"][0].update(property="freshnes"), "slaProperties[0].property", "'freshnes'",
        "one of freshness, retention",
    ),
    "a service level twice": (
        lambda d: d["slaProperties"].append(d["slaProperties"][1]), "slaProperties[2].property", "'retention'", "each once",
    ),
    "a custom property twice": (
        lambda d: d["customProperties"].append(custom_property(d, "winner")), "customProperties[4].property", "'winner'",
        "each property once",
    ),
    "text for null tokens": (
        lambda d: custom_property(d, "nullTokens").update(value="NA"), "customProperties.nullTokens", "'NA'", "a list of texts",
    ),
    "number among null tokens": (
        lambda d: custom_property(d, "nullTokens").update(value=["", -999]), "customProperties.nullTokens[1]", "-999",
        "a text, in quotes",
    ),
    "partitioned": (
        lambda d: column(d, "part").update(partitioned=True), "schema[0].properties[0].partitioned", "True",
        "partitioned by their asset",
    ),
    "floating key": (
        lambda d: column(d, "weight").update(primaryKey=True), "schema[0].properties[2].logicalType", "'double'",
        "string, an integer or decimal",
    ),
    "two columns at one position of the key": (
        lambda d: column(d, "part").update(primaryKeyPosition=1), "schema[0].properties[1].primaryKeyPosition", "1",
        "another position than that of 'part'",
    ),
    "bounds in falling order": (
        lambda d: d["schema"][0]["quality"][2].update(mustBeBetween=[9, 1]), "schema[0].quality[2].mustBeBetween", "[9, 1]",
        "the smaller number first",
    ),
    "text for max_psi": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath_rule("x", distribution={"column": "part", "shares": {"a": 0.9}, "max_psi": "low"})
        ),
        "schema[0].quality[3].implementation.distribution.max_psi", "'low'", "a number",
    ),
    "text for a share": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath_rule("x", distribution={"column": "part", "shares": {"a": "x"}})
        ),
        "schema[0].quality[3].implementation.distribution.shares[0]", "'x'", "a number",
    ),
    "one number for edges": (
        lambda d: d["schema"][0]["quality"].append(
            goldpath_rule("x", distribution={"column": "holes", "edges": 5, "reference": "previous"})
        ),
        "schema[0].quality[3].implementation.distribution.edges", "5", "a list of numbers",
    ),
    "SQL over another table": (
        lambda d: d["schema"][0]["quality"][2].update(query="SELECT count(*) FROM text.`/etc/passwd`"),
        "schema[0].quality[2].query", "'SELECT", "a SELECT over {table} alone",
    ),
    "aggregate over an unknown column": (
        lambda d: d["schema"][0]["quality"][2].update(query="avg(wieght)"), "schema[0].quality[2].query", "'avg(wieght)'",
        "not 'wieght'",
    ),
    "upper limit below the lower": (
        lambda d: column(d, "holes").update(logicalTypeOptions={"minimum": 9, "maximum": 8}),
        "schema[0].properties[3].logicalTypeOptions", "'minimum': 9", "a lower limit that is not above the upper one",
    ),
    "number in the enum of a text": (
        lambda d: column(d, "colour").update(enum=[{"value": 7}]), "schema[0].properties[4].enum[0].value", "7", "a text",
    ),
    "table that is a word of Python": (
        lambda d: d["schema"][0].update(physicalName="silver/toys/class"), "schema[0].physicalName", "'silver/toys/class'",
        "since they name Python modules",
    ),
    "another domain": (lambda d: d.update(domain="shop"), "domain", "'shop'", "the domain of silver/toys/blocks"),
    "unknown version of the standard": (lambda d: d.update(apiVersion="v9"), "apiVersion", "'v9'", "'v3.1.0'"),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_contract_raises_an_error_with_file_place_value_and_what_is_allowed(
    tmp_path: Path, case: str
) -> None:
    change, place, value, allowed = INVALID[case]
    document = blocks_document()
    change(document)
    path = toy_contracts.write(tmp_path, document)
    with pytest.raises(ContractError) as caught:
        load(path)
    error = caught.value
    assert error.object == f"contract {path.name}, {place}"
    assert value in error.observed
    assert allowed in error.expected
    assert str(path) in error.next_step


@pytest.mark.parametrize("content", ["a:\n\t- b", "a: [", "a: b: c"], ids=["tab", "open list", "two colons"])
def test_unreadable_yaml_names_the_file_and_the_line(tmp_path: Path, content: str) -> None:
    path = toy_contracts.write(tmp_path, content)
    with pytest.raises(ContractError, match="line") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("id: café\n".encode("latin-1"))
    with pytest.raises(ContractError, match="utf-8"):
        load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", ["", "- a list", "only text"])
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ContractError, match="a mapping with version, kind"):
        load(toy_contracts.write(tmp_path, content))


def test_a_bronze_contract_without_a_format_is_refused(tmp_path: Path) -> None:
    document = toy_contracts.document("bronze/toys/blocks", [text("part")])
    document.pop("servers")
    with pytest.raises(ContractError, match=r"servers\[0\].format: None. Expected one of csv, jsonl"):
        load(toy_contracts.write(tmp_path, document))
