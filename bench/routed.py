"""What a rollout costs the callers of a service: the same service with a route and without one, in alternating blocks.

The candidate is the model that serves, once more, in its own process on the same machine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.pairs import Row, percentile
from pipelines.rollout import evidence, routes
from pipelines.rollout.routes import LOOK_SECONDS, Route
from pipelines.settings import Settings

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

BLOCKS, BLOCK = 10, 50
ROLLOUT = "bench"
#: By the share of the candidate's questions: none of them in practice, mirrored, and all.
ROUTED = {"stable answers": 1e-12, "mirrored": None, "candidate answers": 1.0}


def measure(settings: Settings, endpoint: Endpoint, question: Mapping[str, Any]) -> list[Row]:
    """Sequential requests over one connection, of a service that this process has deployed."""
    from serving.predict import client, rollout

    service, model = endpoint.config.name, endpoint.config.model
    identity = model.model_dump(include={"name", "version", "digest"})
    milliseconds: dict[str, list[float]] = {name: [] for name in ("no route", *ROUTED)}
    rollout.start_candidate(settings, endpoint.config)
    try:
        with client.connection(settings, service) as connection:
            for block in range(BLOCKS + 1):
                for name, measured in milliseconds.items():
                    if name in ROUTED:
                        route = Route(ROLLOUT, "bench", 0, ROUTED[name], "", 2.0, identity)
                        routes.write(settings, service, route)
                    else:
                        routes.remove(settings, service)
                    time.sleep(2 * LOOK_SECONDS)
                    for _ in range(BLOCK):
                        started = time.perf_counter()
                        connection.post("/v1/predict", json=dict(question)).raise_for_status()
                        if block:  # the first block warms up
                            measured.append(1_000 * (time.perf_counter() - started))
    finally:
        routes.remove(settings, service)
        rollout.remove_candidate(service)
    lines = list(evidence.Reader(evidence.folder(settings, service, ROLLOUT)).new())
    shutil.rmtree(evidence.folder(settings, service, ROLLOUT))
    failed = sum(line["failed"] is not None for line in lines)
    mirrored = sum(line["mirrored"] for line in lines)
    rows = []
    for name in ROUTED:
        for share in (0.50, 0.99):
            ours, peer = percentile(milliseconds[name], share), percentile(milliseconds["no route"], share)
            note = f"{ours - peer:+.2f} ms; the peer has no route; {BLOCKS * BLOCK} sequential requests each"
            if name == "mirrored":
                note += f"; the candidate saw {mirrored} of {(BLOCKS + 1) * BLOCK}, {failed} lines of failures"
            rows.append(Row(f"{name} p{share:.0%}".rstrip("%"), f"{ours:.1f} ms", f"{peer:.1f} ms", ours / peer, note))
    return rows
