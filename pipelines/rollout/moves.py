"""The moves that people's commands and the evidence have in common, under one lock of the service."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Iterator
from dataclasses import replace

from pipelines.errors import DamagedError, ModelError, NotFoundError, SettingsError
from pipelines.machine import full_disk, locks
from pipelines.models.decisions import ROLLOUT
from pipelines.models.registry import RegisteredModel
from pipelines.rollout import routes, state
from pipelines.rollout.state import State
from pipelines.settings import Settings

#: A stuck rollout makes the next attempt after this time, in seconds.
STUCK_SECONDS = 60.0


@contextlib.contextmanager
def moving(settings: Settings, service: str) -> Iterator[None]:
    """Holds the lock under which alone a service's rollout moves."""
    with locks.held(settings.root / "locks" / f"rollout-{service}.lock", purpose=f"a step of the rollout of {service}"):
        yield


@contextlib.contextmanager
def asked(settings: Settings, service: str) -> Iterator[None]:
    """Wraps what a person asks of a service's rollout.

    Raises:
        SettingsError: if a file of the rollout cannot be written.
        FullDiskError: if the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise full_disk.named(error, [settings.root]) or SettingsError(
            object=f"rollout of {service}",
            observed=f"{error.strerror or error}: {error.filename}; the rollout goes on as if nobody had asked",
            expected="a file that this user can write",
            next_step="make it writable (goldpath doctor checks the home folder), and give the same command again",
        ) from error


def staged(settings: Settings, present: State, number: int) -> State:
    """Begins a stage."""
    stage = present.plan.stages[number]
    share = 0.5 if stage.bandit else stage.share
    present = replace(
        present, stage=number, minutes=0.0, share=share, because=f"stage {stage.name} began", looked_at=time.time()
    )
    state.save(settings, present)
    route(settings, present)
    return present


def route(settings: Settings, present: State) -> None:
    """Writes the route that the state stands for, if it is one with a route."""
    if present.route is not None:
        routes.write(settings, present.service, present.route)


def told(settings: Settings, present: State, what: str, because: str, **changes: object) -> State:
    """Notes what a person asked for, and saves the changed state."""
    require_reason(present.service, because)
    state.note(settings, present, what, by=getpass.getuser(), because=because)
    present = replace(present, because=f"{getpass.getuser()}: {because}", **changes)
    state.save(settings, present)
    return present


def require_reason(service: str, because: str) -> None:
    """Raises SettingsError without a reason."""
    if not because.strip():
        raise SettingsError(
            object=f"rollout of {service}",
            observed="no reason is given",
            expected="why, for people who read it later",
            next_step="give the reason with --because",
        )


def hindered(settings: Settings, service: str, error: BaseException) -> None:
    """Notes that a look failed, and why, where people read it; nothing where that cannot be noted either."""
    if not isinstance(error, Exception):
        return  # the process ends
    with contextlib.suppress(OSError, DamagedError):
        if (present := state.active(settings, service)) is None:
            return
        failure = f"{type(error).__name__}: {error}"
        present = replace(present, attempts=present.attempts + 1, failure=failure, looked_at=time.time())
        if present.attempts == state.ATTEMPTS:
            state.note(settings, present, "stuck", by=ROLLOUT, because=failure)
        state.save(settings, present)


def waits(present: State) -> bool:
    """Whether a rollout is stuck, and it is too early for the next attempt."""
    return present.stuck and 0 <= time.time() - present.looked_at < STUCK_SECONDS


def left_undone(settings: Settings, present: State) -> str | None:
    """Why the candidate goes back, if that was noted last and the process ended before the state said so."""
    last = (state.history(settings, present) or [{}])[-1]
    return last["because"] if last.get("what") == "back" and present.status != "returning" else None


def under_way(settings: Settings, service: str, *statuses: str) -> State:
    """The rollout of a service that has one of these statuses; raises NotFoundError."""
    present = state.active(settings, service)
    if present is None or present.status not in statuses:
        raise NotFoundError(
            object=f"rollout of {service}",
            observed=str(present) if present else "none is under way",
            expected=f"one that is {' or '.join(statuses)}",
            next_step=f"goldpath rollout status {service}; what it promoted, goldpath model rollback takes back",
        )
    return present


def identity(model: RegisteredModel) -> dict[str, object]:
    """What a state says of a version."""
    return {"version": model.version, "digest": model.digest}


def refused(name: str, version: int, observed: str, expected: str, next_step: str) -> ModelError:
    """The error of a rollout that may not begin."""
    return ModelError(object=f"rollout of {name}@{version}", observed=observed, expected=expected, next_step=next_step)
