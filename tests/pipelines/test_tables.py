"""The names of tables and of columns: what may be one, and that no two tables share a name of a file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import NotFoundError
from pipelines.settings import PROJECT
from pipelines.tables import ZONES, TableId, reserved

#: Texts with an underscore first that name no column beside those of a source: results, folders, files, a stream's field, an ending,
#: a field of a lineage event.
NO_COLUMNS = {
    "_holder", "_delta_log", "_ledger", "_staging", "_last_checkpoint", "_stream", "_mean", "_pending", "_producer"
}  # fmt: skip

NAMES = st.from_regex(r"[a-c](_?[a-c1])*_?", fullmatch=True)
TABLES = st.builds(TableId, st.sampled_from(ZONES), NAMES, NAMES)


@given(st.lists(TABLES, min_size=2, unique=True))
def test_no_two_tables_share_the_name_of_their_files(tables: list[TableId]) -> None:
    assert len({table.source_name for table in tables}) == len(tables)
    assert [TableId.parse(str(table)) for table in tables] == tables


def test_the_files_of_a_domain_without_underscore_have_the_plain_name() -> None:
    assert TableId("bronze", "shop", "eu_orders").source_name == "bronze_shop_eu_orders"
    assert TableId("bronze", "shop_eu", "orders").source_name == "bronze_shop__eu_orders"


@pytest.mark.parametrize(
    "part", ["order-items", "class", "1st", "_hidden", "a b", "a.b", "größe", "a__b", "None", "..", ""]
)
@pytest.mark.parametrize("name", ["silver/{}/orders", "silver/shop/{}"])
def test_a_name_that_cannot_be_one_in_python_is_refused(name: str, part: str) -> None:
    with pytest.raises(NotFoundError):
        TableId.parse(name.format(part))


def test_every_column_that_the_platform_adds_is_reserved() -> None:
    folders = [PROJECT / "pipelines", PROJECT / "feature_repo"]
    texts = {
        text
        for folder in folders
        for path in folder.rglob("*.py")
        for text in re.findall(r"""f?["'](_[a-z]+[a-z_]*)(?:\{[a-z]+\})?["']""", path.read_text(encoding="utf-8"))
    }
    assert {"_record_id", "_verdict", "_row", "_broken", "_asof_time", "_rank", "_set_"} <= texts
    columns = texts - NO_COLUMNS
    assert [text for text in sorted(columns) if not (reserved(text) or reserved(f"{text}0"))] == []


@pytest.mark.parametrize("name", ["_Row", "_BROKEN12", "_known_x_in_y", "_commit_version"])
def test_a_reserved_name_is_reserved_in_any_case(name: str) -> None:
    assert reserved(name)


@pytest.mark.parametrize("name", ["_id", "_updated", "row", "verdict", "_rows", "_stream", "__row"])
def test_other_names_with_an_underscore_first_are_free(name: str) -> None:
    assert not reserved(name)
