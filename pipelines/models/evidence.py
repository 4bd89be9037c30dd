"""The files beside a trained model: its run record, a model card, the gate's figures and the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.machine import files
from pipelines.models import judgement_report, tasks
from pipelines.models.gate import GateDecision
from pipelines.models.program import Evaluation
from pipelines.models.run_record import RunRecord
from pipelines.models.spec import Risk
from pipelines.models.tasks import Metric

RISKS: Mapping[Risk, str] = {
    "minimal": "a wrong answer harms nobody; promoted by the gate",
    "limited": "a wrong answer costs time or money that can be made good; promoted by the gate",
    "high": "a wrong answer can harm people or their rights; a person approves each version before it serves",
}
GATE_FILE, CARD_FILE = "gate.json", "card.md"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gate decided about a challenger, on what figures.

    Attributes:
        model_name: The model's name in the registry.
        question: What a prediction answers.
        limits: What the model can't be used for.
        risk: What a wrong answer can do to people.
        windows: What each window was used for, and the window.
        evaluations: Each contender's figures, by the contender's name.
        decision: The gate's decision.
        champion: Digest of the champion that it was compared with; None if there was none.
    """

    model_name: str
    question: str
    limits: Sequence[str]
    risk: Risk
    windows: Mapping[str, str]
    evaluations: Mapping[str, Evaluation]
    decision: GateDecision
    champion: str | None

    def write(self, folder: Path, record: RunRecord) -> list[bytes]:
        """Writes run record, card, gate and plots into `folder`; returns the plots."""
        record.write(folder)
        figures = {name: dict(evaluation.figures) for name, evaluation in self.evaluations.items()}
        gate = {
            **self.decision.document(),
            "champion": self.champion,
            "standings": {name: dict(evaluation.metrics) for name, evaluation in self.evaluations.items()},
            "figures": figures,
        }
        files.replace(folder / GATE_FILE, json.dumps(gate, indent=1))
        files.replace(folder / CARD_FILE, self.card(record))
        images = tasks.rules(self.decision.task).draw(figures) | judgement_report.draw(self.decision)
        for name, image in images.items():
            files.replace(folder / f"{name}.png", image)
        return list(images.values())

    def card(self, record: RunRecord) -> str:
        """The model card, Markdown (Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993)."""
        contenders = [evaluation.metrics for evaluation in self.evaluations.values()]
        names = sorted({name for metrics in contenders for name in metrics})
        rows = [
            f"| {name} | "
            + " | ".join(f"{own.metrics[name]:.4f}{self._interval(who, name)}" for who, own in self.evaluations.items())
            + " |"
            for name in names
        ]
        rules = tasks.rules(self.decision.task)
        verdict = f"{'passed' if self.decision.passed else 'not passed'}, {self.decision.reason}"
        meanings = {name: rules.metrics[name] for name in names if name in rules.metrics}
        data = "\n".join(f"- {table}@{version}" for table, version in record.dataset_versions.items())
        return "\n".join(
            [
                f"# {self.model_name}",
                f"\n{self.question}",
                f"\nTask: {self.decision.task}. It answers {rules.answer}.",
                "\n## Data\n",
                data,
                f"- features: {record.feature_service}; {record.as_of_rule}",
                *(f"- {name}: {window}" for name, window in self.windows.items()),
                "\n## Figures on the gate window\n",
                "| metric | " + " | ".join(self.evaluations) + " |",
                "|---|" + "---|" * len(self.evaluations),
                *rows,
                "",
                *(f"- {name}: {_words(metric)}" for name, metric in meanings.items()),
                f"\nGate, by {' and '.join(self.decision.gate.metrics)}: {verdict}.",
                *judgement_report.lines(self.decision),
                "\n## Limits\n",
                *(f"- {limit}" for limit in self.limits),
                f"\n## Risk\n\n- tier: {self.risk}, {RISKS[self.risk]}",
                f"\n## Origin\n\ncode {record.code_version}, dirty: {record.code_dirty}, on {record.accelerator}",
                f"Dagster run {record.dagster_run_id}, base model {_base_model(record)}\n",
            ]
        )

    def _interval(self, contender: str, metric: str) -> str:
        """The bounds of a metric behind its value; empty for one that was not drawn again."""
        own = self.decision.judgement.intervals.get(contender, {}).get(metric)
        return f" ({own[0]:.4f} to {own[1]:.4f})" if own else ""


def _base_model(record: RunRecord) -> str:
    """What training began with: a champion by its digest, a base model of the recipe with its licence, or neither."""
    base = record.hyperparameters.get("base")
    named = f"{base['name']}, licence {base['licence']}" if isinstance(base, Mapping) else ""
    if record.base_model:
        return f"{record.base_model}, a champion" + (f" on {named}" if named else "")
    return named or "none, from scratch"


def _words(metric: Metric) -> str:
    return metric.meaning + (f" ({metric.better} is better)" if metric.better else "")


def read_gate(folder: Path) -> dict[str, Any]:
    """The content of the gate file beside a model; raises FileNotFoundError if there is none."""
    return json.loads((folder / GATE_FILE).read_text(encoding="utf-8"))
