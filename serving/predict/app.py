"""A prediction service as a Ray Serve application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from starlette.types import ASGIApp

from pipelines import settings as environment
from pipelines.settings import Settings
from serving.door import access
from serving.predict import http, replicas
from serving.predict.candidate import Remote
from serving.predict.config import ServiceConfig
from serving.predict.router import Router
from serving.predict.service import PredictionService


@serve.ingress()
class Prediction:
    """One replica of one service: the model, the open online store, the router and the HTTP interface."""

    def __init__(self, config: ServiceConfig, settings: Settings) -> None:
        replicas.prepare(settings)
        service = PredictionService(config, settings)
        service.check()  # a replica that cannot predict must not replace one that can
        self._token = access.TokenCheck(access.token(settings, config.name))
        self._router = Router(service, settings, Remote(config.name))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return http.create(self._router, self._token)

    async def check_health(self) -> None:
        """Returns when the worker thread has done what was asked before; Serve replaces a replica whose thread hangs.

        A feature store that does not answer is no reason to replace the replica; `/readyz` reports it.
        """
        await self._router.worker.run(lambda: None)


def build(args: ServiceConfig | Mapping[str, Any]) -> serve.Application:
    """The application for `serve run serving.predict.app:build` and for a RayService.

    Both pass the fields of `ServiceConfig`; the settings come from the environment.
    """
    return application(ServiceConfig.model_validate(args), environment.get())


def application(config: ServiceConfig, settings: Settings) -> serve.Application:
    """The application with the settings of one home folder."""
    return replicas.bind(Prediction, "Prediction", config, settings)
