"""Puts a model into service on a Ray cluster, and brings it back after a restart.

The order is what keeps the old model serving when anything is wrong with the new one: verify it and predict with it in
this process; start it beside the old replica, where it predicts again before it takes over; ask it through the door
that callers use; and only then note it in `<home>/serving/deployment.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import GoldpathError, NotFoundError, SettingsError
from pipelines.machine import ray_connection
from pipelines.models.registry import RegisteredModel
from pipelines.settings import Settings
from serving import client, models
from serving.config import ServedModel, ServiceConfig
from serving.errors import DeploymentError, RequestError, ServiceUnavailable
from serving.service import PredictionService

READY_SECONDS = 10.0

T = TypeVar("T")


class Endpoint(BaseModel):
    """A service that was ready: where it answers, with what, and since when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    config: ServiceConfig
    deployed_at: datetime


def deploy(settings: Settings, config: ServiceConfig) -> Endpoint:
    """Replaces what is served by this model, without a gap, and returns once it has answered.

    Where no cluster runs, one is started that lives as long as this process.

    Raises:
        ModelError: if the model's files are not those of its digest, or it asks for features that are not there.
        FeatureStoreUnavailable: if the online store was not filled yet, or does not answer.
        DeploymentError: if the service did not become ready; what served before still serves.
        SettingsError: if the port is taken.
    """
    config = config.model_copy(update={"model": models.install(settings, config.model)})
    PredictionService(config, settings).check()
    with _alone(settings):
        cluster = ray_connection.connect(settings)
        try:
            _replace(settings, config)
            endpoint = Endpoint(url=client.url(settings), config=config, deployed_at=datetime.now(UTC))
            _note(settings, endpoint)
            return endpoint
        finally:
            if cluster.origin != "started":
                cluster.shutdown()


def deploy_model(settings: Settings, model: RegisteredModel, *, folder: Path, service: str) -> Endpoint:
    """Deploys a registered version from its downloaded files, with the defaults of a deployment."""
    served = ServedModel(
        name=model.name, version=model.version, digest=model.digest, folder=folder, metrics=dict(model.metrics)
    )
    return deploy(settings, ServiceConfig(model=served, feature_service=service))


def redeploy(settings: Settings) -> Endpoint:
    """Brings back what was last deployed; raises NotFoundError if nothing was."""
    last = current(settings)
    if last is None:
        raise NotFoundError(
            object=f"deployment in {settings.root}",
            observed="nothing was deployed yet",
            expected="a model that was put into service",
            next_step="train and accept a model: materialize the model's assets",
        )
    return deploy(settings, last.config)


def current(settings: Settings) -> Endpoint | None:
    """What was last deployed and became ready, or None. Whether it answers now, `/readyz` says."""
    try:
        return Endpoint.model_validate_json(_file(settings).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            object=str(_file(settings)),
            observed=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            expected="the file that the last deployment wrote",
            next_step="remove it, and deploy the model again",
        ) from None


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One deployment of a home folder at a time: of two, each would bring back what the other replaced."""
    lock = settings.root / "locks" / "serving.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _replace(settings: Settings, config: ServiceConfig) -> None:
    """Lets this version take over, or leaves things as they were."""
    from serving import rollout  # imports Ray, which has to be connected first

    rollout.open_door(settings)
    previous = current(settings) if rollout.serves() else None
    try:
        rollout.replace(settings, config)
        _ask_it(settings, config)
    except (GoldpathError, httpx.HTTPError) as error:
        # Serve keeps the old replicas, but would not bring them back if they died: make them the wanted ones again.
        if previous is None:
            rollout.remove()
        else:
            rollout.replace(settings, previous.config)
        raise _failed(config, error, previous) from error


def _ask_it(settings: Settings, config: ServiceConfig) -> None:
    """Goes in through the door that callers use: ready, the right model, and closed without the token."""
    with client.connection(settings) as caller:
        _within(READY_SECONDS, lambda: client.answered(caller.get("/readyz")))
        served = client.answered(caller.get("/v1/model"))
        stranger = caller.get("/v1/model", headers={"Authorization": "Bearer of none"})
    if served["digest"] != config.model.digest or stranger.status_code != 401:
        raise ServiceUnavailable(
            object=client.url(settings),
            observed=f"model {served['digest'][:16]}…, and {stranger.status_code} without a token",
            expected=f"model {config.model.digest[:16]}…, and 401 without a token",
            next_step="see whether another service answers on this port",
        )


def _within(seconds: float, attempt: Callable[[], T]) -> T:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (ServiceUnavailable, RequestError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _failed(config: ServiceConfig, error: Exception, previous: Endpoint | None) -> DeploymentError:
    what = error.observed if isinstance(error, GoldpathError) else f"{type(error).__name__}: {error}"
    model, before = config.model, previous.config.model if previous else None
    now = f"{before.name}@{before.version} still serves" if before else "nothing serves"
    return DeploymentError(
        object=f"deployment of {model.name}@{model.version}",
        observed=f"{what}; {now}",
        expected=f"a service that is ready, with model {model.digest[:16]}…",
        next_step=error.next_step if isinstance(error, GoldpathError) else "read the log of the replica",
    )


def _note(settings: Settings, endpoint: Endpoint) -> None:
    path = _file(settings)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(endpoint.model_dump(mode="json"), indent=1), encoding="utf-8")
    temporary.replace(path)


def _file(settings: Settings) -> Path:
    return settings.root / "serving" / "deployment.json"
