"""What the versions of a service did during a rollout: one JSON line for each request and version.

A replica writes the lines of its process into `<home>/rollouts/<service>/<rollout>/evidence-<name>.jsonl`. A line has:

    at          seconds since 1970, UTC
    stage       number of the stage
    arm         `stable` or `candidate`
    mirrored    whether the answers were dropped
    ms          from asked to answered within the version's own process, in milliseconds, without what it takes to ask
                it there: so that the two compare; for a failure, how long it was waited for
    cpu_ms      processor time of the version for the whole request, in milliseconds, or null
    failed      why there is no answer, as one word: `late`, `not_a_number`, or the name of the exception; or null. A
                refusal of a wrong question is no failure, and leaves no line
    answers     for each question: `id` of the prediction that the caller got, or null, `fields`, the question's
                fields that guards name, and, unless it failed, `said` as callers read it, of a text its SHA-256, and
                `missing`, the share of its features that were missing
    stable      for a mirrored request: what the serving version `said`, one for each question
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.machine import json_lines
from pipelines.settings import Settings


def folder(settings: Settings, service: str, rollout: str) -> Path:
    """The folder of a rollout's state, history and evidence."""
    return settings.root / "rollouts" / service / rollout


def append(folder: Path, writer: str, *lines: Mapping[str, Any]) -> None:
    """Appends lines to the writer's file; raises OSError if they cannot be written."""
    json_lines.append(folder / f"evidence-{writer}.jsonl", *lines)


class Reader:
    """Reads each line once, by the time of the lines; it begins at the beginning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """The lines that were written since the last call."""
        files = map(self._new, sorted(self._folder.glob("evidence-*.jsonl")))
        return heapq.merge(*files, key=lambda line: line["at"])

    def _new(self, path: Path) -> Iterator[dict[str, Any]]:
        for offset, line in json_lines.read_from(path, self._offsets.get(path, 0), _is_evidence):
            self._offsets[path] = offset
            yield line

    @property
    def offsets(self) -> Mapping[str, int]:
        """How many bytes of each file were read, by the file's name: which evidence a decision had seen."""
        return {path.name: offset for path, offset in self._offsets.items()}


def _is_evidence(line: dict[str, Any]) -> bool:
    return {"at", "stage", "arm", "mirrored", "ms", "cpu_ms", "failed", "answers"} <= line.keys()
