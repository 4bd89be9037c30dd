"""Which version of a model serves, as people and gates decide it: approve, promote, roll back.

Every decision is made under one lock of the model, noted with its evidence (`decisions`) and then carried out; one that
was noted only is carried out by the same command. A version that may not serve (`admission`) becomes the champion by
nobody's decision.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import ModelError, NotFoundError, SettingsError
from pipelines.machine import locks
from pipelines.models import admission, decisions
from pipelines.models.decisions import Decision
from pipelines.models.evidence import GATE_FILE
from pipelines.models.registry import EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings


def approve(settings: Settings, spec: ModelSpec, version: int, *, because: str) -> Decision:
    """Notes that a person looked at a version and lets it be promoted.

    Raises:
        NotFoundError: if there is no such version.
        ModelError: if it may not serve, whatever a person says.
        SettingsError: if no reason is given.
    """
    _require_reason("approval", spec, because)
    registry = Registry(settings)
    with deciding(settings, spec.registered_name):
        model = registry.version(spec.registered_name, version)
        folder = _admitted(settings, registry, model)
        return decisions.note(
            settings, "approve", model, before=None, because=because, evidence=evidence(model, folder)
        )


def promote(settings: Settings, spec: ModelSpec, version: int, *, because: str) -> Decision:
    """Makes a version the champion.

    Raises:
        NotFoundError, SettingsError: as `approve` does; SettingsError also if it is the champion already.
        ModelError: as `approve` does, and if its risk tier asks for an approval that it lacks.
    """
    _require_reason("promotion", spec, because)
    registry = Registry(settings)
    with deciding(settings, spec.registered_name):
        model, before = registry.version(spec.registered_name, version), registry.champion(spec.registered_name)
        if before is not None and before.version == version:
            raise SettingsError(
                object=f"promotion of {model}",
                observed="it is the champion",
                expected="another version",
                next_step=f"goldpath model show {spec.registered_name} lists the versions",
            )
        folder = _admitted(settings, registry, model)
        if (missing := awaits(settings, spec.risk, model)) is not None:
            raise ModelError(
                object=f"promotion of {model}",
                observed=missing,
                expected="an approval, which says who looked at it and why it may serve",
                next_step=f'goldpath model approve {spec.registered_name} {version} --because "…"',
            )
        return make_champion(settings, registry, "promote", model, before, folder, because)


def rollback(settings: Settings, spec: ModelSpec, *, because: str) -> Decision:
    """Makes the version the champion that was it before the present one.

    Later runs do not undo it: a version that was taken out of service is promoted again by a person alone.

    Raises:
        NotFoundError: if there is no version before the present one.
        ModelError: if that version may not serve any more.
        SettingsError: if no reason is given.
    """
    _require_reason("rollback", spec, because)
    name, registry = spec.registered_name, Registry(settings)
    with deciding(settings, name):
        present, noted = registry.champion(name), decisions.read(settings, name)
        pending = decisions.unfinished(noted, present)
        if pending is not None and pending.act == "rollback":
            model = registry.version(name, pending.version)
            folder = _admitted(settings, registry, model)
            return make_champion(settings, registry, "rollback", model, present, folder, because)
        promoted = decisions.champions(noted if pending is None else noted[: noted.index(pending)])
        if present is None or promoted[-1:] != [present.version] or len(promoted) < 2:
            raise NotFoundError(
                object=f"rollback of {name}",
                observed=f"the champion is {present or 'none'}, and the record has no version that it followed",
                expected="a champion that was promoted after another version",
                next_step=f"goldpath model promote {name} VERSION makes any version that may serve the champion",
            )
        model = registry.version(name, promoted[-2])
        folder = _admitted(settings, registry, model)
        return make_champion(settings, registry, "rollback", model, present, folder, because)


def make_champion(
    settings: Settings,
    registry: Registry,
    act: decisions.Act,
    model: RegisteredModel,
    before: RegisteredModel | None,
    folder: Path,
    because: str,
    *,
    dagster_run: str | None = None,
    by: str | None = None,
) -> Decision:
    """Notes the decision, then gives the version the alias; a decision that is noted already is not noted again.

    The caller holds the lock (`deciding`) and has admitted the version.

    Args:
        settings: Of the home folder.
        registry: Of the model.
        act: `promote` or `rollback`.
        model: The version.
        before: The champion until now.
        folder: The version's files.
        because: Why.
        dagster_run: The run in which the gate decided; None for a person's decision.
        by: Who decided, if neither the gate nor the user did.
    """
    decision = decisions.unfinished(decisions.read(settings, model.name), before)
    if decision is None or (decision.act, decision.version, decision.digest) != (act, model.version, model.digest):
        found = evidence(model, folder)
        decision = decisions.note(
            settings, act, model, before=before, because=because, evidence=found, dagster_run=dagster_run, by=by
        )
    registry.promote(model)
    return decision


def awaits(settings: Settings, risk: str, model: RegisteredModel) -> str | None:
    """What a version lacks before it may be promoted, in words; None if nothing."""
    if risk != "high" or decisions.approved(decisions.read(settings, model.name), model.digest):
        return None
    return "its risk tier is high, and no person has approved it"


def evidence(model: RegisteredModel, folder: Path) -> dict[str, str]:
    """Where the evidence of a version is, and the checksum of the gate's file."""
    gate = folder.parent / EVIDENCE_FOLDER / GATE_FILE
    return {"mlflow_run": model.run_id, GATE_FILE: hashlib.sha256(gate.read_bytes()).hexdigest()}


@contextlib.contextmanager
def deciding(settings: Settings, name: str) -> Iterator[None]:
    """Holds the lock under which alone a model's champion changes; raises LockTimeout if another decides too long."""
    with locks.held(settings.root / "locks" / f"model-{name}.lock", purpose=f"a decision about {name}"):
        yield


def _admitted(settings: Settings, registry: Registry, model: RegisteredModel) -> Path:
    """The version's files, which may serve; raises ModelError otherwise."""
    folder = registry.download_run(model.run_id)
    admission.require(settings, folder, name=model.name, digest=model.digest)
    return folder


def _require_reason(act: str, spec: ModelSpec, because: str) -> None:
    if not because.strip():
        raise SettingsError(
            object=f"{act} of {spec.registered_name}",
            observed="no reason",
            expected="the reason for the decision, for people who read it later",
            next_step="give the reason with --because",
        )
