"""The push server: one process on loopback that takes events for every pushed source of one home folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import uvicorn

from pipelines.errors import GoldpathError
from pipelines.landing.stores import open_store
from pipelines.landing.zone import Landing
from pipelines.machine import ports
from pipelines.machine.http_headers import HeadersInTime
from pipelines.medallion.push_source import PushSource
from pipelines.settings import Settings
from serving.door import access
from serving.errors import PushRefused
from serving.push import http
from serving.push.log import PushLog
from serving.push.online import OnlinePath
from serving.push.service import PushLimits, Receiver

Name = tuple[str, str]
"""Domain and source."""

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    sources: Mapping[Name, PushSource],
    *,
    port: int,
    limits: PushLimits | None = None,
    opened: Callable[[Name], None] = lambda name: None,
) -> None:
    """Takes events until SIGINT or SIGTERM, then delivers the acknowledged ones to landing.

    Args:
        settings: Of the home folder.
        sources: By domain and name.
        port: On loopback.
        limits: How much may wait.
        opened: Called with the name of each source that takes events, before the first is taken.

    Raises:
        SettingsError: if the port is taken.
        GoldpathError: if no source can be opened, as when another server has the logs of this home folder open.
    """
    ports.require_free(port, what="the push server", option="--port")
    limits = limits or PushLimits()
    online = OnlinePath(settings, limits.online_seconds)
    receivers, stopped = open_all(settings, sources, online, limits)
    for name in receivers:
        opened(name)
    app = http.create(receivers, stopped, online, access.TokenCheck(access.token(settings, access.PUSH)))
    uvicorn.run(app, host=ports.LOOPBACK, port=port, http=HeadersInTime, log_level="warning", access_log=False)


def open_all(
    settings: Settings, sources: Mapping[Name, PushSource], online: OnlinePath, limits: PushLimits
) -> tuple[dict[Name, Receiver], dict[Name, GoldpathError]]:
    """The receivers of the sources, and why each other source takes no events.

    Raises:
        GoldpathError: if there are sources, and none can be opened: the error of the first.
    """
    receivers: dict[Name, Receiver] = {}
    stopped: dict[Name, GoldpathError] = {}
    for name, source in sources.items():
        try:
            receivers[name] = _open(settings, source, online, limits)
        except GoldpathError as error:
            stopped[name] = error
        except OSError as error:
            stopped[name] = PushRefused(
                object=f"log of {'/'.join(name)}",
                observed=f"{type(error).__name__}: {error}",
                expected="a folder that the push server may read and write",
                next_step="mend what it names, and start `goldpath push` again",
            )
    if stopped and not receivers:
        raise next(iter(stopped.values()))
    for name, problem in stopped.items():
        logger.error("%s/%s takes no events. %s", *name, problem)
    return receivers, stopped


def _open(settings: Settings, source: PushSource, online: OnlinePath, limits: PushLimits) -> Receiver:
    domain, name = source.name
    landing = Landing(open_store(settings))
    log = PushLog(settings.root / "push" / domain / name)
    try:
        # The folder may have been lost with an old machine: continue after the positions that landing has.
        if log.last == 0 and (newest := landing.position(domain, name)):
            number, position = newest
            log.begin_after(number, int(position["last"]))
    except BaseException:
        log.close()
        raise
    return Receiver(source, log, landing, online, limits)
