"""Rejected rows are corrected, discarded, reopened and judged again; no row is lost, and every act is recorded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.engine.session import Engine
from pipelines.errors import NotFoundError, SettingsError, VerdictError
from pipelines.governed.platform import Platform
from pipelines.quarantine import corrections, decisions
from pipelines.quarantine.table import overview
from pipelines.quarantine.traces import trace
from pipelines.tables import RECORD_ID
from tests.pipelines.toy_contracts import integer, text
from tests.pipelines.toy_pipeline import COLUMNS, DAY, DAYS, NEXT
from tests.pipelines.toy_quarantine import LATER, ToyQuarantine

_names = itertools.count()


class Past(datetime):
    """The clock, an hour back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Past:
        return super().now(tz) - timedelta(hours=1)


Make = Callable[..., ToyQuarantine]


@pytest.fixture
def dagster_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def make(engine: Engine, tmp_path: Path, dagster_instance: dg.DagsterInstance) -> Make:
    """Makes tables on the suite's engine; nothing has landed yet."""

    def build(**more: Any) -> ToyQuarantine:
        return ToyQuarantine.build(engine, tmp_path, dagster_instance, name=f"quarantined_{next(_names)}", **more)

    return build


@pytest.fixture
def toy(make: Make) -> ToyQuarantine:
    """A table after its first run: brick is clean, and rows 3 to 6 are rejected."""
    toy = make()
    toy.land()
    toy.run()
    return toy


@pytest.fixture
def toy_each_engine(each_engine: Engine, tmp_path: Path, dagster_instance: dg.DagsterInstance) -> ToyQuarantine:
    """The same on both engines in turn."""
    toy = ToyQuarantine.build(each_engine, tmp_path, dagster_instance, name=f"quarantined_{next(_names)}")
    toy.land()
    toy.run()
    return toy


def test_without_decisions_every_rejected_row_is_open(toy: ToyQuarantine) -> None:
    marks = [(row["_decision"], row["_decided_at"], row["_decided_by"]) for row in toy.rows("quarantine").values()]
    assert marks == [("open", None, None)] * 4
    assert toy.quarantine.states() == {"open": 4, "corrected": 0, "discarded": 0}
    assert {entry["reason"]: entry["rows"] for entry in toy.quarantine.reasons()} == {
        "part_required": 1, "holes_range": 1, "weight_type": 1, "malformed_row": 1,
    }  # fmt: skip


def test_a_corrected_row_is_clean_and_keeps_its_record_id_and_its_source_row(toy_each_engine: ToyQuarantine) -> None:
    toy = toy_each_engine
    plate = toy.record_id(3)
    [act] = corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted", by="ann")
    assert act["place"] == "quarantined"
    assert (toy.quarantine.states()["corrected"], list(toy.quarantine.pending())) == (
        1,
        [plate],
    )
    result = toy.replay(pending=True)
    assert (result["clean"], result["quarantined"]) == (1, 0)
    assert toy.rows("silver")[plate]["holes"] == 8
    assert toy.rows("bronze")[plate]["holes"] == "0"
    assert toy.every_row_is_in_one_table()
    traced = trace(toy.platform, "toys", plate)
    assert traced is not None
    assert (traced["row"], traced["line"]) == (3, "plate,0,1")
    assert [(decision["act"], decision["by"], decision["values"]) for decision in traced["decisions"]] == [
        ("correct", "ann", {"holes": "8"})
    ]
    record = toy.quarantine.record(plate)
    assert (record["place"], record["arrived"]["holes"], record["row"]) == ("clean", "0", 3)
    assert [(decision["act"], decision["decided_by"], dict(decision["values"])) for decision in record["decisions"]] == [
        ("correct", "ann", {"holes": "8"}), ("replay", "ann", {}),
    ]  # fmt: skip


def test_a_row_that_is_still_wrong_after_its_correction_stays_with_new_reasons_and_the_corrected_row(
    toy: ToyQuarantine,
) -> None:
    tile = toy.record_id(5)
    corrections.correct(toy.quarantine, {tile: {"weight": "heavy", "holes": "-1"}}, note="guessed")
    toy.replay(records=(tile,))
    row = toy.rows("quarantine")[tile]
    assert sorted(toy.codes(tile)) == ["holes_range", "weight_type"]
    assert json.loads(row["_row"])["holes"] == "-1"
    assert (row["_decision"], row["_source_row"]) == ("corrected", 5)
    assert toy.quarantine.states() == {"open": 3, "corrected": 1, "discarded": 0}
    assert not toy.quarantine.pending()
    assert toy.every_row_is_in_one_table()


def test_a_correction_to_the_key_of_another_row_is_refused_unless_the_winner_may_decide(
    toy_each_engine: ToyQuarantine,
) -> None:
    toy = toy_each_engine
    nameless, ragged, brick = toy.record_id(4), toy.record_id(6), toy.record_id(2)
    with pytest.raises(SettingsError, match=f"key of record {brick}"):
        corrections.correct(toy.quarantine, {nameless: {"part": " Brick"}}, note="guessed")
    with pytest.raises(SettingsError, match="2 more|and one would take the place"):
        corrections.correct(toy.quarantine, {nameless: {"part": "axle"}, ragged: {"part": "AXLE"}}, note="guessed")
    assert toy.acts() == []
    corrections.correct(toy.quarantine, {nameless: {"part": "axle"}}, note="seen")
    corrections.correct(toy.quarantine, {toy.record_id(3): {"holes": "4"}}, note="its own key stays")
    corrections.correct(toy.quarantine, {ragged: {"part": "brick", "holes": "9"}}, note="it is newer", keys="any")
    toy.run()
    assert (toy.parts(), toy.rows("silver")[ragged]["holes"]) == (["axle", "brick", "plate"], 9)


def test_the_later_of_two_corrections_counts_although_the_clock_was_set_back(
    toy: ToyQuarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = toy.record_id(3)
    corrections.correct(toy.quarantine, {plate: {"holes": "3"}}, note="first")
    with monkeypatch.context() as set_back:
        set_back.setattr(decisions, "datetime", Past)
        corrections.correct(toy.quarantine, {plate: {"holes": "5"}}, note="second")
    toy.run()
    assert toy.rows("silver")[plate]["holes"] == 5
    history = toy.quarantine.record(plate)["decisions"]
    assert [(act["note"], act["sequence"]) for act in history] == [("first", 1), ("second", 2)]
    assert history[1]["decided_at"] < history[0]["decided_at"]


def test_a_later_correction_replaces_the_values_that_it_names_and_keeps_the_others(toy: ToyQuarantine) -> None:
    tile = toy.record_id(5)
    corrections.correct(toy.quarantine, {tile: {"weight": "1", "holes": "5"}}, note="first")
    corrections.correct(toy.quarantine, {tile: {"weight": "2"}}, note="second")
    toy.run()
    assert (toy.rows("silver")[tile]["weight"], toy.rows("silver")[tile]["holes"]) == (2.0, 5)
    corrections.correct(toy.quarantine, {tile: {"holes": None}}, note="nobody knows")
    toy.run()
    assert (toy.rows("silver")[tile]["weight"], toy.rows("silver")[tile]["holes"]) == (2.0, None)
    assert toy.every_row_is_in_one_table()


def test_a_malformed_line_is_a_clean_row_after_its_correction(toy: ToyQuarantine) -> None:
    ragged = toy.record_id(6)
    corrections.correct(toy.quarantine, {ragged: {"part": "ragged", "holes": "1", "weight": "1"}}, note="two lines")
    toy.replay(records=(ragged,))
    assert toy.parts() == ["brick", "ragged"]


def test_a_discarded_row_stays_in_quarantine_and_is_not_open(toy_each_engine: ToyQuarantine) -> None:
    toy = toy_each_engine
    plate = toy.record_id(3)
    corrections.discard(toy.quarantine, [plate], note="a test", by="ann")
    toy.replay(records=(plate,))
    row = toy.rows("quarantine")[plate]
    assert (row["_decision"], row["_decided_by"], toy.codes(plate)) == (
        "discarded",
        "ann",
        ["discarded", "holes_range"],
    )
    assert row["_decided_at"] == toy.quarantine.in_effect.by_record[plate].decided_at
    assert "holes_range" not in {entry["reason"] for entry in toy.quarantine.reasons()}
    assert toy.quarantine.states() == {"open": 3, "corrected": 0, "discarded": 1}
    assert toy.every_row_is_in_one_table()


def test_a_discarded_row_stays_rejected_without_the_rule_that_it_broke_and_is_clean_once_reopened(
    toy: ToyQuarantine,
) -> None:
    plate = toy.record_id(3)
    corrections.discard(toy.quarantine, [plate], note="a test")
    toy.change_contract([COLUMNS[0], integer("holes"), COLUMNS[2]])
    toy.run()
    assert (toy.parts(), toy.codes(plate)) == (["brick"], ["discarded"])
    corrections.reopen(toy.quarantine, [plate], note="it was real")
    assert list(toy.quarantine.pending()) == [plate]
    toy.replay(pending=True)
    assert toy.parts() == ["brick", "plate"]
    assert toy.every_row_is_in_one_table()


def test_a_discarded_row_does_not_supersede_another_row_with_its_key(toy: ToyQuarantine) -> None:
    brick = toy.record_id(2)
    toy.land("part,holes,weight\nbrick,9,9\n", name="b.csv")
    toy.run()
    assert [row["holes"] for row in toy.rows("silver").values()] == [9]
    newer = next(iter(toy.rows("silver")))
    corrections.discard(toy.quarantine, [newer], note="a mistake")
    toy.replay(records=(newer,))
    assert list(toy.rows("silver")) == [brick]
    assert toy.every_row_is_in_one_table()


def test_reopening_a_corrected_row_judges_it_as_it_arrived(toy: ToyQuarantine) -> None:
    plate = toy.record_id(3)
    corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted")
    toy.run()
    [act] = corrections.reopen(toy.quarantine, [plate], note="miscounted")
    assert act["place"] == "clean"
    toy.replay(records=(plate,))
    assert (toy.parts(), toy.codes(plate), toy.rows("quarantine")[plate]["_decision"]) == (
        ["brick"], ["holes_range"], "open",
    )  # fmt: skip


def test_a_replay_by_reason_after_a_contract_change_publishes_the_rows_that_pass_now(toy: ToyQuarantine) -> None:
    toy.change_contract([COLUMNS[0], integer("holes", logicalTypeOptions={"minimum": 0}), text("weight")])
    result = toy.replay(reason="holes_range", note="flat plates exist")
    assert (result["records"], result["clean"]) == (1, 1)
    assert toy.parts() == ["brick", "plate", "tile"]
    assert toy.every_row_is_in_one_table()


def test_a_replay_materializes_only_the_partitions_of_its_rows_and_tags_each_run_with_the_note(make: Make) -> None:
    toy = make(partitions=DAYS)
    for day in (DAY, NEXT, LATER):
        toy.land(f"part,holes,weight\nbrick {day},4,2\nplate {day},0,1\n", day=day)
    toy.run()
    chosen = {day: toy.record_id(3, day=day) for day in (DAY, NEXT, LATER)}
    wanted = {chosen[day]: {"holes": "2"} for day in (DAY, LATER)}
    corrections.correct(toy.quarantine, wanted, note="counted")
    clean_on_other_day = {
        record_id for record_id in toy.rows("silver") if toy.rows("bronze")[record_id]["_partition"] == NEXT
    }
    result = toy.replay(pending=True, note="counted", by="ann")
    assert (result["partitions"], len(result["runs"]), result["clean"]) == ([DAY, LATER], 2, 2)
    assert sorted(toy.rows("quarantine")) == [chosen[NEXT]]
    assert clean_on_other_day <= set(toy.rows("silver"))
    assert toy.every_row_is_in_one_table()
    runs = [toy.instance.get_run_by_id(run_id) for run_id in result["runs"]]
    assert [run.tags["goldpath/note"] for run in runs if run] == ["counted", "counted"]
    ranges = [run.tags["dagster/asset_partition_range_start"] for run in runs if run]
    assert ranges == [DAY, LATER]
    replays = [
        decision for decision in decisions.recorded(toy.platform.lakehouse, toy.table) if decision.act == "replay"
    ]
    assert [(decision.record_id, decision.run_id) for decision in replays] == list(
        zip(wanted, result["runs"], strict=True)
    )


def test_a_decision_without_a_replay_takes_effect_in_the_next_run(toy: ToyQuarantine) -> None:
    plate = toy.record_id(3)
    corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted")
    toy.run()
    assert toy.parts() == ["brick", "plate"]
    assert toy.every_row_is_in_one_table()


def test_a_second_replay_changes_no_row(toy: ToyQuarantine) -> None:
    plate, tile = toy.record_id(3), toy.record_id(5)
    corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted")
    corrections.discard(toy.quarantine, [tile], note="a test")
    toy.replay(records=(plate, tile))
    before = toy.rows("silver"), toy.rows("quarantine")
    toy.replay(records=(plate, tile))
    assert (toy.rows("silver"), toy.rows("quarantine")) == before


def test_every_act_is_recorded_in_order(toy: ToyQuarantine) -> None:
    plate = toy.record_id(3)
    corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted", by="ann")
    corrections.discard(toy.quarantine, [plate], note="a test", by="bob")
    corrections.reopen(toy.quarantine, [plate], note="it was real", by="ann")
    toy.replay(records=(plate,), note="at last", by="bob")
    acts = decisions.recorded(toy.platform.lakehouse, toy.table, [plate])
    assert [(decision.act, decision.decided_by, decision.note) for decision in acts] == [
        ("correct", "ann", "counted"), ("discard", "bob", "a test"), ("reopen", "ann", "it was real"),
        ("replay", "bob", "at last"),
    ]  # fmt: skip
    assert len({decision.decision_id for decision in acts}) == 4
    assert {(decision.table, decision.partition) for decision in acts} == {(toy.table, DAY)}


def test_a_materialization_shows_how_many_rows_are_in_each_state_and_why(toy: ToyQuarantine) -> None:
    plate, tile = toy.record_id(3), toy.record_id(5)
    corrections.discard(toy.quarantine, [plate], note="a test")
    corrections.correct(toy.quarantine, {tile: {"weight": "y"}}, note="guessed")
    toy.run()
    figures = toy.metadata()
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
    assert figures["rejected_by_reason"].startswith("![plot](data:image/svg+xml;base64,")


def test_decisions_are_a_lineage_input_of_the_run_that_applies_them(toy: ToyQuarantine) -> None:
    corrections.discard(toy.quarantine, [toy.record_id(3)], note="a test")
    toy.run()
    event = toy.platform.lineage.producer_of(str(toy.table))
    assert event is not None
    assert str(decisions.DECISIONS) in {entry["name"] for entry in event["inputs"]}


def test_a_correction_of_a_clean_row_names_its_place_and_changes_the_row(toy: ToyQuarantine) -> None:
    brick = toy.record_id(2)
    [act] = corrections.correct(toy.quarantine, {brick: {"holes": "6"}}, note="recounted")
    assert act["place"] == "clean"
    toy.replay(records=(brick,))
    assert toy.rows("silver")[brick]["holes"] == 6


def test_records_are_found_after_upkeep_rewrote_the_tables(toy: ToyQuarantine) -> None:
    plate, house = toy.record_id(3), toy.platform.lakehouse
    corrections.discard(toy.quarantine, [plate], note="a test")
    before = toy.quarantine.record(plate)
    for table, column in (
        (toy.quarantine.bronze, "part"), (toy.quarantine.at.table, RECORD_ID), (decisions.DECISIONS, "note"),
    ):  # fmt: skip
        house.snapshot(table).delta.optimize.z_order([column])
    after = toy.quarantine.record(plate)
    assert after | {"version": before["version"]} == before
    assert toy.quarantine.states()["discarded"] == 1


def test_rows_are_filtered_by_reason_partition_state_and_limit(make: Make) -> None:
    toy = make(partitions=DAYS)
    toy.land(day=DAY)
    toy.land("part,holes,weight\nplate,0,1\n", day=NEXT, name="b.csv")
    toy.run()
    corrections.discard(toy.quarantine, [toy.record_id(3)], note="a test")
    quarantine = toy.quarantine
    assert [row["row_number"] for row in quarantine.rows(reason="part_required")] == [4]
    assert [row["partition"] for row in quarantine.rows(reason="holes_range")] == [NEXT]
    assert [row["row_number"] for row in quarantine.rows(partition=DAY)] == [4, 5, 6]
    assert [row["row_number"] for row in quarantine.rows(states=("discarded",))] == [3]
    assert len(quarantine.rows(limit=2)) == 2
    without_contracts = Platform(toy.platform.settings, dict)
    assert (
        overview(without_contracts)
        == overview(toy.platform)
        == [{"table": f"toys/{toy.name}", "open": 4, "corrected": 0, "discarded": 1, "pending": 1}]
    )


def test_a_replay_that_breaks_a_table_rule_raises_and_leaves_the_decision_and_the_published_version(
    toy: ToyQuarantine,
) -> None:
    plate = toy.record_id(3)
    before = toy.rows("silver")
    few_holes = {"name": "light", "type": "sql", "query": "max(holes)", "mustBeLessOrEqualTo": 5}
    toy.change_contract([*COLUMNS], quality=[few_holes])
    corrections.correct(toy.quarantine, {plate: {"holes": "8"}}, note="counted")
    with pytest.raises(VerdictError, match="light saw 8"):
        toy.replay(records=(plate,))
    assert toy.rows("silver") == before
    assert [act for act, _ in toy.acts()] == ["correct", "replay"]


def test_an_invalid_act_or_choice_is_refused_and_not_recorded(toy: ToyQuarantine) -> None:
    plate, quarantine = toy.record_id(3), toy.quarantine
    with pytest.raises(NotFoundError, match="source columns: part, holes, weight"):
        corrections.correct(quarantine, {plate: {"hole": "8"}}, note="counted")
    with pytest.raises(NotFoundError, match="1 of 2 ids"):
        corrections.discard(quarantine, [plate, "nobody"], note="a test")
    with pytest.raises(SettingsError, match="no note"):
        corrections.discard(quarantine, [plate], note=" ")
    with pytest.raises(SettingsError, match="no value"):
        corrections.correct(quarantine, {plate: {}}, note="counted")
    with pytest.raises(NotFoundError, match="nothing was decided"):
        corrections.reopen(quarantine, [plate], note="why not")
    with pytest.raises(NotFoundError, match="one of holes_range, malformed_row"):
        quarantine.rows(reason="holes")
    with pytest.raises(NotFoundError, match="one of 2013-01-01"):
        quarantine.rows(partition="2014-01-01")
    with pytest.raises(SettingsError, match="--pending"):
        toy.replay()
    with pytest.raises(NotFoundError, match="none is pending"):
        toy.replay(pending=True)
    with pytest.raises(NotFoundError, match="no partitions"):
        toy.replay(partitions=(DAY,))
    assert toy.acts() == []
