"""Where a rollout stands, and how it came there: the files `state.json` and `history.jsonl` of its folder.

The state is replaced as a whole, so a killed process leaves the one before or the one after. The history is appended
before the state is replaced, and nothing is removed from it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from pipelines.errors import DamagedError
from pipelines.machine import files, json_lines
from pipelines.models.rollout_plan import Plan
from pipelines.rollout import evidence
from pipelines.rollout.decide import Figure
from pipelines.rollout.routes import Route
from pipelines.settings import Settings

#: `starting` until the candidate is loaded; `running` and `paused` in a stage; `promoting` and `returning` while the
#: decision is carried out; `promoted` and `returned` at the end.
Status = Literal["starting", "running", "paused", "promoting", "returning", "promoted", "returned"]
ENDED: tuple[Status, Status] = ("promoted", "returned")
STATE_FILE, HISTORY_FILE = "state.json", "history.jsonl"
#: A rollout is stuck after so many failed looks in a row.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class State:
    """One rollout.

    Attributes:
        rollout: Its id, which sorts by the time of its start.
        service: The service, `domain.name`, which is also the model's name.
        plan: As it was declared at the start.
        candidate: Version and digest of the new version.
        stable: Version and digest of the one that served at the start.
        status: What is being done.
        stage: The number of its stage, from 0 on.
        minutes: How long the stage has lasted, without pauses and without times at which nobody looked.
        share: Of the questions, that the candidate answers; None: it is mirrored.
        looked_at: When it was looked at last, seconds since 1970, UTC.
        started_by: Who started it: a user, or `gate`.
        because: Why it stands where it stands.
        attempts: How many looks in a row failed, such as those in which the service takes over what was promoted.
        failure: The error of the last of them.
    """

    rollout: str
    service: str
    plan: Plan
    candidate: Mapping[str, Any]
    stable: Mapping[str, Any]
    status: Status
    stage: int
    minutes: float
    share: float | None
    looked_at: float
    started_by: str
    because: str
    attempts: int = 0
    failure: str = ""

    @property
    def stuck(self) -> bool:
        """Whether `ATTEMPTS` looks in a row failed, so that people have to see why."""
        return not self.ended and self.attempts >= ATTEMPTS

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.status in ENDED

    @property
    def route(self) -> Route | None:
        """How the service's questions are divided; None where the serving version answers all."""
        if self.status in ("starting", "returning", *ENDED):
            return None
        fields = tuple(dict.fromkeys(name for guard in self.plan.guards for name in guard.by))
        return Route(
            self.rollout, self.plan.name, self.stage, self.share, self.plan.assigned_by, self.plan.deadline_seconds,
            {"name": self.service, **self.candidate}, fields,
        )  # fmt: skip

    def __str__(self) -> str:
        where = self.plan.stages[self.stage].name
        share = "mirrored" if self.share is None else f"{self.share:.0%} of the questions"
        at = f", stage {where} ({self.stage + 1} of {len(self.plan.stages)}), {share}" if not self.ended else ""
        return f"{self.service}@{self.candidate['version']}, {self.plan.name}: {self.status}{at}"


@functools.cache
def _states() -> TypeAdapter[State]:
    return TypeAdapter(State)


def save(settings: Settings, state: State) -> None:
    """Replaces the state of a rollout; it survives a power cut."""
    path = evidence.folder(settings, state.service, state.rollout) / STATE_FILE
    files.replace(path, json.dumps(asdict(state)), survives="power")


def every(settings: Settings, service: str) -> list[State]:
    """The rollouts of a service, oldest first.

    Raises:
        DamagedError: if a state cannot be read: whether a rollout is under way is not guessed.
    """
    paths = sorted((settings.root / "rollouts" / service).glob(f"*/{STATE_FILE}"))
    found = []
    for path in paths:
        try:
            found.append(_states().validate_json(path.read_bytes()))
        except ValidationError as error:
            raise DamagedError(
                object=f"file {path}",
                observed=str(error.errors()[0]["msg"]),
                expected="the state of a rollout",
                next_step="restore the file from a backup of the home; to give the rollout up, remove its folder",
            ) from None
    return found


def active(settings: Settings, service: str) -> State | None:
    """The rollout of a service that has not ended; None if there is none."""
    return next((state for state in reversed(every(settings, service)) if not state.ended), None)


def services(settings: Settings) -> list[str]:
    """The services that ever had a rollout."""
    return sorted(path.name for path in (settings.root / "rollouts").glob("*") if path.is_dir())


def rejected(settings: Settings, service: str) -> dict[str, State]:
    """The rollouts that sent a digest back, by the digest; one that a later rollout promoted is none of them."""
    last = {state.candidate["digest"]: state for state in every(settings, service) if state.ended}
    return {digest: state for digest, state in last.items() if state.status == "returned"}


def note(
    settings: Settings,
    state: State,
    what: str,
    *,
    by: str,
    because: str,
    figures: Iterable[Figure] = (),
    answers: Mapping[str, int] | None = None,
    read: Mapping[str, int] | None = None,
) -> None:
    """Appends a step to the history, on the disk when this returns.

    A step that was noted last and not carried out, since the process ended in between, is not noted again.

    Args:
        settings: Of the home folder.
        state: Before the step.
        what: `start`, `stage`, `look`, `share`, `pause`, `resume`, `promote`, `back`, `stuck`, `returned` or
            `promoted`.
        by: The user, or `rollout` for the evidence's own decisions.
        because: Why.
        figures: What the decision follows from.
        answers: How many answers each version gave in the stage.
        read: How many bytes of each file of evidence the decision had seen.
    """
    path = evidence.folder(settings, state.service, state.rollout) / HISTORY_FILE
    last = (history(settings, state) or [{}])[-1]
    if what not in ("look", "share") and (last.get("what"), last.get("stage"), last.get("by")) == (
        what,
        state.stage,
        by,
    ):
        return
    step = {
        "at": datetime.now(UTC).isoformat(),
        "what": what,
        "by": by,
        "because": because,
        "stage": state.stage,
        "minutes": round(state.minutes, 3),
        "share": state.share,
        "answers": dict(answers or {}),
        "figures": [_as_json(figure) for figure in figures],
        "evidence": dict(read or {}),
    }
    json_lines.append(path, step)
    files.sync(path)


def _as_json(figure: Figure) -> dict[str, Any]:
    """A figure as JSON holds it: null for a bound that nothing limits yet, and a mean of no values."""
    values = asdict(figure)
    return {
        name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in values.items()
    }


def history(settings: Settings, state: State) -> list[dict[str, Any]]:
    """The steps of a rollout, oldest first."""
    return list(json_lines.read(evidence.folder(settings, state.service, state.rollout) / HISTORY_FILE))
