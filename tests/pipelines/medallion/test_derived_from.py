"""The record of what a table was derived from: what it keeps, and when it is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.medallion.derived_from import DerivedFrom, digest


def test_parts_with_another_digest_or_none_are_changed(tmp_path: Path) -> None:
    DerivedFrom(tmp_path / "of" / "orders.json").note({"monday": "a", "tuesday": "b"}, version=3)
    record = DerivedFrom.read(tmp_path / "of" / "orders.json")
    assert record.version == 3
    assert record.changed({"monday": "a", "tuesday": "c", "wednesday": "d"}) == ["tuesday", "wednesday"]


def test_a_later_record_keeps_the_parts_that_it_does_not_name(tmp_path: Path) -> None:
    DerivedFrom(tmp_path / "orders.json").note({"monday": "a", "tuesday": "b"}, version=3)
    DerivedFrom.read(tmp_path / "orders.json").note({"tuesday": "c"}, version=4)
    assert DerivedFrom.read(tmp_path / "orders.json").digests == {"monday": "a", "tuesday": "c"}
    assert [path.name for path in tmp_path.iterdir()] == ["orders.json"]


@pytest.mark.parametrize(
    "content", [None, "", '{"version": 3, "dig', "[]", "{}", "null", '{"version": 3, "digests": [1]}']
)
def test_an_absent_or_damaged_record_is_empty(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "orders.json").write_text(content, encoding="utf-8")
    record = DerivedFrom.read(tmp_path / "orders.json")
    assert (record.version, record.digests) == (None, {})


def test_equal_values_have_one_digest_whatever_the_order_of_their_keys() -> None:
    assert digest("orders", {"a": 1, "b": 2}) == digest("orders", {"b": 2, "a": 1}) != digest("orders", {"a": 1})
