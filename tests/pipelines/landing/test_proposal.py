"""A proposal from whatever has landed: contracts that load and code that compiles, or an error in words."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts.load import load
from pipelines.contracts.model import Contract
from pipelines.errors import GoldpathError, LandingError, NotFoundError
from pipelines.governed.platform import Platform
from pipelines.landing.formats.sniffing import sniff
from pipelines.landing.proposal import code, documents
from pipelines.landing.proposal import look as looking
from pipelines.landing.proposal.look import Look, look
from pipelines.landing.zone import Landing
from pipelines.medallion.decorators import bronze_asset, silver_asset
from tests.conftest import Materialize
from tests.pipelines.toy_contracts import TAGS
from tests.pipelines.toy_pipeline import as_arrived

DAYS = ("2026-11-19", "2026-11-20", "2026-11-21")


def seen(folder: Path, *contents: bytes) -> Look:
    """What a look shows of files that landed one a day."""
    landing = Landing(folder)
    for day, content in zip(DAYS, contents, strict=False):
        landing.deliver(domain="toys", source="blocks", interval=day, name="a.bin", content=content)
    return look(landing, "toys", "blocks")


def contracts(folder: Path, shown: Look) -> tuple[Contract, Contract]:
    """The proposed contracts of bronze and silver, loaded as a person has completed them."""
    texts = documents.render(documents.documents(shown, "toy-data", TAGS))
    paths = [folder / name for name in texts]
    for path in paths:
        path.write_text(texts[path.name], encoding="utf-8")
    bronze, silver = map(load, paths)
    return bronze, silver


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


CSV = "id;größe\n1;Süd\n2;Nord\n"


@pytest.mark.parametrize(("content", "format", "delimiter", "encoding", "names"), [
    (b"a,b\n1,2\n", "csv", ",", "utf-8", ["a", "b"]),
    (b"a;b\n1,5;2\n1,7;3\n", "csv", ";", "utf-8", ["a", "b"]),
    (b"a\tb\n1,5\t2,5\n", "csv", "\t", "utf-8", ["a", "b"]),
    (b"a|b\n1|2\n", "csv", "|", "utf-8", ["a", "b"]),
    (b"\n\na,b\n1,2\n", "csv", ",", "utf-8", ["a", "b"]),
    (b'"a,1","b\n2"\n"x,y",2\n', "csv", ",", "utf-8", ["a,1", "b\n2"]),
    (b"one\nx\ny\n", "csv", ",", "utf-8", ["one"]),
    (b"a,b", "csv", ",", "utf-8", ["a", "b"]),
    (b",id,v\n0,1,a\n", "csv", ",", "utf-8", ["", "id", "v"]),
    (b"country,2019,2020\nDE,1,2\n", "csv", ",", "utf-8", ["country", "2019", "2020"]),
    (b"ORCID,name\n1,a\n", "csv", ",", "utf-8", ["ORCID", "name"]),
    (gzip.compress(b"a,b\n1,2\n", mtime=0), "csv", ",", "utf-8", ["a", "b"]),
    (b"\xef\xbb\xbfa,b\n1,2\n", "csv", ",", "utf-8", ["a", "b"]),
    (CSV.encode(), "csv", ";", "utf-8", ["id", "größe"]),
    (CSV.encode("latin-1"), "csv", ";", "latin-1", ["id", "größe"]),
    ("id;preis\n1;5 €\n".encode("cp1252"), "csv", ";", "cp1252", ["id", "preis"]),
    (CSV.encode("utf-16"), "csv", ";", "utf-16", ["id", "größe"]),
    (CSV.encode("utf-16-le"), "csv", ";", "utf-16-le", ["id", "größe"]),
    (CSV.encode("utf-16-be"), "csv", ";", "utf-16-be", ["id", "größe"]),
    (CSV.encode() + b"3;S\xfcd\n", "csv", ";", "utf-8", ["id", "größe"]),
    (b'{"a": 1}\n{"b": 2}\n', "jsonl", ",", "utf-8", ["a", "b"]),
    (b'  {"a": 1}  \r\n\n', "jsonl", ",", "utf-8", ["a"]),
    (b'{"a": 1}\n{"half', "jsonl", ",", "utf-8", ["a"]),
    (b'{"a": 1,}\n{"a": 2}\n', "jsonl", ",", "utf-8", ["a"]),
    (parquet(pa.table({"a": [1], "b.c": [2]})), "parquet", ",", "utf-8", ["a", "b.c"]),
])  # fmt: skip
def test_how_a_file_is_written_shows_in_its_bytes(
    tmp_path: Path, content: bytes, format: str, delimiter: str, encoding: str, names: list[str]
) -> None:
    landing = Landing(tmp_path)
    landing.deliver(domain="toys", source="blocks", interval=DAYS[0], name="a.bin", content=content)
    [delivery] = landing.deliveries("toys", "blocks")
    sniffed = sniff(landing, delivery)
    assert (sniffed.format, sniffed.delimiter, sniffed.encoding) == (format, delimiter, encoding)
    assert list(sniffed.names) == names
    assert look(landing, "toys", "blocks").files == 1


@pytest.mark.parametrize(("content", "words"), [
    (b"", "empty"),
    (b"\n \n", "empty"),
    (b'[{"a": 1}, {"a": 2}]', "one JSON array"),
    (b'[\n{"a": 1}\n]', "one JSON array"),
    (b"[1, 2]\n[3, 4]\n", "one JSON array"),
    (b'{\n "a": 1,\n "b": {"c": 2}\n}\n', "line 1 is no JSON object"),
    (b'{"a": 1}{"a": 2}\n', "line 1 is no JSON object"),
    (b'{"a": 1}\r{"a": 2}\r', "line 1 is no JSON object"),
    (b'{"a": \nx\ny\n{"a": 1}\n', "line 1 is no JSON object"),
    (b"{}\n{}\n", "no object has a value"),
    (b"sep=;\na;b\n1;2\n", "`sep=`"),
    (b"Report of 2026\n\na,b,c\n1,2,3\n4,5,6\n", "line 1 has 1 field(s)"),
    (b"Shop;North\nDay;2026\nid;name;price\n1;x;2\n2;y;3\n3;z;4\n", "line 1 has 2 field(s)"),
    (b"a,b\n1,2,3\n4,5,6\n", "line 1 has 2 field(s)"),
    (b"a,b,c\n1,2\n3,4\n5,6\n", "3 names"),
    (b"1,2,3\n4,5,6\n", "holds values and no names"),
    (b"2026-11-19,5\n2026-11-20,6\n", "holds values and no names"),
    (b"a,a\n1,2\n", "more than one column a"),
    (b"<html><body>502 Bad Gateway</body></html>", "HTML or XML"),
    (b"<?xml version='1.0'?><a/>", "HTML or XML"),
    (bz2.compress(b"a,b\n1,2\n"), "bzip2"),
    (lzma.compress(b"a,b\n1,2\n"), "xz"),
    (b"PK\x03\x04" + bytes(50), "ZIP"),
    (b"%PDF-1.7\n", "PDF"),
    (b"\xd0\xcf\x11\xe0" + bytes(50), "Excel"),
    (bytes(range(256)) * 4, "NUL"),
    (bytes(set(range(1, 32)) - {10}) * 9, "control characters"),
    (gzip.compress(b"a,b\n" + bytes(range(32, 127)) * 99, mtime=0)[:-40], "EOFError|OSError|ArrowInvalid"),
    (parquet(pa.table({"a": [1]}))[:-9], "Parquet|ArrowInvalid"),
    (parquet(pa.table({})), "without columns"),
])  # fmt: skip
def test_a_file_that_no_format_reads_is_refused_with_the_line_and_the_remedy(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(LandingError, match=words.replace("(", r"\(").replace(")", r"\)")) as refused:
        seen(tmp_path, content)
    assert "a.bin" in refused.value.object
    assert refused.value.next_step


def test_the_contracts_say_how_a_file_is_written_and_silver_which_types_it_has(tmp_path: Path) -> None:
    text = "id;zip;größe;preis;am;seit;land;note\n1;01234;1.5;2.50;2026-11-19;2026-11-19T08:00:00Z;NA;NA\n2;90210;2;3.75;NA;2026-11-19T09:00:00Z;DE;x\n"
    bronze, silver = contracts(tmp_path, seen(tmp_path / "landing", text.encode("latin-1")))
    assert (bronze.format, bronze.delimiter, bronze.encoding) == ("csv", ";", "iso8859-1")
    assert {column.type for column in bronze.columns} == {"string"}
    assert {column.name: column.type for column in silver.columns} == {
        "id": "bigint", "zip": "string", "größe": "double", "preis": "decimal(18,2)", "am": "date", "seit": "timestamp",
        "land": "string", "note": "string",
    }  # fmt: skip
    assert silver.key_columns == ["id"]
    assert silver.null_tokens == ("",)
    assert {column.name: column.null_tokens for column in silver.columns if column.null_tokens} == {"am": ("NA",)}


def test_parquets_own_types_are_taken(tmp_path: Path) -> None:
    instant = datetime(2026, 11, 19, 8, tzinfo=UTC)
    values: dict[str, tuple[Any, pa.DataType, str]] = {
        "id": ("007", pa.string(), "string"),
        "text": ("5", pa.large_string(), "string"),
        "small": (5, pa.int8(), "bigint"),
        "huge": ((1 << 64) - 1, pa.uint64(), "decimal(20,0)"),
        "price": (Decimal("2.50"), pa.decimal128(9, 2), "decimal(9,2)"),
        "wide": (Decimal(1), pa.decimal256(50, 2), "string"),
        "ratio": (float("nan"), pa.float64(), "double"),
        "half": (0.5, pa.float32(), "float"),
        "ok": (True, pa.bool_(), "boolean"),
        "day": (date(2026, 11, 19), pa.date32(), "date"),
        "at": (instant, pa.timestamp("us", "America/New_York"), "timestamp"),
        "local": (instant.replace(tzinfo=None), pa.timestamp("ms"), "timestamp"),
        "exact": (1, pa.timestamp("ns", "UTC"), "string"),
        "code": ("a", pa.dictionary(pa.int8(), pa.string()), "string"),
        "items": ([1], pa.list_(pa.int64()), "string"),
        "bytes": (b"x", pa.binary(), "string"),
        "nothing": (None, pa.null(), "string"),
        "duration": (1, pa.duration("s"), "string"),
    }
    table = pa.table({name: pa.array([value], kind) for name, (value, kind, _) in values.items()})
    bronze, silver = contracts(tmp_path, seen(tmp_path / "landing", parquet(table)))
    assert bronze.format == "parquet"
    assert {column.name: column.type for column in silver.columns} == {n: type for n, (_, _, type) in values.items()}
    assert {column.name for column in silver.columns if column.non_finite == "allowed"} == {"ratio"}
    empty = seen(tmp_path / "empty", parquet(table.slice(0, 0)))
    assert {name: texts.type for name, texts in empty.columns.items()} == {
        n: "timestamp" if n == "exact" else type for n, (_, _, type) in values.items()
    }


@pytest.mark.parametrize(("text", "key"), [
    ("id,v\n1,a\n2,b\n", "id"),
    ("v,order id\na,1\nb,2\n", "order id"),
    ("v,orderId\na,1\nb,2\n", "orderId"),
    ("customer_id,v\n1,a\n1,b\n", None),
    ("customer_id,order_no\n1,a\n1,b\n", "order_no"),
    ("block_id,v\n1,a\n2,b\n3,c\n4,d\n4,e\n", "block_id"),
    ("block_id,v\n1,a\n1,b\n2,c\n", None),
    ("id,v\n1.5,a\n2.5,b\n", None),
    ("id,v\n1,a\n,b\n", None),
    ("id,v\n1,a\nNA,b\n", None),
    ("name,v\na,1\nb,2\n", None),
    ("id,v\n", None),
])  # fmt: skip
def test_a_key_is_named_like_one_complete_and_different_in_each_row(tmp_path: Path, text: str, key: str | None) -> None:
    shown = seen(tmp_path, text.encode())
    assert shown.key == key
    assert any("declare the primaryKey" in line for line in shown.summary()) == (key is None)


def test_types_hold_for_every_file_and_files_of_another_kind_are_named(tmp_path: Path) -> None:
    shown = seen(tmp_path, b"id,v,old\n1,07,x\n", b'{"id": 1}\n', b"id,v\n2,8\n3,9\n")
    assert {name: texts.type for name, texts in shown.columns.items()} == {
        "id": "bigint",
        "v": "string",
        "old": "string",
    }
    summary = "\n".join(shown.summary())
    assert "looked at all 3 rows in 2 of 3 files" in summary
    assert "toys/blocks/dt=2026-11-20/a.bin is jsonl in utf-8; the newest is csv delimited by ',' in utf-8" in summary
    assert "old: not in the newest file, but in toys/blocks/dt=2026-11-19/a.bin" in summary
    assert "2 of 3 texts" not in summary
    assert "v is text: no type gives back" not in summary


def test_a_newest_file_that_cannot_be_read_is_named_and_the_one_before_it_is_looked_at(tmp_path: Path) -> None:
    shown = seen(tmp_path, b"id,v\n1,2\n", b"")
    assert list(shown.columns) == ["id", "v"]
    assert any("dt=2026-11-20/a.bin cannot be read: it is empty" in line for line in shown.summary())


def test_no_more_than_a_bound_is_looked_at_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_VALUES", 4)
    shown = seen(tmp_path, b"id,v\n1,x\n", b"id,v\n1,2\n2,3\n")
    assert shown.summary()[0] == "looked at the newest 2 rows in 1 of 2 files"
    assert "quarantine" in shown.summary()[1]


def test_malformed_lines_are_named_and_no_part_of_the_types(tmp_path: Path) -> None:
    shown = seen(tmp_path, b'{"id": 1}\n{"id": 2,}\n{"id": 3}\n')
    assert shown.columns["id"].type == "bigint"
    assert shown.key == "id"
    assert any('row 2 is malformed, and goes to quarantine: {"id": 2,}' in line for line in shown.summary())


NAMES = st.one_of(
    st.sampled_from(["id", "", " ", "a.b", "a`b", "_row", "_verdict", "_PARTITION", "ID", "Id", "class", '"""', "\\", "'", "a\nb", ":\x85", "\u2028",
                     "order id", "1st", "*", "NA", "null", "true", "1.5", "é", "a,b", "x" * 300, "unknown", "{}", "#", "%s", "=1"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["", "NA", "007", "1", "2.50", "true", "2026-11-19", "-", "a\tb", '"', "x" * 50, "\\N", "\u2028", "1e5"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.integers().map(str),
)  # fmt: skip


def as_csv(names: list[str], rows: list[list[str]], delimiter: str, end: str, encoding: str) -> bytes:
    def line(values: list[str]) -> str:
        return delimiter.join('"' + value.replace('"', '""') + '"' for value in values)

    return end.join([line(names), *map(line, rows), ""]).encode(encoding, "replace")


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of any names and values, in one of the formats, perhaps damaged."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=draw(st.sampled_from([True, True, False]))))
    rows = draw(st.lists(st.lists(VALUES, min_size=len(names), max_size=len(names)), max_size=4))
    kind = draw(st.sampled_from(["csv", "csv", "jsonl", "json", "parquet", "text"]))
    if kind == "csv":
        delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
        encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"]))
        content = as_csv(names, rows, delimiter, end, encoding)
    elif kind in ("jsonl", "json"):
        records = [dict(zip(names, row, strict=True)) for row in rows]
        content = (
            json.dumps(records, indent=1) if kind == "json" else "".join(json.dumps(r) + "\n" for r in records)
        ).encode()
    elif kind == "parquet":
        arrays = [pa.array([row[n] for row in rows], pa.string()) for n in range(len(names))]
        content = parquet(pa.Table.from_arrays(arrays, names=names))
    else:
        content = draw(st.binary(max_size=60))
    damage = draw(st.sampled_from(["", "", "", "cut", "pack", "before", "after"]))
    cut = draw(st.integers(0, len(content)))
    extra = draw(st.sampled_from([b"\0" * 9, b"sep=;\n", b"Report\n\n", b"\n\n", b"  ", b"}", b'{"x"']))
    return {
        "cut": content[:cut],
        "pack": gzip.compress(content),
        "before": extra + content,
        "after": content + extra,
    }.get(damage, content)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(files(), min_size=1, max_size=2))
def test_whatever_has_landed_the_proposal_loads_and_compiles_or_is_an_error_in_words(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("landed")
    try:
        shown = seen(folder / "landing", *contents)
    except GoldpathError:  # whose place and next step other tests show
        return
    documents.require_loading(shown, documents.documents(shown))
    bronze, silver = contracts(folder, shown)
    assert [column.source for column in bronze.columns] == list(shown.columns)
    assert [column.name for column in silver.columns] == [column.name for column in bronze.columns]
    assert "\n".join(shown.summary())


@pytest.mark.parametrize("source", ["blocks", "contract", "bronze_asset", "DataFrame", "match"])
def test_the_code_of_any_source_compiles_and_is_extended_by_the_next(source: str) -> None:
    modules = code.modules("toys", source)
    for name, text in modules.items():
        compile(text, name, "exec")
    for name in code.lines(source):
        more = code.extended(name, modules[name], "other")
        assert more is not None
        compile(more, name, "exec")
        assert code.lines(source)[name] in more
        assert code.lines("other")[name] in more
        assert code.extended(name, more, "other") == more


@pytest.mark.parametrize(
    "owner",
    ["toy-data", "größe", "o'hara", 'the "a" team', "a\\b", "two\nlines", "'+exit()+'", '"+exit()+"', "\u2028😀"],
)
def test_a_domain_states_owner_and_tags_once_and_its_next_contracts_have_them(tmp_path: Path, owner: str) -> None:
    tags = {"cost_centre": owner, "business_unit": "retail", "project": "p", "application": "a"}
    for name, text in code.domain_modules("toys", owner, tags).items():
        compile(text, name, "exec")
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert documents.owner_and_tags(tmp_path / "contracts") == (owner, tags | {"data_class": "internal"})


@pytest.mark.parametrize("text", [
    "", "x = (", "from a import bronze_asset\n", "from a import bronze_asset, contract\nother = 1\n",
    "from a import bronze_asset as bronze, contract\n",
])  # fmt: skip
def test_a_module_that_the_lines_do_not_fit_into_is_left_as_it_is(text: str) -> None:
    assert code.extended("bronze.py", text, "other") is None


def test_a_source_that_has_not_landed_is_an_error_that_names_those_that_have(tmp_path: Path) -> None:
    seen(tmp_path, b"id\n1\n")
    with pytest.raises(NotFoundError, match="toys/blocks"):
        look(Landing(tmp_path), "toys", "brick")


@pytest.mark.parametrize(("content", "rows"), [
    (b"id,country,pop\n1,NA,3\n2,DE,84\n3,ZA,NA\n", [(1, "NA", 3), (2, "DE", 84), (3, "ZA", None)]),
    (b"id,text\n1234567890123456789,a\n1234567890123456790,b\n", [(1234567890123456789, "a"), (1234567890123456790, "b")]),
    (b"account_id,zip\n007,01234\n7,02345\n", [("007", "01234"), ("7", "02345")]),
    (b"id,Name,name\n1,A,a\n", [(1, "A", "a")]),
    (b",id,v\n0,1,a\n1,2,b\n", [(0, 1, "a"), (1, 2, "b")]),
    (b"id,v,\n1,a,\n2,b,\n", [(1, "a", None), (2, "b", None)]),
    (b"id , v\n1 ,a\n2 , b\n", [("1 ", "a"), ("2 ", " b")]),
    (b"id,a.b,_row,order id\n1,x,y,z\n", [(1, "x", "y", "z")]),
    ("id;größe\n1;5 €\n".encode("cp1252"), [(1, "5 €")]),
    ('{"id": 1, "": "x", "v": 2.50}\n'.encode("utf-16"), [(1, "x", Decimal("2.50"))]),
    (parquet(pa.table({"id": ["07"], "x.y": [Decimal("1.50")], "r": [float("inf")]})), [("07", Decimal("1.50"), float("inf"))]),
], ids=["tokens", "ids", "zeros", "case", "index", "comma", "padding", "names", "cp1252", "utf-16", "parquet"])  # fmt: skip
def test_what_is_proposed_is_materialized_with_every_value(
    make_platform: Callable[[], Platform], materialize: Materialize, tmp_path: Path, content: bytes, rows: list[Any]
) -> None:
    platform = make_platform()
    platform.landing.deliver(domain="toys", source="blocks", interval=DAYS[0], name="a.bin", content=content)
    bronze, silver = contracts(tmp_path, look(platform.landing, "toys", "blocks"))
    platform.contracts |= {bronze.table: bronze, silver.table: silver}
    assert materialize(platform, [bronze_asset(bronze), silver_asset(silver)(as_arrived)]).success
    table = platform.lakehouse.snapshot(silver.table).arrow()
    names = [column.name for column in silver.columns]
    assert sorted(tuple(row[name] for name in names) for row in table.to_pylist()) == rows
