"""Files as bronze rows: every value as the text that arrived, every row with its place, nothing lost in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import ingestion
from pipelines.contracts import Contract
from pipelines.errors import LandingError
from pipelines.ingestion import MALFORMED, RESCUED
from pipelines.landing import Batch, Landing
from tests.pipelines import toys
from tests.pipelines.toys import number, text, whole

Rows = list[dict[str, Any]]
Read = Callable[..., Rows]
COLUMNS = [text("part"), whole("holes"), number("weight")]
PLANNED = datetime(2013, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Lands a file and reads it as bronze rows."""

    def run(content: bytes, *, format: str = "csv", columns: str = "discard_value", **more: Any) -> Rows:
        contract = toys.contract(
            tmp_path, "bronze/toys/blocks", COLUMNS, format=format, drift={"columns": columns}, **more
        )
        return [row for part in batches(tmp_path, contract, content) for row in part.to_pylist()]

    return run


def batches(folder: Path, contract: Contract, content: bytes) -> list[pa.RecordBatch]:
    landing = Landing(folder / f"landing_{contract.path.stem}")
    landing.deliver(domain="toys", source="blocks", interval="2013-01-01", name="blocks.txt", content=content)
    [delivery] = landing.deliveries("toys", "blocks")
    return list(ingestion.read(landing, contract, Batch(7, PLANNED.isoformat(), (delivery,)), delivery))


def values(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row[column["name"]] for column in COLUMNS) for row in rows]


def places(rows: Rows) -> list[int]:
    return [row["_source_row"] for row in rows]


def malformed(rows: Rows) -> dict[int, str]:
    """The lines that are no rows, by their place."""
    found = {row["_source_row"]: json.loads(row[RESCUED] or "{}") for row in rows}
    return {place: rescued[MALFORMED] for place, rescued in found.items() if MALFORMED in rescued}


def test_every_value_is_the_text_that_arrived(read: Read) -> None:
    rows = read(b"part,holes,weight\nbrick, 08 ,1.50\nNA,,NULL\n")
    assert values(rows) == [("brick", " 08 ", "1.50"), ("NA", "", "NULL")]
    assert places(rows) == [2, 3]


def test_every_row_says_where_it_came_from(tmp_path: Path) -> None:
    contract = toys.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    [batch] = batches(tmp_path, contract, b"part,holes,weight\na,1,2\nb,1,2\n")
    assert batch.schema == ingestion.schema(contract)
    first, second = batch.to_pylist()
    where = {"_source_uri": "toys/blocks/dt=2013-01-01/blocks.txt", "_source_row": 2, "_partition": "2013-01-01"}
    bookkeeping = {**where, "_ingest_id": "00000007", "_ingested_at": PLANNED}
    assert bookkeeping.items() <= first.items()
    assert first["_record_id"] != second["_record_id"]


def test_one_row_has_one_record_id_whenever_it_is_read(read: Read) -> None:
    content = b"part,holes,weight\na,1,2\nb,1,2\n"
    assert [row["_record_id"] for row in read(content)] == [row["_record_id"] for row in read(content)]


def test_a_byte_order_mark_belongs_to_no_name(read: Read) -> None:
    assert values(read("\ufeffpart,holes,weight\na,1,2\n".encode())) == [("a", "1", "2")]


def test_quotes_and_newlines_are_part_of_a_value(read: Read) -> None:
    rows = read(b'part,holes,weight\n"red, ""big""\nand heavy",1,2\nb,1,2\n')
    assert values(rows) == [('red, "big"\nand heavy', "1", "2"), ("b", "1", "2")]


def test_carriage_returns_end_a_line_and_are_no_value(read: Read) -> None:
    assert values(read(b"part,holes,weight\r\na,1,2\r\nb,1,2\r\n")) == [("a", "1", "2"), ("b", "1", "2")]


def test_columns_may_come_in_another_order_or_not_at_all(read: Read) -> None:
    assert values(read(b"weight,part\n2,a\n")) == [("a", None, "2")]


def test_a_ragged_line_is_kept_with_its_place(read: Read) -> None:
    rows = read(b"part,holes,weight\na,1,2\nshort\nb,1,2\nl,o,n,g\nc,1,2\n")
    assert malformed(rows) == {3: "short", 5: "l,o,n,g"}
    assert {row["_source_row"]: row["part"] for row in rows} == {2: "a", 3: None, 4: "b", 5: None, 6: "c"}


def test_places_stay_right_in_a_file_of_several_blocks(tmp_path: Path) -> None:
    contract = toys.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    count, ragged = 120_000, {5, 60_000, 119_999}
    lines = [b"only one value" if n in ragged else b"part %06d,1,%s" % (n, b"2" * 80) for n in range(count)]
    assert sum(map(len, lines)) > ingestion.BLOCK_BYTES
    read = pa.Table.from_batches(batches(tmp_path, contract, b"part,holes,weight\n" + b"\n".join(lines)))
    found = dict(zip(read["_source_row"].to_pylist(), read["part"].to_pylist(), strict=True))
    assert found == {n + 2: None if n in ragged else f"part {n:06d}" for n in range(count)}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\r\n\n", b"part,holes,weight", b"part,holes,weight\n", b"\npart,holes,weight\n\n"]
)
def test_a_file_without_rows_has_no_rows(read: Read, content: bytes) -> None:
    assert read(content) == []


def test_blank_lines_before_the_header_lose_nothing(read: Read) -> None:
    assert values(read(b"\n\npart,holes,weight\na,1,2\n")) == [("a", "1", "2")]


def test_an_unknown_column_is_kept_beside_the_row(read: Read) -> None:
    rows = read(b"part,price,holes,weight,shop\na,9,1,2,x\nb,8,1,2,y\n")
    assert values(rows) == [("a", "1", "2"), ("b", "1", "2")]
    assert [json.loads(row[RESCUED]) for row in rows] == [{"price": "9", "shop": "x"}, {"price": "8", "shop": "y"}]


def test_an_unknown_column_is_refused_where_columns_are_frozen(read: Read) -> None:
    with pytest.raises(LandingError, match=r"blocks\.txt: column\(s\) price, shop, which contract_.*freezes them"):
        read(b"part,price,holes,weight,shop\na,9,1,2,x\n", columns="freeze")


def test_a_frozen_contract_refuses_even_a_header_alone(read: Read) -> None:
    with pytest.raises(LandingError, match="price"):
        read(b"part,price\n", columns="freeze")


def test_a_file_with_another_delimiter_keeps_its_lines_whole(read: Read) -> None:
    rows = read(b"part;holes;weight\na;1;2\n")
    assert values(rows) == [(None, None, None)]
    assert json.loads(rows[0][RESCUED]) == {"part;holes;weight": "a;1;2"}


def test_a_file_with_another_delimiter_is_refused_where_columns_are_frozen(read: Read) -> None:
    with pytest.raises(LandingError, match="part;holes;weight"):
        read(b"part;holes;weight\na;1;2\n", columns="freeze")


def test_the_contract_names_the_delimiter(read: Read) -> None:
    assert values(read(b"part;holes;weight\na,b;1;2\n", delimiter=";")) == [("a,b", "1", "2")]


def test_two_columns_of_one_name_are_refused(read: Read) -> None:
    with pytest.raises(LandingError, match="more than one column part"):
        read(b"part,holes,weight,part\na,1,2,b\n")


@pytest.mark.parametrize(
    "content",
    ["part,holes,weight\ncafé,1,2\n", "part,größe\na,1\n", "part,holes,weight\n" + "a,1,2\n" * 9_000 + "é,1,2\n"],
)
def test_another_encoding_is_refused_with_what_to_do(read: Read, content: str) -> None:
    with pytest.raises(LandingError, match=r"blocks\.txt.*in UTF-8.*move the file out of landing"):
        read(content.encode("latin-1"))


def test_numbers_in_json_keep_their_text(read: Read) -> None:
    rows = read(
        b'{"part": "a", "holes": 10, "weight": 1.50}\n{"weight": 12345678901234567890, "holes": 1e-3}\n', format="jsonl"
    )
    assert values(rows) == [("a", "10", "1.50"), (None, "1e-3", "12345678901234567890")]


def test_json_constants_and_nothing_are_told_apart(read: Read) -> None:
    rows = read(b'{"part": true, "holes": null, "weight": NaN}\n{"part": ""}\n', format="jsonl")
    assert values(rows) == [("true", None, "NaN"), ("", None, None)]


def test_nested_json_is_kept_as_json(read: Read) -> None:
    rows = read(b'{"part": {"id": "x", "sizes": ["S", null]}, "holes": []}\n', format="jsonl")
    assert json.loads(rows[0]["part"]) == {"id": "x", "sizes": ["S", None]}
    assert rows[0]["holes"] == "[]"


def test_a_broken_line_is_kept_with_its_place_and_the_rest_is_read(read: Read) -> None:
    rows = read(b'{"part": "a"}\n\n{"part": "b", \n[1, 2]\n"text"\n17\n{"part": "c"}', format="jsonl")
    assert [(row["_source_row"], row["part"]) for row in rows if row[RESCUED] is None] == [(1, "a"), (7, "c")]
    kept = {place: line.rstrip() for place, line in malformed(rows).items()}
    assert kept == {3: '{"part": "b",', 4: "[1, 2]", 5: '"text"', 6: "17"}


@pytest.mark.parametrize(
    "line", [rb'{"part": "\ud800"}', b'{"part": ' + b"[" * 100_000], ids=["half a character", "deep"]
)
def test_a_line_that_no_text_column_can_hold_stops_nothing(read: Read, line: bytes) -> None:
    rows = read(line + b'\n{"part": "b"}\n', format="jsonl")
    assert [row["part"] for row in rows] == [None, "b"]
    assert malformed(rows) == {1: line.decode() + "\n"}


def test_characters_written_as_escapes_are_the_characters(read: Read) -> None:
    assert read(rb'{"part": "caf\u00e9 \ud83d\ude00"}', format="jsonl")[0]["part"] == "café 😀"


def test_unknown_names_in_json_are_kept_beside_the_row(read: Read) -> None:
    rows = read(b'{"part": "a", "price": 9.90, "shop": null}\n{"part": "b"}\n', format="jsonl")
    assert [row[RESCUED] and json.loads(row[RESCUED]) for row in rows] == [{"price": "9.90", "shop": None}, None]


def test_unknown_names_in_json_are_refused_where_columns_are_frozen(read: Read) -> None:
    with pytest.raises(LandingError, match="price"):
        read(b'{"part": "a"}\n{"part": "b", "price": 9.90}\n', format="jsonl", columns="freeze")


def test_json_in_another_encoding_is_refused(read: Read) -> None:
    with pytest.raises(LandingError, match="in UTF-8"):
        read('{"part": "café"}\n'.encode("latin-1"), format="jsonl")


def test_json_with_a_byte_order_mark_and_carriage_returns_is_read(read: Read) -> None:
    assert values(read('\ufeff{"part": "a"}\r\n{"part": "b"}\r\n'.encode(), format="jsonl")) == [
        ("a", None, None), ("b", None, None),
    ]  # fmt: skip


FIELDS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=6) | st.sampled_from(
    ['"', ",", "\n", " ", "NA"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=8))
def test_what_is_written_as_csv_is_read_back(read: Read, rows: list[tuple[str, str, str]]) -> None:
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in rows]
    assert values(read(("part,holes,weight\n" + "\n".join(quoted)).encode())) == rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=8))
def test_whatever_bytes_arrive_every_line_is_a_row_or_the_file_is_refused(read: Read, lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    try:
        rows = read(content, format="jsonl")
    except LandingError:
        return
    arrived = content.decode("utf-8-sig").split("\n")
    assert places(rows) == [number for number, line in enumerate(arrived, start=1) if line.strip()]
