"""What people read of a rollout: from its state and its history alone, without moving anything."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipelines.rollout import state
from pipelines.rollout.state import State
from pipelines.settings import Settings

#: A running rollout that was looked at longer ago than this, in seconds, is looked at by nobody; a candidate may take
#: minutes to start, and as long to take over, and nobody looks at it in between.
UNWATCHED_SECONDS, UNWATCHED_WHILE_MOVING_SECONDS = 15.0, 300.0
#: How many figures people are shown; the broken ones and those of all questions come first.
SHOWN_FIGURES = 12


def describe(settings: Settings, present: State, *, now: float | None = None) -> dict[str, Any]:
    """What is known of a rollout, as JSON holds it.

    Args:
        settings: Of the home folder.
        present: The rollout.
        now: Seconds since 1970, UTC; None for the wall clock.

    Returns:
        The state's fields with the stage by its name, and: `started_at` and `ended_at`, ISO 8601 in UTC; `because`,
        what it waits for, what hinders it or why it ended; `answers` of each version and the `figures` of the last look
        at this stage; `rollback_seconds`, from the decision to send the candidate back until its program had ended,
        null otherwise; `unwatched_seconds`, for how long nobody has looked, null while somebody does; `next`, a
        command, or null.
    """
    steps = state.history(settings, present)
    of_stage = [step for step in steps if step["stage"] == present.stage]
    measured = next((step for step in reversed(of_stage) if step["answers"]), {})
    waits = present.status == "running" and measured.get("what") == "look"
    unwatched = unwatched_seconds(present, now=now)
    because = measured["because"] if waits else present.because
    if present.attempts and not present.ended:
        promoting = present.status == "promoting"
        because = (
            f"{'promoted, but the service failed to take it over' if promoting else 'looks at it failed'} "
            f"{present.attempts} times in a row; the next one follows. The last error: {present.failure}"
            + (f". goldpath model rollback {present.service} takes the promotion back" if promoting else "")
        )
    following = f"goldpath materialize rollouts/{present.service.replace('.', '/')}" if unwatched else None
    if present.status == "returned":
        version = present.candidate["version"]
        following = f'goldpath rollout start {present.service} {version} --because "…"'
    return {
        "service": present.service,
        "rollout": present.rollout,
        "plan": present.plan.name,
        "status": present.status,
        "stage": present.plan.stages[present.stage].name,
        "stage_number": present.stage + 1,
        "stages": [stage.name for stage in present.plan.stages],
        "share": present.share,
        "minutes": round(present.minutes, 2),
        "candidate": dict(present.candidate),
        "stable": dict(present.stable),
        "started_by": present.started_by,
        "started_at": steps[0]["at"] if steps else None,
        "ended_at": steps[-1]["at"] if steps and present.ended else None,
        "because": because,
        "answers": measured.get("answers", {}),
        "figures": measured.get("figures", []),
        "rollback_seconds": _rollback_seconds(steps),
        "unwatched_seconds": unwatched,
        "next": following,
    }


def unwatched_seconds(present: State, *, now: float | None = None) -> float | None:
    """For how long nobody has looked at a rollout that has not ended; None while somebody does."""
    passed = (time.time() if now is None else now) - present.looked_at
    limit = UNWATCHED_SECONDS if present.status in ("running", "paused") else UNWATCHED_WHILE_MOVING_SECONDS
    return round(passed) if not present.ended and passed > limit else None


def steps(settings: Settings, present: State) -> list[dict[str, Any]]:
    """The steps of a rollout without the looks between them, oldest first."""
    return [step for step in state.history(settings, present) if step["what"] != "look"]


def words(found: Mapping[str, Any]) -> list[str]:
    """What `describe` returned, as lines for people."""
    candidate, stable = found["candidate"], found["stable"]
    ended = found["status"] in state.ENDED
    versions = (f"{each['version']} ({each['digest'][:12]})" for each in (candidate, stable))
    where = f"stage {found['stage']} ({found['stage_number']} of {len(found['stages'])})"
    lasts = "" if ended else f": {share_words(found['share'])}, for {found['minutes']:.1f} minutes"
    lines = [
        f"{found['service']}: {found['plan']} of version {' against '.join(versions)}",
        f"{found['status']}, {'after ' if ended else ''}{where}{lasts}",
        found["because"],
        f"started by {found['started_by']} at {str(found['started_at'])[:19]} UTC",
    ]
    if found["answers"]:
        counted = ", ".join(f"{count:,} of {_ARMS[arm]}" for arm, count in found["answers"].items())
        lines.append(f"answers in this stage: {counted}")
    if found["rollback_seconds"] is not None:
        lines.append(f"from that decision to the end of the candidate: {found['rollback_seconds']:.1f} s")
    if found["unwatched_seconds"] is not None:
        lines.append(f"nobody looks at it: the last look was {found['unwatched_seconds']:,} s ago")
        lines.append(f"to go on: {found['next']}")
    elif found["next"]:
        lines.append(f"only a person starts this version again: {found['next']}")
    return lines


def share_words(share: float | None) -> str:
    """What a share means to callers."""
    return "mirrored, callers get none of it" if share is None else f"{share:.0%} of the questions"


def rows(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row of texts for each figure of some answers, the broken ones and those of all questions first."""
    ordered = sorted(figures, key=lambda each: (not each["broken"], bool(each["value"])))
    return [
        {
            "guard": title(each),
            "serving": "-" if each["slow_ms"] is not None else _number(each["stable"]),
            "candidate": _number(each["candidate"]),
            "bounds": f"{_number(each['low'])} to {_number(each['high'])}",
            "limit": f"{each['limit']:g}" + (" broken" if each["broken"] else ""),
            "answers": f"{each['answers']:,}",
        }
        for each in ordered
        if each["answers"]
    ]


def title(figure: Mapping[str, Any]) -> str:
    """What a figure is about."""
    slow = "" if figure["slow_ms"] is None else f" > {figure['slow_ms']:.0f} ms"
    paired = ", same questions" if figure["how"] == "paired" and figure["guard"] != "disagreement" else ""
    return f"{figure['guard']}{slow}{' ' if figure['value'] else ''}{figure['value']}{paired}"


def _rollback_seconds(steps: Sequence[Mapping[str, Any]]) -> float | None:
    decided = next((step["at"] for step in steps if step["what"] == "back"), None)
    ended = next((step["at"] for step in steps if step["what"] == "returned"), None)
    if decided is None or ended is None:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(decided)).total_seconds()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


_ARMS = {"stable": "the serving version", "candidate": "the candidate"}
