"""Who made which version of a model the champion, when, why and on which evidence: `decisions/<model>.jsonl`.

The registry's alias `champion` says which version serves; this record says how it came to that. Nothing is removed from
it.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import DamagedError
from pipelines.machine import files, json_lines
from pipelines.models.registry import RegisteredModel
from pipelines.settings import Settings

#: `approve` lets a version be promoted; `promote` and `rollback` make it the champion.
Act = Literal["approve", "promote", "rollback"]
#: Who decides where no person does: a version's gate, or the evidence of its rollout.
GATE, ROLLOUT = "gate", "rollout"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about a model.

    Attributes:
        act: What was decided.
        version: The version that it is about.
        digest: Of its files.
        before: The version that was the champion until then; None if there was none, and for `approve`.
        decided_at: The wall clock, ISO 8601 in UTC.
        decided_by: The user of the operating system, `gate`, or `rollout`.
        because: Why.
        dagster_run: The run in which the gate decided; None for a person's decision.
        evidence: The MLflow run that holds the evidence, and the sha256 of the gate's file in it.
    """

    act: Act
    version: int
    digest: str
    before: int | None
    decided_at: str
    decided_by: str
    because: str
    dagster_run: str | None
    evidence: Mapping[str, str]


def read(settings: Settings, name: str) -> list[Decision]:
    """The decisions about a model, oldest first; none before the first.

    Raises:
        DamagedError: if a line is no decision: which version was approved is not guessed.
    """
    path = _path(settings, name)
    if damaged := json_lines.damaged(path, _is_decision) if path.exists() else []:
        raise DamagedError(
            object=f"file {path}",
            observed=f"line {damaged[0]} is no decision",
            expected="one decision as a JSON object in each line",
            next_step="restore the file from a backup of the home folder, or correct the line",
        )
    return [Decision(**record) for record in json_lines.read(path, _is_decision)]


def note(
    settings: Settings,
    act: Act,
    model: RegisteredModel,
    *,
    before: RegisteredModel | None,
    because: str,
    evidence: Mapping[str, str],
    dagster_run: str | None = None,
    by: str | None = None,
) -> Decision:
    """Appends a decision, on the disk when this returns; without `by` and `dagster_run` it is the user's."""
    decision = Decision(
        act=act,
        version=model.version,
        digest=model.digest,
        before=before.version if before else None,
        decided_at=datetime.now(UTC).isoformat(),
        decided_by=by or (GATE if dagster_run else getpass.getuser()),
        because=because,
        dagster_run=dagster_run,
        evidence=dict(evidence),
    )
    path = _path(settings, model.name)
    json_lines.append(path, asdict(decision))
    files.sync(path)
    return decision


def approved(decisions: list[Decision], digest: str) -> Decision | None:
    """The newest approval of a model's files; None if no person approved them."""
    return next((each for each in reversed(decisions) if each.act == "approve" and each.digest == digest), None)


def unfinished(decisions: list[Decision], champion: RegisteredModel | None) -> Decision | None:
    """The newest decision about the champion, if it was noted and not carried out: the process ended in between."""
    newest = next((each for each in reversed(decisions) if each.act != "approve"), None)
    serving = champion.version if champion else None
    if newest is None or newest.version == serving or newest.before != serving:
        return None
    return newest


def champions(decisions: list[Decision]) -> list[int]:
    """The versions that were promoted and not rolled back, the newest last.

    A promotion that was noted and not carried out is left out: the next decision names the champion before it.
    """
    versions: list[int] = []
    for decision in decisions:
        if decision.act == "promote":
            while versions and decision.before in versions and versions[-1] != decision.before:
                versions.pop()
            versions.append(decision.version)
        elif decision.act == "rollback":
            versions = versions[:-1]
            if versions[-1:] != [decision.version]:
                versions.append(decision.version)
    return versions


def words(decision: Decision) -> str:
    """The decision as one sentence."""
    act = {"approve": "approved", "promote": "promoted", "rollback": "rolled back to"}[decision.act]
    run = f" in run {decision.dagster_run[:8]}" if decision.dagster_run else ""
    return (
        f"{decision.decided_at[:19]} UTC: {decision.decided_by}{run} {act} version {decision.version} "
        f"({decision.digest[:12]}): {decision.because}"
    )


def _is_decision(record: dict[str, Any]) -> bool:
    try:
        Decision(**record)
    except TypeError:
        return False
    return True


def _path(settings: Settings, name: str) -> Path:
    return settings.root / "decisions" / f"{name}.jsonl"
