"""The asset `shadow/<domain>/<name>`: the last versions of a model are asked again what the service was asked.

A rollout compares two versions while callers wait; this compares the champion with its predecessors afterwards, on the
same questions with the same features, and finds what came slowly: a version that has become worse than the one before.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from pipelines.errors import ModelError
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Check, Declaration, GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.models import prediction_log
from pipelines.models.answers import Answer, Estimate, Predictor, Probability, Text
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.service import ServiceSpec
from pipelines.rollout.outcomes import OutcomeTable
from pipelines.rollout.tally import loss
from pipelines.settings import Settings

#: How many versions are asked, the champion and those before it; how many questions, the newest of how many days.
VERSIONS, QUESTIONS, DAYS = 3, 1_000, 7
#: How many questions are answered together.
TOGETHER = 50
#: The champion may take so many times what another version takes, in time and in money.
SLOWER, DEARER = 1.5, 1.5
#: How sure it must be that its loss is greater: one-sided, 99 %.
SURE = 2.33
CHECKS = {
    "quality": "The champion's answers are no worse than those of the versions before it, where the outcome is known",
    "latency": f"The champion takes at most {SLOWER:g} times as long as the fastest version before it",
    "cost": f"The champion costs at most {DEARER:g} times as much as the cheapest version before it",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a version did with the logged questions.

    Attributes:
        version: The version.
        ms: Median of the milliseconds of an answer, when `TOGETHER` are computed at once.
        cost: Of a thousand answers, in the currency of the prices.
        losses: By the prediction's id, where the outcome is known.
        skipped: Why it was not asked; empty if it was.
    """

    version: int
    ms: float = math.nan
    cost: float = math.nan
    losses: Mapping[str, float] | None = None
    skipped: str = ""


def shadow_asset(spec: ServiceSpec, *, automation: dg.AutomationCondition[Any] | None = None) -> dg.AssetsDefinition:
    """The asset that asks the last versions of a model what its service was asked.

    Args:
        spec: The service; the model's plan says where the outcomes are.
        automation: When it is materialized without a person's request; None for never.
    """
    model = spec.model
    declared = model.rollout.outcomes if model.rollout else None
    outcomes = [tuple(declared.table.table.key)] if declared else []

    def work(run: GovernedRun) -> Iterator[Written]:
        settings = run.platform.settings
        questions = logged(settings, spec, run.platform.now())
        price = run.platform.prices.unit_prices["cpu_core_hour"]
        versions = replayed(settings, spec, questions, cpu_price=price)
        if versions:
            run.record_input(Dataset("/".join(model.key("models")), str(versions[0].version)))
        table = [dg.TableRecord(row) for row in rows(versions)]
        metadata = {"questions": len(questions), "versions": dg.MetadataValue.table(table) if table else "none"}
        checks = tuple(result(name, versions) for name in CHECKS)
        yield Written(Dataset(run.declaration.name, run.run_id, model.domain.owner), metadata, checks)

    declaration = Declaration(
        key=model.key("shadow"),
        kind="model",
        owner=model.domain.owner,
        tags=model.domain.cost.of("serving"),
        description=f"{model.question}\n\nThe last {VERSIONS} versions that passed their gate answer the newest "
        f"{QUESTIONS:,} logged questions again, with the features that the service had read.\n\n"
        "Grain: one comparison per materialization.",
        kinds=("mlflow",),
        deps=(model.key("serving"), *outcomes),
        checks=tuple(Check(name, words, blocking=False) for name, words in CHECKS.items()),
    )
    return declare(declaration, work, automation=automation)


def logged(settings: Settings, spec: ServiceSpec, now: Any) -> list[dict[str, Any]]:
    """The newest logged predictions of a service, at most `QUESTIONS` of the last `DAYS` days."""
    folder = prediction_log.folder(settings, spec.name)
    return list(prediction_log.read(folder, (now - timedelta(days=DAYS)).date(), now.date()))[-QUESTIONS:]


def replayed(
    settings: Settings, spec: ServiceSpec, questions: Sequence[Mapping[str, Any]], *, cpu_price: float
) -> list[Replayed]:
    """What the champion and the versions before it do with logged questions, the champion first.

    Args:
        settings: Of the home folder.
        spec: The service.
        questions: Lines of the prediction log.
        cpu_price: Of an hour of a core.
    """
    registry = Registry(settings)
    champion = registry.champion(spec.name)
    if champion is None or not questions:
        return []
    older = [each for each in registry.versions(spec.name) if each.version < champion.version and each.passed]
    declared = spec.model.rollout.document()["outcomes"] if spec.model.rollout else None
    ids = [question["prediction_id"] for question in questions]
    known = OutcomeTable(settings, declared).known(ids) if declared else {}
    scale = float(declared["scale"]) if declared else 1.0
    asked = [champion, *reversed(older)][:VERSIONS]
    return [_replay(registry, spec, model, questions, known, scale, cpu_price) for model in asked]


def _replay(
    registry: Registry, spec: ServiceSpec, model: RegisteredModel, questions: Sequence[Mapping[str, Any]],
    known: Mapping[str, Any], scale: float, cpu_price: float,
) -> Replayed:  # fmt: skip
    try:
        predictor = spec.model.program.predictor(registry.download(model))
    except ModelError as error:
        return Replayed(model.version, skipped=error.observed)
    inputs = [_inputs(question, predictor) for question in questions]
    if absent := sorted(set(predictor.inputs) - {name for row in inputs for name in row}):
        return Replayed(model.version, skipped=f"it reads {', '.join(absent)}, which the log lacks")
    milliseconds, answers, cpu = [], [], 0.0
    for start in range(0, len(inputs), TOGETHER):
        part = inputs[start : start + TOGETHER]
        columns = {name: [row.get(name) for row in part] for name in predictor.inputs}
        began, used = time.perf_counter(), time.process_time()
        answers += predictor.answer(columns)
        cpu += time.process_time() - used
        milliseconds.append(1_000 * (time.perf_counter() - began) / len(part))
    ids = [question["prediction_id"] for question in questions]
    losses = {
        prediction: loss(plain(answer), known[prediction], scale)
        for prediction, answer in zip(ids, answers, strict=True)
        if prediction in known and not isinstance(answer, Text)
    }
    cost = cpu / len(inputs) * 1_000 / 3_600 * cpu_price
    return Replayed(model.version, statistics.median(milliseconds), cost, losses)


def _inputs(question: Mapping[str, Any], predictor: Predictor) -> dict[str, Any]:
    """The row that a logged question was answered from; a feature that was missing is None."""
    held = {name: feature["value"] for name, feature in question["features"].items()}
    missing = {str(each.get("feature")): None for each in question["missing"]}
    row = {**missing, **held, **question["columns"]}
    return {name: row[name] for name in predictor.inputs if name in row}


def plain(answer: Answer) -> dict[str, Any]:
    """An answer as `pipelines.rollout.tally` reads it."""
    if isinstance(answer, Probability):
        return {"probability": answer.probability}
    if isinstance(answer, Estimate):
        return {"value": answer.value}
    if isinstance(answer, Text):
        return {"text": answer.text}
    return {"label": answer.label, "probabilities": dict(answer.by_label)}


def result(name: str, versions: Sequence[Replayed]) -> dg.AssetCheckResult:
    """The result of a check; without two versions that answered, or without outcomes, it has not passed."""
    asked = [version for version in versions if not version.skipped]
    if len(asked) < 2 or asked[0].version != versions[0].version:
        return _checked(name, passed=False, words="there are no two versions that could answer logged questions")
    champion, others = asked[0], asked[1:]
    if name == "quality":
        return _quality(champion, others)
    own, best = (champion.ms, min(others, key=lambda each: each.ms)) if name == "latency" else (
        champion.cost, min(others, key=lambda each: each.cost))  # fmt: skip
    other, most = (best.ms, SLOWER) if name == "latency" else (best.cost, DEARER)
    unit = "ms an answer" if name == "latency" else "for a thousand answers"
    words = f"{own:.4g} {unit} of version {champion.version}, {other:.4g} of version {best.version}"
    return _checked(name, passed=own <= most * other, words=words)


def _quality(champion: Replayed, others: Sequence[Replayed]) -> dg.AssetCheckResult:
    told, passed = [], True
    for other in others:
        both = sorted((champion.losses or {}).keys() & (other.losses or {}).keys())
        if len(both) < 2:
            return _checked("quality", passed=False, words="fewer than two outcomes of logged questions are known")
        differences = [(champion.losses or {})[each] - (other.losses or {})[each] for each in both]
        mean = statistics.mean(differences)
        sure = mean - SURE * statistics.stdev(differences) / math.sqrt(len(both)) > 0
        passed = passed and not sure
        told.append(
            f"mean loss {mean:+.4f} against version {other.version} on {len(both):,} outcomes"
            + (", no chance" if sure else ", may be chance")
        )
    return _checked("quality", passed=passed, words="; ".join(told))


def _checked(name: str, *, passed: bool, words: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=dg.AssetCheckSeverity.WARN, description=words)


def rows(versions: Sequence[Replayed]) -> list[dict[str, Any]]:
    """A row for each version."""
    return [
        {
            "version": each.version,
            "ms_an_answer": "" if each.skipped else f"{each.ms:.3f}",
            "cost_of_a_thousand": "" if each.skipped else f"{each.cost:.6f}",
            "outcomes": len(each.losses or {}),
            "mean_loss": f"{statistics.mean(each.losses.values()):.4f}" if each.losses else "",
            "skipped": each.skipped,
        }
        for each in versions
    ]
