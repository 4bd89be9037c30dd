"""What a rollout costs the callers of a service: the same service with a route and without one, in alternating blocks.

The candidate is the model that serves, once more, in its own process on the same machine.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from bench.pairs import Row, percentile
from pipelines.rollout import evidence, routes
from pipelines.rollout.routes import LOOK_SECONDS, Route
from pipelines.settings import Settings
from serving.predict import mirror

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

#: A block lasts several times as long as mirrored requests gather.
BLOCKS, BLOCK = 8, 150
ROLLOUT = "bench"
#: By the share of the candidate's questions: none of them in practice, mirrored, and all.
ROUTED = {"stable answers": 1e-12, "mirrored": None, "candidate answers": 1.0}


@dataclass(frozen=True, slots=True)
class Block:
    """What each request took, and the mean processor time of all processes for one, in milliseconds."""

    milliseconds: list[float]
    cpu_ms: float


def measure(settings: Settings, endpoint: Endpoint, question: Mapping[str, Any]) -> list[Row]:
    """Sequential requests over one connection, of a service that this process has deployed on its own cluster."""
    from serving.predict import client, rollout

    service, model = endpoint.config.name, endpoint.config.model
    identity = model.model_dump(include={"name", "version", "digest"})
    blocks: dict[str, list[Block]] = {name: [] for name in ("no route", *ROUTED)}
    rollout.start_candidate(settings, endpoint.config)
    processes = _processes(service)
    try:
        with client.connection(settings, service) as connection:

            def ask() -> Block:
                milliseconds, before = [], _cpu_ms(processes)
                for _ in range(BLOCK):
                    started = time.perf_counter()
                    connection.post("/v1/predict", json=dict(question)).raise_for_status()
                    milliseconds.append(1_000 * (time.perf_counter() - started))
                time.sleep(2 * mirror.GATHER_SECONDS)  # the candidate sees the last ones
                return Block(milliseconds, (_cpu_ms(processes) - before) / BLOCK)

            for turn in range(BLOCKS + 1):
                for name in list(blocks) if turn % 2 else reversed(blocks):
                    if name in ROUTED:
                        route = Route(ROLLOUT, "bench", 0, ROUTED[name], "", 2.0, identity)
                        routes.write(settings, service, route)
                    else:
                        routes.remove(settings, service)
                    time.sleep(2 * LOOK_SECONDS)
                    block = ask()
                    if turn:  # the first turn warms up
                        blocks[name].append(block)
    finally:
        routes.remove(settings, service)
        rollout.remove_candidate(service)
    lines = list(evidence.Reader(evidence.folder(settings, service, ROLLOUT)).new())
    shutil.rmtree(evidence.folder(settings, service, ROLLOUT))
    failed = sum(line["failed"] is not None for line in lines)
    mirrored = sum(line["mirrored"] for line in lines)
    rows = []
    for name in ROUTED:
        note = f"the peer has no route; {BLOCKS} blocks of {BLOCK} sequential requests each, by turns"
        if name == "mirrored":
            note += f"; the candidate saw {mirrored} of {(BLOCKS + 1) * BLOCK}, {failed} lines of failures"
        for share in (0.50, 0.99):
            sides = [[percentile(block.milliseconds, share) for block in blocks[side]] for side in (name, "no route")]
            rows.append(_row(f"{name} p{share:.0%}".rstrip("%"), *sides, note))
        sides = [[block.cpu_ms for block in blocks[side]] for side in (name, "no route")]
        rows.append(_row(f"{name}, CPU of a request", *sides, "of the proxy, the replica and the candidate"))
    return rows


def _row(name: str, ours: Sequence[float], peer: Sequence[float], note: str) -> Row:
    """Medians over the blocks, of the values, and of the differences and ratios of each turn."""
    pairs = list(zip(ours, peer, strict=True))
    difference = statistics.median(one - other for one, other in pairs)
    ratio = statistics.median(one / other for one, other in pairs)
    values = (f"{statistics.median(side):.1f} ms" for side in (ours, peer))
    return Row(name, *values, ratio, f"{difference:+.2f} ms; {note}")


def _processes(service: str) -> list[psutil.Process]:
    """The proxy, and the replicas of a service and of its candidate: Ray writes what a process does into its title."""
    titles = ("ray::ProxyActor", f"ray::ServeReplica:{service}:", f"ray::ServeReplica:{service}--candidate:")
    children = psutil.Process().children(recursive=True)
    return [each for each in children if (each.cmdline() or [""])[0].startswith(titles)]


def _cpu_ms(processes: Sequence[psutil.Process]) -> float:
    times = [each.cpu_times() for each in processes]
    return 1_000 * sum(each.user + each.system for each in times)
