"""Rollouts as people and the evidence move them, on a real registry; only the candidate's program is a toy."""

from __future__ import annotations

import contextlib
import getpass
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import DamagedError, GoldpathError, ModelError, NotFoundError, SettingsError
from pipelines.machine.locks import LockTimeout
from pipelines.models import decisions, promotion
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.rollout_plan import Plan
from pipelines.rollout import control, evidence, moves, report, routes, state
from pipelines.rollout.assets import begun
from pipelines.rollout.rollout_asset import check_result
from tests.pipelines.rollout import arms
from tests.pipelines.rollout.arms import Killed
from tests.pipelines.rollout.toy_service import PLAN, ToyRollout, registered, toy_service

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")


@pytest.fixture
def candidate(toy: ToyRollout) -> ToyRollout:
    """A rollout in its first stage."""
    toy.started()
    toy.controller().look()
    return toy


def shares(toy: ToyRollout) -> float | str | None:
    """What the route says of the candidate's share; `no route` without one."""
    return "no route" if toy.route is None else toy.route.share


def test_a_good_version_goes_through_every_stage_and_becomes_the_champion(toy: ToyRollout) -> None:
    toy.started()
    assert shares(toy) == "no route"
    controller, seen = toy.controller(), []
    while (at := controller.look()) is not None and at.status == "running":
        seen.append((at.stage, shares(toy)))
        toy.asked()
    assert seen == [(0, None), (1, 0.5), (2, 1.0)]
    assert at is not None
    assert (at.status, shares(toy)) == ("promoting", 1.0)
    at = controller.look()
    assert at is not None
    assert (at.status, toy.champion, toy.route) == ("promoted", 2, None)
    decided = decisions.read(toy.settings, toy.name)[-1]
    assert (decided.act, decided.version, decided.decided_by) == ("promote", 2, "rollout")
    assert "no guard broke" in decided.because
    assert toy.steps() == ["start", "stage", "stage", "stage", "promoted"]
    assert arms.calls(toy.settings) == ["start", "finish", "stop"]
    assert controller.look() is None
    # What is the champion already begins no rollout again.
    assert begun(toy.settings, toy.spec, promoted(toy)) == "no newer version passed its gate"


def promoted(toy: ToyRollout) -> RegisteredModel:
    champion = Registry(toy.settings).champion(toy.name)
    assert champion is not None
    return champion


def test_a_version_that_fails_goes_back_and_the_gate_does_not_start_it_again(
    candidate: ToyRollout, tmp_path: Path
) -> None:
    candidate.asked(failed=True)
    at = candidate.controller().look()
    assert at is not None
    assert (at.status, candidate.champion, candidate.route) == ("returned", 1, None)
    assert at.because.startswith("errors: 1.0000 against 0.0000")
    assert candidate.steps() == ["start", "back", "returned"]
    back = state.history(candidate.settings, at)[-2]
    assert back["answers"] == {"stable": 60, "candidate": 60}
    assert [figure["guard"] for figure in back["figures"] if figure["broken"]] == ["errors"]
    assert list(back["evidence"]) == ["evidence-toy.jsonl"]
    with pytest.raises(ModelError, match="a rollout sent its files back: errors"):
        candidate.started(by="gate")
    same = registered(candidate.settings, candidate.name, tmp_path, b"2", gate="passed")
    with pytest.raises(ModelError, match="sent its files back"):
        candidate.started(same.version, by="gate")
    # A person may; and what a later rollout promoted was sent back by none.
    candidate.started()
    control_to_the_end(candidate)
    assert candidate.champion == 2
    assert state.rejected(candidate.settings, candidate.name) == {}


def control_to_the_end(toy: ToyRollout) -> None:
    """A person promotes the candidate in its first stage."""
    toy.controller().look()
    control.promote(toy.settings, toy.name, because="I looked", full=True)
    toy.controller().look()


def refusal(toy: ToyRollout, call: Callable[[], object], kind: type[GoldpathError], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()
    assert toy.route is None


def test_a_rollout_that_cannot_begin_is_refused(toy: ToyRollout) -> None:
    bare = ToyRollout(toy.settings, toy_service(toy.spec.model, None))
    risky = ToyRollout(toy.settings, toy_service(replace(toy.spec.model, risk="high")))
    refusal(toy, bare.started, SettingsError, "declares no plan")
    refusal(toy, lambda: control.start(toy.settings, toy.spec, 2, because=" "), SettingsError, "no reason is given")
    refusal(toy, lambda: toy.started(1), SettingsError, "it is the champion")
    refusal(toy, lambda: toy.started(9), NotFoundError, "bricks@9")
    refusal(toy, risky.started, ModelError, "no person has approved it")
    assert state.every(toy.settings, toy.name) == []
    promotion.approve(toy.settings, risky.spec.model, 2, because="read the card")
    assert risky.started().status == "starting"
    refusal(toy, toy.started, ModelError, "is under way")


def test_a_first_version_has_nothing_to_be_compared_with(toy: ToyRollout) -> None:
    Registry(toy.settings).client.delete_registered_model_alias(toy.name, "champion")
    with pytest.raises(NotFoundError, match="has no champion"):
        toy.started()


def test_people_pause_go_on_promote_and_abort_each_with_a_reason(candidate: ToyRollout) -> None:
    settings, name = candidate.settings, candidate.name
    for act in (control.pause, control.promote, control.abort):
        with pytest.raises(SettingsError, match="no reason"):
            act(settings, name, because="")
    with pytest.raises(NotFoundError, match="one that is paused"):
        control.resume(settings, name, because="go on")
    control.pause(settings, name, because="lunch")
    candidate.asked()
    controller = candidate.controller()
    at = controller.look()
    assert at is not None
    assert (at.status, at.stage, shares(candidate)) == ("paused", 0, None)
    assert at.because == f"{getpass.getuser()}: lunch"
    control.resume(settings, name, because="back")
    at = controller.look()
    assert at is not None
    assert (at.status, at.stage, shares(candidate)) == ("running", 1, 0.5)
    at = control.promote(settings, name, because="good enough")
    assert (at.stage, shares(candidate)) == (2, 1.0)
    at = control.abort(settings, name, because="no, it is not")
    assert (at.status, candidate.route) == ("returning", None)
    at = controller.look()
    assert at is not None
    assert (at.status, candidate.champion) == ("returned", 1)
    assert candidate.steps() == ["start", "pause", "resume", "stage", "promote", "back", "returned"]
    who = [step["by"] for step in state.history(settings, at) if step["what"] in ("pause", "promote", "back", "stage")]
    assert who == [getpass.getuser(), "rollout", getpass.getuser(), getpass.getuser()]
    with pytest.raises(NotFoundError, match="none is under way"):
        control.abort(settings, name, because="again")


def test_a_broken_guard_ends_a_paused_rollout_too(candidate: ToyRollout) -> None:
    control.pause(candidate.settings, candidate.name, because="lunch")
    candidate.asked(failed=True)
    candidate.controller().look()
    assert candidate.newest.status == "returned"


def test_a_version_that_does_not_start_goes_back(toy: ToyRollout) -> None:
    arms.fail(toy.settings, "start")
    toy.started()
    toy.controller().look()
    assert toy.newest.status == "returned"
    assert toy.newest.because == "it did not start: it said nothing"
    assert toy.route is None


def test_a_version_that_ended_is_started_again_or_goes_back(candidate: ToyRollout) -> None:
    arms.stop(candidate.settings, candidate.spec)
    candidate.controller().look()
    assert arms.calls(candidate.settings) == ["start", "stop", "start"]
    assert candidate.newest.status == "running"
    arms.stop(candidate.settings, candidate.spec)
    arms.fail(candidate.settings, "start")
    candidate.controller().look()
    assert candidate.newest.because == "it did not start again: it said nothing"


def test_a_version_that_waits_for_another_deployment_starts_later(toy: ToyRollout) -> None:
    arms.fail(toy.settings, "start", "waits")
    toy.started()
    controller = toy.controller()
    with pytest.raises(LockTimeout):
        controller.look()
    assert (toy.newest.status, toy.route) == ("starting", None)
    arms.heal(toy.settings, "start")
    controller.look()
    assert (toy.newest.status, shares(toy)) == ("running", None)


def test_a_version_that_does_not_run_gets_no_questions_until_it_is_started_again(candidate: ToyRollout) -> None:
    assert candidate.route is not None
    arms.stop(candidate.settings, candidate.spec)
    arms.fail(candidate.settings, "start", "waits")
    with pytest.raises(LockTimeout):
        candidate.controller().look()
    assert candidate.route is None
    arms.heal(candidate.settings, "start")
    candidate.controller().look()
    assert candidate.route == candidate.newest.route


@pytest.mark.parametrize(("ends", "status", "champion"), [("good", "promoted", 2), ("bad", "returned", 1)])
def test_a_controller_that_is_killed_in_any_step_is_continued_by_the_next(
    toy: ToyRollout, monkeypatch: pytest.MonkeyPatch, ends: str, status: str, champion: int
) -> None:
    """It ends before and after each of its writes and calls, once in each status and stage."""
    places: set[tuple[str, str, str, int]] = set()

    def ends_once(when: str, name: str) -> None:
        place = (when, name, toy.newest.status, toy.newest.stage)
        if place not in places:
            places.add(place)
            raise Killed(place)

    def killing(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            ends_once("before", name)
            result = real(*arguments, **more)
            ends_once("after", name)
            return result

        return call

    toy.started()
    for module, names in {
        state: ("note", "save"), routes: ("write", "remove"), arms: ("start", "stop", "finish"),
        decisions: ("note",), Registry: ("promote",),
    }.items():  # fmt: skip
        for name in names:
            monkeypatch.setattr(module, name, killing(f"{module.__name__}.{name}", getattr(module, name)))
    while not toy.newest.ended:
        if toy.newest.status == "running":
            toy.asked(60, failed=ends == "bad")
        with contextlib.suppress(Killed):
            toy.controller().look()
        assert "back" not in toy.steps() or toy.route is None
    assert len(places) >= 16
    assert (toy.newest.status, toy.champion, toy.route) == (status, champion, None)
    assert not arms.running(toy.settings, toy.spec, toy.newest.candidate["digest"])
    noted = toy.steps()
    assert noted[-1] == status
    assert noted.count(status) == noted.count("start") == 1
    assert noted.count("back") == (ends == "bad")
    promotions = [each.version for each in decisions.read(toy.settings, toy.name)]
    assert promotions == ([1, 2] if champion == 2 else [1])


def test_a_candidate_that_was_found_broken_goes_back_although_the_state_was_not_saved(candidate: ToyRollout) -> None:
    state.note(candidate.settings, candidate.newest, "back", by="rollout", because="errors")
    candidate.asked()
    candidate.controller().look()
    assert (candidate.newest.status, candidate.newest.because) == ("returned", "errors")


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_clock_that_jumps_adds_a_minute_at_most(candidate: ToyRollout, hours: int) -> None:
    before = candidate.newest
    state.save(candidate.settings, replace(before, looked_at=time.time() + hours * 3600))
    at = candidate.controller().look()
    assert at is not None
    assert (at.status, at.stage) == ("running", 0)
    assert 0 <= at.minutes - before.minutes <= 1
    assert candidate.newest.looked_at == pytest.approx(time.time(), abs=60)


def test_time_without_evidence_sends_a_version_back_or_waits_for_a_person(toy: ToyRollout) -> None:
    toy = ToyRollout(toy.settings, toy_service(toy.spec.model, replace(PLAN, if_missing="pause")))
    toy.started()
    controller = toy.controller()
    controller.look()
    for _ in range(2):
        state.save(toy.settings, replace(toy.newest, minutes=60.0))
        controller.look()
        assert toy.newest.status == "paused"
        assert "60 more answers of the candidate" in toy.newest.because
        control.resume(toy.settings, toy.name, because="callers are back")
        at = controller.look()
        assert at is not None
        assert (at.status, round(at.minutes)) == ("running", 0)
    state.save(toy.settings, replace(toy.newest, minutes=60.0, plan=Plan.of(PLAN.document())))
    toy.controller().look()
    assert toy.newest.status == "returned"


def test_several_controllers_and_people_at_once_move_a_rollout_once(toy: ToyRollout) -> None:
    toy.started()
    ended: list[str] = []

    def moved(controller: control.Controller) -> None:
        while (at := controller.look()) is not None:
            ended.append(at.status)
            if at.status == "running":
                toy.asked(20)

    threads = [threading.Thread(target=moved, args=[toy.controller()]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert toy.steps() == ["start", "stage", "stage", "stage", "promoted"]
    assert ended.count("promoted") == 1
    assert arms.calls(toy.settings) == ["start", "finish", "stop"]
    assert [each.version for each in decisions.read(toy.settings, toy.name)] == [1, 2]


def test_with_a_damaged_state_the_serving_version_answers_everything(candidate: ToyRollout) -> None:
    present = candidate.newest
    control.promote(candidate.settings, candidate.name, because="on")
    assert candidate.route is not None
    path = evidence.folder(candidate.settings, candidate.name, present.rollout) / state.STATE_FILE
    intact = path.read_text()
    controller = candidate.controller()
    path.write_text(intact[:100])
    with pytest.raises(DamagedError, match="to give the rollout up, remove its folder"):
        controller.look()
    assert candidate.route is None
    with pytest.raises(DamagedError):
        control.abort(candidate.settings, candidate.name, because="stop it")
    with pytest.raises(DamagedError):
        candidate.started()
    path.write_text(intact)
    controller.look()
    assert shares(candidate) == 0.5


def test_a_step_that_cannot_be_noted_takes_the_traffic_away_and_is_done_later(candidate: ToyRollout) -> None:
    control.promote(candidate.settings, candidate.name, because="on")
    candidate.asked(failed=True)
    history = evidence.folder(candidate.settings, candidate.name, candidate.newest.rollout) / state.HISTORY_FILE
    kept = history.rename(history.with_name("kept"))
    history.mkdir()
    controller = candidate.controller()
    for _ in range(2):
        with pytest.raises(OSError, match="directory"):
            controller.look()
        assert (candidate.route, candidate.newest.status) == (None, "running")
    history.rmdir()
    kept.rename(history)
    controller.look()
    assert (candidate.newest.status, candidate.champion) == ("returned", 1)


def test_abort_takes_the_traffic_away_while_another_process_holds_the_rollout(candidate: ToyRollout) -> None:
    control.promote(candidate.settings, candidate.name, because="on")
    with moves.moving(candidate.settings, candidate.name):
        aborted = threading.Thread(target=control.abort, args=[candidate.settings, candidate.name],
                                   kwargs={"because": "wrong answers"})  # fmt: skip
        aborted.start()
        while candidate.route is not None:
            time.sleep(0.01)
    aborted.join()
    assert candidate.newest.status == "returning"


def test_a_champion_that_people_changed_meanwhile_is_not_replaced(candidate: ToyRollout, tmp_path: Path) -> None:
    third = registered(candidate.settings, candidate.name, tmp_path, b"3")
    promotion.promote(candidate.settings, candidate.spec.model, third.version, because="urgent")
    control.promote(candidate.settings, candidate.name, because="good", full=True)
    candidate.controller().look()
    assert (candidate.newest.status, candidate.champion, candidate.route) == ("returned", 3, None)
    assert "with which it was not compared" in candidate.newest.because


def test_what_a_person_rolled_back_before_the_service_had_it_is_not_promoted_again(candidate: ToyRollout) -> None:
    arms.fail(candidate.settings, "finish")
    control.promote(candidate.settings, candidate.name, because="good", full=True)
    controller = candidate.controller()
    with pytest.raises(NotFoundError, match="it said nothing"):
        controller.look()
    assert (candidate.newest.status, candidate.champion) == ("promoting", 2)
    with pytest.raises(NotFoundError, match="goldpath model rollback takes back"):
        control.abort(candidate.settings, candidate.name, because="it does not start")
    promotion.rollback(candidate.settings, candidate.spec.model, because="it does not start")
    controller.look()
    assert (candidate.newest.status, candidate.champion, candidate.route) == ("returned", 1, None)
    assert "rolled it back: it does not start" in candidate.newest.because


def test_a_service_that_does_not_take_over_what_was_promoted_is_told_of_and_asked_less_often(
    candidate: ToyRollout,
) -> None:
    arms.fail(candidate.settings, "finish")
    control.promote(candidate.settings, candidate.name, because="good", full=True)
    controller = candidate.controller()
    for attempt in range(1, state.ATTEMPTS + 1):
        with pytest.raises(NotFoundError, match="it said nothing"):
            controller.look()
        assert (candidate.newest.attempts, candidate.newest.stuck) == (attempt, attempt == state.ATTEMPTS)
    assert candidate.steps() == ["start", "promote", "stuck"]
    because = report.describe(candidate.settings, candidate.newest)["because"]
    assert (
        "failed to take it over 3 times in a row; the next one follows. The last error: NotFoundError: candidate"
        in because
    )
    check = check_result(candidate.settings, candidate.spec, candidate.newest)
    assert (check.passed, because in str(check.description)) == (False, True)
    arms.heal(candidate.settings, "finish")
    controller.look()
    assert candidate.newest.status == "promoting"
    long_ago = candidate.newest.looked_at - moves.STUCK_SECONDS
    state.save(candidate.settings, replace(candidate.newest, looked_at=long_ago))
    controller.look()
    assert (candidate.newest.status, candidate.champion) == ("promoted", 2)
    assert check_result(candidate.settings, candidate.spec, candidate.newest).passed


def test_what_a_person_asks_of_files_that_cannot_be_written_is_an_error_that_names_them(candidate: ToyRollout) -> None:
    control.promote(candidate.settings, candidate.name, because="on")
    history = evidence.folder(candidate.settings, candidate.name, candidate.newest.rollout) / state.HISTORY_FILE
    history.unlink()
    history.mkdir()
    for act in (control.pause, control.promote, control.abort):
        with pytest.raises(SettingsError, match="history.jsonl; the rollout goes on as if nobody had asked") as refused:
            act(candidate.settings, candidate.name, because="wrong answers")
        assert "make it writable" in refused.value.next_step
    assert candidate.route is None


def test_the_route_is_renewed_by_each_look_and_written_again_only_when_it_is_another(candidate: ToyRollout) -> None:
    path, controller = routes.path(candidate.settings, candidate.name), candidate.controller()
    file, renewed = path.stat().st_ino, path.stat().st_mtime_ns
    controller.look()
    assert path.stat().st_ino == file
    assert path.stat().st_mtime_ns > renewed
    path.unlink()
    controller.look()
    assert candidate.route == candidate.newest.route


def test_the_gate_begins_with_the_newest_version_that_passed(toy: ToyRollout, tmp_path: Path) -> None:
    assert begun(toy.settings, toy.spec, promoted(toy)) == "no newer version passed its gate"
    registered(toy.settings, toy.name, tmp_path, b"1", gate="passed")  # the champion's files again
    assert begun(toy.settings, toy.spec, promoted(toy)) == "no newer version passed its gate"
    registered(toy.settings, toy.name, tmp_path, b"4", gate="passed")
    for _ in range(2):
        assert begun(toy.settings, toy.spec, promoted(toy)).startswith("toys.bricks@4, canary: starting")
    assert toy.newest.started_by == "gate"
    assert arms.calls(toy.settings) == ["watch", "watch"]
    control.abort(toy.settings, toy.name, because="not now")
    toy.controller().look()
    assert "sent its files back" in begun(toy.settings, toy.spec, promoted(toy))


def test_looks_that_fail_are_told_of_until_one_succeeds(candidate: ToyRollout, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = candidate.controller()
    with monkeypatch.context() as broken:
        broken.setattr(control, "decide", lambda *_: float("no label"))
        for _ in range(state.ATTEMPTS):
            with pytest.raises(ValueError, match="no label"):
                controller.look()
    found = report.describe(candidate.settings, candidate.newest)
    assert "looks at it failed 3 times in a row" in found["because"]
    assert "could not convert string to float: 'no label'" in found["because"]
    assert not check_result(candidate.settings, candidate.spec, candidate.newest).passed
    assert candidate.steps()[-1] == "stuck"
    controller.look()
    assert (candidate.newest.attempts, candidate.newest.status) == (0, "running")
    assert check_result(candidate.settings, candidate.spec, candidate.newest).passed
