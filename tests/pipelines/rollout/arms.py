"""Arms without a cluster: each call is noted in a file of the home, and a file there lets a call fail or be killed."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import NotFoundError
from pipelines.machine.locks import LockTimeout
from pipelines.models.registry import RegisteredModel
from pipelines.models.service import ServiceSpec
from pipelines.settings import Settings


class Killed(BaseException):
    """Ends a look where kill -9 would."""


def start(settings: Settings, spec: ServiceSpec, candidate: RegisteredModel, folder: Path) -> None:
    """Lets `running` name the candidate."""
    _call(settings, "start")
    assert (folder / "model.safetensors").exists()
    _running(settings).write_text(candidate.digest)


def running(settings: Settings, spec: ServiceSpec, digest: str) -> bool:
    """Whether this candidate was started last, and not stopped since."""
    path = _running(settings)
    return path.exists() and path.read_text() == digest


def stop(settings: Settings, spec: ServiceSpec) -> None:
    """Lets no candidate run."""
    _call(settings, "stop")
    _running(settings).unlink(missing_ok=True)


def watch(settings: Settings, spec: ServiceSpec) -> None:
    """Notes that somebody was to look at the rollout; nobody does."""
    _call(settings, "watch")


def finish(settings: Settings, spec: ServiceSpec, champion: RegisteredModel, folder: Path) -> None:
    """Notes which version serves from now on."""
    _call(settings, "finish")
    (settings.root / "toy_arms_serve").write_text(champion.digest)


def calls(settings: Settings) -> list[str]:
    """The calls of this home that change something, oldest first."""
    path = settings.root / "toy_arms_calls"
    return path.read_text().split() if path.exists() else []


def fail(settings: Settings, call: str, how: str = "fails") -> None:
    """Lets each call of a name fail as a candidate that does not start does, or be `killed` the next time;
    or as one that `waits` for another deployment does."""
    settings.root.mkdir(parents=True, exist_ok=True)
    (settings.root / f"toy_arms_{call}").write_text(how)


def heal(settings: Settings, call: str) -> None:
    """Lets the calls of a name fail no longer."""
    (settings.root / f"toy_arms_{call}").unlink()


def _call(settings: Settings, name: str) -> None:
    how = settings.root / f"toy_arms_{name}"
    if how.exists():
        if how.read_text() == "killed":
            how.unlink()
            raise Killed(name)
        if how.read_text() == "waits":
            raise LockTimeout(object="lock", observed="not free", expected="the lock", next_step="wait")
        raise NotFoundError(object="candidate", observed="it said nothing", expected="an answer", next_step="none")
    settings.root.mkdir(parents=True, exist_ok=True)
    with (settings.root / "toy_arms_calls").open("a") as log:
        log.write(f"{name}\n")


def _running(settings: Settings) -> Path:
    return settings.root / "toy_arms_running"
