"""The service's application on the Ray cluster that this process is connected to: started, replaced, removed.

Imported only after `ray_connection.connect`, since Ray reads its environment while it is imported.
"""

from __future__ import annotations

import time

from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from pipelines.machine import ports
from pipelines.settings import Settings
from serving import app
from serving.config import ServiceConfig
from serving.errors import ServiceUnavailable

APPLICATION = "arrival-delay"
START_SECONDS = 180.0
REQUEST_SECONDS = 30.0


def open_door(settings: Settings) -> None:
    """Starts Serve's HTTP proxy on the port of the settings, unless it runs: on loopback, but for a cluster of its own.

    Raises:
        SettingsError: if another program has the port.
    """
    if not serve.status().proxies and not settings.ray_address:
        ports.require_free(settings.serving_port, what="the prediction service", option="GOLDPATH_SERVING_PORT")
    host = "0.0.0.0" if settings.profile == "cluster" else ports.LOOPBACK
    options = HTTPOptions(host=host, port=settings.serving_port, request_timeout_s=REQUEST_SECONDS)
    serve.start(proxy_location="HeadOnly", http_options=options)


def serves() -> bool:
    """Whether some version of the application is in service."""
    return APPLICATION in serve.status().applications


def replace(settings: Settings, config: ServiceConfig) -> None:
    """Runs this version, and returns when only its replicas are left; the old one answers until then.

    Raises:
        ServiceUnavailable: if no replica of it comes up; the old ones go on.
    """
    target = serve.RunTarget(app.application(config, settings), name=APPLICATION, route_prefix="/")
    serve.run_many([target], wait_for_applications_running=False)
    deadline = time.monotonic() + START_SECONDS
    while True:
        seen = serve.status().applications[APPLICATION]
        if seen.status == ApplicationStatus.RUNNING:
            return
        if seen.status == ApplicationStatus.DEPLOY_FAILED or time.monotonic() > deadline:
            raise ServiceUnavailable(
                object=f"Serve application {APPLICATION}",
                observed=f"{seen.status.value}: {_reason(seen)}",
                expected=f"a running replica within {START_SECONDS:.0f} s",
                next_step="read the replica's log in Ray's session folder",
            )
        time.sleep(0.2)


def remove() -> None:
    """Takes the application out of service."""
    serve.delete(APPLICATION)


def _reason(seen: ApplicationStatusOverview) -> str:
    """The last line of what Serve says, which is the replica's exception where there was one."""
    told = " ".join(deployment.message for deployment in seen.deployments.values()) or seen.message
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return lines[-1] if lines else "Serve gives no reason"
