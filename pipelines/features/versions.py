"""Which version of a feature view is read: what people decided, in `features/<domain>/versions.json` of the home.

Training sets and the store's answers to people follow the decision at once, without a change of code. A model goes on
with the versions that it was trained with (`models.feature_versions`). Before any decision, the lowest version that is
declared is read.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import DamagedError, NotFoundError, SettingsError
from pipelines.features.declaration import FeatureService, qualified
from pipelines.machine import files, locks
from pipelines.settings import Settings

Act = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about a view.

    Attributes:
        act: `promote` makes a version the current one, `rollback` the one that was current before it.
        version: The version that the decision made the current one.
        decided_at: The wall clock, ISO 8601 in UTC.
        decided_by: Who decided.
        because: Why.
        compared: The newest comparison of the version with the one before, as `goldpath features compare` noted it;
            None if they were not compared.
    """

    act: Act
    version: int
    decided_at: str
    decided_by: str
    because: str
    compared: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """What the record holds of one view: its decisions and its comparisons, oldest first."""

    decisions: tuple[Decision, ...] = ()
    comparisons: tuple[Mapping[str, Any], ...] = ()

    def promoted(self) -> list[int]:
        """The versions that were promoted and not rolled back, the newest last."""
        promoted: list[int] = []
        for decision in self.decisions:
            if decision.act == "promote":
                promoted.append(decision.version)
            else:
                promoted.pop()
        return promoted


def read(settings: Settings, domain: str) -> dict[str, ViewRecord]:
    """The record of a domain's views, by view; empty before the first decision.

    Raises:
        DamagedError: if it cannot be read: which version counts is not guessed.
    """
    path = _path(settings, domain)
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {
            view: ViewRecord(tuple(Decision(**each) for each in own["decisions"]), tuple(own["comparisons"]))
            for view, own in saved.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(
            object=f"file {path}",
            observed=f"{type(error).__name__}: {error}",
            expected="the decisions about the versions of the domain's feature views",
            next_step="put back a copy of it; or goldpath repair, then promote again what was promoted",
        ) from error


def current(settings: Settings, service: FeatureService) -> dict[str, int]:
    """The version of each view of a service that is read now, by the view's name."""
    record = read(settings, service.domain)
    promoted = {view: own.promoted() for view, own in record.items()}
    return {view: [min(declared), *promoted.get(view, [])][-1] for view, declared in service.versions.items()}


def promote(
    settings: Settings, services: Sequence[FeatureService], view: str, version: int, *, because: str
) -> Decision:
    """Makes a version of a view the current one for all services of a domain.

    Args:
        settings: Of the home folder.
        services: The services of the domain that read the view.
        view: The view's name.
        version: The version.
        because: Why.

    Raises:
        NotFoundError: if one of the services does not declare the version.
        SettingsError: if it is the current one already, or no reason is given.
    """
    domain = services[0].domain
    name = qualified(domain, view)
    _require_reason(f"promotion of {name}", because)
    with _deciding(settings, domain):
        now = {current(settings, service)[view] for service in services}
        _require_declared(settings, services, view, version)
        if now == {version}:
            raise SettingsError(
                object=f"promotion of {name}",
                observed=f"version {version} is the current one",
                expected="another version that is declared",
                next_step=f"goldpath features show {name} lists them",
            )
        pairs = [{before, version} for before in now]
        compared = [each for each in _of(settings, domain, view).comparisons if set(each["versions"]) in pairs]
        return _decide(settings, domain, view, "promote", version, because, compared[-1] if compared else None)


def rollback(settings: Settings, services: Sequence[FeatureService], view: str, *, because: str) -> Decision:
    """Makes the version current again that was so before the last promotion; arguments as in `promote`.

    Raises:
        NotFoundError: if no promotion is left that could be rolled back, or the version is no longer declared.
    """
    domain = services[0].domain
    name = qualified(domain, view)
    _require_reason(f"rollback of {name}", because)
    with _deciding(settings, domain):
        promoted = _of(settings, domain, view).promoted()
        if not promoted:
            raise NotFoundError(
                object=f"rollback of {name}",
                observed="no version was promoted, or each promotion was rolled back",
                expected="a promoted version",
                next_step=f"goldpath features show {name} lists the decisions",
            )
        lowest = min(number for service in services for number in service.versions[view])
        version = [lowest, *promoted[:-1]][-1]
        if promoted[:-1]:
            _require_declared(settings, services, view, version)
        return _decide(settings, domain, view, "rollback", version, because, None)


def _require_declared(settings: Settings, services: Sequence[FeatureService], view: str, version: int) -> None:
    """Raises NotFoundError unless each of the services declares a version of a view."""
    for service in services:
        service.at(current(settings, service) | {view: version})


def note_comparison(settings: Settings, domain: str, view: str, comparison: Mapping[str, Any]) -> None:
    """Adds a comparison to the record of a view, with the time; `versions` of it are the two versions."""
    with _deciding(settings, domain):
        own = _of(settings, domain, view)
        noted = {"compared_at": datetime.now(UTC).isoformat(), **comparison}
        _write(settings, domain, view, ViewRecord(own.decisions, (*own.comparisons, noted)))


def _decide(
    settings: Settings,
    domain: str,
    view: str,
    act: Act,
    version: int,
    because: str,
    compared: Mapping[str, Any] | None,
) -> Decision:
    own, now = _of(settings, domain, view), datetime.now(UTC).isoformat()
    decision = Decision(act, version, now, getpass.getuser(), because, compared)
    _write(settings, domain, view, ViewRecord((*own.decisions, decision), own.comparisons))
    return decision


def _write(settings: Settings, domain: str, view: str, own: ViewRecord) -> None:
    record = {name: asdict(each) for name, each in (read(settings, domain) | {view: own}).items()}
    files.replace(_path(settings, domain), json.dumps(record, indent=1), survives="power")


def _of(settings: Settings, domain: str, view: str) -> ViewRecord:
    return read(settings, domain).get(view, ViewRecord())


def _path(settings: Settings, domain: str) -> Path:
    return settings.root / "features" / domain / "versions.json"


def _deciding(settings: Settings, domain: str) -> Any:
    path = settings.root / "locks" / f"feature_versions.{domain}.lock"
    return locks.held(path, purpose=f"a decision about the feature views of {domain}")


def _require_reason(object_: str, because: str) -> None:
    if not because.strip():
        raise SettingsError(
            object=object_,
            observed="no reason",
            expected="the reason for the decision, for people who read it later",
            next_step="give the reason with --because",
        )
