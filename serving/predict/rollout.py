"""Starts, replaces and removes the applications of services and rollouts on the Ray cluster of this process.

Imported only after `ray_connection.connect`, since Ray reads its environment while it is imported.
"""

from __future__ import annotations

import logging
import time

from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from pipelines.machine import ports
from pipelines.settings import Settings
from serving.errors import ServiceUnavailable
from serving.predict import app, candidate, watch
from serving.predict.config import ServiceConfig

START_SECONDS = 180.0
REQUEST_SECONDS = 30.0


def start_proxy(settings: Settings) -> None:
    """Starts Serve's HTTP proxy on the port of the settings, unless it runs.

    It listens on loopback; in the profile `cluster` on all addresses of its pod.

    Raises:
        SettingsError: if another program has the port.
    """
    if not serve.status().proxies and not settings.ray_address:
        ports.require_free(settings.serving_port, what="the prediction services", option="GOLDPATH_SERVING_PORT")
    host = "0.0.0.0" if settings.profile == "cluster" else ports.LOOPBACK
    options = HTTPOptions(host=host, port=settings.serving_port, request_timeout_s=REQUEST_SECONDS)
    # Serve tells of each call of this process on its standard error, in the midst of what a command prints.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="HeadOnly", http_options=options)


def is_serving(service: str) -> bool:
    """Whether a version of the service, `domain.name`, is in service."""
    return service in serve.status().applications


def replace(settings: Settings, config: ServiceConfig) -> None:
    """Starts this version, and returns when only its replicas are left; the old version answers until then.

    Raises:
        ServiceUnavailable: if none of its replicas starts; the old ones go on.
    """
    target = serve.RunTarget(app.application(config, settings), name=config.name, route_prefix=config.route)
    serve.run_many([target], wait_for_applications_running=False)
    _wait_running(config.name)


def has_candidate(service: str, digest: str) -> bool:
    """Whether this model runs as the candidate of a service, `domain.name`, or its replicas are started again."""
    overview = serve.status().applications.get(candidate.application_name(service))
    ended = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.DELETING)
    return (
        overview is not None
        and overview.status not in ended
        and candidate.deployment_name(digest) in overview.deployments
    )


def start_candidate(settings: Settings, config: ServiceConfig) -> None:
    """Starts this version beside the one that serves, unless it runs; returns when it runs and has predicted.

    Raises:
        ServiceUnavailable: if none of its replicas starts; then none is left.
    """
    name = candidate.application_name(config.name)
    try:
        if not has_candidate(config.name, config.model.digest):
            target = serve.RunTarget(candidate.application(config, settings), name=name, route_prefix=None)
            serve.run_many([target], wait_for_applications_running=False)
        _wait_running(name)
    except ServiceUnavailable:
        serve.delete(name)
        raise


def remove_candidate(service: str) -> None:
    """Ends the candidate of a service, `domain.name`, if there is one."""
    if (name := candidate.application_name(service)) in serve.status().applications:
        serve.delete(name)


def start_watch(settings: Settings, place: str, service: str) -> None:
    """Starts the program that moves the rollouts of the service at `module:name`, unless it runs.

    It ends by itself where there is no rollout, or none any longer.

    Raises:
        ServiceUnavailable: if it does not start.
    """
    name = watch.application_name(service)
    ending = (ApplicationStatus.DELETING, ApplicationStatus.DEPLOY_FAILED)
    overview, deadline = serve.status().applications.get(name), time.monotonic() + START_SECONDS
    while overview is not None and overview.status == ApplicationStatus.DELETING and time.monotonic() < deadline:
        time.sleep(0.2)
        overview = serve.status().applications.get(name)
    if overview is None or overview.status in ending:
        target = serve.RunTarget(watch.application(place, settings), name=name, route_prefix=None)
        serve.run_many([target], wait_for_applications_running=False)
    _wait_running(name, ends_itself=True)


def _wait_running(application: str, *, ends_itself: bool = False) -> None:
    """Returns when the application's replicas run, and no older ones are left.

    Args:
        application: Its name.
        ends_itself: Whether it may have done its work already, and be gone.

    Raises:
        ServiceUnavailable: if none of them starts; the old ones go on.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        overview = serve.status().applications.get(application)
        if overview is None and not ends_itself:
            raise _unavailable(application, "it was removed while it started")
        if overview is None or overview.status == ApplicationStatus.RUNNING:
            return
        if overview.status == ApplicationStatus.DEPLOY_FAILED or time.monotonic() > deadline:
            raise _unavailable(application, f"{overview.status.value}: {_reason(overview)}")
        time.sleep(0.2)


def _unavailable(application: str, observed: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        object=f"Serve application {application}",
        observed=observed,
        expected=f"a running replica within {START_SECONDS:.0f} s",
        next_step="read the replica's log in Ray's session folder",
    )


def remove(service: str) -> None:
    """Takes a service, `domain.name`, out of service."""
    serve.delete(service)


def _reason(overview: ApplicationStatusOverview) -> str:
    """The last line of Serve's messages, which is the replica's exception where there was one."""
    messages = " ".join(deployment.message for deployment in overview.deployments.values()) or overview.message
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    return lines[-1] if lines else "Serve gives no reason"
