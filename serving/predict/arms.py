"""Starts and ends the candidate of a rollout, and the program that moves it.

A `pipelines.models.service.Arms`, which is called by its place.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.machine import locks, ray_connection, ray_head
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.service import ServiceSpec
from pipelines.settings import Settings
from serving.errors import DeploymentError, ServiceUnavailable
from serving.predict import deploy, models


def start(settings: Settings, spec: ServiceSpec, candidate: RegisteredModel, folder: Path) -> None:
    """Starts the candidate, and returns when it runs and has predicted. Does nothing if this model runs already.

    Raises:
        ModelError: if the model's files are not those of its digest, or it needs features that do not exist.
        DeploymentError: if another version than the champion serves, with which the candidate would be compared; or the
            candidate does not start. The version that serves goes on.
        SettingsError: if the port is taken.
        LockTimeout: if another deployment takes too long.
    """
    _require_champion(settings, spec)
    config = deploy.config_of(spec, candidate, folder)
    config = config.model_copy(update={"model": models.install(settings, config.model)})
    with _deploying(settings, f"the candidate {candidate.name}@{candidate.version}"):
        from serving.predict import rollout  # loads Ray, whose environment `ray_connection.connect` has set

        rollout.start_proxy(settings)
        try:
            rollout.start_candidate(settings, config)
        except ServiceUnavailable as error:
            raise DeploymentError(
                object=f"candidate {candidate.name}@{candidate.version}",
                observed=error.observed,
                expected=error.expected,
                next_step=error.next_step,
            ) from error


def running(settings: Settings, spec: ServiceSpec, digest: str) -> bool:
    """Whether the candidate with this digest runs, or is being started again after its process ended."""
    if not _has_cluster(settings):
        return False
    with _connected(settings):
        from serving.predict import rollout

        return rollout.has_candidate(spec.name, digest)


def stop(settings: Settings, spec: ServiceSpec) -> None:
    """Ends the candidate, if there is one; requests that a route still leads to it are answered by the other version.

    Raises:
        LockTimeout: if another deployment takes too long.
    """
    if not _has_cluster(settings):
        return  # the candidate ended with it
    with _deploying(settings, f"the end of the candidate of {spec.name}"):
        from serving.predict import rollout

        rollout.remove_candidate(spec.name)


def watch(settings: Settings, spec: ServiceSpec) -> None:
    """Starts the program that moves the service's rollout, unless it runs; it ends with the rollout.

    Raises:
        ServiceUnavailable: if it does not start.
        LockTimeout: if another deployment takes too long.
    """
    with _deploying(settings, f"the start of the rollout of {spec.name}"):
        from serving.predict import rollout

        rollout.start_proxy(settings)
        rollout.start_watch(settings, spec.place, spec.name)


def finish(settings: Settings, spec: ServiceSpec, champion: RegisteredModel, folder: Path) -> None:
    """Lets the service serve the candidate as its own version, without a gap; raises what `deploy.deploy` does."""
    deploy.deploy_champion(settings, spec, champion, folder)


def _require_champion(settings: Settings, spec: ServiceSpec) -> None:
    """Raises DeploymentError unless the champion serves: everything that is measured is compared with what serves."""
    deployed, champion = deploy.current(settings, spec.name), Registry(settings).champion(spec.name)
    if champion is not None and (deployed is None or deployed.config.model.digest != champion.digest):
        serves = f"version {deployed.config.model.version} serves" if deployed else "nothing serves"
        raise DeploymentError(
            object=f"rollout of {spec.name}",
            observed=f"{serves}, and the champion is {champion}",
            expected="the champion in service, with which the candidate is compared",
            next_step=f"goldpath materialize {'/'.join(spec.model.key('serving'))}",
        )


@contextlib.contextmanager
def _deploying(settings: Settings, purpose: str) -> Iterator[None]:
    """Holds the lock of deployments, and a connection to the cluster."""
    with (
        locks.held(settings.root / "locks" / "serving.lock", purpose=purpose),
        _connected(settings),
    ):
        yield


@contextlib.contextmanager
def _connected(settings: Settings) -> Iterator[None]:
    """Connects to the cluster; one that had to be started stays as long as this process."""
    cluster = ray_connection.connect(settings)
    try:
        yield
    finally:
        if cluster.origin != "started":
            cluster.shutdown()


def _has_cluster(settings: Settings) -> bool:
    """Whether there is a cluster that would not have to be started."""
    connected = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return connected or bool(settings.ray_address) or ray_head.running(settings) is not None
