"""Which version of a service answers which questions now: `<home>/serving/routes/<service>.json`.

The rollout writes the file, by replacing it; every replica looks at it several times a second. Without a file, the
version that serves answers everything. So it does when the file is older than `LEASE_SECONDS`: the rollout renews it at
each look, and a candidate that nobody looks at answers nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.machine import files
from pipelines.settings import Settings

Arm = Literal["stable", "candidate"]
#: How often a replica looks at the file, and how long a route holds that nobody renews, in seconds.
LOOK_SECONDS, LEASE_SECONDS = 0.2, 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """How the questions of a service are divided.

    Attributes:
        rollout: The id of the rollout.
        plan: The name of its plan.
        stage: The number of its stage, from 0 on.
        share: Of the questions that the candidate answers; None lets it see every question, and drops its answers.
        assigned_by: A field of the question by which it is assigned; empty: each question for itself.
        deadline_seconds: The serving version answers what the candidate did not answer in this time.
        candidate: Name, version and digest of the candidate.
        fields: The question's fields that are noted in the evidence.
    """

    rollout: str
    plan: str
    stage: int
    share: float | None
    assigned_by: str
    deadline_seconds: float
    candidate: Mapping[str, Any]
    fields: Sequence[str] = ()

    def arm(self, key: str) -> Arm:
        """Who answers the question with this key; the same as long as the candidate's share does not shrink."""
        if self.share is None:
            return "stable"
        digest = hashlib.blake2b(f"{self.rollout}/{key}".encode(), digest_size=8).digest()
        return "candidate" if int.from_bytes(digest, "big") < self.share * 2**64 else "stable"


def write(settings: Settings, service: str, route: Route) -> None:
    """Divides the questions of a service, `domain.name`, from now on."""
    files.replace(path(settings, service), json.dumps(asdict(route)))


def renew(settings: Settings, service: str) -> None:
    """Lets the route of a service hold for another `LEASE_SECONDS`; does nothing without one."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(path(settings, service))


def remove(settings: Settings, service: str) -> None:
    """Lets the version that serves answer everything."""
    path(settings, service).unlink(missing_ok=True)


def read(settings: Settings, service: str) -> Route | None:
    """The route of a service; None without a rollout, and for a file that is none: then no candidate answers."""
    try:
        document = json.loads(path(settings, service).read_text(encoding="utf-8"))
        return Route(**document | {"fields": tuple(document["fields"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def path(settings: Settings, service: str) -> Path:
    """The file of a service's route."""
    return settings.root / "serving" / "routes" / f"{service}.json"
