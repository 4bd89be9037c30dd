"""`goldpath follow`: each new delivery is taken as it lands, by a process that stays up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg

from pipelines.definitions import all_contracts, domains
from pipelines.governed.platform import Platform
from pipelines.orchestration.following import next_batch
from pipelines.orchestration.runs import RANGE_END, RANGE_START
from pipelines.settings import Settings
from pipelines.tables import TableId
from tests.goldpath_process import environment, goldpath

AIRLINES = b"carrier,name\nUA,United Air Lines Inc.\nB6,JetBlue Airways\n"


def test_a_run_covers_what_hangs_on_the_new_deliveries_and_no_model(tmp_path: Path) -> None:
    platform = Platform(Settings(home=tmp_path, profile="test"), all_contracts)
    followed = [domains()["flights"]]
    assert next_batch(platform, followed) is None
    reference = {"bronze/flights/airlines", "silver/flights/airlines", "quarantine/flights/airlines"}
    platform.landing.deliver(domain="flights", source="airlines", interval="2012-01-01", name="a.csv", content=AIRLINES)
    first = next_batch(platform, followed)
    assert first is not None
    assert ({key.to_user_string() for key in first.assets}, first.tags) == (reference, {})
    for day in ("2013-01-04", "2013-01-02", "2031-01-01"):  # the last is no day of the table
        platform.landing.deliver(domain="flights", source="flights", interval=day, name="a.csv", content=b"x\n1\n")
    second = next_batch(platform, followed)
    assert second is not None
    assert second.tags == {RANGE_START: "2013-01-02", RANGE_END: "2013-01-04"}
    assert second.deliveries == {
        TableId.parse("bronze/flights/airlines"): 1,
        TableId.parse("bronze/flights/flights"): 2,
    }
    assert {
        dg.AssetKey(["silver", "flights", "flights"]),
        dg.AssetKey(["features", "flights", "online"]),
    } < second.assets
    further = {key.path[0] for key in second.assets} | {"/".join(key.path) for key in second.assets}
    assert not {"training", "models", "serving", "gold/flights/training_set"} & further
    assert second.key != first.key


def test_a_following_process_takes_deliveries_as_they_land_until_it_is_interrupted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    landing = Platform(Settings(home=home, profile="test"), all_contracts).landing

    def land(day: str, content: bytes) -> None:
        landing.deliver(domain="flights", source="airlines", interval=day, name="all.csv", content=content)

    land("2013-01-01", AIRLINES)
    command = [sys.executable, "-m", "pipelines", "follow", "flights", "--every", "0.2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment(home)
    )
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(2)]
        land("2013-01-02", AIRLINES + b"AA,American Airlines Inc.\n")
        said.append(process.stdout.readline())
        land("2013-01-03", b"")
        said += [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=60)[0])
    finally:
        process.kill()
    assert said[0].startswith("following flights"), said
    assert all("took bronze/flights/airlines: 1 (" in line for line in said[1:3]), said
    assert said[3].startswith("FAIL bronze/flights/airlines: "), said
    assert "FAILED bronze/flights/airlines: 1 (" in said[4], said
    assert process.returncode == 130, said
    shown = goldpath(home, "tables", "show", "silver/flights/airlines", "--json")
    assert "American Airlines" in shown.stdout
    again = goldpath(home, "follow", "--once")
    assert (again.returncode, "took" in again.stdout) == (0, False), again.stdout
    refused = goldpath(home, "follow", "flight")
    assert refused.returncode == 2
    assert "no such domain" in refused.stderr
