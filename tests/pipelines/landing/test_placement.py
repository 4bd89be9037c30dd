"""Placement: what no run takes is reported with its place, and intervals are values of one grammar."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.landing import interval
from pipelines.landing.placement import in_no_interval, misplaced
from pipelines.landing.zone import Landing

DAY = "2026-11-19"


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """A source with one delivery."""
    landing = Landing(tmp_path / "landing")
    landing.deliver(domain="toys", source="blocks", interval=DAY, name="good.csv", content=b"a")
    return landing


@pytest.fixture
def folder(landing: Landing) -> Path:
    return Path(landing.root) / "toys" / "blocks"


def found(landing: Landing, intervals: list[str] | None = None) -> list[tuple[str, str]]:
    """The findings about the source, whose good delivery is still there."""
    assert [delivery.uri for delivery in landing.deliveries("toys", "blocks")] == [f"toys/blocks/dt={DAY}/good.csv"]
    findings = misplaced(landing.store, "toys", "blocks", intervals)
    return [(finding.subject.removeprefix("toys/blocks"), finding.code) for finding in findings]


@pytest.mark.parametrize("name", [
    "dt=", "dt=19-11-2026", "dt=1763510400", "dt=11-19", "dt=2026-9-30", "dt=2026-02-30", "dt=20261119", "dt=2026-11",
    "dt=latest", "dt=__HIVE_DEFAULT_PARTITION__", "dt=2026-11-19 ", "dt=2026-11-19T10:15:00Z", "dt=2026-11-19T101500",
    "dt=2026-11-19T250000Z", "dt=\uff12026-11-19", "dt=$DAY", "2026-11-19", "year=2026", "date=2026-11-19",
])  # fmt: skip
def test_a_folder_whose_name_is_no_interval_is_reported(landing: Landing, folder: Path, name: str) -> None:
    (folder / name).mkdir()
    assert found(landing) == []
    (folder / name / "a.csv").write_bytes(b"a")
    assert found(landing) == found(landing, [DAY]) == [(f"/{name}", "misplaced")]


def test_files_outside_an_interval_and_folders_within_one_are_reported(landing: Landing, folder: Path) -> None:
    for path in ("c.csv", "d.csv", f"dt={DAY}/hour=10/e.csv"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"a")
    (folder.parent / "b.csv").write_bytes(b"a")
    assert found(landing) == [("/c.csv", "misplaced"), (f"/dt={DAY}/hour=10", "misplaced")]
    assert misplaced(landing.store, "toys", "blocks")[0].observed == "it lies in no interval, and 1 more"
    assert [finding.subject for finding in in_no_interval(landing.store, "toys")] == ["toys/b.csv"]


def test_links_are_never_followed_and_are_reported(landing: Landing, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwords.csv").write_bytes(b"a")
    (folder / f"dt={DAY}" / "link.csv").symlink_to(secret / "passwords.csv")
    (folder / "dt=2026-11-20").symlink_to(secret, target_is_directory=True)
    (folder / "dt=2026-11-21").symlink_to(f"dt={DAY}", target_is_directory=True)
    assert found(landing) == [
        ("/dt=2026-11-20", "link"),
        ("/dt=2026-11-21", "link"),
        (f"/dt={DAY}/link.csv", "link"),
    ]
    assert landing.deliveries("toys", "blocks", ["2026-11-20", "2026-11-21"]) == []
    (folder.parent / "linked").symlink_to(folder, target_is_directory=True)
    assert (landing.sources("toys"), landing.deliveries("toys", "linked")) == (["blocks"], [])


def test_a_manifest_that_is_a_link_or_a_pipe_is_not_read(landing: Landing, folder: Path, tmp_path: Path) -> None:
    [delivery] = landing.deliveries("toys", "blocks")
    manifest = folder / f"dt={DAY}" / "good.csv.manifest.json"
    os.mkfifo(manifest)
    with pytest.raises(OSError, match="not a file"):
        landing.manifest(delivery)
    manifest.unlink()
    (tmp_path / "elsewhere").write_text("{}")
    manifest.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        landing.manifest(delivery)


@pytest.mark.parametrize(("name", "shown"), [
    (b"caf\xe9.csv", r"caf\udce9.csv"), (b"a\nb.csv", "a\nb.csv"), (b"\x1b[2J.csv", r"\x1b[2J.csv"),
    (b"\xed\xa0\x80.csv", r"\udced\udca0\udc80.csv"),
])  # fmt: skip
def test_a_name_that_is_no_text_is_reported_and_others_are_taken(
    landing: Landing, folder: Path, name: bytes, shown: str
) -> None:
    (Path(os.fsdecode(os.fsencode(folder / f"dt={DAY}") + b"/" + name))).write_bytes(b"a")
    assert found(landing) == [(f"/dt={DAY}/{shown}", "name")]


NAMES = [
    "[bold]x[b].csv",
    "a b.csv",
    "a#b?c%20+d.csv",
    "-rf.csv",
    "é\u2028\u202e.csv",
    "'; DROP TABLE x.csv",
    "dt=.csv",
    "\\.csv",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_other_name_is_a_delivery(landing: Landing, name: str) -> None:
    landing.deliver(domain="toys", source="blocks", interval="2026-11-20", name=name, content=b"a")
    [_, delivery] = landing.deliveries("toys", "blocks")
    assert landing.checksum(delivery)
    assert misplaced(landing.store, "toys", "blocks") == []


INSTANTS = st.datetimes(timezones=st.just(UTC))
FORMS = st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%HZ", "%Y-%m-%dT%H%MZ", "%Y-%m-%dT%H%M%SZ", "%Y-%m-%dT%H%M%S.%fZ"])


@given(st.lists(st.tuples(INSTANTS, FORMS), max_size=5))
def test_intervals_of_any_form_are_in_the_order_of_time(values: list[tuple[datetime, str]]) -> None:
    texts = [instant.strftime(form.replace("%Y", f"{instant.year:04d}")) for instant, form in values]
    starts = [interval.start(text) for text in texts]
    assert None not in starts
    ordered = [interval.start(text) for text in sorted(texts, key=interval.order)]
    assert ordered == sorted(filter(None, starts))
    for (instant, _), begin in zip(values, starts, strict=True):
        assert begin is not None
        assert timedelta(0) <= instant - begin < timedelta(days=1)


@given(st.text())
def test_a_text_that_is_no_interval_has_no_beginning(text: str) -> None:
    assert interval.start(text) is None
