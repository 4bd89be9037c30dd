"""Rejected rows are corrected, discarded, reopened and judged again; nothing is lost and all of it is on record."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import NotFoundError, SettingsError, VerdictError
from pipelines.provenance import chain
from pipelines.quarantine import corrections, decisions
from pipelines.quarantine.table import overview
from pipelines.tables import RECORD_ID
from tests.pipelines.quarantine_toys import COLUMNS, DAY, DAYS, LATER, NEXT, Bench
from tests.pipelines.toys import text, whole

_names = itertools.count()
Build = Callable[..., Bench]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def build(engine: Engine, tmp_path: Path, kept: dg.DagsterInstance) -> Build:
    def make(**more: Any) -> Bench:
        return Bench.build(engine, tmp_path, kept, name=f"quarantined_{next(_names)}", **more)

    return make


@pytest.fixture
def bench(build: Build) -> Bench:
    """Brick is clean; plate (row 3) has no holes, row 4 no name, tile (row 5) no weight, and row 6 is no row."""
    made = build()
    made.land()
    made.run()
    return made


@pytest.fixture
def each_bench(each_engine: Engine, tmp_path: Path, kept: dg.DagsterInstance) -> Bench:
    """The same on both engines in turn."""
    made = Bench.build(each_engine, tmp_path, kept, name=f"quarantined_{next(_names)}")
    made.land()
    made.run()
    return made


@pytest.fixture
def quick(build: Build) -> Bench:
    """The same on the embedded engine alone."""
    made = build()
    made.land()
    made.run()
    return made


def said(bench: Bench, zone: str = "quarantine") -> dict[str, Any]:
    """The metadata of the newest materialization."""
    event = bench.instance.get_latest_materialization_event(dg.AssetKey([zone, "toys", bench.name]))
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    return {name: entry.value for name, entry in materialization.metadata.items()}


def test_without_a_decision_every_rejected_row_is_open(bench: Bench) -> None:
    marks = [(row["_decision"], row["_decided_at"], row["_decided_by"]) for row in bench.rows("quarantine").values()]
    assert marks == [("open", None, None)] * 4
    assert bench.quarantine.states() == {"open": 4, "corrected": 0, "discarded": 0}
    assert {entry["reason"]: entry["rows"] for entry in bench.quarantine.reasons()} == {
        "part_required": 1, "holes_range": 1, "weight_type": 1, "malformed_row": 1,
    }  # fmt: skip


def test_a_corrected_row_is_clean_and_keeps_its_record_id_and_its_source_row(each_bench: Bench) -> None:
    plate = each_bench.rejected(3)
    [act] = corrections.correct(each_bench.quarantine, {plate: {"holes": "8"}}, note="counted", by="ann")
    assert act["place"] == "quarantined"
    assert (each_bench.quarantine.states()["corrected"], list(each_bench.quarantine.pending())) == (1, [plate])
    result = each_bench.replay(pending=True)
    assert (result["clean"], result["quarantined"]) == (1, 0)
    assert each_bench.rows("silver")[plate]["holes"] == 8
    assert each_bench.rows("bronze")[plate]["holes"] == "0"
    assert each_bench.balanced()
    traced = chain.trace(each_bench.platform, "toys", plate)
    assert traced is not None
    assert (traced["row"], traced["line"]) == (3, "plate,0,1")
    assert [(made["act"], made["by"], made["values"]) for made in traced["decisions"]] == [
        ("correct", "ann", {"holes": "8"})
    ]
    found = each_bench.quarantine.record(plate)
    assert (found["place"], found["arrived"]["holes"], found["row"]) == ("clean", "0", 3)
    assert [(made["act"], made["decided_by"], dict(made["values"])) for made in found["decisions"]] == [
        ("correct", "ann", {"holes": "8"}), ("replay", "ann", {}),
    ]  # fmt: skip


def test_a_correction_that_is_still_wrong_stays_with_new_reasons_and_the_row_as_corrected(bench: Bench) -> None:
    tile = bench.rejected(5)
    corrections.correct(bench.quarantine, {tile: {"weight": "heavy", "holes": "-1"}}, note="guessed")
    bench.replay(records=(tile,))
    row = bench.rows("quarantine")[tile]
    assert sorted(bench.codes(tile)) == ["holes_range", "weight_type"]
    assert json.loads(row["_row"])["holes"] == "-1"
    assert (row["_decision"], row["_source_row"]) == ("corrected", 5)
    assert bench.quarantine.states() == {"open": 3, "corrected": 1, "discarded": 0}
    assert not bench.quarantine.pending()
    assert bench.balanced()


def test_a_later_correction_wins_and_keeps_what_it_does_not_name(bench: Bench) -> None:
    tile = bench.rejected(5)
    corrections.correct(bench.quarantine, {tile: {"weight": "1", "holes": "5"}}, note="first")
    corrections.correct(bench.quarantine, {tile: {"weight": "2"}}, note="second")
    bench.run()
    assert (bench.rows("silver")[tile]["weight"], bench.rows("silver")[tile]["holes"]) == (2.0, 5)
    corrections.correct(bench.quarantine, {tile: {"holes": None}}, note="nobody knows")
    bench.run()
    assert (bench.rows("silver")[tile]["weight"], bench.rows("silver")[tile]["holes"]) == (2.0, None)
    assert bench.balanced()


def test_a_correction_makes_a_row_of_a_line_that_was_none(bench: Bench) -> None:
    ragged = bench.rejected(6)
    corrections.correct(bench.quarantine, {ragged: {"part": "ragged", "holes": "1", "weight": "1"}}, note="two lines")
    bench.replay(records=(ragged,))
    assert bench.parts() == ["brick", "ragged"]


def test_a_discarded_row_stays_in_quarantine_and_is_not_open(each_bench: Bench) -> None:
    plate = each_bench.rejected(3)
    corrections.discard(each_bench.quarantine, [plate], note="a test", by="ann")
    each_bench.replay(records=(plate,))
    row = each_bench.rows("quarantine")[plate]
    assert (row["_decision"], row["_decided_by"], each_bench.codes(plate)) == (
        "discarded",
        "ann",
        ["discarded", "holes_range"],
    )
    assert row["_decided_at"] == each_bench.quarantine.decided.by_record[plate].decided_at
    assert "holes_range" not in {entry["reason"] for entry in each_bench.quarantine.reasons()}
    assert each_bench.quarantine.states() == {"open": 3, "corrected": 0, "discarded": 1}
    assert each_bench.balanced()


def test_a_discarded_row_stays_out_when_the_rule_is_dropped_and_comes_in_when_it_is_reopened(bench: Bench) -> None:
    plate = bench.rejected(3)
    corrections.discard(bench.quarantine, [plate], note="a test")
    bench.agree([COLUMNS[0], whole("holes"), COLUMNS[2]])
    bench.run()
    assert (bench.parts(), bench.codes(plate)) == (["brick"], ["discarded"])
    corrections.reopen(bench.quarantine, [plate], note="it was real")
    assert list(bench.quarantine.pending()) == [plate]
    bench.replay(pending=True)
    assert bench.parts() == ["brick", "plate"]
    assert bench.balanced()


def test_a_discarded_row_never_displaces_another_of_its_key(bench: Bench) -> None:
    brick = bench.rejected(2)
    bench.land("part,holes,weight\nbrick,9,9\n", name="b.csv")
    bench.run()
    assert [row["holes"] for row in bench.rows("silver").values()] == [9]
    newer = next(iter(bench.rows("silver")))
    corrections.discard(bench.quarantine, [newer], note="a mistake")
    bench.replay(records=(newer,))
    assert list(bench.rows("silver")) == [brick]
    assert bench.balanced()


def test_reopening_a_corrected_row_judges_it_as_it_arrived(bench: Bench) -> None:
    plate = bench.rejected(3)
    corrections.correct(bench.quarantine, {plate: {"holes": "8"}}, note="counted")
    bench.run()
    [act] = corrections.reopen(bench.quarantine, [plate], note="miscounted")
    assert act["place"] == "clean"
    bench.replay(records=(plate,))
    assert (bench.parts(), bench.codes(plate), bench.rows("quarantine")[plate]["_decision"]) == (
        ["brick"], ["holes_range"], "open",
    )  # fmt: skip


def test_after_a_contract_was_mended_the_rows_with_that_reason_are_judged_again(bench: Bench) -> None:
    bench.agree([COLUMNS[0], whole("holes", logicalTypeOptions={"minimum": 0}), text("weight")])
    result = bench.replay(reason="holes_range", note="flat plates exist")
    assert (result["records"], result["clean"]) == (1, 1)
    assert bench.parts() == ["brick", "plate", "tile"]
    assert bench.balanced()


def test_only_the_partitions_concerned_are_materialized_and_each_run_shows_why(build: Build) -> None:
    bench = build(partitions=DAYS)
    for day in (DAY, NEXT, LATER):
        bench.land(f"part,holes,weight\nbrick {day},4,2\nplate {day},0,1\n", day=day)
    bench.run()
    chosen = {day: bench.rejected(3, day=day) for day in (DAY, NEXT, LATER)}
    wanted = {chosen[day]: {"holes": "2"} for day in (DAY, LATER)}
    corrections.correct(bench.quarantine, wanted, note="counted")
    kept = {row for row in bench.rows("silver") if bench.rows("bronze")[row]["_partition"] == NEXT}
    result = bench.replay(pending=True, note="counted", by="ann")
    assert (result["partitions"], len(result["runs"]), result["clean"]) == ([DAY, LATER], 2, 2)
    assert sorted(bench.rows("quarantine")) == [chosen[NEXT]]
    assert kept <= set(bench.rows("silver"))
    assert bench.balanced()
    runs = [bench.instance.get_run_by_id(run_id) for run_id in result["runs"]]
    assert [run.tags["goldpath/note"] for run in runs if run] == ["counted", "counted"]
    ranges = [run.tags["dagster/asset_partition_range_start"] for run in runs if run]
    assert ranges == [DAY, LATER]
    replays = [made for made in decisions.recorded(bench.platform.lakehouse, bench.table) if made.act == "replay"]
    assert [(made.record_id, made.run_id) for made in replays] == list(zip(wanted, result["runs"], strict=True))


def test_a_decision_whose_replay_never_came_is_applied_by_the_next_run(bench: Bench) -> None:
    plate = bench.rejected(3)
    corrections.correct(bench.quarantine, {plate: {"holes": "8"}}, note="counted")
    bench.run()
    assert bench.parts() == ["brick", "plate"]
    assert bench.balanced()


def test_replaying_twice_changes_nothing(quick: Bench) -> None:
    plate, tile = quick.rejected(3), quick.rejected(5)
    corrections.correct(quick.quarantine, {plate: {"holes": "8"}}, note="counted")
    corrections.discard(quick.quarantine, [tile], note="a test")
    quick.replay(records=(plate, tile))
    before = quick.rows("silver"), quick.rows("quarantine")
    quick.replay(records=(plate, tile))
    assert (quick.rows("silver"), quick.rows("quarantine")) == before


def test_every_act_is_on_record_in_order(quick: Bench) -> None:
    plate = quick.rejected(3)
    corrections.correct(quick.quarantine, {plate: {"holes": "8"}}, note="counted", by="ann")
    corrections.discard(quick.quarantine, [plate], note="a test", by="bob")
    corrections.reopen(quick.quarantine, [plate], note="it was real", by="ann")
    quick.replay(records=(plate,), note="at last", by="bob")
    found = decisions.recorded(quick.platform.lakehouse, quick.table, [plate])
    assert [(made.act, made.decided_by, made.note) for made in found] == [
        ("correct", "ann", "counted"), ("discard", "bob", "a test"), ("reopen", "ann", "it was real"),
        ("replay", "bob", "at last"),
    ]  # fmt: skip
    assert len({made.decision_id for made in found}) == 4
    assert {(made.table, made.partition) for made in found} == {(quick.table, DAY)}


def test_dagster_is_told_how_many_rows_wait_and_why(quick: Bench) -> None:
    plate, tile = quick.rejected(3), quick.rejected(5)
    corrections.discard(quick.quarantine, [plate], note="a test")
    corrections.correct(quick.quarantine, {tile: {"weight": "y"}}, note="guessed")
    quick.run()
    figures = said(quick)
    assert {name: figures[name] for name in ("rows_open", "rows_corrected", "rows_discarded")} == {
        "rows_open": 2, "rows_corrected": 1, "rows_discarded": 1,
    }  # fmt: skip
    assert {name: value for name, value in figures.items() if name.startswith("rejected:")} == {
        "rejected: part_required": 1, "rejected: malformed_row": 1, "rejected: weight_type": 1,
    }  # fmt: skip
    assert [row.data["reason"] for row in figures["reasons"].records] == [
        "malformed_row",
        "part_required",
        "weight_type",
    ]
    assert figures["rejected_by_reason"].startswith("![plot](data:image/png;base64,")


def test_the_decisions_are_an_input_of_the_run_that_applies_them(quick: Bench) -> None:
    corrections.discard(quick.quarantine, [quick.rejected(3)], note="a test")
    quick.run()
    event = quick.platform.lineage.producer_of(str(quick.table))
    assert event is not None
    assert str(decisions.DECISIONS) in {entry["name"] for entry in event["inputs"]}


def test_a_correction_of_a_clean_row_says_so(quick: Bench) -> None:
    brick = quick.rejected(2)
    [act] = corrections.correct(quick.quarantine, {brick: {"holes": "6"}}, note="recounted")
    assert act["place"] == "clean"
    quick.replay(records=(brick,))
    assert quick.rows("silver")[brick]["holes"] == 6


def test_what_upkeep_wrote_anew_is_found_as_before(quick: Bench) -> None:
    plate, house = quick.rejected(3), quick.platform.lakehouse
    corrections.discard(quick.quarantine, [plate], note="a test")
    before = quick.quarantine.record(plate)
    for table, column in (
        (quick.quarantine.bronze, "part"), (quick.quarantine.at.table, RECORD_ID), (decisions.DECISIONS, "note"),
    ):  # fmt: skip
        house.snapshot(table).delta.optimize.z_order([column])
    after = quick.quarantine.record(plate)
    assert after | {"version": before["version"]} == before
    assert quick.quarantine.states()["discarded"] == 1


def test_rows_are_listed_by_reason_partition_and_state(build: Build) -> None:
    bench = build(partitions=DAYS)
    bench.land(day=DAY)
    bench.land("part,holes,weight\nplate,0,1\n", day=NEXT, name="b.csv")
    bench.run()
    corrections.discard(bench.quarantine, [bench.rejected(3)], note="a test")
    here = bench.quarantine
    assert [row["row_number"] for row in here.rows(reason="part_required")] == [4]
    assert [row["partition"] for row in here.rows(reason="holes_range")] == [NEXT]
    assert [row["row_number"] for row in here.rows(partition=DAY)] == [4, 5, 6]
    assert [row["row_number"] for row in here.rows(states=("discarded",))] == [3]
    assert len(here.rows(limit=2)) == 2
    assert overview(bench.platform) == [
        {"table": f"toys/{bench.name}", "open": 4, "corrected": 0, "discarded": 1, "pending": 1}
    ]


def test_a_table_rule_that_fails_leaves_the_decision_recorded_and_the_version_published(quick: Bench) -> None:
    plate = quick.rejected(3)
    before = quick.rows("silver")
    heavy = {"name": "light", "type": "sql", "query": "max(holes)", "mustBeLessOrEqualTo": 5}
    quick.agree([*COLUMNS], quality=[heavy])
    corrections.correct(quick.quarantine, {plate: {"holes": "8"}}, note="counted")
    with pytest.raises(VerdictError, match="light saw 8"):
        quick.replay(records=(plate,))
    assert quick.rows("silver") == before
    assert [act for act, _ in quick.acts()] == ["correct", "replay"]


def test_what_cannot_be_done_is_refused_and_not_recorded(quick: Bench) -> None:
    plate, here = quick.rejected(3), quick.quarantine
    with pytest.raises(NotFoundError, match="source columns: part, holes, weight"):
        corrections.correct(here, {plate: {"hole": "8"}}, note="counted")
    with pytest.raises(NotFoundError, match="1 of 2 ids"):
        corrections.discard(here, [plate, "nobody"], note="a test")
    with pytest.raises(SettingsError, match="no note"):
        corrections.discard(here, [plate], note=" ")
    with pytest.raises(SettingsError, match="no value"):
        corrections.correct(here, {plate: {}}, note="counted")
    with pytest.raises(NotFoundError, match="nothing was decided"):
        corrections.reopen(here, [plate], note="why not")
    with pytest.raises(NotFoundError, match="one of holes_range, malformed_row"):
        here.rows(reason="holes")
    with pytest.raises(NotFoundError, match="one of 2013-01-01"):
        here.rows(partition="2014-01-01")
    with pytest.raises(SettingsError, match="--pending"):
        quick.replay()
    with pytest.raises(NotFoundError, match="none is pending"):
        quick.replay(pending=True)
    with pytest.raises(NotFoundError, match="no partitions"):
        quick.replay(partitions=(DAY,))
    assert quick.acts() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '[{"_record_id": "a1", "holes": 8, "weight": null}]'),
        ("c.jsonl", '{"_record_id": "a1", "holes": 8, "weight": null}\n'),
    ],
)
def test_corrections_of_a_file_are_text_and_null_is_no_value(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert corrections.read(path) == {"a1": {"holes": "8", "weight": None}}


def test_an_empty_cell_of_a_csv_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('_record_id,holes,weight\na1,8,\na2,,"1,5"\n', encoding="utf-8")
    assert corrections.read(path) == {"a1": {"holes": "8"}, "a2": {"weight": "1,5"}}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("c.json", "{", "JSONDecodeError"),
        ("c.json", '[{"holes": "8"}]', "_record_id"),
        ("c.csv", "_record_id,holes\na1,8\na1,9\n", "a1 more than once"),
        ("c.csv", "_record_id,holes\n", "no record"),
        ("c.xlsx", "", "xlsx"),
    ],
)
def test_a_file_that_is_no_list_of_corrections_is_refused(tmp_path: Path, name: str, content: str, match: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=match):
        corrections.read(path)
