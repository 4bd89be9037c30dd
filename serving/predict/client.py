"""Asks the running service, over one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from pipelines.machine import ports
from pipelines.settings import Settings
from serving.door import access
from serving.errors import RequestError, ServiceUnavailable

TIMEOUT_SECONDS = 30.0


def url(settings: Settings) -> str:
    """Where the service of these settings answers: on loopback, or at the head of the configured Ray cluster."""
    host = ports.LOOPBACK
    if settings.ray_address:
        host = settings.ray_address.rpartition("://")[2].rpartition(":")[0] or ports.LOOPBACK
    return f"http://{host}:{settings.serving_port}"


def connection(settings: Settings) -> httpx.Client:
    """A client that knows the address and the token; the caller closes it."""
    token = access.token(settings).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url(settings), headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)


def ask(settings: Settings, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The answers to the questions, in their order; each question is a body of `POST /v1/predict`.

    Raises:
        RequestError: for a question that cannot be answered as it is asked.
        ServiceUnavailable: if nothing answers, or the service cannot at the moment.
    """
    with connection(settings) as client:
        try:
            return [answered(client.post("/v1/predict", json=dict(request))) for request in requests]
        except httpx.TransportError as error:
            raise ServiceUnavailable(
                object=f"prediction service at {url(settings)}",
                observed=f"{type(error).__name__}: {error}",
                expected="a service that answers",
                next_step="start `goldpath dev`, or deploy a model",
            ) from error


def answered(response: httpx.Response) -> dict[str, Any]:
    """The body of a good answer; raises the error that a refusal describes."""
    if response.is_success:
        return response.json()
    try:
        told = response.json()
    except ValueError:  # Ray Serve's own refusals are text
        told = {}
    kind = RequestError if response.is_client_error else ServiceUnavailable
    raise kind(
        object=f"{response.request.method} {response.url.path}, {told.get('field') or 'answer'}",
        observed=told.get("observed", f"{response.status_code} {response.text[:200]}"),
        expected=told.get("expected", "200"),
        next_step=told.get("next_step", "ask again in a moment"),
    )
