"""The origin of a record: its landed file, its row, and the line that stands there."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.landing.edge import Edge
from pipelines.landing.ledger import Ledger
from pipelines.landing.origin import Origin, origin
from pipelines.landing.zone import Landing
from pipelines.tables import TableId
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text

BLOCKS, BALLS = TableId("bronze", "toys", "blocks"), TableId("bronze", "toys", "balls")
CONTENT = b"a\n1\n\xff\n"


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture
def ledgers(tmp_path: Path) -> Mapping[TableId, Ledger]:
    return {table: Ledger(tmp_path / f"{table.source_name}.db") for table in (BALLS, BLOCKS)}


def take(folder: Path, landing: Landing, ledger: Ledger, content: bytes) -> str:
    """Lands a file of blocks and plans its batch; returns the prefix of its record ids."""
    landing.deliver(domain="toys", source="blocks", interval="2013-01-01", name="a.csv", content=content)
    edge = Edge(landing, ledger, toy_contracts.contract(folder, str(BLOCKS), [text("a")]))
    batch = edge.next_batch(None, committed=6)
    assert batch is not None
    return str(batch.deliveries[0].prefix)


@pytest.mark.parametrize("content", [CONTENT, gzip.compress(CONTENT)], ids=["plain", "gzip"])
@pytest.mark.parametrize(("row", "line"), [(2, "1"), (3, "\\xff"), (4, None)])
def test_a_record_id_gives_file_batch_row_and_line(
    tmp_path: Path, landing: Landing, ledgers: Mapping[TableId, Ledger], content: bytes, row: int, line: str | None
) -> None:
    record_id = f"{take(tmp_path, landing, ledgers[BLOCKS], content)}{row:012d}"
    [delivery] = landing.deliveries("toys", "blocks")
    assert origin(landing, ledgers, "toys", record_id) == Origin(
        record_id, BLOCKS, "00000007", delivery.uri, landing.checksum(delivery), row, line
    )


def test_a_record_of_another_domain_or_of_no_ledger_has_no_origin(
    tmp_path: Path, landing: Landing, ledgers: Mapping[TableId, Ledger]
) -> None:
    prefix = take(tmp_path, landing, ledgers[BLOCKS], CONTENT)
    assert origin(landing, ledgers, "shop", f"{prefix}{2:012d}") is None
    assert origin(landing, ledgers, "toys", f"{'0' * 16}{2:012d}") is None
