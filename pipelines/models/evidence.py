"""The files beside a trained model: its run record, a model card, the gate's figures and the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.machine import files
from pipelines.models.gate import GateDecision
from pipelines.models.program import Evaluation
from pipelines.models.run_record import RunRecord
from pipelines.quality import plots

GATE_FILE, CARD_FILE = "gate.json", "card.md"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gate decided about a challenger, on what figures.

    Attributes:
        model_name: The model's name in the registry.
        question: What a prediction answers.
        limits: What the model can't be used for.
        windows: What each window was used for, and the window.
        evaluations: Each contender's figures, by the contender's name.
        decision: The gate's decision.
        champion: Digest of the champion that it was compared with; None if there was none.
    """

    model_name: str
    question: str
    limits: Sequence[str]
    windows: Mapping[str, str]
    evaluations: Mapping[str, Evaluation]
    decision: GateDecision
    champion: str | None

    def write(self, folder: Path, record: RunRecord) -> list[bytes]:
        """Writes run record, card, gate and plots into `folder`; returns the plots."""
        record.write(folder)
        gate = {
            "passed": self.decision.passed,
            "reason": self.decision.reason,
            "window": self.decision.window,
            "champion": self.champion,
            "comparisons": [asdict(c) | {"won": c.won} for c in self.decision.comparisons],
            "standings": {name: dict(evaluation.metrics) for name, evaluation in self.evaluations.items()},
            "curves": {
                name: {"roc": evaluation.roc, "calibration": evaluation.calibration}
                for name, evaluation in self.evaluations.items()
            },
        }
        files.replace(folder / GATE_FILE, json.dumps(gate, indent=1))
        files.replace(folder / CARD_FILE, self.card(record))
        images = [
            plots.roc({name: evaluation.roc for name, evaluation in self.evaluations.items()}),
            plots.calibration({name: evaluation.calibration for name, evaluation in self.evaluations.items()}),
        ]
        for name, image in zip(("roc.png", "calibration.png"), images, strict=True):
            files.replace(folder / name, image)
        return images

    def card(self, record: RunRecord) -> str:
        """The model card, Markdown (Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993)."""
        contenders = [evaluation.metrics for evaluation in self.evaluations.values()]
        names = sorted({name for metrics in contenders for name in metrics})
        rows = [f"| {name} | " + " | ".join(f"{metrics[name]:.4f}" for metrics in contenders) + " |" for name in names]
        data = "\n".join(f"- {table}@{version}" for table, version in record.dataset_versions.items())
        return "\n".join(
            [
                f"# {self.model_name}",
                f"\n{self.question}",
                "\n## Data\n",
                data,
                f"- features: {record.feature_service}; {record.as_of_rule}",
                *(f"- {name}: {window}" for name, window in self.windows.items()),
                "\n## Figures on the gate window\n",
                "| metric | " + " | ".join(self.evaluations) + " |",
                "|---|" + "---|" * len(self.evaluations),
                *rows,
                f"\nGate: {'passed' if self.decision.passed else 'not passed'}, {self.decision.reason}.",
                "\n## Limits\n",
                *(f"- {limit}" for limit in self.limits),
                f"\n## Origin\n\ncode {record.code_version}, dirty: {record.code_dirty}, on {record.accelerator}",
                f"Dagster run {record.dagster_run_id}, base model {record.base_model or 'none, from scratch'}\n",
            ]
        )


def read_gate(folder: Path) -> dict[str, Any]:
    """The content of the gate file beside a model; raises FileNotFoundError if there is none."""
    return json.loads((folder / GATE_FILE).read_text(encoding="utf-8"))
