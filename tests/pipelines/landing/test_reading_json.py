"""JSON lines as bronze rows: every value as the text that arrived; a line that is no record is malformed."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import LandingError
from pipelines.tables import RESCUED
from tests.pipelines.landing.bronze_rows import Read, malformed, values


def test_numbers_in_json_keep_their_text(read: Read) -> None:
    rows = read(
        b'{"part": "a", "holes": 10, "weight": 1.50}\n{"weight": 12345678901234567890, "holes": 1e-3}\n', format="jsonl"
    )
    assert values(rows) == [("a", "10", "1.50"), (None, "1e-3", "12345678901234567890")]


def test_json_constants_null_and_empty_text_differ(read: Read) -> None:
    rows = read(b'{"part": true, "holes": null}\n{"part": ""}\n', format="jsonl")
    assert values(rows) == [("true", None, None), ("", None, None)]


SCALARS = st.sampled_from(["2.50", "-0", "1e3", "1E-400", "12345678901234567890", "true", "null", '"é"', r'"\u00e9\n"'])
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]")
        | st.dictionaries(st.sampled_from(["a", "é", '\\"', "a.b"]), inner, max_size=3).map(
            lambda items: "{ " + ",".join(f'"{name}":{item}' for name, item in items.items()) + "}"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=NESTED, holes=NESTED)
def test_lists_and_objects_in_json_are_kept_as_they_are_written(read: Read, part: str, holes: str) -> None:
    [row] = read(f'{{"part": {part} ,"weight":1.0, "holes":{holes}\t}}'.encode(), format="jsonl")
    assert row["weight"] == "1.0"
    for text, seen in ((part, row["part"]), (holes, row["holes"])):
        is_text = text[0] == '"'
        assert seen == (None if text == "null" else json.loads(text) if is_text else text)


@pytest.mark.parametrize(("backslashes", "is_text"), [(1, False), (2, True), (3, False), (4, True)])
def test_a_nul_is_malformed_and_the_text_that_spells_one_is_kept(read: Read, backslashes: int, is_text: bool) -> None:
    line = f'{{"part": "a{chr(92) * backslashes}u0000"}}'
    [row] = read(f"{line}\n".encode(), format="jsonl")
    assert row["part"] == (json.loads(line)["part"] if is_text else None)


@pytest.mark.parametrize(
    "line",
    ['{"part": "a", "part": "b"}', r'{"part": "a", "p\u0061rt": "a"}', '{"holes": [{"x": 1, "x": 1}]}', '{"holes": NaN}',
     '{"holes": [-Infinity]}', '{"holes": 01}', '{"holes": 1.}', "{'part': 1}", '{"part": "a",}', '{"part": "a"} {}'],
)  # fmt: skip
def test_a_line_with_a_name_twice_or_no_json_is_malformed(read: Read, line: str) -> None:
    rows = read(f'{line}\n{{"part": "b"}}\n'.encode(), format="jsonl")
    assert malformed(rows) == {1: line}
    assert values(rows) == [(None, None, None), ("b", None, None)]


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
