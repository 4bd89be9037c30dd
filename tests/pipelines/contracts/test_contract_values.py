"""What follows from a contract file beside its rules, and the contracts of a folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.contracts import columns, reader
from pipelines.contracts.load import load, load_folder
from pipelines.contracts.model import RuleKind, SortColumn, TableRuleKind
from pipelines.definitions import all_contracts
from pipelines.errors import ContractError, NotFoundError
from pipelines.settings import PROJECT
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.contracts.blocks import blocks_document
from tests.pipelines.toy_contracts import integer, number, text

FOLDER = PROJECT / "assets" / "flights" / "contracts"


def test_table_owner_key_tags_service_levels_drift_and_columns_are_read_from_the_file(tmp_path: Path) -> None:
    contract = load(toy_contracts.write(tmp_path, blocks_document()))
    assert (contract.table, contract.owner, contract.grain) == (
        TableId("silver", "toys", "blocks"), "toy-data", "One row per toy.",
    )  # fmt: skip
    assert contract.key_columns == ["box", "part"]
    assert contract.tags == toy_contracts.TAGS
    assert (contract.freshness_seconds, contract.retention_seconds) == (86_400, 31_557_600)
    assert contract.null_tokens == ("", "NA")
    assert contract.winner == (SortColumn("weight", True), SortColumn("code", False))
    assert contract.drift == {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}
    holes, density, colour = (contract.column(name) for name in ("holes", "density", "colour"))
    assert (holes.type, holes.source) == ("int", "n_holes")
    assert (density.type, density.source) == ("double", None)
    assert (contract.column("weight").unit, colour.classification) == ("g", "internal")


@pytest.mark.parametrize(
    ("winner", "order"),
    [
        ("order id desc, Id-Nr", [("order id", True), ("Id-Nr", False)]),
        ("`a, b` DESC,`x desc`", [("a, b", True), ("x desc", False)]),
        ("_ingest_id desc", [("_ingest_id", True)]),
        ("größe asc , 1st  desc", [("größe", False), ("1st", True)]),
    ],
)
def test_a_winner_is_an_order_of_columns_of_any_name(
    tmp_path: Path, winner: str, order: list[tuple[str, bool]]
) -> None:
    columns = [text(name) for name in ("order id", "Id-Nr", "a, b", "x desc", "größe", "1st")]
    contract = toy_contracts.contract(tmp_path, "silver/toys/blocks", columns, winner=winner)
    assert contract.winner == tuple(SortColumn(*sort) for sort in order)


def test_bronze_columns_are_text_and_have_no_rules(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", [integer("holes"), number("weight")])
    assert [column.type for column in contract.columns] == ["string", "string"]
    assert (contract.row_rules, contract.format) == ((), "csv")


def test_an_unknown_column_raises_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    contract = load(toy_contracts.write(tmp_path, blocks_document()))
    with pytest.raises(NotFoundError, match="part, box, weight"):
        contract.column("price")


def test_only_drift_evolve_adds_variant_columns(tmp_path: Path) -> None:
    columns = [integer("holes"), text("part"), number("density", transformLogic="a / b")]
    evolving = toy_contracts.contract(tmp_path, "silver/toys/blocks", columns, drift={"data_type": "evolve"})
    assert evolving.published_columns == ["holes", "part", "density", "holes__v_string"]
    assert [rule.severity for rule in evolving.row_rules] == ["warning"]
    assert toy_contracts.contract(tmp_path, "silver/toys/blocks", columns).variant_columns == []


def test_two_files_for_one_table_are_refused(tmp_path: Path) -> None:
    for _ in range(2):
        toy_contracts.write(tmp_path, blocks_document())
    with pytest.raises(ContractError, match="silver/toys/blocks.*no other file describes"):
        load_folder(tmp_path)


def test_each_contract_file_of_the_domains_is_named_after_its_table() -> None:
    contracts = all_contracts()
    folders = {contract.path.parent for contract in contracts.values()}
    assert contracts == {table: contract for folder in folders for table, contract in load_folder(folder).items()}
    assert {contract.path for contract in contracts.values()} == {
        path for folder in folders for path in folder.iterdir()
    }
    assert FOLDER in folders
    assert {contract.path.stem for contract in contracts.values()} == {f"{t.zone}_{t.table}" for t in contracts}


def test_a_table_without_a_contract_raises_not_found() -> None:
    contracts = load_folder(FOLDER)
    assert contracts.named("silver/planes").table == TableId("silver", "flights", "planes")
    with pytest.raises(NotFoundError, match="contract of gold/planes"):
        contracts.named("gold/planes")


def test_the_documented_example_loads_and_every_property_is_documented(tmp_path: Path) -> None:
    document = (PROJECT / "docs" / "contracts.md").read_text(encoding="utf-8")
    contract = load(toy_contracts.write(tmp_path, document.partition("```yaml\n")[2].partition("```")[0]))
    kinds = {rule.kind for rule in contract.row_rules} | {rule.kind for rule in contract.table_rules}
    assert kinds == {*get_args(RuleKind), *get_args(TableRuleKind)}
    known = itertools.chain(*reader.TABLE_PROPERTIES.values(), *columns.COLUMN_PROPERTIES.values())
    assert [name for name in known if f"`{name}`" not in document] == []


def test_a_contract_of_another_domain_than_its_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "contracts"
    folder.mkdir(parents=True)
    toy_contracts.write(folder, blocks_document())
    with pytest.raises(ContractError, match="'silver/toys/blocks'. Expected a table of the domain shop"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("silver.toys.makers.nam", "a column of silver/toys/makers: name, shop-no"),
        ("silver.toys.maker.name", "a table that has a contract"),
    ],
)
def test_a_reference_to_what_does_not_exist_is_refused(tmp_path: Path, to: str, expected: str) -> None:
    makers = toy_contracts.document("silver/toys/makers", [text("name"), text("shop-no")])
    toy_contracts.write(tmp_path, makers)
    for target in ("silver.toys.makers.shop-no", to):
        relation = [{"type": "foreignKey", "to": target}]
        path = toy_contracts.write(
            tmp_path,
            toy_contracts.document("silver/toys/blocks", [text("part"), text("maker", relationships=relation)]),
        )
        if target == to:
            with pytest.raises(ContractError, match=expected):
                load_folder(tmp_path)
        else:
            assert len(load_folder(tmp_path)) == 2
        path.unlink()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("", "'column'"),
        ("a.b", "'a_b'"),
        ("_row", "'row'"),
        ("_Partition", "'Partition'"),
        ("n__v_string", "'n_v_string'"),
        ("*", "'column'"),
    ],
)
@pytest.mark.parametrize("zone", ["bronze", "silver"])
def test_a_name_that_no_column_can_have_is_refused_with_what_to_write(
    tmp_path: Path, zone: str, name: str, instead: str
) -> None:
    with pytest.raises(ContractError) as caught:
        toy_contracts.contract(tmp_path, f"{zone}/toys/blocks", [text("part"), text(name)])
    assert caught.value.object.endswith("schema[0].properties[1].name")
    assert f"{instead}, and transformSourceObjects: [{name!r}]" in caught.value.expected


def test_names_that_differ_by_case_alone_are_refused_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="more than case from 'Zone': one as 'zone_2'"):
        toy_contracts.contract(tmp_path, "bronze/toys/blocks", [text("Zone"), text("zone")])


@pytest.mark.parametrize(("written", "read"), [("\\t", "\t"), ("\t", "\t"), (";", ";"), ("|", "|"), ("\x01", "\x01")])
def test_a_delimiter_is_one_character_and_a_tab_may_be_spelled(tmp_path: Path, written: str, read: str) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", [text("part")], delimiter=written)
    assert contract.delimiter == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delimiter", ";;"), ("delimiter", "||"), ("delimiter", ""), ("delimiter", "§"), ("delimiter", '"'), ("delimiter", "a"),
        ("settleSeconds", "soon"), ("settleSeconds", -1), ("encoding", "latin-99"), ("encoding", "rot13"), ("encoding", 8),
        ("linePattern", "("), ("manifest", ""), ("winner", "part"), ("nullTokens", ["NA"]),
    ],
)  # fmt: skip
def test_a_property_of_deliveries_that_is_not_valid_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=r"customProperties(\.|\[\d+\])"):
        toy_contracts.contract(tmp_path, "bronze/toys/blocks", [text("part")], **{name: value})
