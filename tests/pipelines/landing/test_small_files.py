"""Small files: their rows are made together, and are those that each file gives by itself."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.lakehouse.arrow_stage import Part
from pipelines.landing import reading
from pipelines.landing.column_drift import ColumnDrift
from pipelines.landing.delivery import Delivery, Manifest
from pipelines.landing.ledger import Batch
from pipelines.landing.parts import parts
from pipelines.landing.small_files import SMALL_BYTES, SmallFiles
from pipelines.landing.zone import Landing
from tests.pipelines import toy_contracts
from tests.pipelines.landing.bronze_rows import COLUMNS, PLANNED

HEADER = b"part,holes,weight\n"


class Batched:
    """A batch of landed files; the contents may stand with the number of rows that their manifests say."""

    def __init__(self, folder: Path, contents: list[bytes | tuple[bytes, int]], contract: Contract) -> None:
        self.contract = contract
        self.landing = Landing(folder / "landing")
        for number, content in enumerate(contents):
            content, rows = content if isinstance(content, tuple) else (content, None)
            manifest = {} if rows is None else {"manifest": Manifest.of(content, rows=rows)}
            day, name = f"2013-01-{1 + number // 12:02d}", f"{number:03d}.csv"
            self.landing.deliver(domain="toys", source="blocks", interval=day, name=name, content=content, **manifest)
        self.deliveries = [
            replace(delivery, sha256=checksum, prefix=checksum[:16])
            for delivery in self.landing.deliveries("toys", "blocks")
            if (checksum := self.landing.checksum(delivery))
        ]
        self.contents = {d.uri: (folder / "landing" / d.uri).read_bytes() for d in self.deliveries[::2]}
        self.batch = Batch(7, PLANNED.isoformat(), tuple(self.deliveries))

    def together(self) -> dict[str, Any]:
        """Rows, drifts and errors of all files as bronze takes them."""
        return self._taken(
            lambda drifted, columns, errors: parts(
                self.landing,
                self.contract,
                self.deliveries,
                contents=self.contents,
                marks=lambda delivery: self.batch,
                drifted=drifted,
                columns=columns,
                leave_out=lambda delivery, error: errors.append((delivery.uri, error)),
            )
        )

    def one_by_one(self) -> dict[str, Any]:
        """Rows, drifts and errors of each file by itself."""

        def separate(drifted: reading.Drifted, columns: reading.ColumnNames, errors: list[Any]) -> list[Part]:
            def part(delivery: Delivery) -> Part:
                rows = reading.read(self.landing, self.contract, self.batch, delivery, drifted, columns)
                return Part(delivery.interval, rows, lambda error: errors.append((delivery.uri, error)))

            return [part(delivery) for delivery in self.deliveries]

        return self._taken(separate)

    def _taken(self, parts_of: Any) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        drifts: dict[str, str] = {}
        errors: list[tuple[str, LandingError]] = []

        def drifted(delivery: Delivery, drift: ColumnDrift) -> None:
            drifts.setdefault(drift.words(), delivery.uri)

        for part in parts_of(drifted, reading.ColumnNames(self.contract), errors):
            try:
                batches = list(part.batches)
                assert all(set(batch["_partition"].to_pylist()) <= {part.partition} for batch in batches)
                rows += [row for batch in batches for row in batch.to_pylist()]
            except LandingError as error:
                part.leave_out(error)
        evolved = {name for row in rows for name in row}
        return {
            "rows": [{name: row.get(name) for name in evolved} for row in rows],
            "drifts": drifts,
            "errors": [(uri, error.code, str(error)) for uri, error in errors],
        }


HEADERS = (
    HEADER,
    HEADER,
    b"part,holes,weight\r\n",
    b'"part","holes",weight\n',
    b"weight,part,holes\n",
    b"part,holes\n",
    b"part,holes,weight,Colour\n",
    b"part,holes,colour,weight\n",
    b"part,part,weight\n",
    b"\xef\xbb\xbfpart,holes,weight\n",
    b"part,holes,\xffweight\n",
    b'part,"holes\nof",weight\n',
    b"part;holes;weight\n",
    b"\npart,holes,weight\n",
    b"PAR1,part\n",
    b"",
)
LINES = (
    b"a,1,2\n", b"b,,\n", b" c , 2,3\r\n", "größe,1,2\n".encode(), b'"a, ""b""",1,"2"\n', b'"two\nlines",1,2\n',
    b"a,1\n", b"a,1,2,3\n", b"\n", b"\r\n", b"a,1,2\r", b'"a"b,1,2\n', b'a"b,1,2\n', b'"open,1,2\n', b"caf\xe9,1,2\n",
    b"nul\0,1,2\n", b",,\n", b"a,1,2", b"\xef\xbb\xbfa,1,2\r\n", b"\xef\xbb\xbf\n",
)  # fmt: skip
CLEAN = st.lists(st.sampled_from((*LINES[:4], LINES[-2])), max_size=3).map(b"".join).map(HEADER.__add__)
ANY = st.builds(
    lambda header, lines: header + b"".join(lines),
    st.sampled_from(HEADERS),
    st.lists(st.sampled_from(LINES), max_size=3),
)
FILES = st.lists(
    st.one_of(CLEAN, CLEAN, ANY, ANY.map(gzip.compress), st.tuples(CLEAN, st.integers(0, 3))), min_size=1, max_size=12
)


@pytest.mark.parametrize("columns", ["discard_value", "evolve", "freeze"])
@settings(max_examples=40, deadline=None)
@given(files=FILES)
def test_files_taken_together_give_the_rows_drifts_and_errors_of_files_taken_one_by_one(
    columns: str, files: list[bytes | tuple[bytes, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        contract = toy_contracts.contract(Path(folder), "bronze/toys/blocks", COLUMNS, drift={"columns": columns})
        batch = Batched(Path(folder), files, contract)
        assert batch.together() == batch.one_by_one()


@pytest.mark.parametrize("columns", ["discard_value", "evolve", "freeze"])
def test_each_line_under_each_header_gives_the_row_that_its_file_gives_by_itself(tmp_path: Path, columns: str) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS, drift={"columns": columns})
    batch = Batched(tmp_path, [header + line for line in LINES for header in HEADERS], contract)
    assert batch.together() == batch.one_by_one()


def test_usual_files_of_a_day_are_one_group_and_any_other_stays_by_itself(tmp_path: Path) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    large = HEADER + b"a,1,2\n" * SMALL_BYTES
    quoted = HEADER + b'"a, b",1,2'
    contents: list[Any] = [HEADER + b"a,1,2\n", (quoted, 1), HEADER, large, HEADER + b"a,1\n", HEADER + b"b,1,2\n"]
    batch = Batched(tmp_path, contents, contract)
    groups = SmallFiles(batch.landing, contract, batch.contents, lambda delivery, names: None).groups(batch.deliveries)
    names = [
        group.uri[-6:-4] if isinstance(group, Delivery) else [f.delivery.uri[-6:-4] for f in group] for group in groups
    ]
    assert names == [["00", "01", "02"], "03", "04", ["05"]]


@pytest.mark.parametrize("change", ["gone", "grown"])
def test_a_file_that_changed_since_it_was_planned_is_left_out_alone(tmp_path: Path, change: str) -> None:
    contract = toy_contracts.contract(tmp_path, "bronze/toys/blocks", COLUMNS)
    batch = Batched(tmp_path, [HEADER + line for line in LINES[:3]], contract)
    path = Path(batch.landing.root) / batch.deliveries[1].uri
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"more,1,2\n")
    taken = batch.together()
    assert taken == batch.one_by_one()
    assert [row["part"] for row in taken["rows"]] == ["a", " c "]
    assert [code for _, code, _ in taken["errors"]] == ["unreadable" if change == "gone" else "growing"]
