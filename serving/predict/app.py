"""A prediction service as a Ray Serve application."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from pipelines import settings as environment
from pipelines.settings import Settings
from serving.door import access
from serving.predict import http
from serving.predict.config import ServiceConfig
from serving.predict.service import PredictionService


@serve.ingress()
class Prediction:
    """One replica of one service: the model, the open online store and the HTTP interface."""

    def __init__(self, config: ServiceConfig, settings: Settings) -> None:
        # A base model that a program keeps in the home folder is found there, wherever this process works.
        os.environ["GOLDPATH_HOME"] = str(settings.root)
        torch.set_num_threads(1)  # one row is too little work for several threads
        if settings.profile != "cluster":
            _listen_nowhere()
        self._service = PredictionService(config, settings)
        self._service.check()  # a replica that cannot predict must not replace one that can
        self._token = access.TokenCheck(access.token(settings, config.name))
        self._worker = http.Worker()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return http.create(self._service, self._token, self._worker)

    async def check_health(self) -> None:
        """Returns when the worker thread has done what was asked before; Serve replaces a replica whose thread hangs.

        A feature store that does not answer is no reason to replace the replica; `/readyz` reports it.
        """
        await self._worker.run(lambda: None)


def _listen_nowhere() -> None:
    """Lets this replica start without the port on which Serve takes calls of other deployments.

    There are none, and the port is open on every network interface to whoever sends a pickle, which runs code. Proxies
    call replicas through Ray itself.
    """
    from ray.serve._private import replica

    assert callable(replica.add_port_to_grpc_server)
    replica.add_port_to_grpc_server = lambda server, address: 0  # ty: ignore[invalid-assignment]


def build(args: ServiceConfig | Mapping[str, Any]) -> serve.Application:
    """The application for `serve run serving.predict.app:build` and for a RayService.

    Both pass the fields of `ServiceConfig`; the settings come from the environment.
    """
    return application(ServiceConfig.model_validate(args), environment.get())


def application(config: ServiceConfig, settings: Settings) -> serve.Application:
    """The application with the settings of one home folder."""
    deployment = serve.deployment(
        name="Prediction",
        num_replicas=config.replicas or (2 if settings.profile == "cluster" else 1),
        ray_actor_options={"num_cpus": config.cpus_per_replica},
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_queued_requests,
        # A new version starts beside the old one, which answers meanwhile, and goes on if the new one fails.
        max_surge_percent=100,
        max_constructor_retry_count=2,
        # The prediction log holds more, and Serve prints each line of its access log in the process that deploys.
        logging_config=LoggingConfig(enable_access_log=False),
        health_check_period_s=1,  # a killed replica is noticed, and replaced, after this time
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=10,
    )(Prediction)
    # A replica has another working directory, so its home must be absolute; it needs no key of the lineage endpoint.
    return deployment.bind(config, settings.model_copy(update={"home": settings.root, "lineage_api_key": None}))
