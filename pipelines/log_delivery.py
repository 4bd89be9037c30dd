"""Delivers an append-only log to landing: what was written since the last delivery, as one complete file."""

from __future__ import annotations

from pathlib import Path

from pipelines.landing import Landing


def deliver_log(landing: Landing, log: Path, *, domain: str, source: str) -> int:
    """Lands the new complete lines of every log file of a folder; returns how many.

    A log file is named by its date; its deliveries are named by the line that they begin with, so a run that was killed
    after landing one is continued from there.

    Args:
        landing: Where to.
        log: Folder of `YYYY-MM-DD.jsonl` files that others append to.
    """
    landed = 0
    for path in sorted(log.glob("*.jsonl")):
        lines = [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]]
        before = landing.deliveries(domain, source, [path.stem])
        taken = sum(landing.path(delivery).read_bytes().count(b"\n") for delivery in before)
        if len(lines) > taken:
            name = f"{source}_{taken:08d}.jsonl"
            landing.deliver(
                domain=domain, source=source, interval=path.stem, name=name, content=b"".join(lines[taken:])
            )
            landed += len(lines) - taken
    return landed
