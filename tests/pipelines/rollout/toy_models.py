"""Models without a program that trains them: a file says what they add to the true probability, and how slow they are."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from pipelines.models.answers import Probability, Rows, Task
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings
from tests.pipelines.models.trained import write_evidence


class Toy:
    """Answers with the input `truth` plus its own error."""

    task: Task = "binary"

    def __init__(self, *, error: float, seconds: float, inputs: Sequence[str]) -> None:
        self._error, self._seconds, self.inputs = error, seconds, tuple(inputs)

    def answer(self, rows: Rows) -> list[Probability]:
        truths = rows["truth"]
        time.sleep(self._seconds * len(truths))
        return [Probability(min(max(truth + self._error, 0.0), 1.0)) for truth in truths]


def load(folder: Path) -> Toy:
    return Toy(**json.loads((folder / "model.safetensors").read_bytes()))


def registered(
    settings: Settings,
    name: str,
    folder: Path,
    *,
    error: float = 0.0,
    seconds: float = 0.0,
    inputs: Sequence[str] = ("truth",),
) -> RegisteredModel:
    """Registers a toy that passed its gate."""
    registry, model = Registry(settings), folder / uuid.uuid4().hex / "model"
    model.mkdir(parents=True)
    says = {"error": error, "seconds": seconds, "inputs": list(inputs)}
    (model / "model.safetensors").write_bytes(json.dumps(says).encode())
    evidence = write_evidence(model, name)
    run = registry.log_run(
        experiment=name,
        model=model,
        record=RunRecord.read(evidence),
        metrics={},
        history={},
        evidence=evidence,
        tags={},
    )
    return registry.register(name, run_id=run, tags={"gate": "passed"})
