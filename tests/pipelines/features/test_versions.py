"""Versions of a feature view: which fit together, which is read, and what a model that learned one goes on reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DamagedError, DefinitionError, ModelError, NotFoundError, SettingsError
from pipelines.features import versions
from pipelines.features.declaration import FeatureService, feature_view, view_and_version
from pipelines.models.feature_versions import as_trained, trained_with
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.feature_repo.test_domains import column, stock

COLUMNS = (column("price", "double"), column("count", "bigint"))


def service(folder: Path, *numbers: int, name: str = "stock_v1", columns: Any = None) -> FeatureService:
    """A service with versions of the view `stock`; `columns` are those of the last version."""
    contracts = [
        stock(
            folder,
            "toys",
            *(columns if columns and number == numbers[-1] else COLUMNS),
            table="stock" if number == 1 else f"stock_v{number}",
        )
        for number in numbers
    ]
    return FeatureService(name, "toys", tuple(map(feature_view, contracts)), "Stock.", "toy-data")


def record(**tables: int) -> RunRecord:
    names = {f"gold/toys/{table}": version for table, version in tables.items()}
    return RunRecord("", "", None, names, "stock_v1", "", {}, {}, None, None, "cpu", {}, "run")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", profile="test")


@pytest.mark.parametrize(
    ("table", "expected"),
    [("orders", ("orders", 1)), ("orders_v2", ("orders", 2)), ("orders_v12", ("orders", 12)), ("a_v2_v3", ("a_v2", 3)),
     ("orders_v0", ("orders_v0", 1)), ("orders_v02", ("orders_v02", 1)), ("v2", ("v2", 1))],
)  # fmt: skip
def test_the_name_of_a_table_tells_view_and_version(table: str, expected: tuple[str, int]) -> None:
    assert view_and_version(TableId("gold", "toys", table)) == expected


def test_versions_share_the_names_of_their_features_and_one_service_reads_one_of_them(tmp_path: Path) -> None:
    both = service(tmp_path, 1, 2)
    assert both.full_names == ("stock__price", "stock__count")
    assert [view.stored_name for view in both.at({"stock": 2}).views] == ["stock_v2"]
    assert both.over(["gold_toys_stock"]).versions["stock"].keys() == {1}
    with pytest.raises(NotFoundError, match=r"version 3 of feature view toys\.stock.*declares 1, 2"):
        both.at({"stock": 3})


def test_a_feature_that_a_version_lacks_is_none_of_the_service(tmp_path: Path) -> None:
    assert service(tmp_path, 1, 2, columns=[column("price", "double"), column("sold", "boolean")]).full_names == (
        "stock__price",
    )


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (("stock", "stock_v1"), "both its view stock"),
        (("stock", "stock_v2"), "price differs between gold/toys/stock and gold/toys/stock_v2"),
    ],
)
def test_tables_that_are_no_versions_of_one_view_are_refused(
    tmp_path: Path, tables: tuple[str, str], words: str
) -> None:
    types = ("double", "double" if tables[1] == "stock_v1" else "bigint")
    views = [
        feature_view(stock(tmp_path, "toys", column("price", type_), table=table))
        for table, type_ in zip(tables, types, strict=True)
    ]
    with pytest.raises(DefinitionError, match=words):
        FeatureService("stock_v1", "toys", tuple(views), "Stock.", "toy-data")


def test_the_lowest_version_is_read_until_another_is_promoted_and_again_after_the_rollback(
    tmp_path: Path, settings: Settings
) -> None:
    declared = service(tmp_path, 1, 2, 3)
    seen = [versions.current(settings, declared)["stock"]]
    for number in (2, 3):
        versions.promote(settings, [declared], "stock", number, because="better")
        seen.append(versions.current(settings, declared)["stock"])
    for _ in range(2):
        versions.rollback(settings, [declared], "stock", because="worse")
        seen.append(versions.current(settings, declared)["stock"])
    assert seen == [1, 2, 3, 2, 1]
    decisions = versions.read(settings, "toys")["stock"].decisions
    assert [(each.act, each.version, each.because) for each in decisions] == [
        ("promote", 2, "better"), ("promote", 3, "better"), ("rollback", 2, "worse"), ("rollback", 1, "worse")
    ]  # fmt: skip
    assert all(each.decided_by and each.decided_at.endswith("+00:00") for each in decisions)
    with pytest.raises(NotFoundError, match="each promotion was rolled back"):
        versions.rollback(settings, [declared], "stock", because="worse")


def test_a_promotion_names_the_comparison_that_was_made_before_it(tmp_path: Path, settings: Settings) -> None:
    declared = service(tmp_path, 1, 2)
    versions.note_comparison(settings, "toys", "stock", {"versions": [1, 2], "common": 7})
    decision = versions.promote(settings, [declared], "stock", 2, because="better")
    assert decision.compared is not None
    assert decision.compared["common"] == 7
    assert versions.read(settings, "toys")["stock"].decisions == (decision,)


def test_what_cannot_be_decided_is_refused_and_nothing_changes(tmp_path: Path, settings: Settings) -> None:
    declared, other = service(tmp_path, 1, 2), service(tmp_path, 1, name="other_v1")
    with pytest.raises(SettingsError, match="version 1 is the current one"):
        versions.promote(settings, [declared], "stock", 1, because="again")
    with pytest.raises(NotFoundError, match=r"service toys\.stock_v1 declares 1, 2"):
        versions.promote(settings, [declared], "stock", 3, because="better")
    with pytest.raises(NotFoundError, match=r"service toys\.other_v1 declares 1"):
        versions.promote(settings, [declared, other], "stock", 2, because="better")
    with pytest.raises(SettingsError, match="--because"):
        versions.promote(settings, [declared], "stock", 2, because=" ")
    assert versions.read(settings, "toys") == {}


def test_a_damaged_record_is_an_error_and_no_version_is_guessed(tmp_path: Path, settings: Settings) -> None:
    file = settings.root / "features/toys/versions.json"
    file.parent.mkdir(parents=True)
    for content in ("{", '{"stock": {}}', '{"stock": {"decisions": [{"act": "promote"}], "comparisons": []}}', "[]"):
        file.write_text(content)
        with pytest.raises(DamagedError, match="promote again"):
            versions.current(settings, service(tmp_path, 1, 2))


def test_a_model_reads_the_versions_that_its_training_set_was_computed_from(tmp_path: Path) -> None:
    declared = service(tmp_path, 1, 2)
    assert trained_with(record(training_set=4, stock_v2=3))["stock"] == 2
    for table, number in (("stock", 1), ("stock_v2", 2)):
        read = as_trained(declared, record(training_set=4, **{table: 3}), model="toys.sales@1")
        assert [view.version for view in read.views] == [number]
    assert as_trained(service(tmp_path, 2), record(training_set=4), model="toys.sales@1").views[0].version == 2
    with pytest.raises(ModelError, match=r"trained with version 2 of the view toys\.stock; declared: 1"):
        as_trained(service(tmp_path, 1), record(training_set=4, stock_v2=3), model="toys.sales@1")
    with pytest.raises(ModelError, match=r"names no table of the view toys\.stock"):
        as_trained(declared, record(training_set=4), model="toys.sales@1")
