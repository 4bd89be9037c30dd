"""JSON lines as bronze rows: every value as the text that arrived; a line that is no record is malformed."""

from __future__ import annotations

import json

import pytest

from pipelines.errors import LandingError
from pipelines.tables import RESCUED
from tests.pipelines.landing.bronze_rows import Read, malformed, values


def test_numbers_in_json_keep_their_text(read: Read) -> None:
    rows = read(
        b'{"part": "a", "holes": 10, "weight": 1.50}\n{"weight": 12345678901234567890, "holes": 1e-3}\n', format="jsonl"
    )
    assert values(rows) == [("a", "10", "1.50"), (None, "1e-3", "12345678901234567890")]


def test_json_constants_null_and_empty_text_differ(read: Read) -> None:
    rows = read(b'{"part": true, "holes": null, "weight": NaN}\n{"part": ""}\n', format="jsonl")
    assert values(rows) == [("true", None, "NaN"), ("", None, None)]


def test_nested_json_is_kept_as_json(read: Read) -> None:
    rows = read(b'{"part": {"id": "x", "sizes": ["S", null]}, "holes": []}\n', format="jsonl")
    assert json.loads(rows[0]["part"]) == {"id": "x", "sizes": ["S", None]}
    assert rows[0]["holes"] == "[]"


def test_a_line_that_is_not_an_object_is_malformed_and_the_rest_is_read(read: Read) -> None:
    rows = read(b'{"part": "a"}\n\n{"part": "b", \n[1, 2]\n"text"\n17\n{"part": "c"}', format="jsonl")
    assert [(row["_source_row"], row["part"]) for row in rows if row[RESCUED] is None] == [(1, "a"), (7, "c")]
    kept = {place: line.rstrip() for place, line in malformed(rows).items()}
    assert kept == {3: '{"part": "b",', 4: "[1, 2]", 5: '"text"', 6: "17"}


@pytest.mark.parametrize(
    "line", [rb'{"part": "\ud800"}', b'{"part": ' + b"[" * 100_000], ids=["half a character", "deep"]
)
def test_a_line_that_no_text_column_can_hold_is_malformed(read: Read, line: bytes) -> None:
    rows = read(line + b'\n{"part": "b"}\n', format="jsonl")
    assert [row["part"] for row in rows] == [None, "b"]
    assert malformed(rows) == {1: line.decode()}


def test_escaped_characters_are_read_as_characters(read: Read) -> None:
    assert read(rb'{"part": "caf\u00e9 \ud83d\ude00"}', format="jsonl")[0]["part"] == "café 😀"


def test_values_under_unknown_names_in_json_are_rescued(read: Read) -> None:
    rows = read(b'{"part": "a", "price": 9.90, "shop": null}\n{"part": "b"}\n', format="jsonl")
    assert [row[RESCUED] and json.loads(row[RESCUED]) for row in rows] == [{"price": "9.90"}, None]


def test_unknown_names_in_json_are_refused_where_columns_are_frozen(read: Read) -> None:
    with pytest.raises(LandingError, match="price"):
        read(b'{"part": "a"}\n{"part": "b", "price": 9.90}\n', format="jsonl", columns="freeze")


def test_json_in_another_encoding_is_a_malformed_row_and_the_rest_is_read(read: Read) -> None:
    rows = read('{"part": "café"}\n{"part": "b"}\n'.encode("latin-1"), format="jsonl")
    assert (malformed(rows), rows[1]["part"]) == ({1: '{"part": "caf\\xe9"}'}, "b")


def test_json_with_a_byte_order_mark_and_carriage_returns_is_read(read: Read) -> None:
    assert values(read('\ufeff{"part": "a"}\r\n{"part": "b"}\r\n'.encode(), format="jsonl")) == [
        ("a", None, None), ("b", None, None),
    ]  # fmt: skip
