"""Files that are still written, that may not be read, and that are far too many."""

from __future__ import annotations

import json
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
from tests.end_to_end.conftest import environment
from tests.pipelines.toy_pipeline import DAY, NEXT, ToyPipeline, arrivals_check, pipeline_builder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

APPENDS = """
import sys, time
with open(sys.argv[1], "a", buffering=1) as file:
    number = 0
    while not select():
        print(f"part {number},1,1", file=file)
        number += 1
        time.sleep(0.0002)
print(number)
""".replace("select()", "__import__('select').select([sys.stdin], [], [], 0)[0]")


@pytest.fixture
def make_pipeline(engine: Engine, tmp_path: Path, materialize: Materialize) -> Callable[..., ToyPipeline]:
    """Makes sources with their tables, on the embedded engine."""
    return pipeline_builder(engine, tmp_path, materialize)


def test_a_file_that_grows_while_it_is_read_waits_and_is_then_taken_once(
    make_pipeline: Callable[..., ToyPipeline],
) -> None:
    toy = make_pipeline()
    toy.land("part,holes,weight\nbrick,1,1\n", name="whole.csv")
    toy.land("part,holes,weight\n", name="growing.csv")
    path = next(Path(toy.platform.landing.root).rglob("growing.csv"))
    writer = subprocess.Popen(
        [sys.executable, "-c", APPENDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        while path.stat().st_size < 1_000:
            assert writer.poll() is None
        during = toy.run(toy.bronze)
        assert during.success
        assert toy.parts("bronze") == ["brick"]
        assert "growing" in str(arrivals_check(during).description)
    finally:
        written = int(writer.communicate("stop\n", timeout=30)[0])
    assert toy.run(toy.bronze).success
    assert Counter(toy.parts("bronze")) == Counter(["brick", *(f"part {number}" for number in range(written))])
    assert toy.run(toy.bronze).success
    assert len(toy.parts("bronze")) == written + 1


def test_a_file_that_may_not_be_read_keeps_no_other_back_and_is_taken_when_it_may(tmp_path: Path) -> None:
    """Root reads everything, so the program is started without that capability."""
    rights = "-dac_override,-dac_read_search"
    bound = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    program = Path(__file__).parent / "unreadable_file.py"
    done = subprocess.run(
        [*bound, sys.executable, str(program), str(tmp_path / "home")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"]
    assert found["wrong"] == []
    assert ["0-a.csv", "unreadable", "waiting"] in found["findings"]
    assert found["first"] == ["late 0"]
    assert found["second"] == ["late 0", *(f"part 0.{number}" for number in range(4)), "ragged"]


def test_many_tiny_files_become_few_batches_and_few_table_files(make_pipeline: Callable[..., ToyPipeline]) -> None:
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
