"""Formats: each name in contracts has its module, and a sample has the format that a file seems to have."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.contracts.model import Format
from pipelines.landing.formats.base import Sample, file_format
from pipelines.landing.proposal import newest_sample
from pipelines.landing.zone import Landing


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [1, None], "sizes": [["S"], None]}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", get_args(Format))
def test_every_format_of_contracts_has_its_module(name: Format) -> None:
    module = file_format(name)
    assert callable(module.read)
    assert callable(module.sniff)
    assert isinstance(module.NAMES_EVERY_COLUMN, bool)


@pytest.mark.parametrize(("content", "sample"), [
    (b"id;n\n1;2\nragged\n", Sample("csv", ";", {"id": ["1"], "n": ["2"]})),
    (gzip.compress(b"id,n\n1,2\n"), Sample("csv", ",", {"id": ["1"], "n": ["2"]})),
    (b'\n{"id": 1.50, "n": null}\n{"m": [1]}\n{"half', Sample("jsonl", ",", {"id": ["1.50", ""], "n": ["", ""], "m": ["", '["1"]']})),
    (parquet(), Sample("parquet", ",", {"id": ["1", ""], "sizes": ['["S"]', ""]})),
    (b"PK\x03\x04", Sample("csv", ",", {"PK\x03\x04": []})),
    (b"", Sample("csv", ",", {})),
], ids=["csv", "gzip", "jsonl", "parquet", "bytes", "empty"])  # fmt: skip
def test_a_sample_has_the_format_and_the_columns_of_the_newest_file(
    tmp_path: Path, content: bytes, sample: Sample
) -> None:
    landing = Landing(tmp_path)
    landing.deliver(domain="toys", source="blocks", interval="2013-01-01", name="a.bin", content=content)
    assert newest_sample(landing, "toys", "blocks") == sample
