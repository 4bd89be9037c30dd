"""`goldpath push`: the server that takes events over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.invocation import errors_shown, prepared_settings, say

PORT = 8098


def push(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Loopback port.")] = PORT,
    segment_seconds: Annotated[
        float, typer.Option(min=0.1, help="Deliver events to landing after this many seconds.")
    ] = 60.0,
    waiting_mb: Annotated[
        float, typer.Option(min=0.001, help="Answer 503 while more than this is not in landing.")
    ] = 256.0,
) -> None:
    """Takes events by HTTP on this machine alone, until Ctrl-C. An event is acknowledged when it is durable and the
    online features have moved. The server has a token of its own. To send one:
    `curl -H "Authorization: Bearer $(cat .goldpath/serving/tokens/push)" -H "Idempotency-Key: 7f3a" -d @event.json
    http://127.0.0.1:8098/v1/events/flights/movements`

    Example: `goldpath push --port 8098`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.definitions import push_sources
        from serving.push.server import serve
        from serving.push.service import PushLimits

        def opened(name: tuple[str, str]) -> None:
            say(f"Taking events: POST http://127.0.0.1:{port}/v1/events/{'/'.join(name)}")

        limits = PushLimits(waiting_bytes=int(waiting_mb * 2**20), segment_seconds=segment_seconds)
        serve(settings, push_sources(), port=port, limits=limits, opened=opened)
