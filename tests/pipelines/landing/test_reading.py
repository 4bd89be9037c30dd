"""Files as bronze rows: every value as the text that arrived, every row with its place; nothing is dropped."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ContractError, LandingError
from pipelines.landing import reading
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.delivery import Manifest
from pipelines.landing.formats.base import BLOCK_BYTES
from pipelines.tables import RESCUED
from tests.pipelines import toy_contracts
from tests.pipelines.landing.bronze_rows import COLUMNS, PLANNED, Read, batches, malformed, parquet, places, values
from tests.pipelines.toy_contracts import text


def test_every_value_is_the_text_that_arrived(read: Read) -> None:
    rows = read(b"part,holes,weight\nbrick, 08 ,1.50\nNA,,NULL\n")
    assert values(rows) == [("brick", " 08 ", "1.50"), ("NA", "", "NULL")]
    assert places(rows) == [2, 3]


def test_every_row_has_its_file_row_batch_and_record_id(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    [batch] = batches(tmp_path, contract, b"part,holes,weight\na,1,2\nb,1,2\n")
    assert batch.schema == reading.schema(contract)
    first, second = batch.to_pylist()
    where = {"_source_uri": "toys/blocks/dt=2013-01-01/blocks.txt", "_source_row": 2, "_partition": "2013-01-01"}
    bookkeeping = {**where, "_ingest_id": "00000007", "_ingested_at": PLANNED}
    assert bookkeeping.items() <= first.items()
    assert first["_record_id"] != second["_record_id"]


def test_a_row_that_is_read_again_has_the_same_record_id(read: Read) -> None:
    content = b"part,holes,weight\na,1,2\nb,1,2\n"
    assert [row["_record_id"] for row in read(content)] == [row["_record_id"] for row in read(content)]


def test_a_byte_order_mark_is_not_part_of_a_name(read: Read) -> None:
    assert values(read("\ufeffpart,holes,weight\na,1,2\n".encode())) == [("a", "1", "2")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_below_the_header_is_part_of_a_value(read: Read, line_end: str) -> None:
    rows = read(line_end.join(["part,holes,weight", "\ufeffa,1,2", "\ufeffb,1,2", ""]).encode())
    assert values(rows) == [("\ufeffa", "1", "2"), ("\ufeffb", "1", "2")]


def test_a_line_with_too_few_fields_that_is_not_utf8_is_malformed_and_its_file_is_taken(read: Read) -> None:
    rows = read(b'part,holes,weight\n"a",1,2\ncaf\xe9,1\nb,1,2\n')
    assert (places(rows), malformed(rows)) == ([2, 4, 3], {3: "caf\\xe9,1"})


def test_quotes_and_newlines_are_part_of_a_value(read: Read) -> None:
    rows = read(b'part,holes,weight\n"red, ""big""\nand heavy",1,2\nb,1,2\n')
    assert values(rows) == [('red, "big"\nand heavy', "1", "2"), ("b", "1", "2")]


def test_carriage_returns_before_a_line_end_are_not_part_of_a_value(read: Read) -> None:
    assert values(read(b"part,holes,weight\r\na,1,2\r\nb,1,2\r\n")) == [("a", "1", "2"), ("b", "1", "2")]


def test_columns_in_another_order_are_found_by_name_and_missing_ones_are_null(read: Read) -> None:
    assert values(read(b"weight,part\n2,a\n")) == [("a", None, "2")]


def test_a_ragged_line_is_kept_with_its_place(read: Read) -> None:
    rows = read(b"part,holes,weight\na,1,2\nshort\nb,1,2\nl,o,n,g\nc,1,2\n")
    assert malformed(rows) == {3: "short", 5: "l,o,n,g"}
    assert {row["_source_row"]: row["part"] for row in rows} == {2: "a", 3: None, 4: "b", 5: None, 6: "c"}


def test_rows_have_their_places_in_a_file_of_several_blocks(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    count, ragged = 120_000, {5, 60_000, 119_999}
    lines = [b"only one value" if n in ragged else b"part %06d,1,%s" % (n, b"2" * 80) for n in range(count)]
    assert sum(map(len, lines)) > BLOCK_BYTES
    read = pa.Table.from_batches(batches(tmp_path, contract, b"part,holes,weight\n" + b"\n".join(lines)))
    parts = dict(zip(read["_source_row"].to_pylist(), read["part"].to_pylist(), strict=True))
    assert parts == {n + 2: None if n in ragged else f"part {n:06d}" for n in range(count)}


@pytest.mark.parametrize(
    "content", [b"part,holes,weight", b"part,holes,weight\n", b"\npart,holes,weight\n\n", b"part,holes,weight\r\n"]
)
def test_a_file_without_rows_has_no_rows(read: Read, content: bytes) -> None:
    assert read(content) == []


def test_blank_lines_before_the_header_lose_nothing(read: Read) -> None:
    assert values(read(b"\n\npart,holes,weight\na,1,2\n")) == [("a", "1", "2")]


def test_values_of_unknown_columns_are_rescued(read: Read) -> None:
    rows = read(b"part,price,holes,weight,shop\na,9,1,2,x\nb,8,1,2,y\n")
    assert values(rows) == [("a", "1", "2"), ("b", "1", "2")]
    assert [json.loads(row[RESCUED]) for row in rows] == [{"price": "9", "shop": "x"}, {"price": "8", "shop": "y"}]


def test_an_unknown_column_is_refused_where_columns_are_frozen(read: Read) -> None:
    with pytest.raises(LandingError, match=r"blocks\.txt: column\(s\) price, shop, which contract_.*freezes them"):
        read(b"part,price,holes,weight,shop\na,9,1,2,x\n", columns="freeze")


def test_a_frozen_contract_refuses_a_file_with_only_a_header(read: Read) -> None:
    with pytest.raises(LandingError, match="price"):
        read(b"part,price\n", columns="freeze")


@pytest.mark.parametrize(("content", "seen"), [(b"", "an empty file"), (b"\n\r\n", "nothing but blank lines")])
def test_a_file_without_a_header_is_refused(read: Read, content: bytes, seen: str) -> None:
    with pytest.raises(LandingError, match=seen):
        read(content)


def test_a_file_with_another_delimiter_is_refused_with_a_hint(read: Read) -> None:
    with pytest.raises(
        LandingError, match=r"without one column of the contract: part;holes;weight; .*delimited by ';'"
    ):
        read(b"part;holes;weight\na;1;2\n")


def test_a_file_is_read_with_the_delimiter_of_the_contract(read: Read) -> None:
    assert values(read(b"part;holes;weight\na,b;1;2\n", delimiter=";")) == [("a,b", "1", "2")]


def test_two_columns_of_one_name_are_refused(read: Read) -> None:
    with pytest.raises(LandingError, match="more than one column part"):
        read(b"part,holes,weight,part\na,1,2,b\n")


@pytest.mark.parametrize("before", ["", "a,1,2\n" * 9_000])
def test_a_value_in_another_encoding_is_a_malformed_row_and_the_rest_is_read(read: Read, before: str) -> None:
    content = f"part,holes,weight\n{before}café,1,2\nb,1,2\n".encode("latin-1")
    rows = read(content)
    place = 2 + before.count("\n")
    assert malformed(rows) == {place: "caf\\xe9,1,2"}
    assert values(rows)[-2:] == [(None, None, None), ("b", "1", "2")]


def test_a_header_in_another_encoding_is_refused(read: Read) -> None:
    with pytest.raises(LandingError, match=r"a header that is not UTF-8.*correct delimiter or encoding"):
        read("part,größe\na,1\n".encode("latin-1"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_file_is_read_in_the_encoding_of_the_contract(read: Read, encoding: str, format: str) -> None:
    content = "part,holes,weight\ncafé,1,2\n" if format == "csv" else '{"part": "café", "holes": 1, "weight": 2}\n'
    assert values(read(content.encode(encoding), format=format, encoding=encoding)) == [("café", "1", "2")]


def test_a_row_with_a_nul_is_malformed(read: Read) -> None:
    rows = read(b"part,holes,weight\na\0b,1,2\nc,1,2\n")
    assert malformed(rows) == {2: "a\\x00b,1,2"}
    assert values(rows) == [(None, None, None), ("c", "1", "2")]
    rows = read(b'{"part": "a\\u0000b"}\n{"part": "c"}\n', format="jsonl")
    assert (malformed(rows), rows[1]["part"]) == ({1: '{"part": "a\\u0000b"}'}, "c")


PACKED = [gzip.compress, lambda content: pa.compress(content, "zstd", asbytes=True)]


@pytest.mark.parametrize("pack", PACKED, ids=["gzip", "zstd"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_packed_files_are_unpacked_whatever_their_name(read: Read, pack: Callable[..., bytes], format: str) -> None:
    content = b"part,holes,weight\na,1,2\n" if format == "csv" else b'{"part": "a", "holes": 1, "weight": 2}\n'
    assert values(read(pack(content), format=format)) == [("a", "1", "2")]


@pytest.mark.parametrize("pack", PACKED, ids=["gzip", "zstd"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_truncated_archive_is_refused(read: Read, pack: Callable[..., bytes], kept: float, format: str) -> None:
    lines = [b"part,holes,weight"] if format == "csv" else []
    lines += [(b"%d,1,2" if format == "csv" else b'{"part": "%d"}') % (n * 7919 % 100_003) for n in range(50_000)]
    packed = pack(b"\n".join(lines))
    with pytest.raises(LandingError, match=r"blocks\.txt.*move the file out of landing"):
        read(packed[: int(len(packed) * kept)], format=format)


def test_several_archives_in_one_file_are_read_as_one(read: Read) -> None:
    packed = gzip.compress(b"part,holes,weight\na,1,2\n") + gzip.compress(b"b,1,2\n")
    assert values(read(packed)) == [("a", "1", "2"), ("b", "1", "2")]


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04workbook", "a ZIP archive or an Excel workbook"), (b"PAR1....PAR1", "a Parquet file")],
)
def test_a_file_that_is_not_text_is_refused_whatever_its_name(read: Read, content: bytes, what: str) -> None:
    with pytest.raises(LandingError, match=f"it is {what}, whatever its name says"):
        read(content)


def test_text_instead_of_parquet_is_refused(read: Read) -> None:
    with pytest.raises(LandingError, match="no Parquet file"):
        read(b"part,holes,weight\na,1,2\n", format="parquet")


def test_a_truncated_parquet_file_is_refused(read: Read) -> None:
    with pytest.raises(LandingError, match=r"a whole parquet file"):
        read(parquet({"part": ["a"]})[:-10], format="parquet")


@pytest.mark.parametrize("declared", [1, 3])
def test_a_file_with_another_number_of_rows_than_its_manifest_is_refused(read: Read, declared: int) -> None:
    content = b"part,holes,weight\na,1,2\nragged\n"
    assert len(read(content, rows=2)) == 2
    with pytest.raises(LandingError, match=rf"2 rows\. Expected {declared} rows, as its manifest says"):
        read(content, rows=declared)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_line_of_many_mebibytes_is_cut_or_refused(read: Read, format: str) -> None:
    long = b"x" * (BLOCK_BYTES * 3)
    if format == "csv":
        with pytest.raises(LandingError, match="a row of more than 8388608 bytes"):
            read(b"part,holes,weight\na,1,2\n" + long + b",1,2\nb,1,2\n")
        with pytest.raises(LandingError, match="a first line that is no header"):
            read(b"part," + long)
        return
    rows = read(b'{"part": "a"}\n{"part": "' + long + b'"}\n{"part": "b"}\n', format="jsonl")
    assert [row["part"] for row in rows] == ["a", None, "b"]
    assert malformed(rows)[2].endswith(f"[a line of {len(long) + 13} bytes, more than {BLOCK_BYTES}]")


def test_a_file_of_five_thousand_columns_is_read(tmp_path: Path) -> None:
    wide = [text(f"c{n}") for n in range(5_000)]
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", wide)
    header = ",".join(f"c{n}" for n in range(5_000)).encode()
    [batch] = batches(tmp_path, contract, header + b"\n" + b",".join([b"1"] * 5_000) + b"\n")
    assert batch["c4999"].to_pylist() == ["1"]


def test_a_log_is_read_by_its_pattern(tmp_path: Path) -> None:
    pattern = r"(?P<part>\S+) \[(?P<holes>\d+)\](?: (?P<weight>.*))?"
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS, format="log", linePattern=pattern)
    content = b"brick [4] 2.5\n\nstack trace\nplate [2]\n\xff\n"
    rows = [row for part in batches(tmp_path, contract, content) for row in part.to_pylist()]
    assert values(rows) == [("brick", "4", "2.5"), (None, None, None), ("plate", "2", None), (None, None, None)]
    assert malformed(rows) == {3: "stack trace", 5: "\\xff"}


def test_a_document_of_any_bytes_is_one_row_that_describes_it(tmp_path: Path) -> None:
    columns = [text(name) for name in ("name", "media_type", "bytes", "sha256", "uri", "language")]
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", columns, format="document")
    content = bytes(range(256))
    manifest = Manifest.of(content, rows=1, attributes={"language": "en"})
    [batch] = batches(tmp_path, contract, content, manifest=manifest)
    [row] = batch.to_pylist()
    assert (row["name"], row["media_type"], row["bytes"], row["language"]) == ("blocks.txt", "text/plain", "256", "en")
    assert row["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"\xef\xbb\xbfName: x\r\n\r\nText, caf\xc3\xa9\n", "Name: x\r\n\r\nText, caf\u00e9\n"),
        (gzip.compress(b"packed"), "packed"),
        (b"", ""),
        (b"caf\xe9", None),
        (b"a\0b", None),
        (b"x" * (8 * 1024 * 1024 + 1), None),
    ],
    ids=["text", "packed", "empty", "another encoding", "nul", "too large"],
)
def test_the_text_of_a_document_is_its_content_if_the_contract_has_that_column(
    tmp_path: Path, content: bytes, read: str | None
) -> None:
    columns = [text(name) for name in ("name", "content")]
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", columns, format="document")
    [batch] = batches(tmp_path, contract, content)
    [row] = batch.to_pylist()
    assert (row["name"], row["content"]) == ("blocks.txt", read)


def test_where_columns_evolve_a_new_name_becomes_a_column_if_it_can(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS, drift={"columns": "evolve"})
    header, row = b"part,holes,weight,price,Part,a b,_x,Zone,zone", b"a,1,2,9,y,z,w,N,S"
    [batch] = batches(tmp_path, contract, header + b"\n" + row + b"\n")
    [read] = batch.to_pylist()
    assert (read["price"], read["Zone"]) == ("9", "N")
    assert json.loads(read[RESCUED]) == {"Part": "y", "a b": "z", "_x": "w", "zone": "S"}


def test_a_name_evolves_to_one_column_of_the_table_whatever_case_later_files_have(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS, drift={"columns": "evolve"})
    names = reading.ColumnNames(contract, ["part", "Zone", "_record_id"])
    assert [names.add(name) for name in ("Zone", "zone", "ZONE", "PART", "area", "Area", "area", "_x", "a b")] == [
        True, False, False, False, True, False, True, False, False,
    ]  # fmt: skip


def test_a_contract_that_spells_an_evolved_column_in_other_case_is_refused(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    with pytest.raises(ContractError, match=r"column part .*has a column Part.*name the column Part"):
        reading.ColumnNames(contract, ["Part", "_record_id"])


@pytest.mark.parametrize(
    ("reading_of", "error"),
    [
        ({"delimiter": "||"}, "ValueError: the delimiter"),
        ({"delimiter": r"\t"}, "ValueError: the delimiter"),
        ({"delimiter": "§"}, "ValueError: the delimiter"),
        ({"encoding": "no-such-encoding"}, "LookupError"),
        ({"format": "log", "line_pattern": "("}, "error: missing"),
    ],
)
def test_any_error_of_reading_refuses_the_file_and_names_its_class(
    tmp_path: Path, reading_of: dict[str, Any], error: str
) -> None:
    contract = replace(toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS), **reading_of)
    with pytest.raises(LandingError, match=rf"blocks\.txt: {error}.*the others are not affected"):
        batches(tmp_path, contract, b"part,holes\n1,2\n")


@pytest.mark.parametrize(
    ("header", "words", "renamed"),
    [
        ("part,holes,weight,price", "added: price", ()),
        ("part,weight", "missing: holes", ()),
        ("Part,holes,weight", "part seems to be renamed to Part", (("part", "Part"),)),
        ("part,holes_count,weight", "holes seems to be renamed to holes_count", (("holes", "holes_count"),)),
        ("weight,holes,part", "columns in another order", ()),
        ("part,holes,weight", "", ()),
    ],
)
def test_a_difference_in_columns_is_described(tmp_path: Path, header: str, words: str, renamed: Any) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    drift = ColumnDrift.between(contract, header.split(","))
    assert (drift.words(), drift.renamed, bool(drift)) == (words, renamed, bool(words))


@pytest.mark.parametrize("header", ["part,weight", "part,holes,weight,price"])
def test_frozen_columns_refuse_new_and_missing_columns(read: Read, header: str) -> None:
    with pytest.raises(LandingError, match="freezes them"):
        read(f"{header}\n".encode(), columns="freeze")


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
def test_every_line_of_any_bytes_is_a_row(read: Read, lines: list[bytes]) -> None:
    content = b"\n" + b"\n".join(lines)  # so that its first bytes are no archive's
    rows = read(content, format="jsonl")
    assert places(rows) == [number for number, line in enumerate(lines, start=2) if line.strip()]
