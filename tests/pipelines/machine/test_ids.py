"""Ids sort by time."""

from __future__ import annotations

import time

from pipelines.machine.ids import uuid7


def test_ids_sort_by_the_time_at_which_they_were_generated() -> None:
    ids = []
    for _ in range(200):
        ids.append(str(uuid7()))
        time.sleep(0.00001)
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_are_uuids_of_version_7_and_hold_the_time() -> None:
    before = time.time_ns() // 1_000_000
    generated = uuid7()
    assert (generated.version, generated.variant) == (7, "specified in RFC 4122")
    assert before <= generated.int >> 80 <= time.time_ns() // 1_000_000
