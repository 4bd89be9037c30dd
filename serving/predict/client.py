"""A client of a prediction service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from pipelines.machine import ports
from pipelines.settings import Settings
from serving.door import access
from serving.errors import RequestError, ServiceUnavailable

TIMEOUT_SECONDS = 30.0


def url(settings: Settings, service: str) -> str:
    """The base URL of a service: on loopback, or at the head of the configured Ray cluster."""
    host = ports.LOOPBACK
    if settings.ray_address:
        host = settings.ray_address.rpartition("://")[2].rpartition(":")[0] or ports.LOOPBACK
    return f"http://{host}:{settings.serving_port}/{service.replace('.', '/')}"


def connection(settings: Settings, service: str) -> httpx.Client:
    """A client with the address and the token of a service, `domain.name`; the caller closes it."""
    token = access.token(settings, service).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url(settings, service), headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)


def ask(settings: Settings, service: str, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The answers to questions, in their order, over one connection.

    Args:
        settings: Of the home folder whose service is asked.
        service: The service, `domain.name`.
        questions: Each is a body of `POST /v1/predict`.

    Raises:
        RequestError: if a question is wrong.
        ServiceUnavailable: if nothing answers, or the service cannot answer now.
    """
    with _answering(settings, service) as client:
        return [answered(client.post("/v1/predict", json=dict(question))) for question in questions]


def ask_together(settings: Settings, service: str, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The answers to at most 1,000 questions, in their order, in one request; raises as `ask` does."""
    body = {"questions": [dict(question) for question in questions]}
    with _answering(settings, service) as client:
        return answered(client.post("/v1/predict:batch", json=body))["predictions"]


@contextlib.contextmanager
def _answering(settings: Settings, service: str) -> Iterator[httpx.Client]:
    """A connection; raises ServiceUnavailable if nothing answers on it."""
    try:
        with connection(settings, service) as client:
            yield client
    except httpx.TransportError as error:
        raise ServiceUnavailable(
            object=f"prediction service at {url(settings, service)}",
            observed=f"{type(error).__name__}: {error}",
            expected="a service that answers",
            next_step="start `goldpath dev`, or deploy a model",
        ) from error


def answered(response: httpx.Response) -> dict[str, Any]:
    """The body of a successful response.

    Raises:
        RequestError: for a status from 400 to 499, with what the problem document says.
        ServiceUnavailable: for any other status.
    """
    if response.is_success:
        return response.json()
    try:
        problem = response.json()
    except ValueError:  # Ray Serve's own refusals are plain text
        problem = {}
    kind = RequestError if response.is_client_error else ServiceUnavailable
    raise kind(
        object=f"{response.request.method} {response.url.path}, {problem.get('field') or 'answer'}",
        observed=problem.get("observed", f"{response.status_code} {response.text[:200]}"),
        expected=problem.get("expected", "200"),
        next_step=problem.get("next_step", "ask again in a moment"),
    )
