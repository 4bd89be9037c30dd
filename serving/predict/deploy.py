"""Puts a model into service on a Ray cluster, and brings it back after a restart.

The order of the steps keeps the old model in service where anything is wrong with the new one: verify the new model and
predict with it in this process; start it beside the old replica, where it predicts again before it takes over; ask it
over HTTP as callers do; then note it in `<home>/serving/deployments/<service>.json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import GoldpathError, NotFoundError, SettingsError
from pipelines.machine import files, locks, ray_connection
from pipelines.models.registry import RegisteredModel
from pipelines.models.service import ServiceSpec, find
from pipelines.rollout import routes, state
from pipelines.settings import Settings
from serving.errors import DeploymentError, RequestError, ServiceUnavailable
from serving.predict import client, models
from serving.predict.config import ServedModel, ServiceConfig
from serving.predict.service import PredictionService

READY_SECONDS = 10.0

T = TypeVar("T")


class Endpoint(BaseModel):
    """A deployed service: its URL, its configuration, and when it became ready, UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    config: ServiceConfig
    deployed_at: datetime


def deploy(settings: Settings, config: ServiceConfig) -> Endpoint:
    """Replaces the served model by this one without a gap, and returns when the new one has answered.

    Other services of the home folder go on. Where no cluster runs, one is started that lives as long as this process. A
    home folder has one deployment at a time: of two, each would restore what the other replaced.

    Raises:
        ModelError: if the model's files are not those of its digest, or it needs features that do not exist.
        NotANumber: if the model answers with a number that is infinite or none.
        FeatureStoreUnavailable: if the online store was not filled yet, or does not answer.
        DeploymentError: if the service did not become ready; the previous one goes on serving.
        SettingsError: if the port is taken.
        LockTimeout: if another deployment takes too long.
    """
    config = config.model_copy(update={"model": models.install(settings, config.model)})
    PredictionService(config, settings).check()
    purpose = f"a deployment of {config.model.name}@{config.model.version}"
    with locks.held(settings.root / "locks" / "serving.lock", purpose=purpose):
        cluster = ray_connection.connect(settings)
        try:
            _replace(settings, config)
            endpoint = Endpoint(url=client.url(settings, config.name), config=config, deployed_at=datetime.now(UTC))
            _note(settings, endpoint)
            return endpoint
        finally:
            if cluster.origin != "started":
                cluster.shutdown()


def deploy_champion(settings: Settings, spec: ServiceSpec, champion: RegisteredModel, folder: Path) -> str:
    """A `pipelines.models.service.Deploy`, which explains the arguments; raises what `deploy` does."""
    return deploy(settings, config_of(spec, champion, folder)).url


def config_of(spec: ServiceSpec, model: RegisteredModel, folder: Path) -> ServiceConfig:
    """The configuration that serves a registered model, whose verified files are in the folder."""
    served = ServedModel(
        name=model.name, version=model.version, digest=model.digest, folder=folder, metrics=dict(model.metrics)
    )
    return ServiceConfig(model=served, service=spec.place)


def redeploy(settings: Settings, service: str) -> Endpoint:
    """Deploys again what was deployed last of a service, `domain.name`, and goes on with its rollout, if it has one.

    Raises what `deploy` does, and NotFoundError if nothing was deployed.
    """
    last = current(settings, service)
    if last is None:
        raise NotFoundError(
            object=f"deployment of {service} in {settings.root}",
            observed="nothing was deployed yet",
            expected="a model that was deployed before",
            next_step=f"goldpath materialize the assets training/…, models/… and serving/{service.replace('.', '/')}",
        )
    # The candidate runs later than the service: until then questions that reach nobody would be evidence against it.
    routes.remove(settings, service)
    endpoint = deploy(settings, last.config)
    if state.active(settings, service) is not None:
        spec = find(last.config.service)
        spec.runtime.load_arms().watch(settings, spec)
    return endpoint


def deployed_services(settings: Settings) -> list[str]:
    """The services of which a model was deployed, by name."""
    return sorted(path.stem for path in (settings.root / "serving" / "deployments").glob("*.json"))


def current(settings: Settings, service: str) -> Endpoint | None:
    """The last deployment of a service that became ready, or None. Whether it answers now, `/readyz` tells.

    Its model is the one that this home folder holds, also if the home was moved or copied since.
    """
    try:
        endpoint = Endpoint.model_validate_json(_file(settings, service).read_text(encoding="utf-8"))
        model = endpoint.config.model
        model = model.model_copy(update={"folder": models.folder(settings, model.name, model.digest)})
        return endpoint.model_copy(update={"config": endpoint.config.model_copy(update={"model": model})})
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            object=str(_file(settings, service)),
            observed=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            expected="the file that the last deployment wrote",
            next_step="remove it, and deploy the model again",
        ) from None


def _replace(settings: Settings, config: ServiceConfig) -> None:
    """Puts this version into service, or leaves the previous one there."""
    from serving.predict import rollout  # loads Ray, whose environment `ray_connection.connect` has set

    rollout.start_proxy(settings)
    previous = current(settings, config.name) if rollout.is_serving(config.name) else None
    try:
        rollout.replace(settings, config)
        _require_answer(settings, config)
    except (GoldpathError, httpx.HTTPError) as error:
        # Serve keeps the old replicas, but would not restart them: deploy the previous version again.
        if previous is None:
            rollout.remove(config.name)
        else:
            rollout.replace(settings, previous.config)
        raise _failed(config, error, previous) from error


def _require_answer(settings: Settings, config: ServiceConfig) -> None:
    """Asks over HTTP as callers do: the service must be ready, serve this model, and refuse a wrong token."""
    with client.connection(settings, config.name) as caller:
        _within(READY_SECONDS, lambda: client.answered(caller.get("/readyz")))
        served = client.answered(caller.get("/v1/model"))
        refused = caller.get("/v1/model", headers={"Authorization": "Bearer wrong"})
    if served["digest"] != config.model.digest or refused.status_code != 401:
        raise ServiceUnavailable(
            object=client.url(settings, config.name),
            observed=f"model {served['digest'][:16]}…, and {refused.status_code} for a wrong token",
            expected=f"model {config.model.digest[:16]}…, and 401 for a wrong token",
            next_step="see whether another service answers on this port",
        )


def _within(seconds: float, attempt: Callable[[], T]) -> T:
    """The result of the first attempt that succeeds; after the time limit, its error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (ServiceUnavailable, RequestError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _failed(config: ServiceConfig, error: Exception, previous: Endpoint | None) -> DeploymentError:
    observed = error.observed if isinstance(error, GoldpathError) else f"{type(error).__name__}: {error}"
    model, before = config.model, previous.config.model if previous else None
    now = f"{before.name}@{before.version} still serves" if before else "nothing serves"
    return DeploymentError(
        object=f"deployment of {model.name}@{model.version}",
        observed=f"{observed}; {now}",
        expected=f"a service that is ready, with model {model.digest[:16]}…",
        next_step=error.next_step if isinstance(error, GoldpathError) else "read the log of the replica",
    )


def _note(settings: Settings, endpoint: Endpoint) -> None:
    files.replace(_file(settings, endpoint.config.name), endpoint.model_dump_json(indent=1))


def _file(settings: Settings, service: str) -> Path:
    return settings.root / "serving" / "deployments" / f"{service}.json"
