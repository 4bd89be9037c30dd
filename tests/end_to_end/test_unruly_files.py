"""Bronze takes files that are still written, files that become readable later, and many thousand small files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.engine.session import Engine
from pipelines.landing.findings import FINDINGS
from tests.conftest import Materialize
from tests.end_to_end import programs
from tests.pipelines.toy_pipeline import DAY, NEXT, ToyPipeline, arrivals_check, pipeline_builder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Appends rows to a file until something arrives on its standard input; then prints their number.
APPEND_ROWS = """
import select, sys, time
with open(sys.argv[1], "a", buffering=1) as file:
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        print(f"part {number},1,1", file=file)
        number += 1
        time.sleep(0.0002)
print(number)
"""


@pytest.fixture
def make_pipeline(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., ToyPipeline]:
    """Creates sources with their tables, on the suite's engine."""
    return pipeline_builder(engine, tmp_path, materialize)


def test_a_file_that_grows_while_it_is_read_is_taken_once_by_a_later_run(
    make_pipeline: Callable[..., ToyPipeline],
) -> None:
    toy = make_pipeline()
    toy.land("part,holes,weight\nbrick,1,1\n", name="whole.csv")
    toy.land("part,holes,weight\n", name="growing.csv")
    path = next(Path(toy.platform.landing.root).rglob("growing.csv"))
    writer = subprocess.Popen(
        [sys.executable, "-c", APPEND_ROWS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        while path.stat().st_size < 1_000:
            assert writer.poll() is None
        result = toy.run(toy.bronze)
        assert result.success
        assert toy.parts("bronze") == ["brick"]
        assert "growing" in str(arrivals_check(result).description)
    finally:
        written = int(writer.communicate("stop\n", timeout=30)[0])
    assert toy.run(toy.bronze).success
    assert Counter(toy.parts("bronze")) == Counter(["brick", *(f"part {number}" for number in range(written))])
    assert toy.run(toy.bronze).success
    assert len(toy.parts("bronze")) == written + 1


def test_an_unreadable_file_is_taken_after_it_became_readable_and_does_not_delay_others(tmp_path: Path) -> None:
    """Root reads every file, so the program is started without the capabilities for it."""
    capabilities = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"] if os.geteuid() == 0 else []
    report = programs.report("unreadable_file.py", tmp_path / "home", home=tmp_path, prefix=drop)
    assert not report["readable"]
    assert report["failures"] == []
    assert ["0-a.csv", "unreadable", "waiting"] in report["findings"]
    assert report["first_parts"] == ["late 0"]
    assert report["second_parts"] == ["late 0", *(f"part 0.{number}" for number in range(4)), "ragged"]


def test_many_small_files_are_taken_in_few_batches_and_few_table_files(
    make_pipeline: Callable[..., ToyPipeline],
) -> None:
    toy, files = make_pipeline(), 20_000
    for day in (DAY, NEXT):
        folder = Path(toy.platform.landing.root) / "toys" / toy.name / f"dt={day}"
        folder.mkdir(parents=True)
        for number in range(files // 2):
            (folder / f"{number:06d}.csv").write_text(f"part,holes,weight\n{day} {number},1,1\n", encoding="utf-8")
    house = toy.platform.lakehouse
    assert toy.run(toy.bronze).success
    at = house.current(toy.table("bronze"))
    assert house.snapshot(at).rows == files
    assert len(set(house.snapshot(at).arrow(columns=["part"])["part"].to_pylist())) == files
    batches = toy.platform.ledger(toy.table("bronze")).batches()
    assert [len(batch.deliveries) for batch in batches] == [files // 2, files // 2]
    assert len(house.snapshot(at).files) <= 2 * len(batches)
    assert toy.run(toy.bronze).success
    assert house.current(toy.table("bronze")) == at
    assert house.version(FINDINGS) is None
