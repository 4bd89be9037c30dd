"""The push server: one process on loopback that takes events for every pushed source of one home folder."""

from __future__ import annotations

from collections.abc import Mapping

import uvicorn

from pipelines.landing.stores import open_store
from pipelines.landing.zone import Landing
from pipelines.machine import ports
from pipelines.medallion.push_source import PushSource
from pipelines.settings import Settings
from serving.door import access
from serving.push import http
from serving.push.log import PushLog
from serving.push.online import OnlinePath
from serving.push.service import PushLimits, Receiver


def serve(
    settings: Settings, sources: Mapping[tuple[str, str], PushSource], *, port: int, limits: PushLimits | None = None
) -> None:
    """Takes events until SIGINT or SIGTERM, then delivers the acknowledged ones to landing.

    Raises:
        SettingsError: if the port is taken, or another server has the logs of this home folder open.
    """
    ports.require_free(port, what="the push server", option="--port")
    limits = limits or PushLimits()
    online = OnlinePath(settings, limits.online_seconds)
    receivers = {name: _open(settings, source, online, limits) for name, source in sources.items()}
    app = http.create(receivers, online, access.TokenCheck(access.token(settings, access.PUSH)))
    uvicorn.run(app, host=ports.LOOPBACK, port=port, log_level="warning", access_log=False)


def _open(settings: Settings, source: PushSource, online: OnlinePath, limits: PushLimits) -> Receiver:
    domain, name = source.name
    landing = Landing(open_store(settings))
    log = PushLog(settings.root / "push" / domain / name)
    # The folder may have been lost with an old machine: continue after the positions that landing has.
    if log.last == 0 and (newest := landing.position(domain, name)):
        number, position = newest
        log.begin_after(number, int(position["last"]))
    return Receiver(source, log, landing, online, limits)
