"""What a training run leaves behind beside the model: its record, a model card, the gate's figures and the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.models.gate import GateDecision
from pipelines.models.run_record import RunRecord
from pipelines.quality import plots

Points = Sequence[tuple[float, float]]
GATE_FILE, CARD_FILE = "gate.json", "card.md"


@dataclass(frozen=True, slots=True)
class Standing:
    """One contender on the gate window: its metrics, and the points of two curves."""

    metrics: Mapping[str, float]
    roc: Points
    calibration: Points


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was found out about a challenger."""

    model_name: str
    question: str
    limits: Sequence[str]
    windows: Mapping[str, str]
    standings: Mapping[str, Standing]
    decision: GateDecision

    def write(self, folder: Path, record: RunRecord) -> list[bytes]:
        """Writes run record, card, gate and plots into `folder`; returns the plots."""
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder)
        gate = {
            "passed": self.decision.passed,
            "reason": self.decision.reason,
            "window": self.decision.window,
            "comparisons": [asdict(c) | {"won": c.won} for c in self.decision.comparisons],
            "standings": {name: dict(s.metrics) for name, s in self.standings.items()},
            "curves": {
                name: {"roc": [list(p) for p in s.roc], "calibration": [list(p) for p in s.calibration]}
                for name, s in self.standings.items()
            },
        }
        (folder / GATE_FILE).write_text(json.dumps(gate, indent=1), encoding="utf-8")
        (folder / CARD_FILE).write_text(self.card(record), encoding="utf-8")
        images = [
            plots.roc({name: s.roc for name, s in self.standings.items()}),
            plots.calibration({name: s.calibration for name, s in self.standings.items()}),
        ]
        for name, image in zip(("roc.png", "calibration.png"), images, strict=True):
            (folder / name).write_bytes(image)
        return images

    def card(self, record: RunRecord) -> str:
        """The model card, Markdown (Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993)."""
        names = sorted({metric for s in self.standings.values() for metric in s.metrics})
        rows = [f"| {n} | " + " | ".join(f"{s.metrics[n]:.4f}" for s in self.standings.values()) + " |" for n in names]
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
                "| metric | " + " | ".join(self.standings) + " |",
                "|---|" + "---|" * len(self.standings),
                *rows,
                f"\nGate: {'passed' if self.decision.passed else 'not passed'}, {self.decision.reason}.",
                "\n## Limits\n",
                *(f"- {limit}" for limit in self.limits),
                f"\n## Origin\n\ncode {record.code_version}, dirty: {record.code_dirty}, on {record.accelerator}",
                f"Dagster run {record.dagster_run_id}, base model {record.base_model or 'none, from scratch'}\n",
            ]
        )


def read_gate(folder: Path) -> dict[str, Any]:
    """The gate's figures beside a model; raises FileNotFoundError where a model has none."""
    return json.loads((folder / GATE_FILE).read_text(encoding="utf-8"))
